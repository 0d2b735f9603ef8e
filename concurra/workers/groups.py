"""Process groups: what every child process has in common, until it has been reaped.

::

    this process ── pipe ──> guardian (sh, in a session of its own)
         │                      │ at the pipe's end: SIGKILL to all sessions
         ├── worker   (leads a session of its own)
         └── command  (leads a session of its own)

Three hazards are settled, each in one place:

- *Half-made pipes*, which a fork in the same moment would keep open: see `forks`.
- *Recycled ids.* A signal is sent to a process or group only while its id cannot
  have been given to another: until the leader is reaped, by whomever, and after that
  only while no process has its id. (A group or session that has members keeps the id
  from being given to a new process.)
- *The death of this process*, by any means: see `guardian`.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import threading
import time

from ..clock import monotonic
from ..steps import KILL, TERMINATE
from . import sessions
from .forks import POSIX, refuse_starts
from .guardian import Guardian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set

    from ..outcomes import Remark
    from .sessions import Member

#: Seconds that children are given at the end of the program, all together.
AT_EXIT = 1.0

#: Where there is none, every signal ends a process at once.
_SIGKILL = getattr(signal, "SIGKILL", 0)

_alive: Set[ProcessGroup] = set()


class ProcessGroup:
    """A process that leads a session and a group, and whoever belongs to these.

    :param pid: its id, which is also that of both once it has come that far.
    :param guardian: told of it, to end it when this process is gone.
    :param lost: whether somebody else has reaped it, so that its id may be another's.
    :param stop_signal: what asks it to end.
    """

    def __init__(
        self,
        pid: int,
        guardian: Guardian,
        lost: Callable[[], bool] = lambda: False,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        self.pid = pid
        self.guardian = guardian
        self._survivors = ""  # the processes that could not be killed, in words
        self._lock = threading.Lock()
        self._reaped = False
        self._lost = lost
        self._stop_signal = stop_signal
        self._signals: List[int] = []  # that were sent, in order
        self._told: Dict[int, int] = {}  # other groups, and the last signal of each
        self._gone = threading.Event()
        self._forced = threading.Event()
        self.stopped = False
        guardian.watch(pid)
        _alive.add(self)

    def stop(self, force: int = TERMINATE) -> None:
        """Signal the group, with each signal once; see `sweep` for the others.

        :param force: a step: SIGINT, the signal to stop, or SIGKILL.
        """
        number = self._stop_signal
        if force != TERMINATE:
            number = _SIGKILL if force == KILL else signal.SIGINT
        with self._lock:
            self.stopped = True
            if number not in self._signals:
                self._signals.append(number)
                if not self._gone.is_set():
                    self._signal(number)
        if force == KILL:
            self._forced.set()

    def sweep(self, asked: Optional[float] = None) -> Optional[List[Member]]:
        """Pass the last signal on to the session's other groups, each once.

        Takes milliseconds. Returns who lives in the session; None if nobody can tell.

        :param asked: see `Census.members`.
        """
        members = sessions.census.members(self.pid, asked)
        if members is None:
            return None
        with self._lock:
            if self._is_recycled():
                return []
            living = [each for each in members if not each[-1]]
            sessions.reap_orphans(each for each in members if each[0] != self.pid)
            number = self._signals[-1] if self._signals else _SIGKILL
            for group in {each[2] for each in living} - {self.pid}:
                if self._told.get(group) != number:
                    self._told[group] = number
                    _signal_group(group, number, leader=False)
        return living

    def reap(
        self, reap: Callable[[], object], leftovers: bool = False, probe: int = -1
    ) -> None:
        """Reap the leader, which has ended; return when its session has ended, too.

        After a stop, the others of the session may take their time until the stop is
        forced. Otherwise they are killed; with ``leftovers`` they may live on for as
        long as the run does.

        :param reap: does not wait, as the leader has ended: a stop would wait for it.
            Returns False if that is left to another process.
        :param probe: see `sessions.is_used`.
        """
        with self._lock:
            if not (leftovers or self.stopped):
                self._signal(_SIGKILL, leader=False)
                self._forced.set()
            self._reaped = reap() is not False
        if self.stopped or not leftovers:
            self._outlast()
        with self._lock:
            self._gone.set()
        self.guardian.dismiss(self.pid, leftovers and sessions.is_used(self.pid, probe))
        _alive.discard(self)

    def _signal(self, number: int, leader: bool = True) -> None:
        if not self._is_recycled():
            reaped = self._reaped or self._lost()
            _signal_group(self.pid, number, leader and not reaped)

    def _is_recycled(self) -> bool:
        """Whether its id may be another's by now."""
        return (self._reaped or self._lost()) and _exists(self.pid)

    def _outlast(self) -> None:
        # No event tells that a session has become empty, so this looks again and again,
        # for the grace period at the most, and only if the leader did not end last.
        # Mostly the others end with it, and are reaped before the first look.
        delay, patience = 0.001, sessions.DYING
        living: Optional[List[Member]] = []
        while sessions.is_used(self.pid) and patience > 0:
            if self._forced.wait(delay):
                time.sleep(delay)
                patience -= delay
            living = self.sweep()
            if living == [] or (living is None and self._forced.is_set()):
                return
            delay = min(2 * delay, 0.05)
        if living and patience <= 0:
            self._name_survivors(living)

    def wait(self, timeout: float) -> None:
        """Wait until another thread has reaped it, at most ``timeout`` seconds."""
        self._gone.wait(max(0.0, timeout))

    def look_for_survivors(self) -> None:
        """Look who is left after a forced stop; takes a while if anybody is."""
        self.wait(sessions.DYING)
        if not self._gone.is_set():
            living = self.sweep()
            if living is None:
                living = [(self.pid, 0, 0, False)]
            self._name_survivors(living)

    def _name_survivors(self, living: List[Member]) -> None:
        if living:
            self._survivors = sessions.names([pid for pid, *_ in living], "a process")

    def tell_survivors(self, remark: Remark) -> None:
        """Note in a remark who could not be killed."""
        if self._survivors:
            who = self._survivors
            remark.text = f"Still running, as it could not be killed: {who}"


def watch(
    pid: int,
    guardian: Guardian,
    lost: Callable[[], bool],
    reap: Callable[[], object],
    stop_signal: int = signal.SIGTERM,
) -> ProcessGroup:
    """The group of a process that has just been started.

    If that cannot be had, the process is killed and reaped: nobody would do it later.

    :raises ChildProcessError: it has been killed. What it had done until then is done.
    """
    try:
        return ProcessGroup(pid, guardian, lost, stop_signal)
    except BaseException as error:
        destroy(pid, reap)
        raise ChildProcessError(
            f"the program was killed, as it could not be watched ({error})"
        ) from error


def destroy(pid: int, reap: Callable[[], object]) -> None:
    """Kill a child that nobody has waited for yet, and reap it."""
    _signal_group(pid, _SIGKILL, leader=True)
    reap()


def kill_all(guardian: Guardian) -> None:
    """Kill all groups that ``guardian`` watches over."""
    for group in list(_alive):
        if group.guardian is guardian:
            group.stop(KILL)


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


def has_ended(pid: int) -> bool:
    """Whether a child has ended, as far as that can be seen without reaping it."""
    if hasattr(os, "waitid"):
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        try:
            return os.waitid(os.P_PID, pid, flags) is not None
        except ChildProcessError:  # it has been reaped
            return True
    return False


def _signal_group(group: int, number: int, leader: bool) -> None:
    """Signal a group; with ``leader``, its leader if there is no group yet."""
    if not POSIX:
        if leader:
            tree = ["taskkill", "/F", "/T", "/PID", str(group)]
            subprocess.run(tree, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        if leader:
            try:
                os.kill(group, number)
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


def _in_child() -> None:
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
    asked = monotonic()
    for group in groups:
        group.sweep(asked)
    until = asked + AT_EXIT
    for group in groups:
        group.wait(until - monotonic())
    for group in groups:
        group.stop(KILL)
