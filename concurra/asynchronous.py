"""Runs that an event loop of `asyncio` waits for, without being blocked."""

from __future__ import annotations

import asyncio
from functools import partial

from .arrivals import Arrivals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, AsyncIterator, Callable, Tuple

    from .arrivals import Take
    from .lifecycle import Broken, LifeCycle


async def end(life: LifeCycle, broken: Broken) -> None:
    """Wait for the end of a run.

    If the waiting task is cancelled, the run is aborted, and its end awaited.

    :param broken: see `LifeCycle`.
    """
    try:
        await _over(life)
    except BaseException as error:
        await _stop(life, broken, error)
        raise


async def _over(life: LifeCycle) -> None:
    over = asyncio.Event()
    life.then(_caller(over.set))
    await over.wait()


async def _stop(life: LifeCycle, broken: Broken, error: BaseException) -> None:
    """Abort a run, and wait for its end, however often that is cancelled."""
    tell, conclude = broken(error)
    life.stop_soon()
    await _in_thread(tell)
    while not life.finished:
        try:
            await _over(life)
        except asyncio.CancelledError:
            pass  # asked once more: it is being done
    await _in_thread(conclude)


async def as_completed(
    life: LifeCycle, take: Take, broken: Broken
) -> AsyncIterator[Tuple[Any, Any]]:
    """See `arrivals.as_completed`.

    If the task that waits for the next result is cancelled, the run is aborted.
    """
    ended = life.ended
    news = asyncio.Event()
    reader = Arrivals(_caller(news.set))
    await _in_thread(partial(life.attach, reader))
    try:
        for seen in range(life.total):
            while len(ended) <= seen:
                news.clear()
                if len(ended) <= seen:
                    try:
                        await news.wait()
                    except BaseException as error:
                        await _stop(life, broken, error)
                        raise
            yield ended[seen].label, take(ended[seen])
    finally:
        await _in_thread(partial(life.detach, reader))
    await end(life, broken)
    life.in_background = False


def _caller(callback: Callable[[], object]) -> Callable[[], None]:
    """What calls something in the loop of the calling task, from any thread."""
    loop = asyncio.get_running_loop()

    def call() -> None:
        try:
            loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # the loop has been closed

    return call


async def _in_thread(function: Callable[[], object]) -> None:
    """Call what may take its time."""
    await asyncio.get_running_loop().run_in_executor(None, function)
