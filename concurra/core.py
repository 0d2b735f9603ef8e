"""`TaskRunner`: what users call, from adding tasks to the report."""

from __future__ import annotations

import itertools
import sys
import threading
import time

from . import checks, results
from .errors import CommandExecutionError, ConcurraError, ExecutionError
from .errors import LifeCycleError
from .plan import Plan
from .scheduler import Scheduler
from .tasks import Call, Command, Task
from .wording import quote
from .workers.crew import Crew

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, Dict, Hashable, Iterable, List, Mapping
    from typing import Optional, Tuple, Union

    from .checks import StrPath
    from .tasks import Job
    from .types import Result

    Labels = Union[str, Iterable[Hashable], None]
    Results = Dict[Any, Result]

__all__ = ["CommandExecutionError", "TaskRunner"]

#: Stands above a report of failures that was given no message.
FAILURE = "Execution Failed"

#: The options that are true or false.
FLAGS = (
    "progress_stats",
    "fast_fail",
    "use_multiprocessing",
    "log_errors",
    "fallback_to_thread_on_pickle_error",
)

#: No thread tells of the progress.
NOBODY = (None, 0)


class TaskRunner:
    """Runs tasks side by side, each as soon as those that it depends on succeeded.

    Tasks are Python functions and external commands. Add them, then `run` them once.

    :param max_concurrency: how many tasks are at work together at the most; None for
        ``os.cpu_count()``. Less than 1 counts as 1, with a warning in the log.
    :param name: stands before the progress in the log; None for ``TaskRunner``.
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
        tried again. Timeouts, aborts, skips, what cannot be pickled, and tasks whose
        worker process is lost while it does them are not.
    :param mp_context: how processes are started: ``"fork"``, ``"forkserver"``,
        ``"spawn"`` or a context of `multiprocessing`; None for what the program has
        chosen with `multiprocessing.set_start_method`, or else the platform's default.
    :param max_tasks_per_child: tasks after which a process is replaced by a fresh one;
        None for never.
    :param terminate_timeout: seconds that terminated processes and commands have to
        end after SIGTERM, all together, before they are killed; and that a process
        whose work is done has to end by itself. A number as for ``timeout``, or 0. When
        the program ends before the run, it is always one second.
    :raises TypeError: an argument is of the wrong type.
    :raises ValueError: an argument is out of its range.
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
        task_retries: int = 0,
        *,
        mp_context: Union[str, BaseContext, None] = None,
        max_tasks_per_child: Optional[int] = None,
        terminate_timeout: float = 1,
    ) -> None:
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
        self.max_concurrency = checks.concurrency(max_concurrency)
        self._check_options()

        self._plan = Plan()
        self._started_at: Optional[float] = None
        self._told: Tuple[Optional[int], int] = NOBODY
        self._in_background = False
        # A start and an abort may come from two threads, or the abort from a signal
        # handler in the midst of the start, which no lock would survive. So each of
        # their decisions is one step that cannot be interrupted.
        self._schedulers: List[Scheduler] = []  # the first one counts
        self._starts = itertools.count()
        # One offset between the clocks serves all timestamps of the run.
        recorder = results.Recorder(time.time() - time.monotonic())
        self._registry = results.Registry(self._plan.tasks, recorder.record)

    def _check_options(self) -> None:
        """Check the attributes, and give each the form in which it is used."""
        self.log = checks.logger(self.log)
        self.name = checks.text("name", self.name, "TaskRunner")
        if self.timeout is not None:
            checks.seconds("timeout", self.timeout)
        checks.seconds("terminate_timeout", self.terminate_timeout, zero=True)
        for parameter in FLAGS:
            setattr(self, parameter, checks.flag(parameter, getattr(self, parameter)))
        self.task_retries = checks.whole("task_retries", self.task_retries, least=0)
        if self.max_tasks_per_child is not None:
            self.max_tasks_per_child = checks.whole(
                "max_tasks_per_child", self.max_tasks_per_child, least=1
            )
        if self.mp_context is not None:  # to look at the default would settle it
            checks.context(self.mp_context)
        self.max_concurrency = checks.concurrency(self.max_concurrency)
        if self.max_concurrency < 1:
            self.max_concurrency = 1
            note = "max_concurrency is less than 1: tasks will run one after another"
            self._emit("warning", lambda: note)

    def __reduce__(self) -> Any:
        raise TypeError("A TaskRunner cannot be copied, nor sent to a process")

    def __len__(self) -> int:
        """How many tasks have been added."""
        return len(self._plan.tasks)

    # -- adding ------------------------------------------------------------------

    def add_task(
        self,
        task: Callable[..., Any],
        *args: Any,
        label: Hashable = None,
        depends_on: Labels = None,
        task_retries: Optional[int] = None,
        **kwargs: Any,
    ) -> None:
        """Add a call of ``task(*args, **kwargs)``.

        :param task: a function, or anything callable. If it is ``async def``, it is
            awaited, in an event loop of its own.
        :param label: names the task in the results; None for the number of tasks that
            were added before.
        :param depends_on: labels of the tasks that must succeed first. They may be
            added later. A string is one label; None, or False, is none.
        :param task_retries: instead of the runner's; None for the runner's.
        :raises TypeError: an argument is of the wrong type.
        :raises ValueError: an argument is out of its range, the label is taken, or the
            task would wait for itself, directly or through others.
        :raises RuntimeError: the runner has been started.
        """
        checks.function(task)
        self._add(Call(task, args, kwargs), label, depends_on, task_retries)

    def add_func(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Add a call of ``func(*args, **kwargs)``, its label being the keyword ``key``.

        All other keywords go to the function, also those that `add_task` would keep,
        except ``self`` and ``func``, which `add_function` can pass on.
        """
        key = kwargs.pop("key", None)
        checks.function(func)
        self._add(Call(func, args, kwargs), key)

    def add_function(
        self,
        func: Callable[..., Any],
        args: Optional[Iterable[Any]] = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        key: Hashable = None,
        log_exception: bool = True,
        depends_on: Labels = None,
        task_retries: Optional[int] = None,
    ) -> None:
        """Add a call of ``func(*args, **kwargs)``, the arguments being in containers.

        :param key: the label.
        :param log_exception: has no effect.

        For the others, and for errors, see `add_task`.
        """
        self._add(checks.call(func, args, kwargs), key, depends_on, task_retries)

    def add_work(self, workload: Iterable[Tuple[Any, ...]]) -> None:
        """Add many calls, or none of them if one is wrong.

        :param workload: tuples ``(func, args, kwargs, label)``, of which all but the
            function may be left out.

        For errors, see `add_task`.
        """
        items = checks.work(workload)
        self._check_open()  # not before: the caller's generator may take its time
        first = len(self._plan.tasks)
        self._plan.add_all(
            [
                Task(first + i if label is None else label, call, (), self.task_retries)
                for i, (call, label) in enumerate(items)
            ]
        )

    def add_command(
        self,
        command: Union[List[str], Tuple[str, ...]],
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[StrPath] = None,
        env: Optional[Mapping[str, str]] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Optional[int] = None,
    ) -> None:
        """Add an external command.

        Its result is a dict with ``command``, ``shell``, ``returncode``, ``stdout``,
        ``stderr`` and ``cwd``. It reads nothing: its standard input is empty.

        :param command: the program and its arguments, a list or tuple of strings.
        :param cwd: the directory to run in; None for this process's.
        :param env: variables that are set beside those of this process.
        :param check: whether a return code other than 0 makes the task fail. The
            result is there all the same.
        :param capture_output: whether the output goes into the result; otherwise it
            goes where this process prints.
        :param text: whether the output is decoded, by the locale's encoding, and has
            its line ends as ``\\n``; what cannot be decoded is kept as backslash
            escapes.

        For the others, and for errors, see `add_task`.
        """
        argv = checks.exec_argv(command)
        job = checks.command(argv, cwd, env, check, capture_output, text)
        self._add(job, label, depends_on, task_retries)

    def add_shell_command(
        self,
        command: str,
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[StrPath] = None,
        env: Optional[Mapping[str, str]] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Optional[int] = None,
    ) -> None:
        """Add a line for the system's shell, with pipes, redirections and so on.

        :param command: the line.

        For the others, and for errors, see `add_command`.
        """
        argv = checks.shell_argv(command)
        job = checks.command(argv, cwd, env, check, capture_output, text)
        self._add(job, label, depends_on, task_retries)

    def _add(
        self,
        job: Job,
        label: Hashable,
        depends_on: Labels = None,
        task_retries: Optional[int] = None,
    ) -> None:
        plan = self._plan
        label = len(plan.tasks) if label is None else checks.label(label)
        needed = checks.labels(depends_on)
        if task_retries is None:
            task_retries = self.task_retries
        else:
            task_retries = checks.whole("task_retries", task_retries, least=0)
        self._check_open()
        plan.add(Task(label, job, needed, task_retries))

    def _check_open(self) -> None:
        if self._scheduler is not None:
            raise LifeCycleError(
                "Cannot add tasks after execution has started: create a new TaskRunner"
            )

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
        :raises TypeError: an attribute was changed to what is of the wrong type.
        :raises ValueError: tasks depend on labels that were never added, or an
            attribute was changed to what is out of its range. Nothing has been started,
            and it can still be mended.
        :raises RuntimeError: the runner has been started before; or a task for a
            process is a function of a module whose import waits for this call.
        """
        wishes = _wishes(verify, raise_exception, error_message)
        self._conduct(self._start, self._wait)
        return self._conclude(*wishes)

    def execute(
        self,
        verify: bool = True,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Results:
        """The same as `run`."""
        return self.run(verify, raise_exception, error_message)

    def execute_in_background(self) -> None:
        """Start to run all tasks, and return at once.

        For errors, see `run`.
        """
        from . import background  # before there are workers: a fork can cut it in two

        self._conduct(lambda: self._start(in_background=True))
        background.remember(self)

    def get_background_results(
        self,
        verify: bool = True,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Results:
        """Wait for the end of what `execute_in_background` started.

        May be called again. For parameters, results and errors see `run`.

        :raises RuntimeError: nothing was started, or the caller is something that the
            end would wait for: a task, or a handler of the log.
        """
        if self._scheduler is None:
            raise LifeCycleError("Nothing runs yet: call execute_in_background() first")
        wishes = _wishes(verify, raise_exception, error_message)
        self._conduct(self._wait)
        return self._conclude(*wishes)

    def is_running(self) -> bool:
        """Whether what `execute_in_background` started has not been fetched yet.

        Not to be polled for the end: it stays true until `get_background_results`,
        which waits for that, or `abort` has returned.
        """
        return self._in_background

    def get_active_runner_count(self) -> int:
        """How many tasks are at work at this moment."""
        return 0 if self._scheduler is None else self._scheduler.running

    def abort(self) -> Results:
        """Terminate all tasks that have not ended, log the report, return the results.

        For any thread at any time, also before the start, after the end, twice, or
        from within a task. Functions in threads cannot be killed: they are recorded as
        terminated, and go on unheeded. Before the start it takes the place of the run:
        a `run` that follows returns the same results.

        :raises TypeError, ValueError: as `run` does, if it comes before the start.
        :raises RuntimeError: this is the copy of a runner that a fork has made, in a
            worker process for one.
        """
        scheduler = self._engage()
        scheduler.stop()
        scheduler.wait()
        self._in_background = False
        self.verify()
        return self._registry.complete()

    def _conduct(self, *steps: Callable[[], Optional[ConcurraError]]) -> None:
        """Take steps of a run, as long as nothing speaks against one.

        :param steps: they return what does, and have had no effect then. If one raises,
            Ctrl-C for one, everything is terminated.
        """
        try:
            for step in steps:
                refusal = step()
                if refusal is not None:
                    break
        except BaseException:
            try:
                self._terminate()
            except BaseException:  # the next one comes before that has even begun
                self._terminate()
            raise
        if refusal is not None:
            raise refusal

    def _start(self, in_background: bool = False) -> Optional[ConcurraError]:
        try:
            self._plan.check()
            if self.use_multiprocessing:
                checks.main_guard(self.mp_context)
                checks.imported(self._plan.tasks.values())
        except ConcurraError as error:
            return error
        scheduler = self._engage()
        if next(self._starts):
            return LifeCycleError(
                "TaskRunner has already been started: create a new one to run again "
                "(get_background_results() has the results of this run)"
            )
        self._in_background = in_background
        self._started_at = time.monotonic()
        scheduler.start()
        return None

    def _wait(self) -> Optional[ConcurraError]:
        scheduler = self._scheduler
        assert scheduler is not None
        refusal = scheduler.refusal()
        if refusal is None:
            scheduler.wait()
            if scheduler.failure is not None:
                raise scheduler.failure
        return refusal

    @property
    def _scheduler(self) -> Optional[Scheduler]:
        return self._schedulers[0] if self._schedulers else None

    def _engage(self) -> Scheduler:
        """The scheduler; from now on there is one, and no task can be added."""
        if not self._schedulers:
            self._schedulers.append(self._make_scheduler())
        return self._schedulers[0]

    def _make_scheduler(self) -> Scheduler:
        self._check_options()  # they may have been changed since
        fast_fail, grace = self.fast_fail, float(self.terminate_timeout)
        crew = Crew(
            checks.context(self.mp_context) if self.use_multiprocessing else None,
            commands=any(
                type(task.job) is Command for task in self._plan.tasks.values()
            ),
            stock=self._processes_at_once,
            fallback=self.fallback_to_thread_on_pickle_error,
            max_tasks=self.max_tasks_per_child,
            grace=grace,
            importing=checks.being_imported(),
        )
        return Scheduler(
            self._plan,
            crew,
            limit=self.max_concurrency,
            timeout=self.timeout,
            grace=grace,
            fast_fail=fast_fail,
            progress=self._tell_progress if self.progress_stats else _nothing,
            report=lambda task: self._guard(lambda: self._log_task(task, fast_fail)),
            step=max(1, len(self) // 10),
        )

    def _processes_at_once(self) -> int:
        calls = sum(type(task.job) is Call for task in self._plan.tasks.values())
        return min(self.max_concurrency, calls, self._plan.width())

    def _conclude(
        self, verify: bool, raise_exception: bool, error_message: Optional[str]
    ) -> Results:
        if self._plan.remaining:
            raise LifeCycleError("A handler of the run's log cannot wait for its end")
        self._in_background = False
        if verify:
            self.verify(raise_exception, error_message)
        return self._registry.complete()

    def _terminate(self) -> None:
        """End the run, if there is one; log the report.

        A second Ctrl-C kills at once, and after a third nobody waits any longer.
        """
        scheduler = self._scheduler
        if scheduler is None:
            return
        for force in (False, True):
            try:
                scheduler.stop(force)
                scheduler.wait()
                break
            except BaseException:
                continue
        self._in_background = False
        self._log_report(self._registry.ended())
        if scheduler.finished:
            self._registry.complete()

    # -- looking -----------------------------------------------------------------

    @property
    def results_registry(self) -> Mapping[Any, Dict[str, Any]]:
        """For each label the task's result, or ``{}`` as long as it has none."""
        return self._registry

    def verify(
        self, raise_exception: bool = False, error_message: Optional[str] = None
    ) -> None:
        """Log the report: a table of all tasks, then what went wrong.

        It shows the results as they are now: who has changed ``has_failed`` and
        ``status``, say, reads what they have become.

        :param raise_exception: whether to raise, instead, if a task did not succeed.
        :param error_message: stands above the report if a task did not succeed.
        :raises ExecutionError: see ``raise_exception``.
        :raises RuntimeError: not all tasks have ended.
        """
        _, raise_exception, error_message = _wishes(
            True, raise_exception, error_message
        )
        if self._scheduler is None:
            raise LifeCycleError("Nothing has been run yet: call run() first")
        if self._plan.remaining:
            raise LifeCycleError("Execution is still in progress")
        ended = self._registry.ended()
        failed = results.failed(ended)
        if failed and raise_exception:
            everything = self._registry.complete()
            raise ExecutionError(
                results.report(ended, error_message or FAILURE),
                everything,
                {label: everything[label] for label in failed},
            )
        self._log_report(ended, error_message)

    def show_progress(self) -> None:
        """Log how many tasks have ended, now.

        The run calls it, too, with each tenth of the tasks that has ended.
        """
        total, began = len(self), self._started_at
        teller, ended = self._told
        if teller != threading.get_ident():
            ended = total - self._plan.remaining
        seconds = 0.0 if began is None else time.monotonic() - began
        self._emit("info", lambda: results.progress(self.name, ended, total, seconds))

    # -- the log -----------------------------------------------------------------

    def _tell_progress(self, ended: int) -> None:
        # Others may have ended since, and this thread alone is to tell of so many.
        self._told = threading.get_ident(), ended
        self._guard(self.show_progress)
        self._told = NOBODY

    def _log_task(self, task: Task, fast_fail: bool) -> None:
        """Log what is to be said of a task when it has ended."""
        outcome = task.outcome
        assert outcome is not None
        if (outcome.mode or task.mode) == "thread_fallback":
            note = f"Task {quote(task.label)} was not picklable; ran in thread fallback"
            self._emit("warning", lambda: note)
        if outcome.fault and (self.log_errors or fast_fail):
            result = self._registry[task.label]
            self._emit("error", lambda: results.failure(task.label, result))
            if fast_fail:
                self._emit("error", lambda: "terminating execution!")

    def _tell_of_the_end(self) -> None:
        """Work in the background ends with the program: say so if it has not ended."""
        left = self._plan.remaining
        if left and self._in_background:
            note = (
                f"The program ends before {left} of the {len(self)} tasks of "
                f"{self.name} in the background: get_background_results() would have "
                "waited"
            )
            self._emit("warning", lambda: note)

    def _log_report(self, ended: Results, error_message: Optional[str] = None) -> None:
        if results.failed(ended):
            message = error_message or FAILURE
            self._emit("error", lambda: results.report(ended, message))
        else:
            self._emit("info", lambda: results.report(ended, ""))

    def _emit(self, method: str, text: Callable[[], str]) -> None:
        """Log a text, made only if somebody wants it."""

        def emit() -> None:
            import logging

            enabled = getattr(self.log, "isEnabledFor", None)
            if enabled is None or enabled(getattr(logging, method.upper())):
                getattr(self.log, method)(text())

        self._guard(emit)

    @staticmethod
    def _guard(act: Callable[[], object]) -> None:
        """Write to the log, or call what does. A broken log breaks no run."""
        import logging

        try:
            act()
        except BaseException as error:
            # SystemExit and the like are for the caller, not for a thread of the run.
            ours = threading.current_thread() is not threading.main_thread()
            if not (ours or isinstance(error, Exception)):
                raise
            if logging.raiseExceptions and sys.stderr is not None:
                import traceback

                try:
                    traceback.print_exc()
                except Exception:  # closed, or a pipe whose reader has gone
                    pass


def _wishes(
    verify: bool, raise_exception: bool, error_message: Optional[str]
) -> Tuple[bool, bool, Optional[str]]:
    """The parameters that `run` has in common with others, checked."""
    message = error_message and checks.text("error_message", error_message)
    raises = checks.flag("raise_exception", raise_exception)
    return checks.flag("verify", verify), raises, message


def _nothing(ended: int) -> None:
    """Log no progress."""
