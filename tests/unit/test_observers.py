"""Observers: facts, and what becomes of who raises."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, Callable

import pytest

from concurra.engine.snapshot import Snapshot
from concurra.events import END, RUN_END, RUN_START, TASK_RETRY, TASK_START, Event
from concurra.observers import Fact, Observer, ObserverReader, check
from concurra.outcomes import Outcome
from concurra.results import Recorder, Registry
from concurra.tasks import Errors, Task
from tests.unit.support import failure, make, success


class Keeping(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Fact]] = []

    def on_run_start(self, fact: Fact) -> None:
        self.told.append(("run start", fact))

    def on_task_start(self, fact: Fact) -> None:
        self.told.append(("start", fact))

    def on_task_retry(self, fact: Fact) -> None:
        self.told.append(("retry", fact))

    def on_task_end(self, fact: Fact) -> None:
        self.told.append(("end", fact))

    def on_run_end(self, fact: Fact) -> None:
        self.told.append(("run end", fact))


def reader_of(observer: Any, *tasks: Task, warnings: Any = None) -> ObserverReader:
    registry = Registry({task.label: task for task in tasks}, Recorder(100.0).record)
    warn = [].append if warnings is None else warnings.append
    return ObserverReader(observer, warn, registry, 100.0, look)


def look() -> Snapshot:
    """How far a run has come that is about to begin."""
    return Snapshot("Nightly", 0.0, {"ready": 3}, [])


def a_task(label: str = "a") -> Task:
    task = make(label)
    task.started, task.ended, task.attempts = 1.0, 2.0, 2
    task.outcome = success(7)
    task.errors = Errors(["ValueError: bad"], "process")
    return task


def shown(fact: Fact) -> Iterator[Any]:
    return (getattr(fact, name) for name in Fact.__slots__ if name != "result")


def test_each_fact_goes_to_its_method() -> None:
    """With what is known by then, and the time on the user's clock."""
    observer, task = Keeping(), a_task()
    reader = reader_of(observer, task)
    reader.read(Event(RUN_START, 0.5, None, 0))
    reader.read(Event(TASK_START, 1.0, task, 0, 1))
    reader.read(Event(TASK_RETRY, 1.5, task, 0, 1))
    reader.read(Event(END, 2.0, task, 1, 2, task.outcome))
    reader.read(Event(RUN_END, 2.0, None, 1))
    assert [(kind, *shown(fact)) for kind, fact in observer.told] == [
        ("run start", 100.5, None, "Nightly", 0, None, None),
        ("start", 101.0, "a", "nothing", 1, None, None),
        ("retry", 101.5, "a", "nothing", 1, "process", "ValueError: bad"),
        ("end", 102.0, "a", "nothing", 2, "thread", None),
        ("run end", 102.0, None, "Nightly", 0, None, None),
    ]
    results = [fact.result for _, fact in observer.told]
    assert results[0] == results[4] == {"ready": 3}
    assert results[1] is results[2] is None
    assert results[3] is not None and results[3]["result"] == 7


def test_the_result_is_a_copy() -> None:
    """An observer may change it, and nobody else sees that."""
    observer, task = Keeping(), a_task()
    reader = reader_of(observer, task)
    for _ in range(2):
        reader.read(Event(END, 2.0, task, 1, 2, task.outcome))
    (_, first), (_, second) = observer.told
    assert first.result == second.result and first.result is not second.result


def test_a_result_that_somebody_has_taken_is_told_all_the_same() -> None:
    """The event knows how the task came out."""
    observer, task = Keeping(), a_task()
    registry = Registry({"a": task}, Recorder(100.0).record)
    reader = ObserverReader(observer, print, registry, 100.0, look)
    event = Event(END, 2.0, task, 1, 2, task.outcome)
    registry.take(task)
    assert registry["a"] == {}
    reader.read(event)
    ((_, fact),) = observer.told
    assert fact.result is not None and fact.result["result"] == 7


def test_there_is_nothing_after_the_end_of_the_run() -> None:
    """Not even a second end of it."""
    observer = Keeping()
    reader = reader_of(observer)
    for _ in range(2):
        reader.read(Event(RUN_END, 2.0, None, 1))
    assert len(observer.told) == 1


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("bad"), "ValueError: bad"),
        (SystemExit(3), "SystemExit: 3"),
        (Unspeakable(), "Unspeakable: <unprintable Unspeakable>"),
    ],
)
def test_what_an_observer_raises_is_said_once(error: Any, words: str) -> None:
    """And it is told the next fact."""
    calls = []

    class Raising(Observer):
        def on_task_start(self, fact: Fact) -> None:
            calls.append(fact)
            raise error

    warnings: list[str] = []
    task = a_task()
    reader = reader_of(Raising(), task, warnings=warnings)
    for _ in range(3):
        reader.read(Event(TASK_START, 1.0, task, 0, 1))
    assert len(calls) == 3
    line, *trace = warnings[0].splitlines()
    assert (len(warnings), line) == (1, f"The observer Raising has raised {words}")
    assert trace[0] == "Traceback (most recent call last):"
    assert "    raise error" in trace
    assert "_call" not in warnings[0]


@pytest.mark.parametrize("kind", ["async", "generator", "object", "partial"])
@pytest.mark.parametrize("name", ["on_task_end", "on_task_failure", "watch"])
def test_a_method_that_would_never_run_is_refused(kind: str, name: str) -> None:
    """The error names it."""

    async def awaited(self: Any, fact: Any) -> None:
        """Nobody awaits it."""

    def generated(self: Any, fact: Any) -> Iterator[None]:
        yield

    class Callable:
        async def __call__(self, fact: Any) -> None:
            """The same."""

    made = {
        "async": awaited,
        "generator": generated,
        "object": Callable(),
        "partial": staticmethod(functools.partial(Callable())),
    }
    observer = type("Late", (Observer,), {name: made[kind]})()
    with pytest.raises(TypeError, match=f"^Late.{name} of an observer must be a func"):
        check([Keeping(), observer])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("on_task_ended", "on_task_end"),
        ("on_task_started", "on_task_start"),
        ("on_tasks_end", "on_task_end"),
        ("onTaskEnd", "on_task_end"),
        ("on_run_strat", "on_run_start"),
        ("on_task_failed", "on_task_failure"),
        ("on_task_retries", "on_task_retry"),
        ("on_task_failures", "on_task_failure"),
    ],
)
def test_a_method_with_a_slip_in_its_name_is_refused(name: str, meant: str) -> None:
    """It would never be called."""
    observer = type("Bar", (Observer,), {name: lambda self, fact: None})()
    told = f"^Bar.{name} of an observer is never called: did you mean '{meant}'\\?$"
    with pytest.raises(TypeError, match=told):
        check([observer])


@pytest.mark.parametrize(
    "name",
    [
        *("on_error", "on_end", "x", "on_task", "on_task_error", "on_task_skip"),
        *("on_task_stop", "on_run", "on_run_error", "on_task_status"),
        *("_on_task_end", "task_end"),
    ],
)
def test_a_method_of_its_own_is_none_with_a_slip(name: str) -> None:
    """It has another name."""
    check([type("Bar", (Observer,), {name: lambda self, fact: None})()])
    check([type("Bar", (Observer,), {"on_task_ended": "shown"})()])


def test_an_observer_that_does_nothing() -> None:
    """The methods of the base class take every fact."""
    task = a_task()
    warnings: list[str] = []
    reader = reader_of(Observer(), task, warnings=warnings)
    for kind in (RUN_START, TASK_START, TASK_RETRY, END, RUN_END):
        reader.read(Event(kind, 1.0, task, 0, 1, failure()))
    assert warnings == []


def test_what_an_observer_does_not_define_is_not_asked_for() -> None:
    """Neither by its class nor by an attribute of its own."""

    class Last(Observer):
        def on_run_end(self, fact: Fact) -> None:
            """It looks at the end alone."""

    reader = reader_of(Last())
    assert reader.kinds == {RUN_START, RUN_END}
    assert (reader.step, reader.faults) == (0, False)
    every = reader_of(Keeping())
    assert every.kinds == {RUN_START, TASK_START, TASK_RETRY, RUN_END}
    assert every.step == 1
    own = Observer()
    own.on_task_retry = print  # type: ignore[method-assign]
    assert TASK_RETRY in reader_of(own).kinds


def test_a_failure_is_told_before_the_end_of_its_task() -> None:
    """Only one of the task's own: not what others have ended."""
    told = []

    class Alarm(Observer):
        def on_task_failure(self, fact: Fact) -> None:
            told.append(("failure", fact))

        def on_task_end(self, fact: Fact) -> None:
            told.append(("end", fact))

    task = a_task()
    reader = reader_of(Alarm(), task)
    assert reader.faults
    for outcome in (failure(), success(1), Outcome.stopped()):
        reader.read(Event(END, 2.0, task, 1, 2, outcome))
    assert [kind for kind, _ in told] == ["failure", "end", "end", "end"]
    first = told[0][1]
    assert first.label == "a" and first.result is not None
    assert first.result["error"] == "ValueError: bad"


def test_an_observer_can_look_before_all_else() -> None:
    """At how far the run has come."""
    seen = []

    class Watching(Keeping):
        def watch(self, look: Callable[[], Snapshot]) -> None:
            seen.append((look().name, list(self.told)))

    observer = Watching()
    reader_of(observer).read(Event(RUN_START, 0.5, None, 0))
    assert seen == [("Nightly", [])] and len(observer.told) == 1


def test_a_fact_can_be_read() -> None:
    """In the log of who wants to see it."""
    assert repr(Fact(1.0, "a", "nothing", 2)) == (
        "Fact(moment=1.0, label='a', name='nothing', attempt=2, mode=None, "
        "error=None, result=None)"
    )


class Quacking:
    """Has the methods of an observer, and is none by its class."""

    on_run_start = on_task_start = on_task_retry = on_task_end = on_run_end = print


def test_observers_are_checked() -> None:
    """What has the methods is one."""
    observer = Observer()
    assert check([observer]) == [observer]
    assert len(check(iter([observer, Quacking()]))) == 2
    assert check(()) == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (Observer(), "a list of observers"),
        ("observer", "a list of observers"),
        ([Observer], "a list of Observer objects"),
        ([print], "a list of Observer objects"),
        ([None], "a list of Observer objects"),
    ],
)
def test_what_is_no_observer_is_refused(given: Any, expected: str) -> None:
    """The class itself, for one."""
    with pytest.raises(TypeError, match=f"observers must be {expected}, not "):
        check(given)
