"""Carries a scenario out, and records everything that could be seen of it."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

import concurra
from tests.guards import Snapshot
from tests.helpers import alive, wait_until

from . import deeds, shown
from .scenario import Scenario, Spec

#: Seconds after which a run counts as hanging. No run should need a tenth of it.
LIMIT = 45.0

Result = dict[str, Any]
Results = dict[Hashable, Result]
Event = tuple[str, int, int, int]


@dataclass
class Record:
    """What was seen of a run.

    ``results`` is a copy of what the first call returned, ``others`` of what all other
    calls did, ``late`` of the results when nothing could be at work any more, ``early``
    of each result when the watcher saw it first, ``cancelled`` what a cancel of a task
    has answered, by its number. ``began`` and ``ended`` are seconds
    since the epoch.
    """

    results: Results = field(default_factory=dict)
    others: list[Results] = field(default_factory=list)
    late: Results = field(default_factory=dict)
    early: Results = field(default_factory=dict)
    raised: list[concurra.ExecutionError] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    log: list[tuple[int, str]] = field(default_factory=list)
    cancelled: dict[int, bool] = field(default_factory=dict)
    busiest: int = 0
    active_at_the_end: int = 0
    began: float = 0.0
    ended: float = 0.0
    left: str = ""


def conduct(scenario: Scenario, folder: Path) -> Record:
    """Run a scenario with its files in an empty folder.

    :raises AssertionError: something took longer than `LIMIT`, with all stacks.
    """
    before = Snapshot.take()
    conductor = _Conductor(scenario, folder)
    bounded(conductor.run, "the run")
    (folder / "events.release").touch()
    record = conductor.record
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not _left(before, conductor), 10.0)
    record.left = _left(before, conductor)
    record.late = _copy(conductor.runner.results_registry)
    record.events = conductor.events()
    return record


def bounded(act: Callable[[], None], what: str, seconds: float = LIMIT) -> None:
    """Do something in a thread, and fail if it takes too long."""
    errors: list[BaseException] = []

    def do() -> None:
        try:
            act()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=do, name=f"stress: {what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise AssertionError(f"{what} did not end in {seconds:g} s\n{_stacks()}")
    if errors:
        raise errors[0]


def _left(before: Snapshot, conductor: _Conductor) -> str:
    """Threads, files and processes that are there and should not be."""
    left = Snapshot.take().since(before)
    told = [left.report()] if left else []
    for pid in conductor.pids():
        if alive(pid):
            told.append(f"process {pid} of a task is still alive")
    return "\n".join(told)


class _List(logging.Handler):
    def __init__(self, records: list[tuple[int, str]]) -> None:
        super().__init__()
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append((record.levelno, record.getMessage()))


class _Conductor:
    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.record = Record()
        self.path = folder / "events"
        self.path.touch()
        logger = logging.Logger("stress")
        logger.addHandler(_List(self.record.log))
        self.runner = concurra.TaskRunner(
            max_concurrency=scenario.max_concurrency,
            timeout=scenario.timeout,
            progress_stats=scenario.progress,
            fast_fail=scenario.fast_fail,
            use_multiprocessing=scenario.method is not None,
            logger=logger,
            log_errors=scenario.log_errors,
            fallback_to_thread_on_pickle_error=scenario.fallback,
            task_retries=scenario.task_retries,
            mp_context=scenario.method,
            max_tasks_per_child=scenario.max_tasks_per_child,
            terminate_timeout=scenario.terminate_timeout,
            resources=dict(scenario.resources),
            output=scenario.output,
        )
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def events(self) -> list[Event]:
        lines = (line.split() for line in self.path.read_text().splitlines())
        return [(what, int(n), int(i), int(pid)) for what, n, i, pid in lines]

    def pids(self) -> set[int]:
        """The processes of tasks, and those that they left."""
        return {pid for _, _, _, pid in self.events()} - {os.getpid()}

    # -- the run -----------------------------------------------------------------

    def run(self) -> None:
        with shown.shown(self.scenario.output) as sink:
            self._run()
        shown.check(self.scenario, sink, self.record.results)

    def _run(self) -> None:
        scenario, record = self.scenario, self.record
        add_all(self.runner, scenario, str(self.path), self._abort_inside)
        assert len(self.runner) == len(scenario.specs)
        record.began = time.time()
        early = [each for each in scenario.cancels if not any(each[1:])]
        for each in early:
            self._cancel(*each)
        later = [each for each in scenario.cancels if each not in early]
        helpers: list[Callable[[], None]] = [
            *(functools.partial(self._abort, *when) for when in scenario.aborts),
            *(functools.partial(self._cancel, *which) for which in later),
            *([self._watch] if scenario.watched else []),
        ]
        threads = [self._thread(helper) for helper in helpers]
        try:
            self._start_and_wait()
        finally:
            record.ended = time.time()
            self._over.set()
            for thread in threads:
                thread.join(LIMIT)
        if self._errors:
            raise self._errors[0]
        record.active_at_the_end = self.runner.get_active_runner_count()

    def _start_and_wait(self) -> None:
        scenario, runner = self.scenario, self.runner
        if scenario.ending != "background":
            method = runner.execute if scenario.ending == "execute" else runner.run
            self._collect(method, raise_exception=scenario.ending == "raise")
            return
        runner.execute_in_background()
        assert runner.is_running() or scenario.aborts or scenario.abort_inside
        read = functools.partial(self._collect, runner.get_background_results)
        threads = [self._thread(read) for _ in range(scenario.readers - 1)]
        read()
        for thread in threads:
            thread.join(LIMIT)
        assert not runner.is_running()

    def _thread(self, act: Callable[[], None]) -> threading.Thread:
        def do() -> None:
            try:
                act()
            except BaseException as error:
                self._errors.append(error)

        thread = threading.Thread(target=do, name="stress: helper", daemon=True)
        thread.start()
        return thread

    def _collect(self, method: Callable[..., Results], **options: bool) -> None:
        try:
            results = method(**options)
        except concurra.ExecutionError as error:
            self.record.raised.append(error)
            results = error.results
        self._keep(results)

    def _keep(self, results: Results) -> None:
        with self._lock:
            if self.record.results or not results:
                self.record.others.append(_copy(results))
            else:
                self.record.results = _copy(results)

    def _abort(self, events: int, seconds: float) -> None:
        self._await(events, seconds)
        self._keep(self.runner.abort())

    def _cancel(self, number: int, events: int, seconds: float) -> None:
        self._await(events, seconds)
        label = self.scenario.specs[number].label
        self.record.cancelled[number] = self.runner.cancel(label)

    def _await(self, events: int, seconds: float) -> None:
        """Until there are so many events, or so many seconds are over."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._over.is_set():
            with self.path.open("rb") as file:
                if file.read().count(b"\n") >= events:
                    break
            time.sleep(0.001)

    def _abort_inside(self) -> None:
        self._keep(self.runner.abort())

    def _watch(self) -> None:
        record, runner = self.record, self.runner
        while not self._over.wait(0.002):
            record.busiest = max(record.busiest, runner.get_active_runner_count())
            for label, result in list(runner.results_registry.items()):
                if result and label not in record.early:
                    record.early[label] = copy.copy(result)


def _copy(results: Any) -> Results:
    return {
        label: {**result, "retry_errors": list(result["retry_errors"])}
        for label, result in results.items()
    }


# -- adding --------------------------------------------------------------------------


def add_all(
    runner: concurra.TaskRunner,
    scenario: Scenario,
    log: str,
    abort: Callable[[], None],
) -> None:
    """Add the tasks of a scenario; those for `add_work` that are neighbours at once."""
    work: list[tuple[Any, ...]] = []
    aborting = len(scenario.specs) // 2 if scenario.abort_inside else None
    for spec in scenario.specs:
        if spec.kind != "call":
            func, args = None, ()
        else:
            func, args = dress(spec, log)
            if spec.number == aborting:
                func = _and_then(func, abort)
        if spec.adder == "work":
            func = concurra.task(func, **_options(spec)) if spec.has_options else func
            work.append((func, args, {}, spec.given_label))
            continue
        if work:
            runner.add_work(work)
            work = []
        _add(runner, spec, func, args, log)
    runner.add_work(work)


def _add(
    runner: concurra.TaskRunner, spec: Spec, func: Any, args: Any, log: str
) -> None:
    order: dict[str, Any] = {}
    if spec.deps:
        order["depends_on"] = _depends_on(spec)
    options = _options(spec)
    if spec.adder in ("task", "func"):
        func = concurra.task(func, **options) if spec.has_options else func
    else:
        order.update(options)
    if spec.retries is not None and "task_retries" not in options:
        order["task_retries"] = spec.retries
    if spec.adder == "task":
        runner.add_task(func, *args, label=spec.given_label, **order)
    elif spec.adder == "func":
        runner.add_func(func, *args, key=spec.given_label)
    elif spec.adder == "function":
        runner.add_function(func, args, key=spec.given_label, **order)
    else:
        order.update(check=spec.check, text=spec.text, label=spec.given_label)
        program = deeds.script(log, spec.number, spec.acts, spec.pause, False)
        if not spec.capture:
            program = deeds.script(log, spec.number, spec.acts, spec.pause, True)
            order["capture_output"] = False
        if spec.kind == "shell":
            runner.add_shell_command(program, **order)
        elif spec.kind == "exec":
            runner.add_command(["sh", "-c", program], **order)
        else:
            runner.add_command([MISSING], **order)


#: After which errors a task is tried again.
ERRORS: dict[str, Any] = {
    "any": Exception,
    "value": ValueError,
    "command": concurra.CommandExecutionError,
}


def _options(spec: Spec) -> dict[str, Any]:
    """What was chosen for a task, by the names of options."""
    options: dict[str, Any] = {}
    if spec.priority:
        options["priority"] = spec.priority
    if spec.resources:
        options["resources"] = dict(spec.resources)
    if spec.rule != "all_success":
        options["trigger_rule"] = spec.rule
    if spec.timeout is not None:
        options["timeout"] = spec.timeout
    if spec.on is not None:
        assert spec.retries is not None
        options["task_retries"] = concurra.Retry(
            spec.retries,
            on=ERRORS[spec.on],
            delay=spec.delay,
            attempt_timeout=spec.attempt_timeout,
        )
    return options


MISSING = "/there/is/no such program"


def _depends_on(spec: Spec) -> Any:
    deps = spec.deps
    if spec.deps_form == "bare":
        return deps[0]
    if spec.deps_form == "tuple":
        return deps
    if spec.deps_form == "generator":
        return (each for each in deps)
    if spec.deps_form == "twice":
        return [*deps, *deps]
    if spec.deps_form == "keys":
        return dict.fromkeys(deps).keys()
    return list(deps)


def dress(spec: Spec, log: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function of a task and its arguments."""
    args: tuple[Any, ...] = (log, spec.number, spec.acts, spec.pause)
    if spec.wrapper == "partial":
        return functools.partial(deeds.perform, *args[:2]), args[2:]
    if spec.wrapper == "async":
        return deeds.perform_async, args
    if spec.wrapper == "lambda":
        return (lambda *args: deeds.perform(*args)), args
    if spec.wrapper == "closure":
        return deeds.perform, (*args, threading.Lock())
    if spec.wrapper == "booby":
        return deeds.perform, (*args, deeds.Poison())
    return deeds.perform, args


def _and_then(func: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    def perform(*args: Any) -> Any:
        then()
        return func(*args)

    perform.__name__ = getattr(func, "__name__", "perform")
    return perform


def _stacks() -> str:
    names = {thread.ident: thread.name for thread in threading.enumerate()}

    def each() -> Iterator[str]:
        for ident, frame in sys._current_frames().items():
            yield f"--- {names.get(ident, ident)}\n"
            yield "".join(traceback.format_stack(frame))

    return "".join(each())
