"""A coroutine that another thread can cancel."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CoroutineType
    from typing import Any, Optional, Tuple


class Cancellable(Coroutine):  # type: ignore[type-arg]
    """Runs as the coroutine does, in whose tracebacks it has no frame.

    Its first step waits until the loop comes by again, before the coroutine has begun:
    then it is known which task of which loop this is.
    """

    def __init__(self, coroutine: CoroutineType[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._task: Optional[Tuple[asyncio.AbstractEventLoop, Any]] = None
        self._cancelled = False
        self.throw = coroutine.throw  # type: ignore[method-assign]

    def cancel(self) -> None:
        """Cancel it, in its own thread; for any thread, and never blocks."""
        self._cancelled = True  # first: see `send`
        known = self._task
        if known is not None:
            loop, task = known
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:
                pass  # the loop has just been closed

    def let_go(self) -> None:
        """It has ended. Its task has its result, and each would hold the other."""
        self._task = None

    def send(self, value: Any) -> Any:
        """The first step; all others are those of the coroutine itself."""
        task: Any = asyncio.current_task()
        self._task = asyncio.get_running_loop(), task
        self.send = self._coroutine.send  # type: ignore[assignment,method-assign]
        if self._cancelled:  # it was not known yet whom to cancel
            task.cancel()
        return None

    def throw(self, *error: Any) -> Any:
        """See `__init__`."""

    def close(self) -> None:
        """End it."""
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()
