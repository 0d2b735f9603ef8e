"""An exception that was meant for a task strikes the run's own code, at every line.

A library that ends tasks by a timer (`PyThreadState_SetAsyncExc`) may be late. Here the
exception is raised by a trace function, line by line, so that no line is left out.
"""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections.abc import Iterator
from types import CodeType
from typing import Any, Callable

import pytest

import concurra
from concurra.threads import ThreadCache
from tests.helpers import wait_until

BOUND = 20.0

OURS = ("/concurra/", "\\concurra\\")

#: What catches the rest cannot be caught itself: a handful of lines.
EXEMPT = (ThreadCache._serve.__code__, ThreadCache._work.__code__)


class Late(BaseException):
    """What the timer raises."""


class Strike:
    """Strikes one thread at a line of concurra's code, after its first task has run."""

    def __init__(self, line: int) -> None:
        self._number = line
        self._lines = itertools.count(1)  # no two threads are at the same
        self.where: str | None = None
        self._armed: set[int] = set()

    def arm(self, value: Any = None) -> Any:
        """Called by a task: from now on its thread may be struck."""
        self._armed.add(threading.get_ident())
        return value

    def trace(self, frame: Any, event: str, arg: object) -> Callable[..., Any] | None:
        """For each call. What is not ours, or comes after the strike, is let go."""
        if self.where is None and is_ours(frame.f_code):
            return self.line
        return None

    def line(self, frame: Any, event: str, arg: object) -> Callable[..., Any] | None:
        """For each line of what is ours."""
        if event != "line" or threading.get_ident() not in self._armed:
            return self.line
        if self.where is not None:
            return None
        if next(self._lines) == self._number:
            self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            raise Late
        return self.line


@functools.lru_cache(maxsize=None)
def is_ours(code: CodeType) -> bool:
    """Whether it is concurra's, and can be caught."""
    return any(part in code.co_filename for part in OURS) and code not in EXEMPT


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Strike]]:
    """Makes a strike for the threads that are started next."""
    yield from striking(monkeypatch)


def striking(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[int], Strike]]:
    """What makes a strike for the threads that are started next."""
    monkeypatch.setattr(threading, "excepthook", lambda args: None)

    def make(line: int) -> Strike:
        strike = Strike(line)
        threading.settrace(strike.trace)
        return strike

    yield make
    threading.settrace(None)  # type: ignore[arg-type]


def play(strike: Strike, workers: int, kind: str = "plain") -> dict[Any, Any]:
    """A run with a chain, a retry and a failure; what became of its tasks.

    :param kind: of the tasks, see `KINDS`.
    """
    runner = concurra.TaskRunner(
        workers, progress_stats=False, log_errors=True, resources={"db": 1}
    )
    runner.log = Silent()  # type: ignore[assignment]
    KINDS[kind](runner, strike)
    runner.execute_in_background()
    ended = threading.Event()
    results: dict[Any, Any] = {}

    def wait() -> None:
        results.update(runner.get_background_results(verify=False))
        ended.set()

    waiter = threading.Thread(target=wait, daemon=True)
    threading.settrace(None)  # type: ignore[arg-type]
    waiter.start()
    assert ended.wait(BOUND), f"the run hangs after a strike at {strike.where}"
    waiter.join(BOUND)
    return results


def add_plain(runner: concurra.TaskRunner, strike: Strike) -> None:
    outcomes = iter([ValueError("once")])

    def flaky() -> None:
        for error in outcomes:
            raise error

    runner.add_task(strike.arm, 1, label="first")
    runner.add_task(strike.arm, 2, label="second", depends_on=["first"])
    runner.add_task(flaky, label="flaky", depends_on=["first"], task_retries=1)
    runner.add_task(int, "x", label="bad", depends_on=["first"])
    runner.add_task(strike.arm, 3, label="skipped", depends_on=["bad"])
    runner.add_task(strike.arm, 4, label="last", depends_on=["second", "flaky"])


def add_with_options(runner: concurra.TaskRunner, strike: Strike) -> None:
    """The same, where each decision has something more to look at."""
    outcomes = iter([ValueError("once")])

    def flaky() -> None:
        for error in outcomes:
            raise error

    retry = concurra.Retry(1, on=ValueError, delay=0.001, attempt_timeout=BOUND)
    db = {"db": 1}
    arm, options = strike.arm, concurra.task
    runner.add_task(options(arm, resources=db, timeout=BOUND), 1, label="first")
    second = options(arm, resources=db, priority=1)
    runner.add_task(second, 2, label="second", depends_on=["first"])
    flaky = options(flaky, resources=db, task_retries=retry)
    runner.add_task(flaky, label="flaky", depends_on=["first"])
    runner.add_task(int, "x", label="bad", depends_on=["first"])
    runner.add_task(arm, 3, label="skipped", depends_on=["bad"])
    clean = options(arm, trigger_rule="all_done", resources=db)
    runner.add_task(clean, 4, label="clean", depends_on=["skipped", "second"])
    mend = options(arm, trigger_rule="one_failed")
    runner.add_task(mend, 5, label="mend", depends_on=["bad", "second"])
    runner.add_task(mend, 6, label="idle", depends_on=["clean"])
    runner.add_task(arm, 7, label="last", depends_on=["second", "flaky"])


def add_maps(runner: concurra.TaskRunner, strike: Strike) -> None:
    """The same with maps, of which many slots do a part."""
    outcomes = iter([ValueError("once")])

    def flaky(number: int) -> int:
        for error in outcomes:
            raise error
        return number

    retry = concurra.Retry(1, on=ValueError, delay=0.001, attempt_timeout=BOUND)
    first = concurra.task(strike.arm, timeout=BOUND)
    runner.map(first, iter(range(4)), label="first", chunksize=1)
    after, flaky = concurra.ref("first"), concurra.task(flaky, task_retries=retry)
    runner.map(strike.arm, after, label="second", chunksize=2)
    runner.map(flaky, after, label="flaky", chunksize=2)
    runner.map(int, ["1", "x", "2"], label="bad", chunksize=1, depends_on=after)
    runner.add_task(strike.arm, 3, label="skipped", depends_on=["bad"])
    runner.map(strike.arm, [4], label="last", depends_on=["second", "flaky"])


class Silent:
    """A logger."""

    def info(self, *args: object) -> None:
        pass

    warning = error = info


RIGHT = {
    "first": "Successful",
    "second": "Successful",
    "flaky": "Successful",
    "bad": "Failed",
    "skipped": "Terminated",
    "last": "Successful",
}

RIGHT_WITH_OPTIONS = {
    "first": "Successful",
    "second": "Successful",
    "flaky": "Successful",
    "bad": "Failed",
    "skipped": "Terminated",
    "clean": "Successful",
    "mend": "Successful",
    "idle": "Terminated",
    "last": "Successful",
}


KINDS = {"plain": add_plain, "options": add_with_options, "maps": add_maps}

#: Of so many lines one is struck here, and each in the catalogue of faults. What
#: is done for each item of a map is many times the same lines.
STRIDES = {"plain": 47, "options": 47, "maps": 131}

#: Another thread may have done what was left to do: then a line is tried again.
TRIES = 10


@pytest.mark.hang_after(280)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 3])
def test_a_strike_at_a_line_costs_its_own_task_at_most(
    struck: Callable[[int], Strike], workers: int, kind: str
) -> None:
    """Every run ends; a task that was done stays done; nothing is lost or doubled."""
    check_strikes(struck, workers, kind, first=1)


def check_strikes(
    struck: Callable[[int], Strike], workers: int, kind: str, first: int
) -> None:
    """Strike runs from this line on, until one has none of that number."""
    right = RIGHT_WITH_OPTIONS if kind == "options" else RIGHT
    for line in range(first, 100_000, STRIDES[kind]):
        for _ in range(TRIES):
            strike = struck(line)
            results = play(strike, workers, kind)
            if strike.where is not None:
                break
        else:
            break
        check(results, right, strike)
    assert line > 150
    assert {label: result["status"] for label, result in results.items()} == right
    wait_until(lambda: no_threads_left(), BOUND, "the end of all threads")


def check(results: dict[Any, Any], right: dict[str, str], strike: Strike) -> None:
    hit = [
        label
        for label, result in results.items()
        if "Late" in str([result["error"], result["retry_errors"]])
    ]
    assert len(hit) <= 1, strike.where
    for label, result in results.items():
        behind = "Skipped" in (result["error"] or "") and label != "skipped"
        behind = behind or (label == "idle" and "clean" in hit)
        if label not in hit and not (hit and behind):
            told = strike.where, label, result["error"], result["retry_errors"], hit
            assert result["status"] == right[label], told


def no_threads_left() -> bool:
    return all(each.name != "concurra" for each in threading.enumerate())


def test_the_trace_function_reaches_the_threads_of_a_run(
    struck: Callable[[int], Strike],
) -> None:
    """Or else the test above would show nothing."""
    strike = struck(1)
    play(strike, 1)
    assert strike.where is not None and "concurra" in strike.where


def test_of_many_threads_one_is_struck() -> None:
    """Or else two tasks would fail because of one exception."""
    hits: list[Late] = []
    strikes = [Strike(150) for _ in range(200)]
    barrier = threading.Barrier(3)

    def run() -> None:
        for strike in strikes:
            strike.arm()
            barrier.wait(BOUND)
            for _ in range(100):
                try:
                    strike.line(sys._getframe(), "line", None)
                except Late as late:
                    hits.append(late)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
    finally:
        sys.setswitchinterval(interval)
    assert len(hits) == len(strikes)
