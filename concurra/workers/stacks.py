"""Where a function was in a thread when it was ended by force.

Nothing is noted before that. A thread is looked at when it is stopped, or when somebody
first reads the trace, whichever comes first. Of its frames no more is kept than code
and line numbers: frames would keep alive all that is in their variables. Lines of
source are looked up when the trace is read.
"""

from __future__ import annotations

import sys
from collections import deque
from threading import get_ident
from types import CoroutineType

from ..collector import collection_paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import (
        Any,
        Deque,
        Dict,
        Iterator,
        List,
        Mapping,
        Optional,
        Tuple,
    )

#: By the thread, the coroutine that it runs a loop for.
_coroutines: Dict[int, CoroutineType[Any, Any, Any]] = {}


def run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Wait for a coroutine in a loop of its own.

    It can be looked at meanwhile, and be cancelled: see `Stack`.
    """
    import asyncio

    from .cancellable import Cancellable

    me = get_ident()
    awaited = Cancellable(coroutine)  # here `Stack.cancel` finds it
    _coroutines[me] = coroutine
    try:
        return asyncio.run(awaited)
    finally:
        del _coroutines[me]
        awaited.let_go()


#: Those that are about to be captured.
_expected: Deque[Stack] = deque()


class Stack:
    """Where the thread of a worker is in its job; a text, by ``str()``.

    :param owner: the code of the method that does it, of an object with this ``stack``.
    """

    __slots__ = ("thread", "_owner", "_found")

    def __init__(self, owner: CodeType) -> None:
        #: That of the worker; None if it has none yet.
        self.thread: Optional[int] = None
        self._owner = owner
        self._found: Optional[List[Tuple[CodeType, int]]] = None

    def capture(self) -> None:
        """Look where it is, unless that was done; for any thread, never blocks."""
        if self._found is not None or not _can_look():
            return
        with _frames_hold_still():
            frames = _frames_of_all()
            if frames is None:
                return
            try:
                self._find(frames)
                while _expected:
                    try:
                        _expected.popleft()._find(frames)
                    except IndexError:  # another thread was faster
                        break
            finally:
                frames.clear()  # this one is among them: they would hold each other

    def cancel(self) -> None:
        """Cancel the coroutine that its job waits for, if it does; for any thread."""
        thread = self.thread or 0
        if thread not in _coroutines or not _can_look():
            return
        found = []
        with _frames_hold_still():
            frames = self._frames(_frames_of_all() or {})
            for each in frames:
                if each.f_code is run_coroutine.__code__:
                    found.append(each.f_locals.get("awaited"))
            frames.clear()  # as above
        for awaited in found:
            if awaited is not None:
                awaited.cancel()

    @property
    def awaits(self) -> bool:
        """Whether its job waits for a coroutine."""
        return (self.thread or 0) in _coroutines

    def expect(self) -> None:
        """It is about to be captured: then, if not before, when another one is.

        To look at all threads takes a while, and many may be stopped at once.
        """
        _expected.append(self)

    def _find(self, all_frames: Mapping[int, FrameType]) -> None:
        if self._found is not None:
            return
        frames = self._frames(all_frames)
        coroutine = _coroutines.get(self.thread or 0)
        codes = [each.f_code for each in frames]
        if coroutine is not None and run_coroutine.__code__ in codes:
            loop = codes.index(run_coroutine.__code__)  # where its own frames end
            if not coroutine.cr_running:
                frames[:loop] = _awaiting(coroutine)
            elif coroutine.cr_frame in frames:
                frames[frames.index(coroutine.cr_frame) + 1 : loop] = []
        self._found = [(each.f_code, each.f_lineno) for each in frames]

    def _frames(self, all_frames: Mapping[int, FrameType]) -> List[FrameType]:
        """Those of the job, the innermost first.

        An empty list if the job has ended: the thread may be at another one's by now.
        """
        frames: List[FrameType] = []
        frame = all_frames.get(self.thread or 0)
        while frame is not None and not self._is_mine(frame):
            frames.append(frame)
            frame = frame.f_back
        return [] if frame is None else frames

    def _is_mine(self, frame: FrameType) -> bool:
        return frame.f_code is self._owner and frame.f_locals["self"].stack is self

    def __str__(self) -> str:
        from .places import UNSEEN, told

        self.capture()
        if self._found is None:
            return UNSEEN
        if not self._found:
            return ""
        found = reversed(self._found)
        return told([(code.co_filename, line, code.co_name) for code, line in found])


def _can_look() -> bool:
    """Whether frames of other threads can be read.

    Without the lock of the interpreter they change meanwhile, and it may crash.
    """
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is None or bool(enabled())


def _frames_of_all() -> Optional[Dict[int, FrameType]]:
    """The frame of each thread, or None if an audit hook refuses that."""
    try:
        return sys._current_frames()
    except Exception:
        return None


def _frames_hold_still() -> collection_paused:
    """While others' frames are looked at, no step of that lets other threads run.

    Objects for frames and their variables are made meanwhile. Up to Python 3.11 that
    can call the garbage collector, and it finalizers: the other thread may leave the
    frame in between, and the interpreter crashes.
    """
    return collection_paused()


def _awaiting(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a coroutine that waits, and of what it waits for; innermost first.

    What is no coroutine or generator, a future for one, ends the way.
    """
    frames: List[FrameType] = []
    while coroutine is not None:
        for kind in ("cr", "gi"):
            frame = getattr(coroutine, f"{kind}_frame", None)
            if frame is not None:
                frames.append(frame)
                break
        else:
            break
        wait = "cr_await" if kind == "cr" else "gi_yieldfrom"
        coroutine = getattr(coroutine, wait, None)
    return reversed(frames)
