"""What a stack tells of a task: how far it had come, and where the user's code was."""

from __future__ import annotations

import os
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, List, Optional, Tuple

    #: File, line, and name of the function.
    Place = Tuple[str, Optional[int], str]

NO_PYTHON: Final = "(It was in a function without Python code, which has no stack.)\n"
UNSEEN: Final = (
    "(Where it was is not known: no thread can look at another without the "
    "interpreter's lock, or where an audit hook refuses it.)\n"
)
STARTING: Final = "(It had not begun: its process was still starting.)\n"
INITIALIZING: Final = "(It had not begun: the initializer was at work.)\n"
UNPICKLING: Final = "(It had not begun: what was sent for it was being unpickled.)\n"
WAITING: Final = "(It had not begun.)\n"
RETURNED: Final = "(It had returned: its result was being sent.)\n"
DESCRIBING: Final = "(It had ended with an error, which was being described.)\n"
ASKING: Final = "(It had ended with an error: `on` was asked whether to retry.)\n"
BETWEEN: Final = "(It was about to begin, or had just ended.)\n"

#: Frames that are shown, the innermost.
FRAMES: Final = 20

#: Directories: of this package, of Python's library, and in that of what was installed.
_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PYTHON: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_INSTALLED: Final = ("site-packages", "dist-packages")

#: How `faulthandler` writes down a stack.
_FRAME: Final = r'  File "(.*)", line (\d+|\?\?\?) in (.*)'
_THREAD: Final = r"(?m)^(?:Current thread|Thread) 0x.*:$"

#: What runs in a worker process; what is around that is of no interest.
_OUTERMOST: Final = "workers/child.py", "serve"

_CALLER: Final = "workers/thread.py", "perform"
_INITIALIZER: Final = "workers/initializer.py", "__call__"

#: What is at work before and after the user's function, as functions of ours.
_STAGES: Final = {
    ("workers/transfer.py", "receive"): WAITING,
    ("workers/plain.py", "find"): WAITING,
    ("workers/child.py", "_refusal"): ASKING,
    ("workers/child.py", "_failed"): DESCRIBING,
    ("workers/child.py", "not_recorded"): DESCRIBING,
    ("wording.py", "describe"): DESCRIBING,
    ("wording.py", "outline"): DESCRIBING,
    ("workers/transfer.py", "pack"): RETURNED,
    ("workers/transfer.py", "send"): RETURNED,
    ("workers/surroundings.py", "restore"): RETURNED,
    ("workers/thread.py", "flush"): RETURNED,
}


def parsed(dump: str) -> Tuple[List[Place], bool]:
    """The stack of the main thread, in a dump of all; the outermost first.

    Without what is around `child.serve`, and whether that was found: of a deep stack
    the outermost frames are missing.
    """
    import re

    found: List[Place] = []
    for file, line, name in re.findall(_FRAME, re.split(_THREAD, dump)[-1]):
        if "\\" in file:  # what is no ASCII
            file = file.encode().decode("unicode_escape", "replace")
        place = file, int(line) if line.isdigit() else None, name
        if _own(place) == _OUTERMOST:
            return found[::-1], True
        found.append(place)
    return found[::-1], False


def told(places: List[Place], whole: bool = True, starting: bool = False) -> str:
    """The text of a stack of a worker, which begins with the outermost.

    Without frames of concurra, and of what it calls for itself. Where the function is
    not at work, that is said in words, with what of the user's code is.

    :param whole: whether it begins with the first frame of the worker's own.
    :param starting: whether the worker cannot have had its task.
    """
    caller = [n for n, each in enumerate(places) if _own(each) == _CALLER]
    if caller:
        words = STARTING if starting else ""
        inner = _of_user(places[caller[0] + 1 :], False)
        if caller[0] and _own(places[caller[0] - 1]) == _INITIALIZER:
            words = INITIALIZING
        return words + _shown(inner) or NO_PYTHON
    inner = _of_user(places, whole)
    if not whole:
        return _shown(inner)
    words = next(filter(None, map(_STAGES.get, map(_own, places))), BETWEEN)
    if starting:
        words = STARTING
    elif words is WAITING and inner:
        words = UNPICKLING
    return words + _shown(inner)


def _own(place: Place) -> Tuple[str, str]:
    """File and function, if it is one of concurra; empty otherwise."""
    file = _module(place[0])
    return (file, place[2]) if file else ("", "")


@lru_cache(1024)  # many stacks have the same files
def _module(file: str) -> str:
    """What the file is called within concurra; empty if it is no part of it."""
    file = os.path.abspath(file)
    if not file.startswith(_PACKAGE):
        return ""
    return file[len(_PACKAGE) :].replace(os.sep, "/")


def _is_of_python(place: Place) -> bool:
    file = place[0]
    if file.startswith("<frozen "):
        return True
    return file.startswith(_PYTHON) and not any(map(file.__contains__, _INSTALLED))


def _of_user(places: List[Place], called_by_us: bool) -> List[Place]:
    """Without our frames at both ends, and those of Python that we have called.

    :param called_by_us: whether what is called first is ours, and not the user's.
    """
    first, last = 0, len(places)
    while first < last and (
        any(_own(places[first])) or called_by_us and _is_of_python(places[first])
    ):
        first += 1
    for n in range(last - 1, first - 1, -1):
        if any(_own(places[n])):
            last = n
        elif not _is_of_python(places[n]):
            break
    return places[first:last]


def _shown(places: List[Place]) -> str:
    if not places:
        return ""
    import traceback

    left = len(places) - FRAMES
    lines = ["Stack (most recent call last):\n"]
    if left > 0:
        lines.append(f"  [... {left} frame{'s' if left > 1 else ''} left out ...]\n")
    shown = [traceback.FrameSummary(*each) for each in places[-FRAMES:]]
    return "".join(lines + traceback.format_list(shown))
