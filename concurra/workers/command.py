"""Runs external programs.

::

    run ──> Popen in a session of its own ──> read both pipes to their ends ──> reap
                                                      ^
    stop: SIGTERM to the group ───────────────────────┤ usually ends them
    stop(force): SIGKILL to the group, and a word to ─┘ the waker, for the case that
                 somebody outside the group holds a pipe open
"""

from __future__ import annotations

import errno
import locale
import os
import subprocess
import sys
import threading
from contextlib import nullcontext
from functools import partial

from ..outcomes import ERROR, LOST, SUCCESS, UNAVAILABLE, AtHand, Outcome
from ..tasks import Command
from .forks import POSIX, starting
from .groups import ProcessGroup, await_end, watch
from .guardian import Guardian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Tuple, Union

    from ..current import Note
    from ..types import CommandResult, ExecutionMode
    from . import Done

if POSIX:
    import select

#: Bytes read at once: the capacity of a pipe.
CHUNK = 1 << 16

#: What the system says when it is short of descriptors or processes.
SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.EAGAIN)

#: What is written to wake a reader: an eventfd takes nothing else.
_ONE = (1).to_bytes(8, sys.byteorder)


class Transcript:
    """What a command prints, as it comes in.

    ``str()`` gives what there is of it so far, under the headings stdout and stderr.
    Unlike in results, a line that was written over stays one line.
    """

    def __init__(self) -> None:
        self.stdout: List[bytes] = []
        self.stderr: List[bytes] = []

    def __str__(self) -> str:
        streams = (("stdout", self.stdout), ("stderr", self.stderr))
        parts = [f"{name}:\n{_written(chunks)}" for name, chunks in streams if chunks]
        return "\n".join(parts)


class CommandWorker:
    """Starts a program for each job; see `pool.Kind`."""

    mode: ExecutionMode = "subprocess"
    spent = False
    sent = False
    note: Optional[Note] = None

    def __init__(self, guardian: Guardian) -> None:
        self._guardian = guardian
        self._lock = threading.Lock()
        self._stopped = False
        self._forced = False
        self._group: Optional[ProcessGroup] = None
        self._waker: Optional[_Waker] = None

    def is_quick(self, command: Command) -> bool:
        """Never: `run` waits for the end of the program."""
        return False

    def present(self, command: Command) -> AtHand:
        """See `Kind.present`."""
        return AtHand(self.mode, Transcript() if command.capture_output else None)

    def run(
        self, command: Command, at_hand: AtHand, done: Optional[Done] = None
    ) -> Outcome:
        """See `Kind.run`; the calling thread reads what the program prints."""
        transcript = at_hand.transcript
        assert transcript is None or isinstance(transcript, Transcript)
        try:
            return self._run(command, transcript)
        except ChildProcessError as error:  # it may have succeeded, for all we know
            return Outcome.raised(self.mode, error, LOST)
        except BaseException as error:  # not found, no memory for its output, ...
            short = self._group is None and getattr(error, "errno", None) in SHORTAGE
            return Outcome.raised(self.mode, error, UNAVAILABLE if short else ERROR)

    def retire(self) -> None:
        """Nothing is ever idle."""

    def stop(self, force: bool = False) -> bool:
        """See `Worker.stop`."""
        with self._lock:
            self._stopped = True
            if self._group is not None:
                self._group.stop(force)
            self._forced = self._forced or force
            if self._forced and self._waker is not None:
                self._waker.wake()
        return True

    def close(self) -> None:
        """Nothing is held between two jobs."""

    def _run(self, command: Command, transcript: Optional[Transcript]) -> Outcome:
        with self._lock:
            self._group = None
        self._guardian.start()
        if self._stopped:
            return Outcome.stopped()
        waker = _Waker()  # first: a command that lacks it would have run in vain
        try:
            return self._attend(command, transcript, waker)
        finally:
            with self._lock:
                self._waker = None
            waker.close()

    def _attend(
        self, command: Command, transcript: Optional[Transcript], waker: _Waker
    ) -> Outcome:
        # Not under the lock: a program on a disk that does not answer can take its time
        # to start, and who stops it must not wait for that.
        process, group, ends = _start(command, self._guardian)
        try:
            self._show(group, waker)
            if transcript is not None:
                _read(ends, transcript, waker)
            returncode = _await_end(process)
        except BaseException:
            group.stop(force=True)
            await_end(process.pid)
            raise
        finally:
            group.reap(process.wait, leftovers=True)
            _close(ends)
        result = _result(command, returncode, transcript)
        if returncode and command.check:
            return Outcome.exited(self.mode, result, transcript)
        return Outcome(SUCCESS, self.mode, result)

    def _show(self, group: ProcessGroup, waker: _Waker) -> None:
        """Let `stop` find what there is to stop; an earlier one is made up for."""
        with self._lock:
            self._group = group
            self._waker = waker
            if self._stopped:
                group.stop(self._forced)
            if self._forced:
                waker.wake()


class _Waker:
    """Something to wait for together with pipes, which ends the wait."""

    def __init__(self) -> None:
        self._ends = (os.eventfd(0),) if hasattr(os, "eventfd") else os.pipe()
        self.read_end = self._ends[0]

    def wake(self) -> None:
        """Make the read end readable, for good."""
        os.write(self._ends[-1], _ONE)

    def close(self) -> None:
        """Close its files."""
        _close(self._ends)


def _read(ends: List[int], transcript: Transcript, waker: _Waker) -> None:
    """Read both pipes to their ends, or until the waker wakes."""
    chunks = dict(zip(ends, (transcript.stdout, transcript.stderr)))
    if POSIX:
        _read_pipes(chunks, waker.read_end)
    else:
        _read_in_threads(chunks)


def _read_pipes(chunks: Dict[int, List[bytes]], waker: int) -> None:
    """Read pipes to their ends, or until there is something to read from ``waker``."""
    poll = select.poll()
    for fd in (waker, *chunks):
        poll.register(fd, select.POLLIN)
    left = set(chunks)
    while left:
        for fd, event in poll.poll():
            if fd == waker:
                return
            # An end without a last word need not be read.
            data = b"" if event == select.POLLHUP else os.read(fd, CHUNK)
            if data:
                chunks[fd].append(data)
            else:
                poll.unregister(fd)
                left.discard(fd)


def _start(
    command: Command, guardian: Guardian
) -> Tuple[subprocess.Popen[bytes], ProcessGroup, List[int]]:
    """Start it; also the ends of pipes from which its output is to be read.

    If that is not captured, it gets a pipe to be known by, and never uses it.
    """
    ours: List[int] = []
    theirs: List[int] = []
    with starting():
        try:
            for _ in range(2 if command.capture_output else guardian.seeks):
                read_end, write_end = os.pipe()
                ours.append(read_end)
                theirs.append(write_end)
            with guardian.expecting(ours[0]) if guardian.seeks else nullcontext():
                process = _open(command, theirs)
                lost = partial(_is_lost, process.pid)
                group = watch(process.pid, guardian, lost, process.wait)
                return process, group, ours
        except BaseException:
            _close(ours)
            raise
        finally:
            _close(theirs)


def _open(command: Command, pipes: List[int]) -> subprocess.Popen[bytes]:
    captured = command.capture_output
    stdout, stderr = pipes if captured else (None, None)
    return subprocess.Popen(
        command.argv,
        shell=command.shell,
        cwd=command.cwd,
        env={**_environment(), **command.env} if command.env else None,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        pass_fds=() if captured else pipes,
        start_new_session=POSIX,
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    )


def _environment() -> Dict[str, str]:
    """The variables of this program, whose threads may change them meanwhile."""
    while True:
        try:
            return dict(os.environ)
        except (KeyError, RuntimeError):
            pass


def _close(ends: Iterable[int]) -> None:
    for end in ends:
        os.close(end)


def _is_lost(pid: int) -> bool:
    """Whether somebody else has reaped this child, as far as that can be known."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return True
    except AttributeError:  # not on this system
        pass
    return False


def _await_end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of the process, if possible without reaping it; its code.

    :raises ChildProcessError: somebody else has reaped it, so its code is unknown.
    """
    if not hasattr(os, "waitid"):
        return process.wait()
    end = await_end(process.pid)
    if end is None:
        raise ChildProcessError(
            "the command's return code was taken by another part of the program: "
            "does it ignore SIGCHLD, or wait for all children?"
        )
    status: int = end.si_status
    return status if end.si_code == os.CLD_EXITED else -status


def _read_in_threads(chunks: Dict[int, List[bytes]]) -> None:
    """Where pipes cannot be polled: a thread for each."""

    def read(fd: int, into: List[bytes]) -> None:
        into.extend(iter(lambda: os.read(fd, CHUNK), b""))

    readers = [
        threading.Thread(target=read, args=each, daemon=True) for each in chunks.items()
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()


def _result(
    command: Command, returncode: int, transcript: Optional[Transcript]
) -> CommandResult:
    """The structured result that the documentation describes."""
    stdout: Union[str, bytes, None] = None
    stderr: Union[str, bytes, None] = None
    if transcript is not None:
        join = _decode if command.text else b"".join
        stdout, stderr = join(transcript.stdout), join(transcript.stderr)
    argv = command.argv
    return {
        "command": argv if isinstance(argv, str) else list(argv),
        "shell": command.shell,
        "returncode": returncode,
        "stdout": stdout,
        "stderr": stderr,
        "cwd": command.cwd,
    }


def _decode(chunks: List[bytes]) -> str:
    """Text with its newlines made uniform, as `subprocess` does it; never fails."""
    return _written(chunks).replace("\r", "\n")


def _written(chunks: List[bytes]) -> str:
    """Text with its lines ended by newlines; never fails."""
    encoding = locale.getpreferredencoding(False)
    text = b"".join(chunks).decode(encoding, "backslashreplace")
    return text.replace("\r\n", "\n")
