"""How a run is followed: results as they come, and what it can be asked."""

from __future__ import annotations

from functools import partial

from . import checks
from .clock import monotonic
from .errors import LifeCycleError
from .logs import messages
from .tasks import label_of
from .wording import quote, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, AsyncIterator, Callable, Dict, Hashable, Iterator
    from typing import Optional, Tuple

    from .engine.snapshot import Snapshot
    from .engine_values import EngineValues
    from .followers import Followers
    from .lifecycle import LifeCycle
    from .plan.plan import Plan
    from .results import Registry
    from .tasks import Task
    from .types import Result

    Action = Callable[[], None]
    Results = Dict[Any, Result]


class Following:
    """The methods of `TaskRunner` that follow a run."""

    _followers: Followers
    _life: LifeCycle
    _plan: Plan
    _registry: Registry
    log: logging.Logger
    max_concurrency: int
    name: str

    def execute_in_background(self) -> None:
        """See `TaskRunner`."""
        raise NotImplementedError

    def _conclude(self, verify: bool, raises: bool, message: Optional[str]) -> Results:
        raise NotImplementedError

    def as_completed(self) -> Iterator[Tuple[Any, Result]]:
        """Each label with its result, in the order in which tasks end.

        Starts the run unless it has been started, and ends with the last task. Leaving
        the loop early does not end the run: `abort` does. Ctrl-C while it waits
        terminates everything. Each of several loops has all results; with
        ``keep_results=False`` each result goes to only one of them. Logs no report; for
        errors, see `run`.
        """
        from .as_completed import as_completed

        self._life.begin_once(self.execute_in_background)
        return as_completed(self._life, self._registry.give, self._break)

    async def run_async(
        self,
        verify: bool = True,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Results:
        """The same as `run`, in an event loop of `asyncio`, which is not blocked.

        If the awaiting task is cancelled, everything is terminated, and
        `asyncio.CancelledError` goes on to the caller after the end. A line in the log
        tells how far the run had come, and with ``verify`` there is the report. For
        parameters, results and errors, see `run`.
        """
        from . import asynchronous

        wanted = checks.report_options(verify, raise_exception, error_message)
        self.execute_in_background()
        await asynchronous.end(self._life, partial(self._break, reports=wanted[0]))
        return await asynchronous.in_thread(lambda: self._conclude(*wanted))

    def as_completed_async(self) -> AsyncIterator[Tuple[Any, Result]]:
        """The same as `as_completed`, for ``async for``; the loop is not blocked.

        If the task that waits for the next result is cancelled, everything is
        terminated, and `asyncio.CancelledError` goes on to the caller after the end.
        """
        from . import asynchronous

        self._life.begin_once(self.execute_in_background)
        return asynchronous.as_completed(self._life, self._registry.give, self._break)

    def done(self) -> bool:
        """Whether every task has ended, and all that follows from it is done."""
        return self._life.finished

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait for the end of a run in the background; whether it has come.

        It returns no results, logs no report, and terminates nothing: not even Ctrl-C
        does that here. In an observer or a handler of the log it does not wait, and
        returns False at once.

        :param timeout: seconds to wait at the most; None for ever.
        :raises RuntimeError: nothing was started, or the end would wait for the caller.
        """
        if timeout is not None:
            timeout = checks.seconds("timeout", timeout, zero=True)
        return self._life.await_end(timeout)

    def counts(self) -> Dict[str, int]:
        """How many tasks are in which state now, without a look at each.

        ``waiting`` for tasks that they depend on or for the time of their next attempt,
        ``ready``, ``running``, ``successful``, ``failed``, ``terminated``.
        """
        return self._life.counts()

    def snapshot(self) -> Snapshot:
        """How far the run has come, and what is at work now, the longest first.

        For any thread, at any time, also before and after the run.
        """
        return self._life.snapshot(self.name)

    def __repr__(self) -> str:
        snapshot, state = self.snapshot(), "not started"
        if self._life.begun:
            state = "running" if self._plan.remaining else "ended"
        told = f"{snapshot.ended} of {snapshot.total} ended"
        for status in ("failed", "terminated"):
            if snapshot.counts[status]:
                told += f", {snapshot.counts[status]} {status}"
        return f"<{type(self).__name__} {self.name!r} {state}: {told}>"

    def _repr_html_(self) -> str:
        """What a notebook shows of it."""
        from .live import notebook

        told, tasks = repr(self)[1:-1], self._plan.tasks.values()
        return notebook.runner(told, self.snapshot(), tasks)

    @property
    def exit_code(self) -> int:
        """For `sys.exit`: 0 if all tasks have ended and nothing went wrong, else 1."""
        return int(bool(self._plan.remaining or self._plan.failures))

    def partial(self, label: Hashable) -> Dict[int, Any]:
        """The values of a task of `map` so far, by the indexes of its items, in order.

        They are those of all items that have succeeded, at any time, also after the
        task has failed. With ``keep_results=False`` there are none once the result of a
        success was handed out.

        :param label: of the task, or what an adder has returned.
        :raises ValueError: no task of `map` has this label.
        :raises RuntimeError: this is the copy of a runner that a fork has made.
        """
        task = self._task(label)
        values = self._plan.mapped.get(task)
        if values is None:
            raise ValueError(
                f"label must be that of a task of map(), not {show(label)}"
            )
        # In this order: a success has its values in its outcome first, and then alone.
        known, outcome = values.known(), task.outcome
        if outcome is None:
            self._registry.check_original()
        if outcome is None or not outcome.ok:
            return known
        failed, found = values.failures, outcome.value or ()
        return {place: each for place, each in enumerate(found) if place not in failed}

    def exception(self, label: Hashable) -> Optional[BaseException]:
        """What a task has raised, or what befell it; None if it succeeded.

        From a thread it is the error itself, from a process a copy, if it can be
        pickled. Its traceback is text, as a `RemoteTraceback` at the end of its chain
        of causes: frames would keep alive what they have in their variables. Where
        there was no exception one is made: a `TimeoutError`, for one. With
        ``keep_results=False``, what was raised is a `RuntimeError` with the text of the
        error once the result was handed out.

        :param label: of the task, or what an adder has returned.
        :raises ValueError: no task has this label.
        :raises RuntimeError: it has not ended.
        """
        from .exceptions import exception_of

        task = self._task(label)
        if task.outcome is None:
            raise LifeCycleError(f"Task {quote(label)} has not ended yet")
        return exception_of(task.outcome)

    def _break(
        self, error: BaseException, reports: bool = True
    ) -> Tuple[Action, Action]:
        """Something cuts the run short: show no more progress, and tell of it.

        An interrupt or a cancel that comes when all tasks have ended does not.

        :param reports: whether the report is logged then.
        """
        after = partial(self._report_break, reports)
        if not (self._plan.remaining or isinstance(error, Exception)):
            return (lambda: None), after
        self._followers.mute()
        ended, total = len(self._plan.ended), self._life.total
        tell = partial(messages.interrupted, self.log, self.name, error, ended, total)
        return tell, after

    def _report_break(self, reports: bool) -> None:
        """The end of a run that was cut short; its results are complete then."""
        if reports:
            messages.report(self.log, self._registry)
        if self._life.finished:
            self._registry.complete()

    def _engine_values(self) -> EngineValues:
        """What `reports` read of the runner: all of it, and nothing else.

        :raises RuntimeError: this is the copy of a runner that a fork has made.
        """
        from .engine_values import EngineValues

        plan = self._plan
        if plan.remaining:
            self._registry.check_original()
        return EngineValues(
            name=self.name,
            max_concurrency=self.max_concurrency,
            begun=self._life.begun,
            started=self._life.started_at,
            moment=monotonic(),
            offset=self._followers.offset,
            tasks=list(plan.tasks.values()),
            needs=plan.dag.needs,
            entry=self._registry.entry,
            tries=plan.tries,
        )

    def _task(self, label: Hashable) -> Task:
        """The task with a label, or for which a reference stands."""
        tasks = self._plan.tasks
        label = checks.label(label)
        task = tasks.get(label_of(label, tasks))
        if task is None:
            from .spelling import question

            asked = question({None: [label]}, tasks, ())
            told = f"label must be that of a task, not {show(label)}"
            raise ValueError(f"{told}. {asked}" if asked else told)
        return task
