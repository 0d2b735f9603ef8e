"""The parent's side of a process worker: runs functions in a process that is reused.

::

    parent                                      worker process (see `child`)
    ------                                      --------------
    <────────────────────── one pipe of ─────── ready
    pickle the call ─────── its own, a ───────> unpickle, call
    unpickle the reply <─── `Channel` ───────── pickle value or error
    end of the pipe before a reply: the process is lost, the task failed
    end of the pipe before a call: the worker process ends

Nothing is shared between workers, so one that is killed while it writes hurts only
itself. Only the worker and its parent hold the pipe: forked siblings and grandchildren
close their copy at once (see `forks.unshared`), so its end is a reliable sign.

The thread that runs a job waits for the reply. Where the system can wait for many files
at once `dispatched` does without that.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from multiprocessing import process

from ..clock import monotonic
from ..outcomes import ERROR, SUCCESS, UNPICKLABLE, AtHand, Remark, Outcome
from ..steps import KILL, TERMINATE
from ..tasks import Call
from ..threads import WORKER
from ..wording import describe, ending
from .child import ANSWERING, CALLING, CUT_OFF, DONE, LAST, PRINTED, RECEIVING
from .child import LOGGED, not_recorded, serve
from .dumps import Dump, can_dump
from .exits import Exit
from .forks import close_unshared, forking, rehearse_start, spawning, starting
from .forks import unshared
from .groups import ProcessGroup, destroy
from .guardian import Guardian
from .script import doubt, explained, unknown
from .signals import Handlers
from .starts import Starts
from .transfer import Ended, connect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from multiprocessing.process import BaseProcess
    from typing import Any, Callable, Collection, Hashable, Optional

    from ..current import Note
    from ..output.display import Display
    from ..types import ExecutionMode
    from . import Done
    from .initializer import Initializer
    from .log_records import Levels, Packed
    from .pieces import Message
    from .printing import Receiver
    from .transfer import Channel

#: Seconds that a process has, after its pipe has ended, until it is taken for stuck.
PATIENCE = 0.5


class ProcessWorker:
    """Owns one process for life; see `backend.Backend`.

    :param context: how to start the process.
    :param guardian: told of it.
    :param max_tasks: jobs until the worker is `spent`; None for no limit.
    :param grace: seconds that the process has to end by itself when it is closed.
    :param importing: the modules that wait for the run in the midst of their import.
    :param initializer: called there before the first task.
    :param pass_on: called with each log record from there, if that is wanted.
    :param display: makes what shows what an attempt prints, if that is wanted.
    :param starts: told whether it becomes ready.
    """

    mode: ExecutionMode = "process"
    thread: Optional[int] = None

    def __init__(
        self,
        context: BaseContext,
        guardian: Guardian,
        max_tasks: Optional[int] = None,
        grace: float = 1.0,
        importing: Collection[str] = (),
        initializer: Optional[Initializer] = None,
        pass_on: Optional[Callable[[Packed], None]] = None,
        display: Optional[Callable[[Hashable, int], Display]] = None,
        starts: Optional[Starts] = None,
    ) -> None:
        #: Whether it can do no more jobs: its process is to end, and to be closed.
        self.spent = False
        #: See `Backend.sent`.
        self.sent = False
        #: See `Backend.note`.
        self.note: Optional[Note] = None
        self._remark = Remark()  # of a job that was stopped, which is the last one
        self._ends_by = 0.0
        self._left = max_tasks  # jobs, the one at hand included
        self._grace = grace
        self._method = context.get_start_method()
        self._forked = self._method == "fork"
        self._ready = False
        # Whether an answer is being received, or has been; until the next job.
        self._arriving = False
        self._pass_on = pass_on
        self._starts = starts or Starts()
        self._receiver: Optional[Receiver] = None
        if display is not None:
            from . import printing

            self._receiver = printing.Receiver(display)
        # Held by whoever reads from the pipe, and passes on what it has read; that may
        # end the run, which reads on.
        self._reading = threading.RLock()
        self._reaping = threading.Lock()
        self._reaped = False
        self._exitcode: Optional[int] = None
        guardian.start()
        with starting():
            self._pipe, theirs = connect(context)
            unshared(self._pipe)
            unshared(theirs)
        self._dump: Optional[Dump] = None
        try:
            if can_dump():
                self._dump = Dump()
                unshared(self._dump)
            self._at_hand = AtHand(self.mode, None, self._remark, self._dump)
            self._start(context, guardian, theirs, importing, initializer)
        except BaseException:
            close_unshared(self._pipe, self._dump)
            raise
        finally:
            close_unshared(theirs)

    def _start(
        self,
        context: BaseContext,
        guardian: Guardian,
        theirs: Channel,
        importing: Collection[str],
        initializer: Optional[Initializer],
    ) -> None:
        self._process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=serve,
            args=(
                theirs,
                importing if self._forked else None,
                Handlers(),
                initializer,
                self._levels(),
                self._receiver is not None,
                self._dump,
            ),
            name=WORKER,
            daemon=False,
        )
        child: Optional[Exit] = None
        try:
            fork = forking(theirs, self._dump)
            with fork if self._forked else spawning(self._method == "forkserver"):
                rehearse_start()
                with explained(context, self._starts):
                    self._process.start()
                # Removed from the set of processes that `multiprocessing` reaps behind
                # our back, and waits for at the end of the program.
                process._children.discard(self._process)  # type: ignore[attr-defined]
            pid = self._process.pid
            assert pid is not None
            self._exit = child = Exit(pid, self._process.sentinel)
            self._group = ProcessGroup(pid, guardian, child.is_reaped)
        except BaseException:
            if self._process.pid is not None:  # nobody else would
                destroy(self._process.pid, self._process.join)
                with suppress(ValueError):  # somebody else has reaped it
                    self._process.close()
            if child is not None:
                child.close()
            raise

    def _levels(self) -> Optional[Levels]:
        if self._pass_on is None:
            return None
        from .log_records import levels

        return levels()

    def is_quick(self, call: Call) -> bool:
        """Never: `run` waits for the reply."""
        return False

    def present(self, call: Call) -> AtHand:
        """See `Backend.present`."""
        return self._at_hand

    def run(
        self, call: Call, at_hand: AtHand, done: Optional[Done] = None
    ) -> Optional[Outcome]:
        """See `Backend.run`; a job that was lost before it began has no ``mode``."""
        try:
            message = self._pack(call)
        except BaseException as error:
            return Outcome.unpicklable(*describe(error))
        if self._group.stopped:
            return Outcome.stopped()
        return self._exchange(message, done)

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`; an interrupt terminates."""
        if self._dump is not None:
            self._dump.stopped(self._exit, self._ready)
        self._group.stop(max(force, TERMINATE))
        return True

    def abandon(self) -> None:
        """See `Backend.abandon`."""
        self._group.look_for_survivors()
        self._group.tell_survivors(self._remark)

    def is_starting(self) -> bool:
        """See `Worker.is_starting`."""
        return not (self._ready or self.spent)

    def has_ended(self) -> bool:
        """See `Worker.has_ended`: its answer has come, or the end of the process."""
        try:
            return self._arriving or self._exit.shows(self._pipe)
        except (OSError, ValueError):  # its files have just been closed
            return False

    def close(self) -> None:
        """End the process and all that is left of its group."""
        if not self._reaped:
            self.retire()
            if not self._exit.wait(max(0.0, self._ends_by - monotonic())):
                self._group.stop(KILL)
            self._reap()

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return not self._exit.wait(0)

    def retire(self) -> None:
        """Let the process end by itself; its time for that begins now. Never blocks."""
        if not self.spent:
            self._ends_by = monotonic() + self._grace  # first: `close` looks
            self.spent = True
            self._pipe.end()

    # -- a job -------------------------------------------------------------------

    def _pack(self, call: Call) -> Message:
        return self._pipe.pack((call.func, call.args, call.kwargs, self.note))

    def _exchange(self, message: Message, done: Optional[Done]) -> Optional[Outcome]:
        """Send a job, and wait for the reply."""
        began = self._arriving = False
        try:
            if not self._ready:
                self._ready = self._await_message() is not None
                self._starts.good = True
            self._pipe.send(message)
            began = True
            return self._finish(self._await_message())
        except Ended:
            return self._lost(began)
        except BaseException as error:
            self.retire()
            return Outcome.raised(self.mode, error)

    def _await_message(self) -> Any:
        """Wait for a message that is a reply, or tells that the process is ready."""
        while True:
            if not (self._pipe.pending or self._exit.or_readable(self._pipe)):
                raise Ended
            self._arriving = self._ready
            with self._reading:
                message = self._read()
                if not self._is_aside(message):
                    return message
            self._arriving = False

    def _is_aside(self, message: Any) -> bool:
        """Whether a message is a log record or output; if so, pass it on or show it."""
        if type(message) is not tuple or message[0] not in (LOGGED, PRINTED):
            return False
        if message[0] == PRINTED:
            if self._receiver is not None:
                self._receiver(message[1:])
        elif self._pass_on is not None:
            self._pass_on(message[1:])
        return True

    def _read(self) -> Any:
        """The next message; for a reply that cannot be unpickled, one that says so."""
        known = self._pipe.received
        try:
            message = self._pipe.receive()
            if message == LAST:
                self._left = 1
                known = self._pipe.received
                message = self._pipe.receive()
            return message
        except Ended:
            raise
        except BaseException as error:  # the user's __setstate__ may do anything
            if self._pipe.received == known:
                raise  # or else a late reply would answer the next job
            return ANSWERING, *not_recorded(error)

    def _finish(self, reply: Any) -> Outcome:
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self.retire()
        if reply[0] == DONE:
            return Outcome(SUCCESS, self.mode, reply[1])
        stage, *rest = reply
        if stage == RECEIVING:
            error, trace = rest
            return Outcome.unpicklable(error, trace, unknown(error))
        if stage != CALLING:
            return Outcome(UNPICKLABLE, self.mode, None, *rest)
        text, trace, exception, refusal = rest
        outcome = Outcome(ERROR, self.mode, None, text, trace)
        outcome.exception = exception
        outcome.refuse(refusal)
        return outcome

    # -- its end -----------------------------------------------------------------

    def _lost(self, began: bool) -> Outcome:
        """The pipe has ended, so the process has, or is about to."""
        self.spent = True
        mode = self.mode if began else None
        stays = not self._exit.wait(PATIENCE) and self._process.is_alive()
        if stays:
            self._group.stop(KILL)
        code = self._reap()
        if stays or code == CUT_OFF:
            return Outcome.lost(mode, "was ended because it had closed its connection")
        when = "during the task" if began else "before the task"
        if not self._ready:
            when = f"before it was ready{doubt(self._method, code)}"
        outcome = Outcome.lost(mode, f"{ending(code)} {when}")
        if not self._ready:
            self._starts.failed(str(outcome.error), code)
        return outcome

    def _reap(self) -> Optional[int]:
        """Reap the process, and close all files; its exit code, if known."""
        with self._reaping:
            if not self._reaped:
                self._exitcode = self._reap_once()
                self._reaped = True
        return self._exitcode

    def _reap_once(self) -> Optional[int]:
        self._exit.wait_without_reaping()
        if self._pass_on is not None or self._receiver is not None:
            with self._reading:
                for message in self._pipe.rest():
                    self._is_aside(message)
                if self._receiver is not None:
                    self._receiver.end("was stopped" if self._group.stopped else "")
        served = self._method == "forkserver"
        self._group.reap(self._exit.reaper(self._process, served))
        self._group.tell_survivors(self._remark)
        close_unshared(self._pipe, self._dump)
        self._exit.close()  # not before: a stop looks there
        exitcode = self._process.exitcode
        if exitcode is None:
            # Somebody else has reaped it, and `multiprocessing` would take it for
            # alive for ever.
            self._process._popen.returncode = 0  # type: ignore[attr-defined]
            self._process.join()
        self._process.close()
        return exitcode
