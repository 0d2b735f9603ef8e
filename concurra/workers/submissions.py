"""One job on its way to an executor and back.

::

    submit ──> the executor's future ──> _arrive ──> _receive ──> done
                        │
    withdraw ──> cancel ┘
"""

from __future__ import annotations

from ..outcomes import LOST, SUCCESS, Outcome
from ..remote_results import NotKept
from ..tasks import Command
from ..wording import brief, describe, kind, stripped
from .envelope import MODE, contents, enclose, outcome_of, unpicklable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, List, Optional, Sequence

    from ..current import Note
    from ..tasks import Job
    from . import Done
    from .executor import ExecutorPool

#: What is called of a future.
_METHODS: Final = "add_done_callback", "result"

_NO_CONCURRA: Final = "No module named 'concurra"


class Submission:
    """A job on its way to the executor and back; ``done`` is called once."""

    __slots__ = (
        *("_pool", "_job", "_note", "_untold", "_future", "_withdrawn", "arrived"),
        *("_token", "_keeps"),
    )

    def __init__(
        self, pool: ExecutorPool, job: Job, note: Note, done: Done, keeps: bool
    ) -> None:
        self._pool = pool
        self._job: Optional[Job] = job
        self._note = note
        self._untold: List[Done] = [done]
        self._future: Any = None
        self._withdrawn = False
        self._token = pool.token()
        self._keeps = job.name if keeps else None
        #: Whether the executor has called back.
        self.arrived = False

    def prepare(self) -> None:
        """Fetch the results that a command refers to, then submit it; never raises.

        That may block, and other submissions must not wait for it.
        """
        job = self._job
        try:
            if isinstance(job, Command):
                self._job = job.ready()
            del job
            self._pool.outgoing.put(self.submit)
        except BaseException as error:
            self._tell(Outcome.raised(MODE, error))

    def submit(self) -> None:
        """Hand it to the executor, unless it has been withdrawn; never raises."""
        job, self._job = self._job, None
        if job is None or self._withdrawn:
            return
        outcome = self._submit(job)
        del job
        if outcome is not None:
            self._tell(outcome)

    def _submit(self, job: Job) -> Optional[Outcome]:
        pool = self._pool
        try:
            what, args = contents(job)
        except BaseException as error:
            return Outcome.raised(MODE, error)
        try:
            about = self._note, self._token, pool.limits, self._keeps is not None
            envelope = enclose(job, what, *about)
        except BaseException as error:
            return unpicklable(error)
        del what
        wrong: Optional[BaseException] = None
        try:
            self._future = pool.executor.submit(envelope, *args)
            wrong = _no_future(pool.executor, self._future)
            if wrong is None:
                self._future.add_done_callback(self._arrive)
                return None
        except BaseException as error:  # broken, or shut down
            wrong = error
        self._future = None
        outcome = Outcome.raised(None, wrong)
        outcome.final = True  # it may have been submitted, for all we know
        return outcome

    def withdraw(self) -> None:
        """Nobody waits for it any more; idempotent, for any thread."""
        self._withdrawn = True
        self._job = None
        try:
            self._pool.withdraw(self)
        except Exception:  # there can be no thread, and here it might block
            pass

    def cancel(self) -> None:
        """Cancel it, and tell that it was stopped, if it can be; never raises."""
        future = self._future
        try:
            if future is not None and (self.arrived or future.cancel() is False):
                return  # it goes on to its end, or has come to it
        except BaseException:  # what becomes of it is not known
            return
        self._future = future = None
        self._tell(Outcome.stopped())

    def let_go(self) -> Any:
        """Its future, which is for the caller to cancel; None if there is none."""
        if self.arrived:
            return None
        future, self._future = self._future, None
        if future is None:
            self._tell(Outcome.stopped())
        return future

    def cancelled(self) -> None:
        """Its future has been cancelled: tell that it was stopped."""
        self._tell(Outcome.stopped())

    def _arrive(self, future: Any) -> None:
        """The executor calls back, in a thread that must not be held up."""
        from concurrent.futures import Future

        if self.arrived:
            return
        self.arrived = True
        try:
            there = isinstance(future, Future)
            self._pool.receive(self._receive, waits=not there)
        except Exception:  # there can be no thread
            self._receive()

    def _receive(self) -> None:
        """Ask for the result, and tell the outcome; never raises."""
        future, self._future = self._future, None
        if future is None or not self._untold:
            return
        try:
            if self._keeps is None:
                outcome = self._returned(future.result())
            else:
                outcome = self._kept(self._keeps, future)
        except BaseException as error:
            outcome = _fault(error)
        del future
        self._tell(outcome)

    def _returned(self, reply: Any) -> Outcome:
        """The outcome in what the executor gives back, if there is one."""
        try:
            return outcome_of(reply)
        except Exception:
            error = TypeError(
                f"executor {brief(self._pool.executor)} must give back what the "
                f"submitted function returns, not {brief(reply)}"
            )
        return _fault(error)

    def _kept(self, name: str, future: Any) -> Outcome:
        """The outcome of a job whose result stays with the executor."""
        try:
            if future.status != "finished":
                future.result()  # raises what has happened
        except NotKept as error:
            error.__traceback__ = None  # which holds the future
            if error.token != self._token:
                return _fault(error)
            return outcome_of(error.reply)
        if self._withdrawn:
            return Outcome.stopped()
        return Outcome(SUCCESS, MODE, self._pool.keep(name, future))

    def _tell(self, outcome: Outcome) -> None:
        try:
            done = self._untold.pop()
        except IndexError:
            return  # it has been told
        done(outcome, True)


def cancel_all(executor: Any, submissions: Sequence[Submission]) -> None:
    """The same as `cancel` of each, with one call of the executor; never raises."""
    taken = [(each, each.let_go()) for each in submissions]
    taken = [(each, future) for each, future in taken if future is not None]
    try:
        if taken:
            executor.cancel([future for _, future in taken])
    except BaseException:  # what becomes of them is not known
        return
    for each, _ in taken:
        each.cancelled()


def _no_future(executor: Any, given: Any) -> Optional[TypeError]:
    """What is wrong with what ``submit`` has returned, if anything is."""
    if all(callable(getattr(given, name, None)) for name in _METHODS):
        return None
    return TypeError(
        f"submit() of executor {brief(executor)} must return a future, with "
        f"{'() and '.join(_METHODS)}(), not {brief(given)}"
    )


def _fault(error: BaseException) -> Outcome:
    """The executor itself has failed: what has become of the job is not known."""
    text, trace = describe(error)
    if isinstance(error, NotKept):  # of another attempt
        text, trace = f"RuntimeError: {error.told_to_others}", ""
    elif kind(error) == "CancelledError":
        text = f"{text.rstrip(': ')}: the executor has dropped the task"
    elif _NO_CONCURRA in text:
        text = f"{text} (it must be installed wherever the executor runs tasks)"
    outcome = Outcome(LOST, MODE, None, text, trace)
    outcome.exception = stripped(error)
    return outcome
