"""`TaskRunner`: what users call, from adding tasks to the report."""

from __future__ import annotations

import time
from functools import partial

from . import checks
from .adders.commands import CommandAdders
from .adders.functions import FunctionAdders
from .clock import monotonic
from .errors import CommandExecutionError, hidden
from .following import Following
from .logs import messages
from .options import Options
from .preloading import load_engine, load_report_soon
from .tasks import EMPTY

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, Dict, Hashable, Iterable, List, Mapping
    from typing import Optional, Tuple, TypeVar, Union

    from .checks import StrPath
    from .events import Reader
    from .observers import Observer
    from .retries import Retry
    from .run_options import Checkpoint, RunOptions
    from .types import Executor, Result

    Self = TypeVar("Self", bound="TaskRunner")

    Results = Dict[Any, Result]

__all__ = ["CommandExecutionError", "TaskRunner"]

__tracebackhide__ = hidden


class TaskRunner(FunctionAdders, CommandAdders, Following):
    """Runs tasks side by side, each once all that it depends on have succeeded.

    Tasks are Python functions and external commands. Add them, then `run` them once.

    :param max_concurrency: how many tasks are at work together at the most; None for
        ``os.cpu_count()``. Less than 1 counts as 1, with a warning in the log.
    :param name: what lines of progress in the log begin with; None for ``TaskRunner``.
    :param timeout: seconds that a task may take from its start, its retries included;
        then it is terminated. Any number above 0 (int, float, Decimal, Fraction,
        ``math.inf``); None for no limit.
    :param progress_stats: whether to log a line of progress with each tenth of the
        tasks that has ended, or with each task if there are fewer than 20.
    :param fast_fail: whether to terminate everything as soon as a task fails or
        exceeds its timeout.
    :param use_multiprocessing: whether functions run in processes, which use all
        cores and can be killed. They are reused from task to task.
    :param logger: where to log; None for the logger ``concurra.core``.
    :param log_errors: whether to log what went wrong with a task when it happens.
    :param fallback_to_thread_on_pickle_error: whether a function that cannot be sent
        to a process runs in a thread instead of failing.
    :param task_retries: how often a function that raises, or a command that fails, is
        tried again. There is no other attempt after a timeout, an abort or a skip, for
        what cannot be pickled, or if a worker process is lost while it does the task. A
        `Retry` says more than the number: after which errors, and how much later.
    :param mp_context: how processes are started: ``"fork"``, ``"forkserver"``,
        ``"spawn"`` or a context of `multiprocessing`; None for what the program has
        chosen with `multiprocessing.set_start_method`, or else the platform's default.
    :param max_tasks_per_child: tasks after which a process is replaced; None: never.
    :param terminate_timeout: seconds that terminated processes and commands have to
        end after SIGTERM, all together, before they are killed; and that a process
        whose work is done has to end by itself. A number as for ``timeout``, or 0. When
        the program ends before the run, it is always one second.
    :param run_timeout: seconds that the run may take; then everything is terminated. A
        number as for ``timeout``; None for no limit.
    :param resources: how much there is of what tasks hold while they are at work, in
        whole numbers, by names of your choice: with ``{"db": 2}``, of the tasks that
        ask for one ``db`` at most two are at work at once. None for nothing.
    :param initializer: a function that each worker thread or process calls before its
        first task. If it raises, the tasks of that worker fail with its error.
    :param initargs: the arguments of the ``initializer``.
    :param observers: objects that follow the run, see `Observer`.
    :param keep_results: whether a result that `as_completed` has handed out is kept.
        If not, memory does not grow with results, and `get_background_results`, like
        everything else that returns results, has only those that were not handed out.
        Of an error that was handed out, only the text is kept.
    :param checkpoint: the path of a file in which successes are recorded, or a
        `concurra.checkpoint.Checkpoint`. What has succeeded in an earlier run with the
        same file is not run again, as long as its call is the same.
    :param forward_logs: whether what functions log in processes goes to the handlers
        of this program, by its levels and filters, with the task's label as
        ``concurra_label``. None: only if the processes have no copy of the handlers.
    :param output: how what tasks print is shown where this program prints:
        ``"prefixed"`` for lines as they come, each behind ``[label]``; ``"grouped"``
        for one block when an attempt has ended; ``"captured"`` or None for nothing of
        commands, while functions print as they always do.
    :param max_output: bytes of each stream of a command that its result keeps, half of
        them from the beginning and half from the end; None for all.
    :param progress_every: seconds from one line in the log that tells what is at work
        to the next, also if nothing has ended meanwhile. A number as for ``timeout``;
        None for no such line.
    :param executor: what runs the tasks instead of this program, maybe on other
        machines: an object whose ``submit(function, *args)`` returns futures, such as a
        client of dask. ``max_concurrency`` must be given then: it is how many tasks the
        executor has at once. It is never shut down. None for no executor.
    :raises TypeError, ValueError: an argument is of the wrong type or out of its range.
    """

    def __init__(
        self,
        max_concurrency: Optional[int] = None,
        name: Optional[str] = None,
        timeout: Optional[float] = None,
        progress_stats: bool = True,
        fast_fail: bool = False,
        use_multiprocessing: bool = False,
        logger: Optional[logging.Logger] = None,
        log_errors: bool = False,
        fallback_to_thread_on_pickle_error: bool = False,
        task_retries: Union[int, Retry] = 0,
        *,
        mp_context: Union[str, BaseContext, None] = None,
        max_tasks_per_child: Optional[int] = None,
        terminate_timeout: float = 1,
        run_timeout: Optional[float] = None,
        resources: Optional[Mapping[str, int]] = None,
        initializer: Optional[Callable[..., Any]] = None,
        initargs: Iterable[Any] = (),
        observers: Iterable[Observer] = (),
        keep_results: bool = True,
        checkpoint: Union[StrPath, Checkpoint, None] = None,
        forward_logs: Optional[bool] = None,
        output: Optional[str] = None,
        max_output: Optional[float] = None,
        progress_every: Optional[float] = None,
        executor: Optional[Executor] = None,
    ) -> None:
        load_engine()
        from .followers import Followers
        from .lifecycle import LifeCycle
        from .plan.plan import Plan
        from .results import Recorder, Registry

        self.log = checks.logger(logger)
        self.name = checks.text("name", name, "TaskRunner")
        self.timeout = timeout
        self.progress_stats = progress_stats
        self.fast_fail = fast_fail
        self.use_multiprocessing = use_multiprocessing
        self.log_errors = log_errors
        self.fallback_to_thread_on_pickle_error = fallback_to_thread_on_pickle_error
        self.task_retries = task_retries
        self.mp_context = mp_context
        self.max_tasks_per_child = max_tasks_per_child
        self.terminate_timeout = terminate_timeout
        self.run_timeout = run_timeout
        self.resources = {} if resources is None else resources
        self.initializer = initializer
        self.initargs = initargs
        self.observers = observers
        self.keep_results = keep_results
        self.checkpoint = checkpoint
        self.forward_logs = forward_logs
        self.output = output
        self.max_output = max_output
        self.progress_every = progress_every
        self.executor = executor
        # Made a number by the check below.
        self.max_concurrency: int = max_concurrency  # type: ignore[assignment]

        # An instance with thirty attributes or more is slower, in each call.
        self._plan = Plan(Options())
        self._check_options()
        self._life = LifeCycle(self._plan)
        # One offset between the clocks serves all timestamps of the run.
        offset = time.time() - monotonic()
        recorder = Recorder(offset)
        self._registry = Registry(
            self._plan.tasks, recorder.record, self._plan.dag.users
        )
        self._followers = Followers(self._life, self._registry, offset)

    def _check_options(self) -> RunOptions:
        """The attributes as they are now, each in the form in which it is used."""
        from .run_options import RunOptions

        options = RunOptions(self)
        for name in RunOptions.NAMES:
            setattr(self, name, getattr(options, name))
        options.share(self._plan.shared)
        if options.warning:
            messages.warn(options.log, options.warning)
        return options

    def __reduce__(self) -> Any:
        raise TypeError("A TaskRunner cannot be copied, nor sent to a process")

    # -- running -----------------------------------------------------------------

    def run(
        self,
        verify: bool = True,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Results:
        """Run all tasks and wait for the last.

        Ctrl-C, or whatever else a signal handler raises, terminates everything and
        goes on to the caller; `results_registry` has the results then. A second one
        kills at once, and after a third nobody waits for the end.

        :param verify: whether to log the report at the end.
        :param raise_exception: whether to raise if a task did not succeed (if
            ``verify`` is true as well).
        :param error_message: stands above the report if a task did not succeed.
        :return: for each label, in the order of adding, the task's result.
        :raises ExecutionError: see ``raise_exception``.
        :raises TypeError, ValueError: tasks depend on labels that were never added, or
            an attribute was changed to what is wrong. Nothing has been started, and it
            can still be mended.
        :raises CheckpointError: the file of the checkpoint cannot be used: another run
            has it, or it is no checkpoint. It can still be mended, too.
        :raises RuntimeError: the runner has been started before; or there are tasks for
            processes, and one is a function of a module whose import waits for this
            call, or this is a daemonic process, which cannot have any.
        """
        wanted = checks.report_options(verify, raise_exception, error_message)
        self._life.run(self._choose, self._break, partial(self._expect, wanted[0]))
        return self._conclude(*wanted)

    def execute(
        self,
        verify: bool = True,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Results:
        """The same as `run`."""
        return self.run(verify, raise_exception, error_message)

    def execute_in_background(self) -> None:
        """Start to run all tasks, and return at once; for errors, see `run`."""
        self._life.start(self._choose, self._break, self)

    def get_background_results(
        self,
        verify: bool = True,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Results:
        """Wait for the end of what `execute_in_background` started, or look again.

        For parameters, results and errors see `run`.

        :raises RuntimeError: nothing was started, or the caller is something that the
            end would wait for: a task, or a handler of the log.
        """
        self._life.check_begun("Nothing runs yet: call execute_in_background() first")
        wanted = checks.report_options(verify, raise_exception, error_message)
        self._life.wait(self._break, partial(self._expect, wanted[0]))
        return self._conclude(*wanted)

    def is_running(self) -> bool:
        """Whether what `execute_in_background` started has not been fetched yet.

        Not to be polled for the end: it stays true until `get_background_results`,
        which waits for that, or `abort` has returned, or a loop over `as_completed` has
        ended. During `run` it is false.
        """
        return self._life.in_background

    def get_active_runner_count(self) -> int:
        """How many tasks are at work at this moment."""
        return self._life.running

    def cancel(self, label: Hashable) -> bool:
        """End one task, whatever it is at; what depends on it is skipped.

        For any thread at any time. A function in a thread cannot be killed: it is
        recorded as terminated, and goes on, but nobody waits for it.

        :param label: of the task, or what an adder has returned.
        :return: whether it had not ended before.
        :raises ValueError: no task has this label.
        :raises RuntimeError: this is the copy of a runner that a fork has made.
        """
        return self._life.cancel(self._task(label))

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self, kind: object, error: Optional[BaseException], trace: object
    ) -> None:
        """Leave nothing at work: wait for a run in the background, or end it."""
        life = self._life
        if error is not None:
            if life.begun and not life.finished:
                life.break_off(self._break, error)
        elif life.in_background:
            self.get_background_results()
        elif not life.begun and len(self):
            messages.warn(self.log, messages.unstarted(self.name, len(self)))

    def abort(self, verify: bool = True) -> Results:
        """Terminate all tasks that have not ended, log the report, return the results.

        For any thread at any time, also before the start, after the end, twice, or
        from within a task. Functions in threads cannot be killed: they are recorded as
        terminated, and go on unheeded. Before the start it takes the place of the run:
        a `run` that follows returns the same results.

        :param verify: whether to log the report.
        :raises TypeError, ValueError: it comes before the start, and an attribute was
            changed to what is wrong. What else `run` refuses is not looked for, such as
            unknown dependencies, lacking resources or a checkpoint that another run
            has: the tasks are terminated, and nothing can be mended any more.
        :raises RuntimeError: this is the copy of a runner that a fork has made, in a
            worker process for one.
        """
        wanted = checks.flag("verify", verify)
        self._life.stop(self._choose)
        if wanted:
            self.verify()
        return self._registry.complete()

    def _choose(self) -> Tuple[RunOptions, List[List[Reader]]]:
        """The run's options as they are now, and the groups of those who follow it."""
        options = self._check_options()
        self._plan.context = EMPTY  # its values are let go of
        self._registry.begin(options.keep_results)
        plain = type(self).show_progress is TaskRunner.show_progress
        return options, self._followers.chosen(options, self.show_progress, plain)

    def _conclude(self, verify: bool, raises: bool, message: Optional[str]) -> Results:
        self._life.conclude()
        if verify:
            self.verify(raises, message)
        return self._registry.complete()

    def _expect(self, verify: bool) -> None:
        """Do what is to be done before the wait for the end."""
        # Workers that are forked would wait for the end of that.
        if verify and not self._life.forks and messages.is_report_wanted(self.log):
            load_report_soon()

    @property
    def results_registry(self) -> Mapping[Any, Dict[str, Any]]:
        """For each label the task's result, or ``{}`` as long as it has none.

        In a task in a process, what is not there yet raises a ``RuntimeError``: a copy
        would never have it.
        """
        return self._registry

    def verify(
        self, raise_exception: bool = False, error_message: Optional[str] = None
    ) -> None:
        """Log the report: a table of all tasks, then what went wrong.

        It shows the results as they are now, with all that was changed in them, such as
        ``has_failed`` and ``status``.

        :param raise_exception: whether to raise, instead, if a task did not succeed.
        :param error_message: stands above the report if a task did not succeed.
        :raises ExecutionError: see ``raise_exception``.
        :raises RuntimeError: not all tasks have ended.
        """
        _, raises, message = checks.report_options(True, raise_exception, error_message)
        self._life.check_begun("Nothing has been run yet: call run() first")
        self._life.check_ended("Execution is still in progress")
        messages.report(self.log, self._registry, message, raises)

    def show_progress(self) -> None:
        """Log how many tasks have ended, now.

        The run calls it, too, with each tenth of the tasks that has ended.
        """
        ended = self._followers.told(len(self._plan.ended))
        messages.progress(self.log, self.name, ended, len(self), self._life.seconds)

    def _warn_of_exit(self) -> None:
        """The program ends: say so if it does before work in the background."""
        left = self._plan.remaining
        if left and self._life.in_background:
            messages.warn(self.log, messages.unfinished(self.name, left, len(self)))


# Python tells of a wrong call under the qualified name, which is to be one of the docs.
for _base in TaskRunner.__bases__:
    for _name, _method in vars(_base).items():
        if callable(_method) and not _name.startswith("_"):
            _method.__qualname__ = f"{TaskRunner.__name__}.{_name}"
