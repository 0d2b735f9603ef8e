"""Where a function was when it was ended by force, as a trace shows it.

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

from ..wording import OWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import (
        Any,
        Deque,
        Dict,
        Iterable,
        Iterator,
        List,
        Mapping,
        Optional,
        Tuple,
    )

    #: File, line, and name of the function.
    Place = Tuple[str, Optional[int], str]

#: Frames that are shown, the innermost.
FRAMES = 20

#: By the thread, the coroutine that it runs a loop for.
_coroutines: Dict[int, CoroutineType[Any, Any, Any]] = {}


def run_coroutine(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    """Wait for a coroutine in a loop of its own; it can be looked at meanwhile."""
    import asyncio

    me = get_ident()
    _coroutines[me] = coroutine
    try:
        return asyncio.run(coroutine)
    finally:
        del _coroutines[me]


#: Those that are about to be captured.
_expected: Deque[Stack] = deque()


class Stack:
    """Where the thread of a worker is in its job; a text, by ``str()``.

    :param caller: the code of the function that calls those of users.
    :param owner: the code of the method around that, of an object with this ``stack``.
    """

    __slots__ = ("thread", "_caller", "_owner", "_found")

    def __init__(self, caller: CodeType, owner: CodeType) -> None:
        #: That of the worker; None if it has none yet.
        self.thread: Optional[int] = None
        self._caller = caller
        self._owner = owner
        self._found: Optional[List[Tuple[CodeType, int]]] = None

    def capture(self) -> None:
        """Look where it is, unless that was done; for any thread, never blocks."""
        if self._found is not None:
            return
        frames = sys._current_frames()
        try:
            self._find(frames)
            while _expected:
                try:
                    _expected.popleft()._find(frames)
                except IndexError:  # another thread was faster
                    break
        finally:
            frames.clear()  # this one is among them, so they would hold each other

    def expect(self) -> None:
        """It is about to be captured: then, if not before, when another one is.

        To look at all threads takes a while, and many may be stopped at once.
        """
        _expected.append(self)

    def _find(self, all_frames: Mapping[int, FrameType]) -> None:
        if self._found is not None:
            return
        thread, found = self.thread or 0, []
        outer, frames = self._split(all_frames.get(thread))
        while outer is not None and outer.f_code is not self._owner:
            outer = outer.f_back
        # The job may have ended, and the thread be at another worker's.
        if outer is not None and outer.f_locals["self"].stack is self:
            coroutine = _coroutines.get(thread)
            if coroutine is not None and not coroutine.cr_running:
                frames = list(_awaiting(coroutine))
            found = [(each.f_code, each.f_lineno) for each in frames]
        self._found = found

    def _split(
        self, frame: Optional[FrameType]
    ) -> Tuple[Optional[FrameType], List[FrameType]]:
        """The frame that calls the user's function, and those within, innermost first.

        Ours are left out at both ends: a task may abort its own run.
        """
        frames: List[FrameType] = []
        while frame is not None and frame.f_code is not self._caller:
            if frames or not _is_own(frame):
                frames.append(frame)
            frame = frame.f_back
        while frames and _is_own(frames[-1]):
            del frames[-1]
        return frame, frames

    def __str__(self) -> str:
        self.capture()
        found = self._found or []
        return told(
            [(code.co_filename, line, code.co_name) for code, line in reversed(found)]
        )


def _is_own(frame: FrameType) -> bool:
    return frame.f_globals.get("__package__") in OWN


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


def told(places: Iterable[Place]) -> str:
    """The text of a stack, the outermost first; empty if there is nothing."""
    places = list(places)
    if not places:
        return ""
    import traceback

    left = len(places) - FRAMES
    lines = ["Stack (most recent call last):\n"]
    if left > 0:
        lines.append(f"  [... {left} frame{'s' if left > 1 else ''} left out ...]\n")
    shown = [traceback.FrameSummary(*each) for each in places[-FRAMES:]]
    return "".join(lines + traceback.format_list(shown))
