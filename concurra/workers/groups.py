"""What every child process has in common, until it has been reaped.

::

    this process ── pipe ──> guardian (sh, in a session of its own)
         │                      │ at the pipe's end: SIGKILL to all groups
         ├── worker   (leads a group of its own)
         └── command  (leads a group of its own)

Three hazards are settled, each in one place:

- *Half-made pipes*, which a fork in the same moment would keep open: see `forks`.
- *Recycled ids.* A signal is sent to a process or group only while its id cannot
  have been given to another: until the leader is reaped, by whomever, and after that
  only while no process has its id. (A group that has members keeps the id from being
  given to a new process.)
- *The death of this process*, by any means: see `guardian`.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time

from .forks import POSIX, refuse_starts
from .guardian import Guardian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Set

#: Seconds that children are given at the end of the program, all together.
AT_EXIT = 1.0

_alive: Set[ProcessGroup] = set()


class ProcessGroup:
    """A process that leads a group of its own, and whoever belongs to that.

    :param pid: its id, which is also that of its group once it has come that far.
    :param guardian: told of it, for as long as there is anything to kill.
    :param lost: says whether somebody else has reaped it, as far as that can be known.
        A fork server does, and so does the system for a program that ignores SIGCHLD.
    """

    def __init__(
        self,
        pid: int,
        guardian: Guardian,
        lost: Callable[[], bool] = lambda: False,
    ) -> None:
        self.pid = pid
        self.guardian = guardian
        self._lock = threading.Lock()
        self._reaped = False
        self._lost = lost
        self._gone = threading.Event()
        self._forced = threading.Event()
        self.stopped = False
        guardian.watch(pid)
        _alive.add(self)

    def stop(self, force: bool = False) -> None:
        """Signal the whole group: SIGTERM, or SIGKILL with ``force``."""
        with self._lock:
            self.stopped = True
            if not self._gone.is_set():
                self._signal(force)
        if force:
            self._forced.set()

    def reap(self, reap: Callable[[], object], leftovers: bool = False) -> None:
        """Reap the leader, which has ended; return when its group has ended, too.

        After a stop, the others of the group may take their time until the stop is
        forced. Otherwise they are killed; with ``leftovers`` they may live on for as
        long as the run does.

        :param reap: does not wait, as the leader has ended: a stop would wait for it.
        """
        with self._lock:
            if not (leftovers or self.stopped):
                self._signal(force=True, leader=False)
            reap()
            self._reaped = True
        if self.stopped:
            self._outlast()
        with self._lock:
            self._gone.set()
        self.guardian.dismiss(self.pid, leftovers and _group_exists(self.pid))
        _alive.discard(self)

    def _signal(self, force: bool, leader: bool = True) -> None:
        reaped = self._reaped or self._lost()
        if not (reaped and _exists(self.pid)):
            _signal_group(self.pid, force, leader and not reaped)

    def _outlast(self) -> None:
        # No event tells that a group has become empty, so this looks again and again,
        # for the grace period at the most, and only if the leader did not end last.
        # Mostly the others end with it, and are reaped before the first look.
        delay = 0.001
        while _group_exists(self.pid) and not self._forced.wait(delay):
            if not _census.lists(self.pid):
                break
            delay = min(2 * delay, 0.05)

    def wait(self, timeout: float) -> None:
        """Wait until another thread has reaped it, at most ``timeout`` seconds."""
        self._gone.wait(max(0.0, timeout))


def watch(
    pid: int,
    guardian: Guardian,
    lost: Callable[[], bool],
    reap: Callable[[], object],
) -> ProcessGroup:
    """The group of a process that has just been started.

    If that cannot be had, the process is killed and reaped: nobody would do it later.

    :raises ChildProcessError: it has been killed. What it had done until then is done.
    """
    try:
        return ProcessGroup(pid, guardian, lost)
    except BaseException as error:
        destroy(pid, reap)
        raise ChildProcessError(
            f"the program was killed, as it could not be watched ({error})"
        ) from error


def destroy(pid: int, reap: Callable[[], object]) -> None:
    """Kill a child that nobody has waited for yet, and reap it."""
    _signal_group(pid, force=True, leader=True)
    reap()


def kill_all(guardian: Guardian) -> None:
    """Kill all groups that ``guardian`` watches over."""
    for group in list(_alive):
        if group.guardian is guardian:
            group.stop(force=True)


def await_end(pid: int) -> Optional[Any]:
    """Wait for the end of a child without reaping it; how it ended.

    None if that cannot be known: it was reaped by somebody else, or is no child, or the
    system cannot wait like that.
    """
    if hasattr(os, "waitid"):
        try:
            return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass
    return None


def _signal_group(pid: int, force: bool, leader: bool) -> None:
    """Signal the group of ``pid``; with ``leader``, or ``pid`` before it has one."""
    if not POSIX:
        if leader:
            tree = ["taskkill", "/F", "/T", "/PID", str(pid)]
            subprocess.run(tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return
    number = signal.SIGKILL if force else signal.SIGTERM
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        if leader:
            try:
                os.kill(pid, number)
            except OSError:
                pass
    except PermissionError:
        pass  # all that is left are zombies (macOS), or others' processes


def _exists(pid: int) -> bool:
    if not POSIX:
        return True  # for all we know
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _group_exists(pid: int) -> bool:
    if not POSIX:
        return False
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return sys.platform != "darwin"
    return True


class _Census:
    """Who is in which group; many may ask at once, and few have to look.

    Zombies stay in their group until they are reaped, and in many a container nobody
    reaps orphans. Where that can be seen they are not counted.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began = -1.0
        self._groups: Set[int] = set()

    def lists(self, group: int) -> bool:
        """Whether a group that exists has members other than zombies, for all we know.

        A look at all processes takes milliseconds, and what it has found answers all
        who asked before it began: those who have waited for another's look.
        """
        if not sys.platform.startswith("linux"):
            return True
        asked = time.monotonic()
        with self._lock:
            if self._began <= asked:
                began = time.monotonic()
                try:
                    self._groups = _living_groups()
                except OSError:  # no descriptor is left, or there is no /proc
                    return True
                self._began = began
            return group in self._groups


def _living_groups() -> Set[int]:
    """The groups of all processes that are no zombies."""
    groups = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
                state, _, group = file.read(1024).rpartition(b")")[2].split(None, 3)[:3]
        except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
            continue  # it has just ended, or it is none of ours
        if state not in (b"Z", b"X"):
            groups.add(int(group))
    return groups


_census = _Census()


def _in_child() -> None:
    global _census
    _census = _Census()
    _alive.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@atexit.register
def stop_all() -> None:
    """Stop all children of runs that are still going when the program ends.

    The scheduler's threads are daemons, which may be frozen before they can do it.
    Idempotent.
    """
    refuse_starts()
    groups = list(_alive)
    for group in groups:
        group.stop()
    until = time.monotonic() + AT_EXIT
    for group in groups:
        group.wait(until - time.monotonic())
    for group in groups:
        group.stop(force=True)
