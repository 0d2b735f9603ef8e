"""Runs functions in processes that are reused from one to the next.

::

    parent, one thread a worker                 worker process
    ---------------------------                 --------------
    wait <───────────────── one pipe of ─────── ready
    pickle the call ─────── its own, a ───────> unpickle, call
    unpickle the reply <─── `Channel` ───────── pickle value or error
                                                put directory, environment back
    (if that fails, "last" comes before the reply, and the process ends after it)
    end of the pipe before a reply: the process is lost, the task failed
    end of the pipe before a call: the worker process ends

Nothing is shared between workers, so one that is killed while it writes hurts only
itself. Only the worker and its parent hold the pipe: forked siblings and
grandchildren let go of it at birth (see `births.unshared`), so its end is a
reliable sign.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing import connection, process

from ..outcomes import ERROR, SUCCESS, UNPICKLABLE, Outcome
from ..tasks import Call
from ..wording import describe, ending
from .births import POSIX, close_unshared, forking, starting, unshared
from .children import Child
from .guardian import Guardian
from .imports import mend_imports
from .thread import flush, perform
from .transfer import Channel, Ended, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from typing import Any, Collection, List, Optional, Tuple, Union

    from ..types import ExecutionMode
    from .transfer import Message

#: Seconds that a process has, after its pipe has ended, until it is taken for stuck.
PATIENCE = 0.5

#: How far a job came: its reply begins with that.
_DONE, _RECEIVING, _CALLING, _ANSWERING = range(4)

RESULT_HINT = """\
(What a task returns in a process must be picklable, and so must be what that holds.)
"""

#: How to open a directory that is only to be entered, which needs no right to read it.
TO_ENTER = getattr(os, "O_PATH", os.O_RDONLY)

#: What would strike the next task if a task had left it running.
TIMERS = [
    getattr(signal, name)
    for name in ("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")
    if hasattr(signal, name)
]

#: Seconds for which the operating system can be asked to wait.
LONG = 1e6


def import_start_method(context: BaseContext) -> None:
    """Import what `multiprocessing` would import when it first starts a process."""
    method = context.get_start_method()
    if method == "spawn":
        method = "spawn_posix" if POSIX else "spawn_win32"
    import_module(f"multiprocessing.popen_{method}")


class ProcessWorker:
    """A worker that owns one process for life.

    :param context: how to start the process.
    :param guardian: told of it.
    :param max_tasks: jobs until the worker is `spent`; None for no limit.
    :param grace: seconds that the process has to end by itself when it is closed.
    :param importing: the modules that wait for the run in the midst of their import.
    """

    mode: ExecutionMode = "process"
    transcript = None

    def __init__(
        self,
        context: BaseContext,
        guardian: Guardian,
        max_tasks: Optional[int] = None,
        grace: float = 1.0,
        importing: Collection[str] = (),
    ) -> None:
        #: Whether it can do no more jobs: its process is to end, and to be closed.
        self.spent = False
        self._ends_by = 0.0
        self._left = max_tasks
        self._grace = grace
        self._ready = False
        self._buried = False
        guardian.start()
        with starting():
            self._pipe, theirs = connect(context)
            unshared(self._pipe)
            unshared(theirs)
        try:
            self._forked = context.get_start_method() == "fork"
            self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]
                target=_serve,
                args=(theirs, importing if self._forked else None),
                name="concurra-worker",
                daemon=False,
            )
            with forking(keep=theirs) if self._forked else starting():
                _rehearse_start()
                self._process.start()
                # Out of the book by which `multiprocessing` waits at the end of the
                # program, and reaps processes behind our back.
                process._children.discard(self._process)  # type: ignore[attr-defined]
        except BaseException:
            close_unshared(self._pipe)
            raise
        finally:
            close_unshared(theirs)
        pid = self._process.pid
        assert pid is not None
        self._exit = _Exit(pid, self._process.sentinel)
        self._child = Child(pid, guardian, self._exit.is_reaped)

    def run(self, call: Call) -> Outcome:
        """See `Worker.run`; a job that was lost before it began has no ``mode``."""
        try:
            job = self._pipe.pack((call.func, call.args, call.kwargs))
        except BaseException as error:
            return Outcome.unpicklable(*describe(error))
        if self._child.stopped:
            return Outcome.stopped()
        try:
            return self._exchange(job)
        except BaseException as error:
            self.retire()
            return Outcome.raised(self.mode, error)

    def stop(self, force: bool = False) -> bool:
        """See `Worker.stop`."""
        self._child.stop(force)
        return True

    def close(self) -> None:
        """End the process and all that is left of its group."""
        if not self._buried:
            self.retire()
            if not self._exit.wait(max(0.0, self._ends_by - time.monotonic())):
                self._child.stop(force=True)
            self._bury()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not self._exit.wait(0)

    def retire(self) -> None:
        """Let the process end by itself; its time for that begins now."""
        if not self.spent:
            self.spent = True
            self._ends_by = time.monotonic() + self._grace
            close_unshared(self._pipe)

    def _exchange(self, job: Message) -> Outcome:
        began = last = False
        try:
            if not self._ready:
                self._receive()
                self._ready = True
            known = self._pipe.received
            self._pipe.send(job)
            began = True
            reply = self._receive()
            if reply == "last":
                last = True
                reply = self._pipe.receive()
        except Ended:
            return self._lost(began)
        except BaseException as error:  # the user's __setstate__ may do anything
            if not began or self._pipe.received == known:
                raise  # a reply that is still to come is not to answer the next job
            reply = _ANSWERING, *_not_recorded(error)
        if self._left is not None:
            self._left -= 1
        if last or self._left == 0:
            self.retire()
        stage, *rest = reply
        if stage == _DONE:
            return Outcome(SUCCESS, self.mode, *rest)
        if stage == _RECEIVING:
            return Outcome.unpicklable(*rest)
        cause = ERROR if stage == _CALLING else UNPICKLABLE
        return Outcome(cause, self.mode, None, *rest)

    def _receive(self) -> Any:
        if not self._exit.or_readable(self._pipe):
            raise Ended
        return self._pipe.receive()

    def _lost(self, began: bool) -> Outcome:
        """The pipe has ended, so the process has, or is about to."""
        self.spent = True
        mode = self.mode if began else None
        if not self._exit.wait(PATIENCE) and self._process.is_alive():
            self._child.stop(force=True)
            self._bury()
            how = "was ended because it had closed its connection"
            return Outcome.lost(mode, how)
        when = "during the task" if began else "before the task"
        if not self._ready:
            when = "before it was ready" + ("" if self._forked else f" ({_doubt()})")
        return Outcome.lost(mode, f"{ending(self._bury())} {when}")

    def _bury(self) -> Optional[int]:
        """Reap the process, and let go of it; its exit code, if that can be had."""
        self._buried = True
        close_unshared(self._pipe)
        self._child.bury(self._process.join)
        self._exit.close()  # not before: who stops it looks there
        exitcode = self._process.exitcode
        if exitcode is None:
            # Somebody else has reaped it, and `multiprocessing` would take it for
            # alive for ever.
            self._process._popen.returncode = 0  # type: ignore[attr-defined]
            self._process.join()
        self._process.close()
        return exitcode


def _rehearse_start() -> None:
    """Open as many descriptors as the start of a process takes, and close them.

    `multiprocessing` leaves its first pipe open if there is none for the second.
    """
    ends: List[int] = []
    try:
        for _ in range(3):
            ends += os.pipe()
    finally:
        for end in ends:
            os.close(end)


def _doubt() -> str:
    """What is most likely wrong if a process cannot even begin."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if path and not os.path.exists(path):
        return f"it has to import the script, and '{path}' is not a file"
    return "does the script start its runner under `if __name__ == '__main__':`?"


class _Exit:
    """The end of a process, as something to wait for.

    A pidfd, where the system has it, is sure. The sentinel of `multiprocessing` is a
    pipe in some cases, which a grandchild may keep open.
    """

    def __init__(self, pid: int, sentinel: int) -> None:
        self._sign = sentinel
        self._pidfd: Optional[int] = None
        self._reaped = False
        try:
            self._sign = self._pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._reaped = True
        except (AttributeError, OSError):
            pass
        self._poll: Optional[select.poll] = None

    def or_readable(self, pipe: Channel) -> bool:
        """Wait for the process or the pipe; whether there is something to read."""
        if not POSIX:
            return pipe.source in connection.wait([pipe.source, self._sign])
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(pipe.source, select.POLLIN)
            self._poll.register(self._sign, select.POLLIN)
        # What it has sent between the look at each is there at a second look.
        return self._shows_pipe(self._poll.poll()) or self._shows_pipe(
            self._poll.poll(0)
        )

    def _shows_pipe(self, events: List[Tuple[int, int]]) -> bool:
        return any(fd != self._sign for fd, _ in events)

    def wait(self, timeout: float) -> bool:
        """Wait for the process, at most ``timeout`` seconds; whether it has ended."""
        return bool(connection.wait([self._sign], min(timeout, LONG)))

    def is_reaped(self) -> bool:
        """Whether its id may be another's by now, as far as that can be known."""
        if self._pidfd is None:
            return self._reaped
        try:
            signal.pidfd_send_signal(self._pidfd, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # it is another user's by now, say
        return False

    def close(self) -> None:
        """Let go of the pidfd."""
        if self._pidfd is not None:
            os.close(self._pidfd)


class _Surroundings:
    """Directory, environment and streams of a worker, as it found them; no timers."""

    def __init__(self) -> None:
        self._directory: Union[int, str, None] = None
        try:
            self._directory = os.open(".", TO_ENTER) if POSIX else os.getcwd()
        except OSError:
            pass  # nobody may read it: tasks that leave it are to come back themselves
        self._streams = sys.stdin, sys.stdout, sys.stderr
        self._open = [stream for stream in self._streams if _is_open(stream)]
        self._environ = dict(os.environ)
        self._raw = dict(self._look())
        #: Whether they could not be put back, so that no other task may find them.
        self.spoiled = False

    def restore(self) -> None:
        """Put all of it back, if that is possible."""
        try:
            self._restore_streams()
            for timer in TIMERS:
                signal.setitimer(timer, 0)
            if isinstance(self._directory, int):
                os.fchdir(self._directory)
            elif self._directory is not None:
                os.chdir(self._directory)
            if self._look() != self._raw:
                os.environ.clear()
                os.environ.update(self._environ)
        except Exception:  # a task has closed it, removed it, put None in its place
            self.spoiled = True

    def _restore_streams(self) -> None:
        if (sys.stdin, sys.stdout, sys.stderr) != self._streams:
            flush()
            sys.stdin, sys.stdout, sys.stderr = self._streams
        if not all(map(_is_open, self._open)):
            self.spoiled = True

    @staticmethod
    def _look() -> Any:
        # The encoded variables, where they can be had: decoding them all after each
        # task would cost more than a small task does.
        return getattr(os.environ, "_data", os.environ)


def _is_open(stream: Any) -> bool:
    try:
        return not stream.closed
    except Exception:  # None, or not much of a stream
        return False


def _serve(pipe: Channel, importing: Optional[Collection[str]]) -> None:
    """Do one job after another, until the pipe ends.

    :param importing: see `ProcessWorker`; None in a process that was not forked.
    """
    if POSIX:
        os.setsid()
        _reset_signals()
    if importing is not None:
        mend_imports(importing)
    # A fork of a daemon thread has one for its main thread, and threads of tasks would
    # inherit that. There is no public way to say that it is none.
    threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
    unshared(pipe)
    surroundings = _Surroundings()
    try:
        pipe.send(pipe.pack("ready"))
        while not surroundings.spoiled:
            reply = _do(pipe)
            surroundings.restore()
            if surroundings.spoiled:
                pipe.send(pipe.pack("last"))
            flush()
            pipe.send(reply)
    except Ended:
        pass  # the parent has closed the pipe, or a task has
    with suppress(OSError):
        close_unshared(pipe)


def _do(pipe: Channel) -> Message:
    """Wait for a job and do it; its reply."""
    known, stage = pipe.received, _RECEIVING
    try:
        func, args, kwargs = pipe.receive()
        stage = _CALLING
        value = perform(Call(func, args, kwargs))
        stage = _ANSWERING
        return pipe.pack((_DONE, value))
    except Ended:
        raise
    except BaseException as error:  # SystemExit ends the task, not the worker
        if pipe.received == known:  # an interrupt: an answer would be the next job's
            raise Ended from error
        what = _not_recorded(error) if stage == _ANSWERING else describe(error)
        return pipe.pack((stage, *what))


def _not_recorded(error: BaseException) -> Tuple[str, str]:
    """What is wrong with a result that cannot be sent from process to process."""
    text, trace = describe(error)
    kind, _, message = text.partition(": ")
    return f"{kind}: Could not record task result: {message}", trace + RESULT_HINT


def _reset_signals() -> None:
    """Forget the handlers and the mask that a fork inherits from the program.

    Signals that came since a fork have been held back (see `births.forking`). Those to
    this process have their effect now. A Ctrl-C was for the program's whole group, to
    which this process belonged then, and is dropped.
    """
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # drops one that is held back
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    signal.signal(signal.SIGINT, signal.default_int_handler)
