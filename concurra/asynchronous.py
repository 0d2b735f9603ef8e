"""Runs that an event loop of `asyncio` waits for, without being blocked."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import Future

from .as_completed import CompletionReader
from .threads import daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Callable, Tuple, TypeVar

    from .as_completed import Take
    from .lifecycle import Broken, LifeCycle
    from .types import Result

    T = TypeVar("T")

#: Seconds after which an interrupt of a notebook's kernel is seen.
BEAT = 0.2


async def end(life: LifeCycle, broken: Broken) -> None:
    """Wait for the end of a run.

    If the waiting task is cancelled, the run is aborted, and its end awaited.

    :param broken: see `LifeCycle`.
    """
    over = asyncio.Event()
    try:
        life.then(_caller(over.set))
        await _arrival(over)
    except BaseException as error:
        await _stop(life, broken, error)
        raise
    life.wait(broken)  # it has come: this raises what has broken the run


async def _stop(life: LifeCycle, broken: Broken, error: BaseException) -> None:
    """Abort a run, and wait for its end, however often that is cancelled."""
    tell, conclude = broken(error)
    life.stop_soon()
    if isinstance(error, GeneratorExit):
        return  # nothing can be awaited any more

    def finish() -> None:
        try:
            tell()
            life.await_end(None)
            conclude()
        finally:
            leave()

    over = asyncio.Event()
    leave = _caller(over.set)
    # The loop's own threads may all be busy, with what waits for this.
    daemon(finish).start()
    while not over.is_set():
        try:
            await over.wait()
        except asyncio.CancelledError:
            pass  # it is being done


async def as_completed(
    life: LifeCycle, take: Take, broken: Broken
) -> AsyncIterator[Tuple[Any, Result]]:
    """See `as_completed.as_completed`.

    If the task that waits for the next result is cancelled, the run is aborted.
    """
    woken = asyncio.Event()
    reader = CompletionReader(_caller(woken.set))
    try:
        life.conduct(broken, lambda: life.attach(reader))
        for seen in range(life.total):
            while life.recorded <= seen:
                woken.clear()
                reader.waiting = True
                if life.recorded <= seen:
                    try:
                        await _arrival(woken)
                    except BaseException as error:
                        await _stop(life, broken, error)
                        raise
            result = take(life.ended[seen])
            if result is not None:
                yield life.ended[seen].label, result
    finally:
        life.detach(reader)
    await end(life, broken)
    life.in_background = False


async def _arrival(event: asyncio.Event) -> None:
    """Wait for an event, in a notebook so that the kernel can be interrupted.

    ipykernel's handler of SIGINT cancels what the cell waits for, which does not wake
    the event loop. So the loop is woken now and then, where ipykernel is.
    """
    if "ipykernel" not in sys.modules:
        await event.wait()
        return
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def beat() -> None:
        nonlocal timer
        timer = loop.call_later(BEAT, beat)

    beat()
    try:
        await event.wait()
    finally:
        timer.cancel()


def _caller(callback: Callable[[], object]) -> Callable[[], None]:
    """What calls something in the loop of the calling task, from any thread."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        try:
            loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # the loop has been closed

    return call


async def in_thread(function: Callable[[], T]) -> T:
    """Call what may take its time, in a thread of its own: see `_stop`."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # so that nobody can cancel it
    daemon(_call, function, future).start()
    try:
        return await asyncio.wrap_future(future)
    finally:
        del future  # its error and this frame would be a cycle, which holds the runner


def _call(function: Callable[[], T], future: Future[T]) -> None:
    try:
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)
    finally:
        del future  # see above
