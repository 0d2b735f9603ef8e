"""Resources: at most so much of each is in use at once."""

from __future__ import annotations

import threading

import pytest

import concurra
from concurra import Retry, task

from .modes import HOLD, KILLABLE, MODES, STAYS, SUCCEED, runner_in
from .support import BOUND, Gate, statuses


@pytest.mark.parametrize("mode", MODES)
def test_at_most_so_many_at_once(mode, tmp_path):
    """However many workers there are; the results say how many met at the most."""
    runner = runner_in(mode, 4, resources={"db": 2})
    for number in range(6):
        HOLD.add(
            runner,
            mode,
            tmp_path,
            f"at-{number}",
            0,
            label=number,
            resources={"db": 1},
        )
    results = runner.run(raise_exception=True)
    values = [result["result"] for result in results.values()]
    most = [int(v["stdout"] if mode == "command" else v) for v in values]
    assert max(most) <= 2


def test_as_many_as_there_is():
    """They do run side by side: both meet at a barrier."""
    barrier = threading.Barrier(2, timeout=BOUND)
    runner = concurra.TaskRunner(4, progress_stats=False, resources={"db": 4})
    for number in range(4):
        runner.add_task(task(barrier.wait, resources={"db": 2}), label=number)
    assert set(statuses(runner.run()).values()) == {"Successful"}


def test_one_that_is_blocked_blocks_no_other():
    """What asks for nothing, or for something else, passes it by."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            3, progress_stats=False, resources={"db": 1, "gpu": 1}
        )
        runner.add_task(task(gate.wait, resources={"db": 1}), label="holds")
        blocked = task(str, resources={"db": 1}, priority=9)
        runner.add_task(blocked, label="blocked", depends_on=["quick"])
        runner.add_task(str, label="quick")
        other = task(str, resources={"gpu": 1})
        runner.add_task(other, label="other", depends_on=["quick"])
        runner.add_task(gate.open, label="opens", depends_on=["other"])
        results = runner.run()
    assert set(statuses(results).values()) == {"Successful"}


def test_who_asks_for_several_never_waits_for_ever():
    """In whatever order they are named: all of it is taken, or nothing."""
    runner = concurra.TaskRunner(8, progress_stats=False, resources={"a": 1, "b": 1})
    for number in range(200):
        kinds = [{"a": 1, "b": 1}, {"b": 1, "a": 1}, {"a": 1}, {"b": 1}][number % 4]
        runner.add_task(task(str, resources=kinds), label=number)
    assert set(statuses(runner.run()).values()) == {"Successful"}


@pytest.mark.parametrize("mode", KILLABLE)
@pytest.mark.parametrize("way", ["timeout", "attempt"])
def test_what_is_killed_holds_nothing(mode, way, tmp_path):
    """What it held is free when it has ended, for the next one."""
    runner = runner_in(mode, 2, resources={"db": 1}, terminate_timeout=0.2)
    limit = {"timeout": 1}
    if way == "attempt":
        limit = {"task_retries": Retry(0, attempt_timeout=1)}
    db = {"resources": {"db": 1}}
    STAYS.add(runner, mode, tmp_path / "pid", label="a", **db, **limit)
    SUCCEED.add(runner, mode, label="b", **db)
    results = runner.run(verify=False)
    assert results["b"]["status"] == "Successful"
    assert results["a"]["has_failed"]


def test_what_goes_on_unheeded_is_not_waited_for():
    """A thread that is given up holds nothing any more, or else nobody could go on."""
    with Gate() as gate:
        runner = concurra.TaskRunner(2, progress_stats=False, resources={"db": 1})
        runner.add_task(task(gate.wait, timeout=0.1, resources={"db": 1}), label="a")
        runner.add_task(task(str, resources={"db": 1}), label="b")
        results = runner.run(verify=False)
    assert statuses(results) == {"a": "Terminated", "b": "Successful"}


def test_a_task_that_waits_for_its_next_attempt_holds_nothing():
    """Another one that asks for the same ends the wait."""
    done = threading.Event()
    errors = iter([ValueError("once")])

    def flaky():
        for error in errors:
            raise error

    def wait(attempts):
        assert done.wait(BOUND)
        return 0

    runner = concurra.TaskRunner(2, progress_stats=False, resources={"db": 1})
    first = task(flaky, resources={"db": 1}, task_retries=Retry(1, delay=wait))
    runner.add_task(first, label="a")
    runner.add_task(task(done.set, resources={"db": 1}), label="b")
    assert set(statuses(runner.run()).values()) == {"Successful"}


def test_nothing_of_something():
    """To ask for none is to ask for nothing, even if there is none."""
    runner = concurra.TaskRunner(progress_stats=False, resources={"gpu": 0})
    runner.add_task(task(str, resources={"gpu": 0, "x": 0}), label="a")
    assert statuses(runner.run()) == {"a": "Successful"}
    with pytest.raises(ValueError, match="1 of 'gpu' is more than the runner has"):
        concurra.TaskRunner(resources={"gpu": 0}).add_command(
            ["true"], resources={"gpu": 1}
        )


def test_with_rules_and_priorities():
    """What is skipped holds nothing, and what runs in spite of it gets its share."""
    ran = []

    def note(name):
        ran.append(name)
        if name == "bad":
            raise ValueError

    def add(name, **more):
        needs = more.pop("depends_on", None)
        asked = task(note, resources={"db": 1}, **more)
        runner.add_task(asked, name, label=name, depends_on=needs)

    runner = concurra.TaskRunner(4, progress_stats=False, resources={"db": 1})
    add("bad")
    add("skipped", depends_on=["bad"])
    add("low", priority=-1)
    add("clean", depends_on=["skipped"], trigger_rule="all_done", priority=5)
    runner.run(verify=False)
    assert ran == ["bad", "clean", "low"]
