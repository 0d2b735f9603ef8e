"""Who belongs to a session, and who holds a pipe: looks at ``/proc``.

Each child leads a session of its own. What it starts can lead groups of their own, as
`timeout` or a shell with ``set -m`` do, and belongs to the session all the same. As
long as a session or group has members, zombies included, its id is given to no new
process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from stat import S_IWUSR

from ..clock import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, Iterable, Iterator, List, Optional, Set, Tuple

    #: The ids of a process, of its parent and its group, and whether it is a zombie.
    Member = Tuple[int, int, int, bool]

if os.name == "posix":
    import fcntl

#: Whether members of a session can be seen.
SEES = sys.platform.startswith("linux")

#: Seconds that orphans which have been killed are given to end.
DYING = 1.0

#: How many processes a text names.
NAMED = 3


def is_used(number: int, probe: int = -1) -> bool:
    """Whether a process, a group or a session has this id, for all we know.

    :param probe: an open file, if there is one at hand that nobody owns.
    """
    if not SEES:
        return group_exists(number)
    file = probe
    try:
        if probe < 0:
            file = os.open(os.devnull, os.O_RDONLY)
        fcntl.fcntl(file, fcntl.F_SETOWN, -number)  # refuses an id that is free
    except ProcessLookupError:
        return False
    except OSError:
        pass
    finally:
        if file != probe:
            os.close(file)
    return True


def group_exists(group: int) -> bool:
    """Whether a group has members, zombies included."""
    if os.name != "posix":
        return False
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return sys.platform != "darwin"
    return True


class Census:
    """The members of all sessions; many may ask at once, and few have to look.

    A look at all processes takes milliseconds, and what it has found answers all who
    asked before it began, and waited while others looked.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = -1.0
        self._sessions: Dict[int, List[Member]] = {}

    def members(
        self, session: int, asked: Optional[float] = None
    ) -> Optional[List[Member]]:
        """Who belongs to a session, zombies included; None if that cannot be seen.

        :param asked: an earlier look will do if it began after this moment; None: now.
        """
        if not SEES:
            return None
        asked = asked or monotonic()
        with self._lock:
            if self._began <= asked:
                began = monotonic()
                try:
                    self._sessions = _sessions()
                except OSError:  # no descriptor is left, or there is no /proc
                    return None
                self._began = began
            return self._sessions.get(session, [])


def _sessions() -> Dict[int, List[Member]]:
    sessions: Dict[int, List[Member]] = {}
    for pid in _pids():
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                fields = file.read(1024).rpartition(b")")[2].split(None, 4)
            state, parent, group, session = fields[:4]
            member = pid, int(parent), int(group), state in (b"Z", b"X")
        except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
            continue  # it has just ended, or it is none of ours
        sessions.setdefault(int(session), []).append(member)
    return sessions


def reap_orphans(members: Iterable[Member]) -> None:
    """Reap the zombies among these that nobody else will.

    This process has adopted them: it is the first one of a container, say.
    """
    me = os.getpid()
    for pid, parent, _, zombie in members:
        if zombie and parent == me:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def reap_killed(sessions: Collection[int]) -> None:
    """Reap what has just been killed in sessions whose leaders have been reaped."""
    census, delay, until = Census(), 0.001, monotonic() + DYING
    left: Set[int] = set(filter(is_used, sessions))
    while left and monotonic() < until:
        adopted: List[Member] = []
        for session in left:
            if not os.path.exists(f"/proc/{session}"):  # or the id is another's by now
                members = census.members(session) or ()
                adopted += (each for each in members if each[1] == os.getpid())
        reap_orphans(adopted)
        if all(zombie for *_, zombie in adopted):
            break
        time.sleep(delay)
        delay = min(2 * delay, 0.05)
        left = set(filter(is_used, left))


def writers(files: Iterable[int]) -> List[int]:
    """The processes that can write to pipes of which these are ends, as far as seen."""
    links = {f"pipe:[{os.fstat(file).st_ino}]" for file in files}
    return [pid for pid in _pids() if _writes(pid, links)]


def _writes(pid: int, links: Set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        for file in os.listdir(folder):
            with suppress(FileNotFoundError):
                path = f"{folder}/{file}"
                if os.readlink(path) in links and os.lstat(path).st_mode & S_IWUSR:
                    return True
    except OSError:  # it has just ended, or may not be looked at
        pass
    return False


def _pids() -> Iterator[int]:
    return map(int, filter(str.isdigit, os.listdir("/proc") if SEES else ()))


def names(pids: Collection[int], instead: str) -> str:
    """Processes in words: programs and ids.

    :param instead: said of nobody, or of a program whose name cannot be seen.
    """
    known = [(program, pid) for pid in pids for program in [_program(pid)] if program]
    found = known or [(instead, pid) for pid in pids]  # others have ended meanwhile
    told = [f"{program} (pid {pid})" for program, pid in found[:NAMED]]
    if len(found) > NAMED:
        told.append(f"{len(found) - NAMED} more")
    return ", ".join(told) or instead


def _program(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", errors="backslashreplace") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


census = Census()


def _in_child() -> None:
    global census
    census = Census()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
