"""One start, any number of stops, and the wait for the end.

A start and a stop may come from two threads, or the stop from a signal handler in the
midst of the start, which could not wait for a lock. So each of their decisions is one
step that cannot be interrupted: to append a scheduler to a list, of which the first one
counts, and to draw a number, of which the first one may start.
"""

from __future__ import annotations

import itertools
import threading
from functools import partial

from .clock import monotonic
from .engine.completion import refuse
from .engine.hiring import pool_of
from .engine.scheduler import Scheduler
from .errors import LifeCycleError, hidden
from .events import Events
from .inspection import Inspection
from .steps import INTERRUPT, KILL, TERMINATE
from .threads import ThreadCache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Mapping, Optional, Sequence, Tuple

    from .background import Runner
    from .errors import ConcurraError
    from .events import Reader
    from .outcomes import Outcome
    from .plan.plan import Plan
    from .run_options import RunOptions
    from .tasks import Task

    #: What is chosen for the run now, and those who follow it.
    Choose = Callable[[], Tuple[RunOptions, Sequence[Sequence[Reader]]]]

    #: A step of a run. Returns the error that forbids it, if one does: nothing was done
    #: then.
    Step = Callable[[], Optional[ConcurraError]]

    #: What to call once all is being terminated, and once all has ended.
    Ending = Tuple[Callable[[], None], Callable[[], None]]

    #: Called at once with what cuts the run short; must not block.
    Broken = Callable[[BaseException], Ending]

__tracebackhide__ = hidden


class LifeCycle(Inspection):
    """The life of one run.

    :param plan: the runner's. Nothing may be added once the life has `begun`.

    What breaks a run, Ctrl-C for one, terminates everything and goes on to the caller;
    before that the methods that wait tell what they were given as ``broken``.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self._starts = itertools.count()
        self._beginning = threading.RLock()
        #: Whether nothing can be added: the run has begun, or is about to.
        self.closed = False
        #: Held while it is checked whether the run can start.
        self.checking = threading.RLock()
        self._cancelled: Dict[Task, None] = {}  # before there was a scheduler
        #: Whether the run goes on in the background, and nobody has fetched its end.
        self.in_background = False
        #: Whether it forks this process; known once it has begun.
        self.forks = False

    def begin_once(self, begin: Callable[[], object]) -> None:
        """Have the run begun, unless it has; one of many callers does it."""
        with self._beginning:  # reentrant, for signal handlers
            if not self.begun:
                begin()

    # -- refusing ----------------------------------------------------------------

    def check_open(self) -> None:
        """Refuse that something is added once the run is `closed`."""
        if self.closed:
            raise LifeCycleError(
                "Cannot add tasks after execution has started: create a new TaskRunner"
            )

    def check_part_of_run(self, task: Task) -> None:
        """Refuse a task that came in while another thread started the run, too late."""
        with self.checking:
            if self.closed and task not in self._plan.checked:
                self._plan.tasks.pop(task.label, None)
                self.check_open()

    def check_begun(self, refusal: str) -> None:
        """Refuse what needs a run that has begun."""
        if not self.begun:
            raise LifeCycleError(refusal)

    def check_ended(self, refusal: str) -> None:
        """Refuse what needs a run in which all tasks have ended."""
        if self._plan.remaining:
            raise LifeCycleError(refusal)

    # -- start, wait, stop -------------------------------------------------------

    def run(self, choose: Choose, broken: Broken, *meanwhile: Step) -> None:
        """Start, and wait for the end.

        :param meanwhile: what else is to be done before the wait.
        :raises LifeCycleError: it has been started before, or cannot be here.
        :raises BaseException: what ``choose`` raises, or `Plan.check`; nothing has been
            started then.
        """
        begin = partial(self._start, choose, False)
        self.conduct(broken, begin, *meanwhile, self._wait)

    def start(self, choose: Choose, broken: Broken, runner: Runner) -> None:
        """Start in the background; for errors, see `run`.

        :param runner: is told if the program ends before the run, as long as it exists.
        """
        from . import background  # before there are workers: a fork can cut it in two

        self.conduct(broken, partial(self._start, choose, True))
        background.remember(runner)

    def wait(self, broken: Broken, *meanwhile: Step) -> None:
        """Wait for the end.

        :param meanwhile: see `run`.
        :raises LifeCycleError: the end would wait for the caller.
        """
        self.conduct(broken, *meanwhile, self._wait)

    def await_end(self, timeout: Optional[float]) -> bool:
        """Wait for the end, or so many seconds; whether it has come.

        Nothing is terminated if the wait is interrupted.

        :raises LifeCycleError: the end would wait for the caller, or was never begun.
        """
        self.check_begun("Nothing runs yet: there is no end to wait for")
        return self._schedulers[0].wait(timeout)

    def attach(self, reader: Reader) -> Optional[ConcurraError]:
        """Have one more reader of events, from now on; the run has begun.

        Returns what speaks against it, if something does: see `conduct`.
        """
        refusal = self._schedulers[0].refusal()
        if refusal is None:
            self._schedulers[0].attach(reader)
        return refusal

    def detach(self, reader: Reader) -> None:
        """Remove a reader that was attached."""
        self._schedulers[0].detach(reader)

    def then(self, callback: Callable[[], object]) -> None:
        """Call it, once or twice, when the run has finished; in any thread."""
        self._schedulers[0].then(callback)

    def stop_soon(self) -> None:
        """Terminate what has not ended, without waiting for the end."""
        self._schedulers[0].stop()
        self.in_background = False

    def cancel(self, task: Task) -> bool:
        """End one task; whether that was still to be done.

        :raises LifeCycleError: this is the copy of a run that a fork has made.
        """
        new = False
        if not self.begun:
            new = task not in self._cancelled
            self._cancelled[task] = None  # first: a start may come meanwhile
        return (self.begun and self._schedulers[0].cancel(task)) or new

    def stop(self, choose: Choose) -> None:
        """Terminate what has not ended, and wait for the end, if that can be done.

        :raises LifeCycleError: this is the copy of a run that a fork has made.
        """
        self._engage(choose, runs=False)
        scheduler = self._schedulers[0]
        scheduler.stop()
        if not scheduler.needs_caller():
            scheduler.wait()
        self.in_background = False

    def conclude(self) -> None:
        """The end of the run has been fetched.

        :raises LifeCycleError: it has not ended, as the caller could not wait for that.
        """
        self.check_ended("A handler of the run's log cannot wait for its end")
        self.in_background = False

    def conduct(self, broken: Broken, *steps: Step) -> None:
        """Take steps of a run, as long as nothing speaks against one.

        If a step raises, everything is terminated.
        """
        try:
            for step in steps:
                refusal = step()
                if refusal is not None:
                    break
        except BaseException as error:
            self.break_off(broken, error)
            raise
        try:
            refuse(refusal)
        finally:
            del refusal  # or else its traceback is a cycle, which holds the runner

    def break_off(self, broken: Broken, error: BaseException) -> None:
        """Terminate everything, as an error goes on to the caller."""
        first = INTERRUPT if isinstance(error, KeyboardInterrupt) else TERMINATE
        try:
            self._terminate(partial(broken, error), first)
        except BaseException:  # a second Ctrl-C, before the stop has begun
            self._terminate(partial(broken, error), first)

    def _start(self, choose: Choose, in_background: bool) -> Optional[ConcurraError]:
        # Held, so that `begin_once` waits for what becomes of that.
        mine = self._beginning.acquire(blocking=False)
        try:
            if not mine or next(self._starts):
                return LifeCycleError(
                    "TaskRunner has already been started: create a new one to run "
                    "again (get_background_results() has the results of this run, and "
                    "as_completed_async() where an event loop is not to be blocked)"
                )
            first = self._engage(choose, runs=True)
        except BaseException:
            if not self.begun:  # what is wrong can be mended
                self._starts = itertools.count()
            raise
        finally:
            if mine:
                self._beginning.release()
        self.in_background = in_background
        self.started_at = monotonic()
        if first:
            self._schedulers[0].start()
        else:
            self._schedulers[0].stop()  # an abort takes the place of the run
        return None

    def _wait(self) -> Optional[ConcurraError]:
        scheduler = self._schedulers[0]
        refusal = scheduler.refusal()
        if refusal is None:
            scheduler.wait()
            if scheduler.failure is not None:
                raise scheduler.failure
        return refusal

    def _terminate(self, ending: Callable[[], Ending], first: int) -> None:
        """End the run, if there is one; ``first`` is the step to begin with.

        A second Ctrl-C kills at once, and after a third nobody waits any longer.
        """
        if not self.begun:
            return
        scheduler = self._schedulers[0]
        tell, conclude = ending()
        for force in (first, KILL):
            try:
                scheduler.stop(force)
                if force != KILL:
                    tell()
                scheduler.wait()
                break
            except BaseException:
                continue
        self.in_background = False
        conclude()

    # -- making ------------------------------------------------------------------

    def _engage(self, choose: Choose, runs: bool) -> bool:
        """Have a scheduler from now on; whether it is the one that this call has made.

        :param runs: whether it is to run anything: then the plan is checked first,
            which may refuse it, and what succeeded in an earlier run is restored.
        """
        if self.begun:
            return False
        options, readers = choose()
        followers = [each for group in readers for each in group]
        scheduler = None
        try:
            restored: Dict[Task, Outcome] = {}
            with self.checking:
                self.closed = True
                if runs:
                    self._check(options)
            if runs:
                restored = self._restore(followers)
                self._restored = len(restored)
            scheduler = self._make(options, readers, restored)
            self._schedulers.append(scheduler)
        finally:
            self.closed = self.begun
            mine = self.begun and self._schedulers[0] is scheduler
            if not mine:
                for each in followers:
                    each.abandon()
        return mine

    def _restore(self, readers: Sequence[Reader]) -> Dict[Task, Outcome]:
        """What readers know of tasks that need not run."""
        restored: Dict[Task, Outcome] = {}
        for reader in readers:
            restored.update(reader.restore(self._plan.checked, self._cancelled))
        return restored

    def _check(self, options: RunOptions) -> None:
        """Refuse what cannot be run."""
        self._plan.check()
        options.check_tasks(self._plan.own)
        if options.use_multiprocessing:
            from .engine.process_checks import check_processes

            check_processes(self._plan.checked, options.mp_context)

    def _make(
        self,
        options: RunOptions,
        readers: Sequence[Sequence[Reader]],
        restored: Mapping[Task, Outcome],
    ) -> Scheduler:
        """What opens the plan and runs it; nothing is started or held by that."""
        plan, threads = self._plan, ThreadCache()
        self.forks = options.forks
        return Scheduler(
            plan,
            pool_of(options, plan, threads),
            Events(len(plan.checked or plan.tasks), *readers),
            limit=options.max_concurrency,
            timeout=options.timeout,
            run_timeout=options.run_timeout,
            progress_every=options.progress_every,
            resources=options.resources,
            grace=float(options.terminate_timeout),
            fast_fail=options.fast_fail,
            cancelled=self._cancelled,
            restored=restored,
            threads=threads,
        )
