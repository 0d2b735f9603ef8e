"""Runs functions in the calling thread."""

from __future__ import annotations

from types import CoroutineType
from typing import Any

from ..tasks import FALLBACK_WARNING, SUCCESSFUL, Call, Outcome


def perform(call: Call) -> Any:
    """Call the function; if it is ``async def``, wait for it in a loop of its own."""
    if call.kwargs is None:
        value = call.func(*call.args)
    else:
        value = call.func(*call.args, **call.kwargs)
    if type(value) is CoroutineType:
        import asyncio

        return asyncio.run(value)
    return value


class ThreadWorker:
    """A worker whose jobs cannot be stopped: a stop leaves its thread alone."""

    mode = "thread"
    spent = False
    transcript = None

    def __init__(self) -> None:
        self._stopped = False

    def run(self, call: Call) -> Outcome:
        """See `Worker.run`."""
        if self._stopped:
            return Outcome.stopped()
        try:
            return Outcome(SUCCESSFUL, self.mode, perform(call))
        except BaseException as error:  # SystemExit ends the task, not the worker
            return Outcome.raised(self.mode, error)

    def stop(self, force: bool = False) -> bool:
        """See `Worker.stop`: prevents the next job; the one at hand goes on."""
        self._stopped = True
        return False

    def close(self) -> None:
        """Nothing is held."""


class FallbackWorker(ThreadWorker):
    """Stands in for a process, for jobs that cannot be sent to one."""

    mode = "thread_fallback"

    def run(self, call: Call) -> Outcome:
        """See `Worker.run`."""
        outcome = super().run(call)
        outcome.warning = FALLBACK_WARNING
        return outcome
