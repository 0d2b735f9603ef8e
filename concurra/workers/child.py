"""The child's side of a process worker: it does one job after another.

Directory, environment and streams are put back after each. If that fails, the message
`LAST` comes before the reply, and the process ends after it.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
from contextlib import suppress
from functools import partial

from .. import current
from ..tasks import Call
from ..wording import GENERATOR_WARNING, describe
from .forks import POSIX, close_unshared, unshared
from .imports import mend_imports
from .thread import flush, has_not_begun, perform
from .transfer import PROTOCOL, Channel, Ended, is_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Collection, Optional, Tuple, Union

    from .initializer import Initializer
    from .transfer import Message

#: How far a job came: its reply begins with that.
DONE, RECEIVING, CALLING, ANSWERING = range(4)

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

#: What precedes the reply after which the process ends.
LAST = "last"


class Surroundings:
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


def serve(
    pipe: Channel,
    importing: Optional[Collection[str]],
    initializer: Optional[Initializer] = None,
) -> None:
    """Do one job after another, until the pipe ends.

    :param importing: see `ProcessWorker`; None in a process that was not forked.
    :param initializer: called before the first job.
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
    try:
        pipe.send(pipe.pack("ready", plain=True))
        if initializer is not None:
            initializer()  # first: what it has set up is how each task finds it
        surroundings = Surroundings()
        while not surroundings.spoiled:
            reply = _do(pipe, initializer)
            surroundings.restore()
            if surroundings.spoiled:
                pipe.send(pipe.pack(LAST))
            flush()
            pipe.send(reply)
    except Ended:
        pass  # the parent has closed the pipe, or a task has
    with suppress(OSError):
        close_unshared(pipe)


def _do(pipe: Channel, initializer: Optional[Initializer]) -> Message:
    """Wait for a job and do it; its reply."""
    known, stage, on = pipe.received, RECEIVING, None
    try:
        func, args, kwargs, note = pipe.receive()
        stage = CALLING
        if note is not None:
            *about, on = note
            current.exchange(partial(current.CurrentTask, *about))
        if initializer is not None:
            failure = initializer()
            if failure is not None:
                return _failed(pipe, failure, "")
        value = perform(Call(func, args, kwargs))
        stage = ANSWERING
        return pipe.pack((DONE, value), is_plain((value,)))
    except Ended:
        raise
    except BaseException as error:  # SystemExit ends the task, not the worker
        if pipe.received == known:  # an interrupt: an answer would be the next job's
            raise Ended from error
        if stage == CALLING:
            return _failed(pipe, error, None if on is None else _refusal(on, error))
        if stage == ANSWERING:
            note = f" ({GENERATOR_WARNING})" if has_not_begun(value) else ""
            what = not_recorded(error, note)
        else:
            what = describe(error)
        return pipe.pack((stage, *what), is_plain(what))


def _failed(pipe: Channel, error: BaseException, refusal: Optional[str]) -> Message:
    """The reply of a job that has raised an error."""
    try:
        pickled = pickle.dumps(error, PROTOCOL)
    except BaseException:  # the user's own __reduce__, or what the error holds
        pickled = None
    what = (*describe(error), pickled, refusal)
    return pipe.pack((CALLING, *what), is_plain(what))


def _refusal(on: Any, error: BaseException) -> Optional[str]:
    from ..retries import refusal

    return refusal(on, error)


def not_recorded(error: BaseException, note: str = "") -> Tuple[str, str]:
    """What is wrong with a result that cannot be sent from process to process.

    :param note: what else is to be said of it.
    """
    text, trace = describe(error)
    kind, _, message = text.partition(": ")
    text = f"{kind}: Could not record task result: {message}{note}"
    return text, trace + RESULT_HINT


def _reset_signals() -> None:
    """Forget the handlers and the mask that a fork inherits from the program.

    Signals that came since a fork have been held back (see `forks.forking`). Those to
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
