"""A reader that records successes, and what it gives back to the next run."""

from __future__ import annotations

import pickle
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from concurra.checkpoint import Checkpoint, CheckpointReader, clear
from concurra.checkpoint_file import CheckpointFile
from concurra.digests import digest
from concurra.events import END, RUN_START, TASK_START, Event
from concurra.outcomes import Outcome, Restored
from concurra.plan.plan import Plan
from concurra.results import Recorder, Registry
from concurra.tasks import Task
from tests.unit.replay import Struck, struck_at
from tests.unit.support import add, error_of, failure, labels, make, success, take_all


class World:
    """A plan and a reader, in front of a file."""

    def __init__(self, path: Path, *tasks: Task, max_age: float | None = None) -> None:
        self.plan = Plan()
        for task in tasks:
            add(self.plan, task)
        self.plan.check()
        self.told: list[tuple[str, str]] = []
        self.reader = CheckpointReader(
            Checkpoint(path, max_age),
            Registry(self.plan.tasks, Recorder(0.0).record),
            self.plan.mapped,
            lambda note: self.told.append(("info", note)),
            lambda note: self.told.append(("warning", note)),
        )

    def restore(self, *cancelled: str) -> list[Any]:
        """The labels of what is restored."""
        tasks = self.plan.tasks
        self.restored = self.reader.restore(
            tasks.values(), [tasks[label] for label in cancelled]
        )
        return labels(self.restored)

    def end(self, label: str, outcome: Outcome | None = None) -> None:
        """A task ends, and then the reader hears of it."""
        task, outcome = self.plan.tasks[label], outcome or success(label)
        task.started = task.ended = 0.0
        task.attempts = 1
        task.outcome = outcome.emptied()  # somebody has taken the result before
        self.reader.read(Event(END, 0.0, task, 1, 1, outcome))

    def close(self) -> World:
        self.reader.close()
        return self


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.sqlite"


def recorded(path: Path, *names: str) -> None:
    """These have succeeded in a run in which nothing was restored, in this order."""
    world = World(path, *map(make, names), max_age=0)
    assert world.restore() == []
    for name in names:
        world.end(name)
    world.close()


def test_a_success_is_given_back(path: Path) -> None:
    """As it was told with the event, whatever the task has been left of it."""
    recorded(path, "a")
    world = World(path, make("a"), make("b"))
    assert world.restore() == ["a"]
    (outcome,) = world.restored.values()
    assert isinstance(outcome, Restored) and outcome.result is not None
    assert (outcome.ok, outcome.mode, outcome.value) == (True, "thread", "a")
    assert outcome.result["result"] is outcome.result["output"] == "a"
    world.close()


@pytest.mark.parametrize("kind", [RUN_START, TASK_START])
def test_other_events_are_not_looked_at(kind: str, path: Path) -> None:
    """Some have no task."""
    world = World(path, make("a"))
    world.restore()
    world.reader.read(Event(kind, 0.0, None, 0))
    assert world.close().restore() == []
    world.close()


def test_what_was_not_a_success_is_not_recorded(path: Path) -> None:
    """A failure, for one."""
    world = World(path, make("a"))
    world.restore()
    world.end("a", failure())
    world.close()
    again = World(path, make("a"))
    assert again.restore() == []
    again.close()


def test_what_depends_on_something_that_was_not_recorded(path: Path) -> None:
    """It is not recorded either."""
    world = World(path, make("a"), make("b", "a"), make("c", "b"), make("d"))
    world.restore()
    world.end("a", success(lambda: None))
    for name in "bcd":
        world.end(name)
    world.close()
    again = World(path, make("a"), make("b", "a"), make("c", "b"), make("d"))
    assert again.restore() == ["d"]
    again.close()
    ((level, note),) = world.told
    assert level == "warning" and note.startswith("Task 'a' cannot be recorded in the ")


def test_an_order_that_does_not_fit(path: Path) -> None:
    """What was recorded before something it depends on now is not restored."""
    recorded(path, "c", "b", "a")
    chain = make("a"), make("b", "a"), make("c", "b"), make("d", "c")
    world = World(path, *chain)
    assert world.restore() == ["a"]
    world.close()
    recorded(path, "b", "c")
    world = World(path, make("a"), make("b", "a"), make("c", "b"))
    assert world.restore() == ["a", "b", "c"]
    world.close()


def test_what_is_cancelled(path: Path) -> None:
    """It is not restored, with all that depends on it."""
    recorded(path, *"abcd")
    world = World(path, make("a"), make("b", "a"), make("c", "b"), make("d"))
    assert world.restore("b") == ["a", "d"]
    world.close()


def test_what_is_too_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the wall clock, which is the only one that two runs share."""
    recorded(path, "a")
    now = time.time()
    for later, found in ((5, ["a"]), (15, [])):
        monkeypatch.setattr(time, "time", lambda later=later: now + later)
        world = World(path, make("a"), max_age=10)
        assert world.restore() == found
        world.close()


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps(5)])
def test_a_record_that_cannot_be_read(content: bytes, path: Path) -> None:
    """Its task is run, and recorded anew."""
    recorded(path, "a", "b")
    file = sqlite3.connect(path)
    with file:
        file.execute(
            "UPDATE successes SET result = ? WHERE label = ?", (content, digest("a"))
        )
    file.close()
    world = World(path, make("a"), make("b", "a"))
    assert world.restore() == []
    world.end("a")
    world.end("b")
    ((level, note),) = world.close().told
    assert level == "info" and note.startswith("Task 'a' is run again, as may others")
    world = World(path, make("a"), make("b", "a"))
    assert world.restore() == ["a", "b"]
    world.close()


def test_a_file_that_cannot_be_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said once; what could not be written, and what needs it, is run again."""
    world = World(path, make("a"), make("b", "a"), make("c"), make("d"))
    world.restore()

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFile, "record", fail)
        world.end("a")
        world.end("c")
    world.end("b")
    world.end("d")
    ((level, note),) = world.close().told
    assert level == "warning"
    assert note.endswith("OperationalError: database or disk is full")
    world = World(path, make("a"), make("b", "a"), make("c"), make("d"))
    assert world.restore() == ["d"]
    world.close()


def test_abandoned_before_or_after(path: Path) -> None:
    """It holds nothing then, and nothing happens if that is said twice."""
    world = World(path, make("a"))
    world.reader.abandon()
    assert not path.exists()
    world.restore()
    world.reader.abandon()
    world.reader.abandon()
    world.close()
    assert world.told == []


# Before anybody has the connection, the interpreter closes it.
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_a_start_that_is_struck_anywhere_leaves_the_file_to_others(path: Path) -> None:
    """Also as long as somebody has the error, and by it all that it went through."""
    recorded(path, "a")
    step = 0
    struck = True
    while struck:
        step += 1
        world = World(path, make("a"), make("b"))
        errors = []

        def start() -> None:
            try:
                world.restore()
            except Struck as error:
                errors.append(error)

        struck = struck_at(step, start)
        assert struck == bool(errors)
        world.reader.abandon()
        clear(path, labels=["unknown"])
    assert step > 50


def test_an_interrupt_while_a_file_is_looked_at(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves the file to others, whoever has opened it."""

    def interrupt(file: CheckpointFile) -> None:
        raise KeyboardInterrupt

    world = World(path, make("a"))
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFile, "_look", interrupt)
        with pytest.raises(KeyboardInterrupt) as restoring:
            world.restore()
    world.reader.abandon()
    clear(path)
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointFile, "_look", interrupt)
        with pytest.raises(KeyboardInterrupt) as clearing:
            clear(path)
    assert world.restore() == []
    world.close()
    assert restoring.tb and clearing.tb


def test_an_error_whose_text_cannot_be_had(path: Path) -> None:
    """It is told without."""

    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError

    class Value:
        def __reduce__(self) -> Any:
            raise Odd

    world = World(path, make("a"))
    world.restore()
    world.end("a", success(Value()))
    assert world.told[0][1].endswith("Odd: <unprintable Odd>")
    world.close()


# The plan -----------------------------------------------------------------------------


def restored_plan() -> tuple[Plan, dict[Task, Outcome]]:
    plan = Plan()
    add(plan, make("a"))
    add(plan, make("b", "a"))
    add(plan, make("c", "b"))
    add(plan, make("idle", "b", trigger_rule="one_failed"))
    add(plan, make("d", "b", "e"))
    add(plan, make("e"))
    plan.check()
    record = Recorder(0.0).record
    outcomes: dict[Task, Outcome] = {}
    for label in "ab":
        task = make(label)
        task.started = task.ended = 1.0
        task.outcome = success(label)
        outcomes[plan.tasks[label]] = Restored(record(task))
    return plan, outcomes


def check_restored(plan: Plan) -> None:
    assert sorted(labels(plan.ended)) == ["a", "b", "idle"]
    assert len(plan.ended) == 3 and plan.remaining == 3
    assert error_of(plan.tasks["a"]) is None
    assert all(each.job is None for each in plan.ended)
    assert take_all(plan) == ["c", "e"]


def test_a_plan_goes_on_from_what_was_restored() -> None:
    """What depends on it is ready, or waits for the rest, or is not called for."""
    plan, outcomes = restored_plan()
    plan.open({}, outcomes, 5.0)
    assert plan.width() == 2
    check_restored(plan)


def test_an_opening_that_is_struck_at_any_line() -> None:
    """It is done once more, and nothing has ended twice."""
    line = 0
    struck = True
    while struck:
        line += 1
        plan, outcomes = restored_plan()
        struck = struck_at(line, lambda: plan.open({}, outcomes, 5.0))
        if struck:
            plan.rebuild((), 5.0)
            plan.open({}, outcomes, 5.0)
        check_restored(plan)
    assert line > 10
