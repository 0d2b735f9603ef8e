"""What must be true of any run, said without the help of the engine.

`problems` compares the record of a run with its scenario and returns a sentence for
each promise that was broken.
"""

from __future__ import annotations

import itertools
import locale
import logging
import re
import time
from collections import Counter
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, Optional

from . import deeds
from .conduct import MISSING, Record, Result, Results
from .scenario import FIXED, Scenario, Spec

FIELDS = {
    "task_name": str,
    "start_time": str,
    "end_time": str,
    "duration": str,
    "duration_seconds": float,
    "result": object,
    "error": (str, type(None)),
    "trace": (str, type(None)),
    "status": str,
    "has_failed": bool,
    "output": object,
    "execution_mode": (str, type(None)),
    "warning": (str, type(None)),
    "attempts": int,
    "task_retries": int,
    "retried": bool,
    "retry_errors": list,
}
STOPPED = "RuntimeError: Execution terminated before completion"
PICKLE_WARNING = "Task was not picklable and thread fallback is disabled"
IDLE_WARNINGS = (
    "Skipped: no dependency failed",
    "Skipped: it depends on a task that was skipped as no dependency failed",
)
CANCELLED = "CancelledError: Task was cancelled"
TOLD = r"(stdout|stderr|Stack \(most recent call last\)):\n|\((Where it|It (had|was) )"
FALLBACK_WARNING = "Task was not picklable; ran in thread fallback"
KILLERS = {
    "kill": "SIGKILL (signal 9, probably out of memory)",
    "terminate": "SIGTERM",
}
POISONED = "RuntimeError: this was poisoned"
UNRECORDED = "RuntimeError: Could not record task result: this was poisoned"
UNPICKLABLE = r"(AttributeError|PicklingError|TypeError): .+"


def problems(scenario: Scenario, record: Record) -> list[str]:
    """A sentence for each promise that was broken; none for a good run."""
    return list(_Oracle(scenario, record).problems())


# -- what a task would do if nobody disturbed it -------------------------------------


@dataclass
class Act:
    """How one attempt ends: with a value, an error (a pattern), or never."""

    value: Any = None
    error: Optional[str] = None
    retry: bool = True
    hangs: bool = False


@dataclass
class Ideal:
    """How a task ends, undisturbed. ``errors`` are patterns, one for each attempt."""

    status: str = "Successful"
    value: Any = None
    attempts: int = 0
    errors: list[str] = field(default_factory=list)
    mode: Optional[str] = None
    warning: Optional[str] = None
    hangs: bool = False


#: Stands for a value of which nothing but its type is known.
ANYTHING = object()


def ideal(scenario: Scenario, spec: Spec) -> Ideal:
    """How the task ends when its dependencies succeed and nobody ends it."""
    mode, warning = _mode(scenario, spec)
    if mode is None:
        error = POISONED if spec.wrapper == "booby" else UNPICKLABLE
        return Ideal("Failed", None, 0, [error], None, PICKLE_WARNING)
    outcome = Ideal(mode=mode, warning=warning)
    for attempt in range(1, scenario.retries_of(spec) + 2):
        act = _act(spec, mode, attempt)
        outcome.attempts = attempt
        outcome.value, outcome.hangs = act.value, act.hangs
        if act.error is None:
            return outcome
        outcome.errors.append(act.error)
        if not act.retry or not _applies(spec.on, act.error):
            break
    outcome.status = "Failed"
    return outcome


def _applies(on: Optional[str], error: str) -> bool:
    """Whether another attempt is made after such an error."""
    kind = error.partition(":")[0]
    if kind == "TimeoutError":  # an attempt's, which has failed in any case
        return True
    if on == "any":
        return kind not in ("Alien", "KeyboardInterrupt", "SystemExit")
    kinds = {"value": "ValueError", "command": "CommandExecutionError"}
    return on is None or kind == kinds[on]


def _mode(scenario: Scenario, spec: Spec) -> tuple[Optional[str], Optional[str]]:
    if spec.kind != "call":
        return "subprocess", None
    if scenario.mode == "thread":
        return "thread", None
    if spec.wrapper not in FIXED:
        return "process", None
    return ("thread_fallback", FALLBACK_WARNING) if scenario.fallback else (None, None)


def _act(spec: Spec, mode: str, attempt: int) -> Act:
    if spec.kind == "missing":
        return Act(error=f"FileNotFoundError: .*{re.escape(MISSING)}.*")
    act = spec.acts[min(attempt, len(spec.acts)) - 1]
    if act.startswith("linger"):
        return Act(
            error=f"TimeoutError: Attempt exceeded {spec.attempt_timeout} seconds"
        )
    if spec.kind != "call":
        return _shell_act(spec, act)
    return _call_act(spec.number, mode, attempt, act)


def _call_act(number: int, mode: str, attempt: int, act: str) -> Act:
    errors = {
        "raise": f"ValueError: task {number}, attempt {attempt}",
        "unprintable": "Unprintable: <unprintable Unprintable>",
        "alien": f"Alien: from task {number}",
        "interrupt": f"KeyboardInterrupt: in task {number}",
        "exit": "SystemExit: 3",
        "exit well": "SystemExit: 0",
        "kill": r"RuntimeError: .* killed by SIGKILL .*out of memory.*",
        "hard exit": r"RuntimeError: .* exited with code 9\b.*",
        "hard exit well": r"RuntimeError: .* exited with code 0\b.*",
    }
    if act in errors:
        lost = act in ("kill", "hard exit", "hard exit well")
        return Act(error=errors[act], retry=not lost)
    if act in ("hang", "stubborn"):
        return Act(hangs=True)
    if act in ("unpicklable", "poison") and mode == "process":
        error = UNRECORDED if act == "poison" else UNPICKLABLE
        return Act(error=error, retry=False)
    if act in ("unpicklable", "poison"):
        return Act(ANYTHING)
    if act == "none":
        return Act(None)
    if act == "big":
        return Act(b"x" * 300_000)
    return Act(deeds.value_of(number, attempt))


def _shell_act(spec: Spec, act: str) -> Act:
    if act in ("hang", "stubborn"):
        return Act(hangs=True)
    codes = {"fail": 3, "fail silently": 4, "kill": -9, "terminate": -15}
    stdout = {
        "value": f"out {spec.number}\n".encode(),
        "garbage": b"a\xffb",
        "big": deeds.LINE.encode() * 3000,
        "fail": b"out\n",
    }.get(act, b"")
    stderr = b"oops\n" if act == "fail" else b""
    result = {
        "command": ANYTHING,
        "shell": spec.kind == "shell",
        "returncode": codes.get(act, 0),
        "stdout": _output(spec, stdout),
        "stderr": _output(spec, stderr),
        "cwd": None,
    }
    error = None
    if act in codes and spec.check:
        how = f"exited with return code {codes[act]}"
        if act in ("kill", "terminate"):
            how = f"was killed by {KILLERS[act]}"
        told = ": oops" if act == "fail" and spec.capture else ""
        error = f"CommandExecutionError: Command {re.escape(how)}{told}"
    return Act(result, error)


def _output(spec: Spec, output: bytes) -> Any:
    if not spec.capture:
        return None
    if not spec.text:
        return output
    return output.decode(locale.getpreferredencoding(False), "backslashreplace")


# -- one run -------------------------------------------------------------------------


class _Oracle:
    def __init__(self, scenario: Scenario, record: Record) -> None:
        self.scenario = scenario
        self.record = record
        self.results = record.results
        self.specs = {spec.label: spec for spec in scenario.specs}
        self.ideals = {spec.label: ideal(scenario, spec) for spec in scenario.specs}
        self.starts: dict[int, list[tuple[int, int]]] = {}
        self.ends: dict[int, list[tuple[int, int]]] = {}
        # In a thread, what lingers ends when it is none of the run's business any more.
        self.events = [
            each
            for each in record.events
            if each[0] != "end" or not self._lingers(each[1], each[2])
        ]
        for index, (what, number, attempt, _) in enumerate(self.events):
            if what in ("start", "end"):
                book = self.starts if what == "start" else self.ends
                book.setdefault(number, []).append((index, attempt))

    def problems(self) -> Iterator[str]:
        if list(self.results) != list(self.specs):
            yield f"labels are {list(self.results)}, not {list(self.specs)}"
            return
        for label, spec in self.specs.items():
            result = self.results[label]
            try:
                told = [
                    *self._fields(spec, result),
                    *self._outcome(spec, result),
                    *self._events_of(spec, result),
                ]
            except Exception as error:  # a result that cannot even be looked at
                told = [f"the result cannot be checked: {error!r}"]
            yield from (f"{label!r}: {each}" for each in told)
        yield from self._whole()
        yield from self._first_outcome_stands()
        yield from self._log()
        yield from self._concurrency()
        yield from self._held()
        yield from self._cancels()
        if self.scenario.max_concurrency == 1 and self._is_determined():
            yield from self._one_worker()
        if self.record.left:
            yield f"left behind: {self.record.left}"

    def _lingers(self, number: int, attempt: int) -> bool:
        acts = self.scenario.specs[number].acts
        return acts[min(attempt, len(acts)) - 1].startswith("linger")

    # -- the fields of one result ------------------------------------------------

    def _fields(self, spec: Spec, result: Result) -> Iterator[str]:
        if list(result) != list(FIELDS):
            yield f"fields are {list(result)}"
            return
        for name, kind in FIELDS.items():
            if not isinstance(result[name], kind):  # type: ignore[arg-type]
                yield f"{name} is {result[name]!r}"
                return
        status, error, attempts = (result[n] for n in ("status", "error", "attempts"))
        if status not in ("Successful", "Failed", "Terminated"):
            yield f"status is {status!r}"
        well = status == "Successful" or self._ways(result) == "idle"
        if result["has_failed"] is well:
            yield f"has_failed is {result['has_failed']}, status {status}"
        if (error is None) is not well:
            yield f"error is {error!r}, status {status}"
        if result["output"] is not result["result"]:
            yield "output is not result"
        if result["task_name"] != _name(spec):
            yield f"task_name is {result['task_name']!r}, not {_name(spec)!r}"
        if result["task_retries"] != self.scenario.retries_of(spec):
            yield f"task_retries is {result['task_retries']}"
        if result["retried"] is not (attempts > 1):
            yield f"retried is {result['retried']} after {attempts} attempts"
        if not 0 <= attempts <= self.scenario.retries_of(spec) + 1:
            yield f"{attempts} attempts"
        if status == "Successful" and result["trace"] is not None:
            yield f"a success has the trace {result['trace']!r}"
        yield from self._times(result)

    def _times(self, result: Result) -> Iterator[str]:
        start, end = (_seconds(result[name]) for name in ("start_time", "end_time"))
        took = result["duration_seconds"]
        if not self.record.began - 1.1 <= start <= end <= self.record.ended + 1.1:
            yield f"times are {result['start_time']}, {result['end_time']}"
        if took < 0 or took != round(took, 2) or abs(end - start - took) > 1.02:
            yield f"duration_seconds is {took}, from {start} to {end}"
        if result["duration"] != f"{round(took, 2)} sec":
            yield f"duration is {result['duration']!r}, for {took} s"
        if result["execution_mode"] is None:
            if start != end or took or result["attempts"]:
                yield "it has no mode, but took time, or attempts"

    # -- how it ended ------------------------------------------------------------

    def _ways(self, result: Result) -> str:
        error = result["error"] or ""
        if result["status"] != "Terminated":
            return "by itself"
        if error.startswith("RuntimeError: Skipped: "):
            return "skipped"
        if error == STOPPED:
            return "stopped"
        if error == CANCELLED:
            return "cancelled"
        if not error and result["warning"] in IDLE_WARNINGS:
            return "idle"
        if error.startswith("TimeoutError: "):
            return "timeout"
        return f"strangely: {error!r}"

    def _outcome(self, spec: Spec, result: Result) -> Iterator[str]:
        way = self._ways(result)
        bad = [dep for dep in spec.deps if self.results[dep]["has_failed"]]
        if way != "by itself" and result["result"] is not None:
            yield f"terminated, with result {result['result']!r}"
        if way in ("by itself", "timeout"):
            yield from self._started(spec, way)
        if way == "skipped":
            if not bad or result["error"] not in _skips(self._unsuccessful(spec)):
                yield f"{result['error']!r}, while {bad} did not succeed"
            if spec.rule != "all_success":
                yield f"skipped in spite of {spec.rule}"
            if self.scenario.fast_fail and not self.scenario.cancels:
                yield "skipped in spite of fast_fail"
            yield from _untouched(result)
        elif way == "idle":
            yield from self._idle(spec, bad)
            yield from _untouched(result)
        elif way in ("stopped", "cancelled"):
            if way == "stopped" and not self._was_halted():
                yield "terminated, though nothing ended the run"
            if bad and spec.rule == "all_success":
                yield from _untouched(result)
            yield from self._interrupted(spec, result)
        elif way == "timeout":
            yield from self._timed_out(spec, result)
            yield from self._interrupted(spec, result)
        elif way == "by itself":
            yield from self._natural(spec, result)
        else:
            yield f"ended {way}"

    def _unsuccessful(self, spec: Spec) -> list[Hashable]:
        results = self.results
        return [dep for dep in spec.deps if results[dep]["status"] != "Successful"]

    def _started(self, spec: Spec, way: str) -> Iterator[str]:
        """What must be true of the dependencies of a task that has begun."""
        missing = self._unsuccessful(spec)
        if spec.rule == "all_success" and missing:
            yield f"ended {way}, though {missing} did not succeed"
        failed = any(self.results[dep]["has_failed"] for dep in missing)
        if spec.rule == "one_failed" and not failed:
            yield f"ended {way}, though none of {spec.deps} has failed"

    def _idle(self, spec: Spec, bad: list[Hashable]) -> Iterator[str]:
        ways = [self._ways(self.results[dep]) for dep in spec.deps]
        if spec.rule == "one_failed" and bad:
            yield f"was not called for, though {bad} did not succeed"
        elif spec.rule == "all_success" and "idle" not in ways:
            yield "was not called for, unlike all that it depends on"
        elif spec.rule == "all_done":
            yield "was not called for, though all has ended"

    def _was_halted(self) -> bool:
        scenario = self.scenario
        return bool(scenario.aborts) or scenario.abort_inside or bool(self._faults())

    def _faults(self) -> list[Hashable]:
        return [
            label
            for label, result in self.results.items()
            if result["has_failed"] and self._ways(result) in ("by itself", "timeout")
        ]

    def _timed_out(self, spec: Spec, result: Result) -> Iterator[str]:
        timeout = self.scenario.timeout_of(spec)
        if timeout is None:
            yield "timed out without a timeout"
            return
        expected = f"TimeoutError: Task exceeded timeout of {timeout} seconds"
        if result["error"] != expected:
            yield f"error is {result['error']!r}"
        took = result["duration_seconds"]
        if result["execution_mode"] and not timeout - 0.011 <= took < timeout + 5:
            yield f"timed out after {took} s"

    def _interrupted(self, spec: Spec, result: Result) -> Iterator[str]:
        """What may be said of a task that somebody ended."""
        ideal = self.ideals[spec.label]
        errors, attempts = result["retry_errors"], result["attempts"]
        if len(errors) not in (attempts, attempts - 1):
            yield f"{attempts} attempts, retry_errors {errors}"
        if not _match(ideal.errors[: len(errors)], errors):
            yield f"retry_errors are {errors}, not {ideal.errors}"
        modes, most = {None, ideal.mode}, ideal.attempts
        if spec.wrapper in FIXED and self.scenario.method:
            # It was on its way to a process, until it was found that it cannot travel.
            modes.add("process")
            most = max(1, most)
        if attempts > most:
            yield f"{attempts} attempts instead of at most {most}"
        if result["execution_mode"] not in modes:
            yield f"execution_mode is {result['execution_mode']!r}"
        fell_back = result["execution_mode"] == "thread_fallback"
        warning = FALLBACK_WARNING if fell_back else None
        if result["warning"] != warning:
            yield f"warning is {result['warning']!r}, not {warning!r}"
        trace = result["trace"]
        if trace is not None and not re.match(TOLD, trace):
            yield f"trace is {trace!r}"

    def _natural(self, spec: Spec, result: Result) -> Iterator[str]:
        ideal = self.ideals[spec.label]
        if ideal.hangs:
            yield f"was to hang, but ended: {result['status']}, {result['error']!r}"
            return
        if result["status"] != ideal.status:
            yield f"is {result['status']} ({result['error']!r}), not {ideal.status}"
            return
        for name, value in (
            ("attempts", ideal.attempts),
            ("execution_mode", ideal.mode),
            ("warning", ideal.warning),
        ):
            if result[name] != value:
                yield f"{name} is {result[name]!r}, not {value!r}"
        errors = result["retry_errors"]
        if not _match(ideal.errors if ideal.mode else [], errors):
            yield f"retry_errors are {errors}, not {ideal.errors}"
        if ideal.status == "Failed":
            if not re.fullmatch(ideal.errors[-1], result["error"], re.DOTALL):
                yield f"error is {result['error']!r}, not {ideal.errors[-1]}"
            if ideal.mode and errors[-1] != result["error"]:
                yield f"error is {result['error']!r}, but the last of {errors}"
            yield from _trace(spec, ideal, result)
        if not _same(ideal.value, result["result"]):
            yield f"result is {result['result']!r:.300}, not {ideal.value!r:.300}"
        timeout = self.scenario.timeout_of(spec)
        if timeout is not None and result["duration_seconds"] > timeout + 5:
            yield f"ended by itself after {result['duration_seconds']} s"

    # -- what was seen of it while it ran ----------------------------------------

    def _events_of(self, spec: Spec, result: Result) -> Iterator[str]:
        starts = self.starts.get(spec.number, [])
        seen = [attempt for _, attempt in starts]
        ideal, way = self.ideals[spec.label], self._ways(result)
        if seen != list(range(1, len(seen) + 1)):
            yield f"attempts were started in the order {seen}"
        silent = not ideal.mode or spec.kind == "missing"
        if silent and seen:
            yield "it was started, which is impossible"
        elif way == "by itself" and not silent and len(seen) != result["attempts"]:
            yield f"{result['attempts']} attempts, but it was started {len(seen)} times"
        elif (
            way in ("timeout", "stopped", "cancelled")
            and len(seen) > result["attempts"]
        ):
            yield f"{result['attempts']} attempts, but it was started {len(seen)} times"
        elif way in ("skipped", "idle") and seen:
            yield f"{way}, but it was started"
        for dep in spec.deps if starts and spec.rule != "one_failed" else ():
            number = self.specs[dep].number
            if spec.rule == "all_done" and self._ways(self.results[dep]) != "by itself":
                continue  # a thread goes on unheeded
            over = [
                index
                for book in (self.starts, self.ends)
                for index, _ in book.get(number, [])
            ]
            if over and max(over) > starts[0][0]:
                yield f"it was started before its dependency {dep!r} had ended"

    # -- the run as a whole ------------------------------------------------------

    def _whole(self) -> Iterator[str]:
        scenario, record = self.scenario, self.record
        unsuccessful = [k for k, r in self.results.items() if r["has_failed"]]
        faults = self._faults()
        if scenario.fast_fail and len(faults) > 1:
            yield f"fast_fail, and all of {faults} went wrong"
        raises = int(scenario.ending == "raise" and bool(unsuccessful))
        if len(record.raised) != raises:
            yield f"{len(record.raised)} ExecutionErrors instead of {raises}"
        for error in record.raised:
            if list(error.failed) != unsuccessful:
                yield f"error.failed are {list(error.failed)}, not {unsuccessful}"
        if record.active_at_the_end:
            yield f"{record.active_at_the_end} tasks at work after the end"

    def _first_outcome_stands(self) -> Iterator[str]:
        record = self.record
        for number, other in enumerate([*record.others, record.late]):
            if list(other) != list(self.results):
                yield f"call {number} returned {list(other)}"
                continue
            yield from self._differences(other, f"as call {number} returned it")
        early = {
            # What a terminated command prints before it is dead comes later, as does
            # what a process tells of where it was.
            label: (
                {**result, "trace": self.results[label]["trace"]}
                if result["status"] == "Terminated"
                and result["execution_mode"] in ("subprocess", "process")
                else result
            )
            for label, result in record.early.items()
        }
        yield from self._differences(early, "as the watcher saw it first")

    def _differences(self, other: Results, told: str) -> Iterator[str]:
        for label, result in other.items():
            if result != self.results[label]:
                yield f"{label!r}: {told}: {result}, at last: {self.results[label]}"

    def _log(self) -> Iterator[str]:
        scenario, record = self.scenario, self.record
        total = len(scenario.specs)
        found = [
            (int(match[1]), int(match[2]))
            for _, line in record.log
            if (match := re.match(r"TaskRunner progress: .* (\d+)/(\d+) \[", line))
        ]
        step = max(1, total // 10)
        counts = list(range(step, total + 1, step)) if total else []
        if total % step:
            counts.append(total)
        expected = [(count, total) for count in counts if scenario.progress]
        if total and found != expected:
            yield f"progress was {found}, not {expected}"
        yield from self._reports()
        wanted = scenario.log_errors or scenario.fast_fail
        faults = Counter(_shown(label) for label in self._faults() if wanted)
        told = Counter(
            match[1]
            for level, line in record.log
            if level == logging.ERROR
            and (
                match := re.match(r"Task '(.*?)'( \(.*?\))? failed with error: ", line)
            )
        )
        if told != faults:
            yield f"failures logged: {dict(told)}, not {dict(faults)}"
        fallen = sum(
            result["execution_mode"] == "thread_fallback"
            and self._ways(result) == "by itself"
            for result in self.results.values()
        )
        warnings = sum(level == logging.WARNING for level, _ in record.log)
        if not fallen <= warnings <= self._fallen_or_stopped():
            yield f"{warnings} warnings were logged instead of {fallen}"

    def _fallen_or_stopped(self) -> int:
        modes = [result["execution_mode"] for result in self.results.values()]
        return modes.count("thread_fallback")

    def _reports(self) -> Iterator[str]:
        record = self.record
        levels = [
            level
            for level, line in record.log
            if "\n| label" in line and "| duration" in line
        ]
        calls = len(record.others) + bool(record.results) - len(record.raised)
        failed = any(result["has_failed"] for result in self.results.values())
        level = logging.ERROR if failed else logging.INFO
        if levels != [level] * calls:
            yield f"{calls} reports were due at level {level}; levels: {levels}"

    def _concurrency(self) -> Iterator[str]:
        limit = self.scenario.max_concurrency
        if self.record.busiest > limit:
            yield f"{self.record.busiest} tasks were active, with {limit} workers"
        natural = self._natural_attempts()
        ended = {(n, a) for w, n, a, _ in self.events if w == "end"}
        active = most = 0
        for what, number, attempt, _ in self.events:
            if (number, attempt) in natural & ended:
                active += {"start": 1, "end": -1}.get(what, 0)
                most = max(most, active)
        if most > limit:
            yield f"{most} tasks ran together, with {limit} workers"

    def _held(self) -> Iterator[str]:
        """No more is in use at once than there is."""
        there_is = dict(self.scenario.resources)
        natural = self._natural_attempts()
        ended = {(n, a) for w, n, a, _ in self.events if w == "end"}
        held: Counter[str] = Counter()
        for what, number, attempt, _ in self.events:
            if (number, attempt) not in natural & ended or what == "child":
                continue
            for kind, amount in self.scenario.specs[number].resources:
                held[kind] += amount if what == "start" else -amount
                if held[kind] > there_is[kind]:
                    yield f"{held[kind]} of {kind!r} was in use, of {there_is[kind]}"
                    return

    def _cancels(self) -> Iterator[str]:
        """Who was told that a task was cancelled by it was told the truth."""
        cancelled = self.record.cancelled
        for label, spec in self.specs.items():
            answer = cancelled.get(spec.number)
            was = self._ways(self.results[label]) == "cancelled"
            if was and not answer:
                yield f"{label!r} was cancelled, but the answer was {answer}"
            elif answer and not was and not self._was_halted():
                yield f"{label!r} was not cancelled, but the answer was {answer}"

    def _is_determined(self) -> bool:
        """Whether the order of starts follows from the outcomes alone."""
        scenario = self.scenario
        ways = {self._ways(result) for result in self.results.values()}
        if scenario.cancels or any(
            spec.delay or spec.attempt_timeout for spec in scenario.specs
        ):
            return False
        # Until what was ended by force has gone, it holds what others wait for.
        return "timeout" not in ways or not any(s.resources for s in scenario.specs)

    def _natural_attempts(self) -> set[tuple[int, int]]:
        return {
            (spec.number, attempt)
            for label, spec in self.specs.items()
            if self._ways(self.results[label]) == "by itself"
            for attempt in range(1, self.results[label]["attempts"] + 1)
        }

    # -- one worker: everything is determined --------------------------------------

    def _one_worker(self) -> Iterator[str]:
        """Replay the run with the outcomes that it had."""
        order: list[tuple[int, int]] = []
        over: set[Hashable] = set()
        tried: Counter[int] = Counter()
        while True:
            ready = [spec for spec in self.scenario.specs if self._ready(spec, over)]
            spec = min(ready, key=lambda s: (-s.priority, s.number), default=None)
            if spec is None or self._ways(self.results[spec.label]) == "stopped":
                break
            tried[spec.number] += 1
            order.append((spec.number, tried[spec.number]))
            if tried[spec.number] < self.results[spec.label]["attempts"]:
                continue
            over.add(spec.label)
            if self.results[spec.label]["has_failed"]:
                yield from self._skipped_by(spec, over)
            self._leave_idle(over)
        natural = self._natural_attempts()
        started = [event[1:3] for event in self.events if event[0] == "start"]
        expected = [each for each in order if each in natural and each in started]
        found = [each for each in started if each in natural]
        if found != expected:
            yield f"one worker started {found}, not {expected}"

    def _ready(self, spec: Spec, over: set[Hashable]) -> bool:
        """Whether a task can start now, when these have ended."""
        if spec.label in over:
            return False
        ended = [self.results[dep] for dep in spec.deps if dep in over]
        if spec.rule == "one_failed":
            return any(result["has_failed"] for result in ended)
        well = all(result["status"] == "Successful" for result in ended)
        return len(ended) == len(spec.deps) and (well or spec.rule == "all_done")

    def _leave_idle(self, over: set[Hashable]) -> None:
        """End what is not called for, when these have ended."""
        idle = [k for k, r in self.results.items() if self._ways(r) == "idle"]
        for _ in idle:
            for label in idle:
                spec = self.specs[label]
                needed = spec.deps
                if spec.rule == "all_success":  # the first that was not called for
                    needed = tuple(dep for dep in spec.deps if dep in idle)
                    needed = needed if not over.intersection(needed) else ()
                if over.issuperset(needed):
                    over.add(label)

    def _skipped_by(self, culprit: Spec, over: set[Hashable]) -> Iterator[str]:
        """End what depends on the culprit; check whom each of these blames."""
        skipped: list[Spec] = []
        grown = True
        blamed = {culprit.label}
        while grown:
            new = [
                spec
                for spec in self.scenario.specs
                if spec.label not in over | blamed
                and spec.rule == "all_success"
                and blamed.intersection(spec.deps)
            ]
            skipped += new
            blamed |= {spec.label for spec in new}
            grown = bool(new)
        over |= blamed
        for spec in skipped:
            result = self.results[spec.label]
            if self._ways(result) == "skipped":
                guilty = [
                    dep
                    for dep in spec.deps
                    if dep in over and self.results[dep]["status"] != "Successful"
                ]
                if result["error"] != _skip(guilty):
                    yield f"{spec.label!r}: {result['error']!r} instead of {guilty}"


def _name(spec: Spec) -> str:
    if spec.kind != "call":
        return "shell_command" if spec.kind == "shell" else "command"
    names = {"async": "perform_async", "lambda": "<lambda>"}
    return names.get(spec.wrapper, "perform")


def _seconds(timestamp: str) -> float:
    return time.mktime(time.strptime(timestamp, "%Y-%m-%d %H:%M:%S"))


def _skip(labels: list[Hashable]) -> str:
    names = ", ".join(map(repr, labels))
    return f"RuntimeError: Skipped: dependency [{names}] failed or was terminated"


def _shown(label: Hashable) -> str:
    """A label as the log shows it, where it stays in its line."""
    return str(label).replace("\n", r"\n")


def _skips(labels: list[Hashable]) -> set[str]:
    """The errors that name some of the labels, in this order."""
    return {
        _skip(list(some))
        for count in range(1, len(labels) + 1)
        for some in itertools.combinations(labels, count)
    }


def _untouched(result: Result) -> Iterator[str]:
    if result["execution_mode"] or result["attempts"] or result["retry_errors"]:
        yield "it never started, but has a mode, or attempts"


def _match(patterns: list[str], errors: list[str]) -> bool:
    return len(patterns) == len(errors) and all(
        re.fullmatch(pattern, error, re.DOTALL)
        for pattern, error in zip(patterns, errors)
    )


def _same(expected: Any, found: Any) -> bool:
    if expected is ANYTHING:
        return found is not None
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and list(found) == list(expected)
            and all(_same(expected[key], found[key]) for key in expected)
        )
    return type(expected) is type(found) and bool(expected == found)


def _trace(spec: Spec, ideal: Ideal, result: Result) -> Iterator[str]:
    trace = result["trace"]
    if ideal.errors[-1].startswith("CommandExecutionError"):
        out = _text(result["result"]["stdout"]), _text(result["result"]["stderr"])
        titles = zip(("stdout", "stderr"), out)
        expected = "\n".join(f"{title}:\n{text}" for title, text in titles if text)
        if trace != (expected or None):
            yield f"trace is {trace!r}, not {expected!r}"
    elif result["error"].startswith("TimeoutError: Attempt"):
        if trace is not None and not re.match(TOLD, trace):
            yield f"trace is {trace!r}"
    elif " killed by " in result["error"] or " exited with " in result["error"]:
        if trace is not None:
            yield f"a lost worker has the trace {trace!r}"
    elif trace is None or result["error"].partition(":")[0] not in trace:
        yield f"trace is {trace!r}"


def _text(output: Any) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output
