"""The child's side of a process worker: it does one job after another.

Its `surroundings` are put back after each. If that fails, the message `LAST` comes
before the reply, and the process ends after it.
"""

from __future__ import annotations

import errno
import os
import pickle
import threading
from contextlib import suppress
from functools import partial
from multiprocessing import util

from .. import current
from ..outcomes import Outcome
from ..tasks import FullCall
from ..wording import GENERATOR_WARNING, describe
from .forks import POSIX, close_unshared, unshared
from .imports import mend_imports
from .plain import find, is_plain
from .surroundings import Surroundings
from .thread import flush, has_not_begun, perform
from .transfer import PROTOCOL, Channel, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Optional, Tuple

    from ..current import Note
    from .dumps import Dump
    from .initializer import Initializer
    from .outbox import Outbox
    from .pieces import Message
    from .printing import Printed
    from .log_records import Levels, Packed
    from .signals import Handlers

    #: Calls a function.
    Act = Callable[[FullCall], Any]

#: How far a job came: its reply begins with that.
DONE, RECEIVING, CALLING, ANSWERING = range(4)

#: What a message begins with that is a log record, or was printed, and is no reply.
LOGGED = "record"
PRINTED = "printed"

# It is called before each start of a process, and at its end. Its own lets errors of
# the system out, so where the reader of this program has gone (``| head -1``), or the
# disk is full, tasks would fail that print nothing.
util._flush_std_streams = partial(flush, caught=Exception)  # type: ignore[attr-defined]

RESULT_HINT = """\
(What a task returns in a process must be picklable, and so must be what that holds.)
"""

#: The exit code of a process in which a task has closed the pipe: there is no other way
#: to tell. It is one that programs do not use.
CUT_OFF = 213

#: What the system says of a descriptor that was closed, or is another file's by now.
_CLOSED = errno.EBADF, errno.ENOTSOCK

#: What precedes the reply after which the process ends.
LAST = "last"


def serve(
    pipe: Channel,
    importing: Optional[Collection[str]],
    handlers: Handlers,
    initializer: Optional[Initializer] = None,
    levels: Optional[Levels] = None,
    shows: bool = False,
    dump: Optional[Dump] = None,
) -> None:
    """Do one job after another, until the pipe ends.

    If a task has closed the pipe, the process ends with the code `CUT_OFF`.

    :param pipe: this process's end of it.
    :param importing: see `ProcessWorker`; None in a process that was not forked.
    :param handlers: those that this process has inherited.
    :param initializer: called before the first job.
    :param levels: of the program's loggers, if it wants the records of this process.
    :param shows: whether the program shows what tasks print.
    :param dump: where SIGTERM has the stacks of this process written.
    """
    if POSIX:
        os.setsid()
        handlers.reset()
    if dump is not None:
        dump.install()
        os.register_at_fork(after_in_child=dump.forget)
    if importing is not None:
        mend_imports(importing)
    # The main thread of a process that a daemon thread has forked counts as a daemon,
    # as would the threads that tasks start. There is no public way to change that.
    threading.current_thread()._daemonic = False  # type: ignore[attr-defined]
    unshared(pipe)
    send, act = _means(pipe, levels, shows)
    cut_off = False
    try:
        send(pipe.pack("ready", plain=True))
        if initializer is not None:
            initializer()  # first: what it has set up is how each task finds it
        surroundings = Surroundings(None if dump is None else dump.install)
        at_hand = _AtHand()
        current.exchange(at_hand)
        while not surroundings.spoiled:
            reply = _do(pipe, initializer, act, at_hand)
            surroundings.restore()
            if surroundings.spoiled:
                send(pipe.pack(LAST))
            flush()
            send(reply)
    except Ended as error:  # the parent has closed the pipe, or a task has
        cut_off = getattr(error.__cause__, "errno", None) in _CLOSED
    with suppress(OSError):
        close_unshared(pipe)
    if cut_off:
        raise SystemExit(CUT_OFF)


def _means(
    pipe: Channel, levels: Optional[Levels], shows: bool
) -> Tuple[Callable[[Message], None], Act]:
    """What sends messages, and what calls functions: see `serve`."""
    if levels is None and not shows:
        return pipe.send, perform
    from .outbox import Outbox

    outbox = Outbox(pipe)
    if levels is not None:
        _forward(outbox, pipe, levels)
    return outbox.send, _sender(outbox, pipe) if shows else perform


def _forward(outbox: Outbox, pipe: Channel, levels: Levels) -> None:
    """Send log records, once there are any."""
    from .awaited import when_imported

    def send(packed: Packed) -> None:
        outbox.send_whole(pipe.pack_record((LOGGED, *packed)))

    def install() -> None:
        from . import log_records

        log_records.install(send, levels)

    when_imported("logging", install)


def _sender(outbox: Outbox, pipe: Channel) -> Act:
    """What calls functions so that what they print is sent."""
    from .printing import Sender

    def send(printed: Printed) -> None:
        outbox.send_whole(pipe.pack_record((PRINTED, *printed)))

    return Sender(send).perform


class _AtHand:
    """Tells what the process is at; made from the note only if somebody asks."""

    note: Optional[Note] = None

    def __call__(self) -> Optional[current.CurrentTask]:
        note = self.note
        return None if note is None else current.CurrentTask(*note[:3])


def _do(
    pipe: Channel, initializer: Optional[Initializer], act: Act, at_hand: _AtHand
) -> Message:
    """Wait for a job and do it; its reply."""
    known, stage, on = pipe.received, RECEIVING, None
    try:
        func, args, kwargs, note = pipe.receive()
        if type(func) is tuple:
            func = find(func)
        stage = CALLING
        if note is not None:
            at_hand.note = note
            on = note[3]
        if initializer is not None:
            failure = initializer()
            if failure is not None:
                return _failed(pipe, failure)
        value = act(FullCall(func, args, kwargs))
        stage = ANSWERING
        return pipe.pack((DONE, value), is_plain((value,)))
    except Ended:
        raise
    except BaseException as error:  # SystemExit ends the task, not the worker
        if pipe.received == known:  # an interrupt: the next job would get the answer
            raise Ended from error
        if stage == CALLING:
            refusal = None if on is None else _refusal(on, error)
            again = on is not None and refusal is None
            outcome = Outcome.raised(None, error, last=not again)
            return _failed(pipe, outcome, refusal, again)
        if stage == ANSWERING:
            from .chunk import perform_chunk

            lazy = value[2] if func is perform_chunk else has_not_begun(value)
            what = not_recorded(error, GENERATOR_WARNING if lazy else None)
        else:
            what = describe(error)
        return pipe.pack((stage, *what), is_plain(what))


def _failed(
    pipe: Channel, outcome: Outcome, refusal: Optional[str] = "", again: bool = False
) -> Message:
    """The reply of a job that has raised an error, or could not be called for one.

    :param refusal: see `Outcome.refuse`.
    :param again: whether there will be another attempt: then nobody reads the trace.
    """
    try:
        pickled = pickle.dumps(outcome.exception, PROTOCOL)
    except BaseException:  # the user's own __reduce__, or what the error holds
        pickled = None
    trace = "" if again else str(outcome.trace)
    what = (outcome.error, trace, pickled, refusal)
    return pipe.pack((CALLING, *what), is_plain(what))


def _refusal(on: Any, error: BaseException) -> Optional[str]:
    from ..retries import refusal

    return refusal(on, error)


def not_recorded(error: BaseException, warning: object = None) -> Tuple[str, str]:
    """What is wrong with a result that cannot be sent from process to process.

    :param warning: what is to be noted of it, see `Outcome`.
    """
    text, trace = describe(error)
    kind, _, message = text.partition(": ")
    note = f" ({warning})" if warning else ""
    text = f"{kind}: Could not record task result: {message}{note}"
    return text, trace + RESULT_HINT
