"""What every child process has in common, from its start to its burial.

::

    this process ── pipe ──> guardian (sh, in a session of its own)
         │                      │ at the pipe's end: SIGKILL to all groups
         ├── worker   (leads a group of its own)
         └── command  (leads a group of its own)

Three hazards are settled here, once:

- *Half-made pipes.* A fork copies every descriptor, so a child that is forked while
  another one's pipe is being made keeps that pipe open for ever. Whoever starts a
  program does it in `starting`, whoever forks does it in `forking`, and a hook holds
  up every other ``os.fork`` of this process meanwhile. What a forked child must not
  keep (`unshared`) it closes at birth.
- *Recycled ids.* A signal is sent to a process or group only while its id cannot
  have been given to another: until the leader is reaped, and after that only to a
  group that still has members.
- *The death of this process*, by any means. Handlers do not run on SIGKILL, so a
  guardian outside waits for the end of a pipe that only this process holds.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import Callable, Dict, Iterator, List, Optional, Protocol, Set
from weakref import WeakSet

POSIX = os.name == "posix"

#: Seconds that children are given at the end of the program, all together.
FAREWELL = 1.0


class Closeable(Protocol):
    """One end of a pipe, of any kind."""

    def close(self) -> None:
        """Close it; a second time does nothing."""


# Programs may be started side by side, but not beside a fork. Who starts one passes
# through _turn and is counted; who forks keeps _turn and waits until nobody is counted.
#
# Lock order: _forking, the locks that other libraries take before a fork, _turn. So
# _turn is never held by a thread that calls os.fork, but for the hook's sake; nor may
# `starting` be entered twice by one thread, which a fork could come between.
_forking = threading.Lock()
_turn = threading.RLock()
_counting = threading.Lock()
_busy = threading.Lock()  # held while anybody is counted
_starters = 0

_unshared: WeakSet[Closeable] = WeakSet()
_kept: Dict[int, Closeable] = {}  # by the thread that forks
_alive: Set[Child] = set()
_ending = False


@contextmanager
def starting() -> Iterator[None]:
    """Held by whoever starts a program, from its first pipe to its start.

    :raises RuntimeError: this program is ending.
    """
    with _turn:
        _refuse_at_the_end()
        _count(+1)
    try:
        yield
    finally:
        _count(-1)


def _count(change: int) -> None:
    global _starters
    with _counting:
        if not _starters:
            _busy.acquire()
        _starters += change
        if not _starters:
            _busy.release()


@contextmanager
def forking(keep: Closeable) -> Iterator[None]:
    """Held by whoever forks a worker, who is to ``keep`` its end of an unshared pipe.

    :raises RuntimeError: this program is ending.
    """
    with _forking:
        _refuse_at_the_end()
        _kept[threading.get_ident()] = keep
        try:
            yield
        finally:
            del _kept[threading.get_ident()]


def unshared(end: Closeable) -> None:
    """Have every forked child close ``end`` at once.

    Called within `starting`, where the end is made; undone by `close_unshared`.
    """
    _unshared.add(end)


def close_unshared(end: Closeable) -> None:
    """Close such an end.

    Its number may be given to another file the next moment, so no child may be born
    that still takes it for the end's.
    """
    with _turn:
        _unshared.discard(end)
        end.close()


def _refuse_at_the_end() -> None:
    if _ending:
        raise RuntimeError("no process can be started: the program is ending")


def _before_fork() -> None:
    _turn.acquire()
    with _busy:
        pass


def _in_parent() -> None:
    try:
        _turn.release()
    except RuntimeError:
        pass  # Ctrl-C came before `_before_fork` had acquired it


def _in_child() -> None:
    global _forking, _turn, _counting, _busy, _starters
    _forking, _turn = threading.Lock(), threading.RLock()
    _counting, _busy, _starters = threading.Lock(), threading.Lock(), 0
    kept = _kept.get(threading.get_ident())
    for end in list(_unshared):
        if end is not kept:
            try:
                end.close()
            except OSError:
                pass
    _unshared.clear()
    _alive.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child
    )


class Child:
    """A process that leads a group of its own.

    :param pid: its id, which is also that of its group once it has come that far.
    :param guardian: told of it, for as long as there is anything to kill.
    """

    def __init__(self, pid: int, guardian: Guardian) -> None:
        self.pid = pid
        self._guardian = guardian
        self._lock = threading.Lock()
        self._reaped = False
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
                _signal_group(self.pid, force, leader=not self._reaped)
        if force:
            self._forced.set()

    def bury(self, reap: Callable[[], object], leftovers: bool = False) -> None:
        """Reap the leader, which has ended, and see to what is left of its group.

        After a stop, the others of the group may take their time until the stop is
        forced. Otherwise they are killed; with ``leftovers`` they may live on for as
        long as the run does.
        """
        with self._lock:
            if not (leftovers or self.stopped):
                _signal_group(self.pid, force=True, leader=False)
            reap()
            self._reaped = True
        if self.stopped:
            self._outlast()
        with self._lock:
            self._gone.set()
        self._guardian.dismiss(self.pid, leftovers and _group_exists(self.pid))
        _alive.discard(self)

    def _outlast(self) -> None:
        # No event tells that a group has become empty, so this looks again and again,
        # for the grace period at the most, and only if the leader did not end last.
        delay = 0.001
        while _group_lives(self.pid) and not self._forced.wait(delay):
            delay = min(2 * delay, 0.05)

    def wait(self, timeout: float) -> None:
        """Wait until another thread has buried it, at most ``timeout`` seconds."""
        self._gone.wait(max(0.0, timeout))


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


def _group_lives(pid: int) -> bool:
    """Whether a group has members other than zombies.

    Zombies stay in their group until they are reaped, and in many a container nobody
    reaps orphans.
    """
    return _group_exists(pid) and (
        not sys.platform.startswith("linux") or any(map(_lives_in(pid), _all_pids()))
    )


def _all_pids() -> List[str]:
    return [name for name in os.listdir("/proc") if name.isdigit()]


def _lives_in(group: int) -> Callable[[str], bool]:
    def lives(pid: str) -> bool:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, _, pgrp = file.read().rpartition(b")")[2].split()[:3]
        except (OSError, ValueError):
            return False  # it has just ended
        return int(pgrp) == group and state not in (b"Z", b"X")

    return lives


class Guardian:
    """Kills what a run started when this process is gone, and leftovers at the end.

    One small shell process for a run, started before the first child. Between the
    birth of a child and the word to the guardian lie a few microseconds in which a
    SIGKILL of this process goes unnoticed for a command; a worker sees the end of its
    own pipe.
    """

    # A leftover's leader is reaped. If a process with that id is there all the same,
    # the id has been recycled, and the group is another's.
    _SCRIPT = """
    trap '' HUP INT QUIT TERM
    live=' ' left=' '
    while read -r what id; do
        case $live in *" $id "*) live="${live%%" $id "*} ${live#*" $id "}" ;; esac
        case $what in
            +) live="$live$id " ;;
            =) left="$left$id " ;;
        esac
    done
    for id in $live; do kill -s KILL -- "-$id" || kill -s KILL "$id"; done
    for id in $left; do kill -s 0 "$id" || kill -s KILL -- "-$id"; done
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: Optional[subprocess.Popen[bytes]] = None
        self._pipe: Optional[_Pipe] = None
        self._useless = not POSIX

    def start(self) -> None:
        """Be there; called before each child is started."""
        with self._lock:
            if self._shell is None and not self._useless:
                try:
                    self._start()
                except (OSError, RuntimeError):
                    # The tasks are not to suffer for that: the run goes on, unguarded.
                    self._useless = True

    def watch(self, pid: int) -> None:
        """Kill the group of ``pid`` when this process ends."""
        self._tell("+", pid)

    def dismiss(self, pid: int, leftovers: bool) -> None:
        """The leader is reaped: forget it, or with ``leftovers`` see to its group."""
        self._tell("=" if leftovers else "-", pid)

    def _tell(self, what: str, pid: int) -> None:
        with self._lock:
            if self._pipe is not None and not self._useless:
                try:
                    os.write(self._pipe.fd, f"{what} {pid}\n".encode())
                except OSError:  # somebody killed it
                    self._useless = True

    def _start(self) -> None:
        with starting():
            read_end, write_end = os.pipe()
            self._pipe = _Pipe(write_end)
            unshared(self._pipe)
            try:
                self._shell = subprocess.Popen(
                    ["/bin/sh", "-c", self._SCRIPT],
                    stdin=read_end,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    start_new_session=True,
                )
            finally:
                os.close(read_end)

    def close(self) -> None:
        """Kill all leftovers, and end. Called when nothing is alive any more."""
        with self._lock:
            self._useless = True
        if self._pipe is not None:
            close_unshared(self._pipe)
        if self._shell is not None:
            self._shell.wait()


class _Pipe:
    """The write end of a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


@atexit.register
def say_farewell() -> None:
    """Stop all children of runs that are still going when the program ends.

    The scheduler's threads are daemons, which may be frozen before they can do it.
    Idempotent.
    """
    global _ending
    with _turn:
        _ending = True
        children = list(_alive)
    for child in children:
        child.stop()
    until = time.monotonic() + FAREWELL
    for child in children:
        child.wait(until - time.monotonic())
    for child in children:
        child.stop(force=True)
