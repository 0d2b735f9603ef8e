"""Runs external programs.

::

    run ──> start in a session of its own ──> read its output until it ends ──> reap
                                                      ^
    stop: a signal to the group ──────────────────────┤ usually ends it
          and the waker: the rest of the session is ──┘ signalled, too; after a
                                                        forced stop nothing is read
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time

from ..clock import monotonic
from ..encoding import encoding
from ..outcomes import ERROR, LOST, SUCCESS, UNAVAILABLE, AtHand, Remark, Outcome
from ..steps import KILL, TERMINATE
from ..tasks import Command
from ..wording import ending
from . import command_start, command_errors, sessions
from .command_output import FOREVER, Drain, Output, Transcript, Waker, close, decode
from .command_output import read_in_threads
from .forks import POSIX
from .groups import ProcessGroup, await_end, has_ended
from .guardian import Guardian

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Dict, List, Optional, Union

    from ..current import Note
    from ..output.display import Display
    from ..types import CommandResult, ExecutionMode
    from . import Done
    from .command_output import Sink

#: What the system says when it is short of descriptors, processes or memory.
SHORTAGE = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)

#: Seconds for which the output of a command that has ended is waited for, as long as
#: others hold it open.
LINGER = 0.5

#: Seconds for which the code of a command that somebody else has reaped is waited for.
REAPED_BY_OTHERS = 0.2


class CommandWorker:
    """Starts a program for each job; see `backend.Backend`.

    :param drain: takes over pipes that others hold open when a job has ended.
    :param output: how what a command prints is shown, unless it says that itself.
    :param max_output: bytes of each stream that are kept, unless it says that itself.
    """

    mode: ExecutionMode = "subprocess"
    spent = False
    sent = False
    note: Optional[Note] = None
    thread: Optional[int] = None

    def __init__(
        self,
        guardian: Guardian,
        drain: Optional[Drain] = None,
        output: Optional[str] = None,
        max_output: Optional[float] = None,
    ) -> None:
        self._guardian = guardian
        self._drain = drain
        self._output = output
        self._max_output = max_output
        self._lock = threading.Lock()
        self._step: Optional[int] = None  # of a stop, the one with the most force
        self._group: Optional[ProcessGroup] = None
        self._waker: Optional[Waker] = None
        self._remark = Remark()  # of the last job: one that was stopped is the last

    def is_quick(self, command: Command) -> bool:
        """Never: `run` waits for the end of the program."""
        return False

    def present(self, command: Command) -> AtHand:
        """See `Backend.present`."""
        self._remark = Remark()
        captured = command.capture_output
        transcript = Transcript(self._limit(command)) if captured else None
        return AtHand(self.mode, transcript, self._remark)

    def _limit(self, command: Command) -> Optional[float]:
        """How much is kept of a stream of it; see `max_output.chunks`."""
        return command.max_output or self._max_output

    def _display(self, command: Command) -> Optional[Display]:
        """What shows what it prints, if that is wanted."""
        how = command.output or self._output
        if how is None or how == "captured" or not command.read:
            return None
        from ..output.display import Display
        from .max_output import chunks

        label, attempt = ("", 1) if self.note is None else self.note[:2]
        return Display(how, label, attempt, encoding(), chunks(self._limit(command)))

    def run(
        self, command: Command, at_hand: AtHand, done: Optional[Done] = None
    ) -> Outcome:
        """See `Backend.run`; the calling thread reads what the program prints."""
        transcript = at_hand.transcript
        assert transcript is None or isinstance(transcript, Transcript)
        try:
            command = command.ready()
        except BaseException as error:
            return Outcome.raised(self.mode, error)
        try:
            return self._run(command, transcript)
        except ChildProcessError as error:  # it may have succeeded, for all we know
            return Outcome.raised(self.mode, error, LOST)
        except BaseException as error:  # not found, no memory for its output, ...
            if self._group is not None:
                return Outcome.raised(self.mode, error)
            short = getattr(error, "errno", None) in SHORTAGE
            cause = UNAVAILABLE if short else ERROR
            told = command_errors.describe(error, command)
            outcome = Outcome.raised(self.mode, error, cause)
            outcome.error, outcome.trace = told
            return outcome

    def retire(self) -> None:
        """Nothing is ever idle."""

    def is_starting(self) -> bool:
        """See `Worker.is_starting`: the process is the job."""
        return False

    def has_ended(self) -> bool:
        """See `Worker.has_ended`."""
        group = self._group
        return group is not None and has_ended(group.pid)

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`."""
        with self._lock:
            if self._group is not None:
                self._group.stop(force)
            self._step = force if self._step is None else max(force, self._step)
            if self._waker is not None:
                self._waker.wake()
        return True

    def abandon(self) -> None:
        """See `Backend.abandon`."""
        group = self._group
        if group is not None:
            group.look_for_survivors()
            group.tell_survivors(self._remark)

    def close(self) -> None:
        """Nothing is held between two jobs."""

    def _run(self, command: Command, transcript: Optional[Transcript]) -> Outcome:
        with self._lock:
            self._group = None
        self._guardian.start()
        if self._step is not None:
            return Outcome.stopped()
        waker = Waker()  # first: without it the command would run in vain
        try:
            return self._attend(command, transcript, waker)
        finally:
            with self._lock:
                self._waker = None
            waker.close()

    def _attend(
        self, command: Command, transcript: Optional[Transcript], waker: Waker
    ) -> Outcome:
        # Not under the lock: a program on a disk that does not answer may take long to
        # start, and a stop must not wait for that.
        process, group, ends = command_start.start(
            command, self._guardian, lambda: self._step is not None
        )
        held: Collection[int] = ()
        warning: Optional[str] = None
        display, note = self._display(command), ""
        try:
            self._show(group, waker)
            sinks = _sinks(command, transcript, display)
            held = self._read(process, dict(zip(ends, sinks)), waker)
            if held:
                warning = _held(held)
            returncode = _await_end(process)
            note = ending(returncode) if returncode else ""
            if group.stopped:
                note = "was stopped"
        except BaseException:
            group.stop(KILL)
            await_end(process.pid)
            raise
        finally:
            group.reap(process.wait, leftovers=True, probe=waker.read_end)
            self._let_go(ends, held)
            group.tell_survivors(self._remark)
            if display is not None:
                display.end(note)
        result = _result(command, returncode, transcript)
        if returncode and command.check:
            return Outcome.exited(self.mode, result, transcript, warning)
        return Outcome(SUCCESS, self.mode, result, warning=warning)

    def _show(self, group: ProcessGroup, waker: Waker) -> None:
        """Let `stop` find what there is to stop, and make up for an earlier one."""
        with self._lock:
            self._group = group
            self._waker = waker
            if self._step is not None:
                group.stop(self._step)
                waker.wake()

    def _read(
        self, process: subprocess.Popen[bytes], pipes: Dict[int, Sink], waker: Waker
    ) -> Collection[int]:
        """Read what the program prints until it ends, or a stop is forced.

        Returns the pipes that others still hold open then.
        """
        if not POSIX:
            return read_in_threads(pipes, process.wait, LINGER)
        output = Output(process.pid, pipes, waker)
        try:
            return self._follow(output)
        finally:
            output.close()

    def _follow(self, output: Output) -> Collection[int]:
        group, late = self._group, FOREVER
        assert group is not None
        while output.goes_on:
            if output.read(late):
                if self._step == KILL:
                    return ()
                if self._step is not None:
                    group.sweep()
            if output.ended and late == FOREVER:
                late = monotonic() + LINGER
            elif monotonic() >= late:
                if not group.stopped or group.sweep() == []:
                    output.read(0.0)  # what has come during that look
                    break
                late += LINGER  # those that are being stopped may have last words
        return output.open

    def _let_go(self, ends: List[int], held: Collection[int]) -> None:
        """Close the pipes; those that are held go to the drain, or to their threads."""
        if not POSIX:
            return
        if self._drain is None:
            held = ()
        close(set(ends).difference(held))
        if self._drain is not None and held:
            self._drain.take(held)


def _sinks(
    command: Command, transcript: Optional[Transcript], display: Optional[Display]
) -> List[Sink]:
    """Where what is read goes, stream by stream."""
    if transcript is None:
        return []
    kept = transcript.stdout, transcript.stderr
    if display is None:
        return [kept[number] for number in command.read]
    from ..output.display import Shown

    return [Shown(kept[number], display, number) for number in command.read]


def _held(pipes: Collection[int]) -> str:
    who = sessions.names(sessions.writers(pipes), "another process")
    return (
        f"Command has ended, but its output is still held open by {who}: the result "
        "has what was printed until then"
    )


def _await_end(process: subprocess.Popen[bytes]) -> int:
    """Wait for the end of the process, if possible without reaping it; its code.

    :raises ChildProcessError: somebody else has reaped it, so its code is unknown.
    """
    if not hasattr(os, "waitid"):
        return process.wait()
    end = await_end(process.pid)
    if end is None:
        return _code_by_others(process)
    status: int = end.si_status
    return status if end.si_code == os.CLD_EXITED else -status


def _code_by_others(process: subprocess.Popen[bytes]) -> int:
    """The code that whoever reaped a process sets, such as gevent's event loop.

    The process is not polled: a `Popen` that finds no child says 0.

    :raises ChildProcessError: nobody tells.
    """
    until = monotonic() + REAPED_BY_OTHERS
    while process.returncode is None:
        if monotonic() >= until:
            raise ChildProcessError(
                "the command's return code was taken by another part of the program: "
                "does it ignore SIGCHLD, or wait for all children?"
            )
        time.sleep(0.001)
    return process.returncode


def _result(
    command: Command, returncode: int, transcript: Optional[Transcript]
) -> CommandResult:
    """The structured result that the documentation describes."""
    stdout: Union[str, bytes, None] = None
    stderr: Union[str, bytes, None] = None
    if transcript is not None:
        join = decode if command.text else b"".join
        stdout, stderr = join(transcript.stdout), join(transcript.stderr)
        if command.stdout is not None:
            stdout = None
    argv = command.argv
    return {
        "command": argv if isinstance(argv, str) else list(argv),
        "shell": command.shell,
        "returncode": returncode,
        "stdout": stdout,
        "stderr": stderr,
        "cwd": command.cwd,
    }
