"""Runs functions in the calling thread."""

from __future__ import annotations

import os
import sys
from types import AsyncGeneratorType, CoroutineType, GeneratorType

from ..outcomes import NOTHING, SUCCESS, AtHand, Outcome
from ..steps import TERMINATE
from ..tasks import Call
from ..wording import FALLBACK_WARNING, GENERATOR_WARNING
from .stacks import Stack, run_coroutine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn, Optional, Type

    from ..current import Note
    from ..types import ExecutionMode
    from . import Done

    #: What has gone wrong with it, if something has: see `initializer`.
    Initialize = Callable[[], Optional[Outcome]]

#: How many forks lie between this process and the start of the program.
_forks = 0


def perform(call: Call) -> Any:
    """Call the function; if it is ``async def``, wait for it in a loop of its own.

    It runs in a copy of the context, so what it sets there is gone afterwards.

    If the function forks, and returns in the child as well, the child ends here: it
    must not go on as if it were the runner.
    """
    forks = _forks
    run = call.context.copy().run
    try:
        if call.kwargs is None:
            value = run(call.func, *call.args)
        else:
            value = run(call.func, *call.args, **call.kwargs)
        if type(value) is CoroutineType:
            return run(run_coroutine, value)
        return value
    finally:
        if _forks != forks:
            _leave(sys.exc_info()[1])


def has_not_begun(value: Any) -> bool:
    """Whether it is a generator of whose body nothing has run."""
    if type(value) is GeneratorType:
        kind = "gi"
    elif type(value) is AsyncGeneratorType:
        kind = "ag"
    else:
        return False
    frame = getattr(value, f"{kind}_frame")
    if frame is None or getattr(value, f"{kind}_running"):
        return False  # it has ended, or another thread is at it
    suspended: Optional[bool] = getattr(value, f"{kind}_suspended", None)
    if suspended is not None:
        return not suspended
    if frame.f_lasti < 0:
        return True
    from opcode import opmap  # Python 3.11 does not say it of asynchronous ones

    code = frame.f_code.co_code[frame.f_lasti]
    return bool(code == opmap.get("RETURN_GENERATOR"))


def _leave(error: Optional[BaseException]) -> NoReturn:
    """End a forked child as Python ends: after ``error``, or after the last line."""
    code: object = 0
    if isinstance(error, SystemExit):
        code = error.code or 0
        if not isinstance(code, int):
            print(code, file=sys.stderr)
    elif error is not None:
        import traceback

        code = 1
        traceback.print_exception(type(error), error, error.__traceback__)
    flush()
    os._exit(code if isinstance(code, int) else 1)


def flush(*more: Any, caught: Type[BaseException] = BaseException) -> None:
    """Write out what was printed, whatever the streams have been replaced with.

    :param more: streams beside the program's, or None.
    :param caught: what is ignored; Ctrl-C is not to be, where a flush may wait.
    """
    for stream in (sys.stdout, sys.stderr, *more):
        try:
            stream.flush()
        except caught:
            pass  # closed, None, the user's own; no reader, or no space any more


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class ThreadWorker:
    """A worker whose jobs cannot be stopped: a stop leaves its thread alone.

    It is also a `backend.Backend`.

    :param initialize: called before each job; sees to it that it is done once.
    :param perform: calls the functions.
    :param abandon: called if the thread is still at work when nobody waits for it, with
        whether it waits for a coroutine, which was cancelled then.
    """

    spent = False
    sent = False
    unreaped = False
    elsewhere = False
    remote = False
    note: Optional[Note] = None

    def __init__(
        self,
        mode: ExecutionMode = "thread",
        initialize: Optional[Initialize] = None,
        perform: Callable[[Call], Any] = perform,
        abandon: Callable[[bool], object] = lambda cancelled: None,
    ) -> None:
        self.mode = mode
        self._abandon = abandon
        self._initialize = initialize
        self._perform = perform
        self.at_hand = NOTHING
        self.stack = Stack(ThreadWorker.begin.__code__)
        self._at_work = AtHand(mode, place=self.stack)
        self._dismissed = False
        # Shared, as it would be most of what a finished task keeps.
        self._returned_none = Outcome(SUCCESS, mode)

    @property
    def thread(self) -> Optional[int]:
        """See `Worker.thread`."""
        return self.stack.thread

    @thread.setter
    def thread(self, thread: Optional[int]) -> None:
        self.stack.thread = thread

    def is_quick(self, call: Call) -> bool:
        """Never: what it calls may take its time."""
        return False

    def begin(self, call: Call, note: Optional[Note] = None) -> Outcome:
        """See `Worker.begin`; the outcome, always."""
        self.at_hand = self._at_work
        if self._dismissed:
            return Outcome.stopped()
        if self._initialize is not None:
            failure = self._initialize()
            if failure is not None:
                return failure.of(self.mode)
        try:
            value = self._perform(call)
        except BaseException as error:  # SystemExit ends the task, not the worker
            return Outcome.raised(self.mode, error, last=False)
        if value is None:
            return self._returned_none
        outcome = Outcome(SUCCESS, self.mode, value)
        if has_not_begun(value):
            outcome.warning = GENERATOR_WARNING
        return outcome

    def present(self, call: Call) -> AtHand:
        """See `Backend.present`."""
        return self._at_work

    def run(self, call: Call, at_hand: AtHand, done: Optional[Done] = None) -> Outcome:
        """See `Backend.run`."""
        return self.begin(call)

    def reap(self) -> None:
        """Nothing is ever unreaped."""

    def retire(self) -> None:
        """Nothing is ever idle."""

    def is_starting(self) -> bool:
        """See `Worker.is_starting`: there is no process."""
        return False

    def has_ended(self) -> bool:
        """Never: what it has returned is known at once."""
        return False

    def dismiss(self) -> AtHand:
        """See `Worker.dismiss`."""
        self._dismissed = True
        self.stack.expect()
        return self.at_hand

    def abandon(self) -> None:
        """See `Worker.abandon`."""
        self._abandon(self.stack.awaits)

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`: prevents the next job; the one at hand goes on.

        A coroutine is cancelled, so it comes to its end if it does not refuse to.
        """
        self._dismissed = True
        self.stack.capture()
        self.stack.cancel()
        return False

    def close(self) -> None:
        """Nothing is held."""


class FallbackWorker(ThreadWorker):
    """Stands in for a process, for jobs that cannot be sent to one.

    :param options: those of `ThreadWorker`, the mode aside.
    """

    def __init__(self, *options: Any) -> None:
        super().__init__("thread_fallback", *options)

    def begin(self, call: Call, note: Optional[Note] = None) -> Outcome:
        """See `Worker.begin`."""
        outcome = super().begin(call)
        also = f"; {outcome.warning}" if outcome.warning else ""
        outcome.warning = f"{FALLBACK_WARNING}{also}"
        return outcome
