"""`cancel`: one task is ended, wherever it is; the others go on."""

from __future__ import annotations

import multiprocessing
import os
import threading

import pytest

import concurra
from concurra import task

from .modes import KILLABLE, MODES, STAYS, SUCCEED, mode_of, runner_in
from .support import BOUND, Gate, check, read, statuses, wait_for_end_of

ERROR = "CancelledError: Task was cancelled"
SKIPPED = "RuntimeError: Skipped: dependency ['a'] failed or was terminated"


@pytest.mark.parametrize("mode", KILLABLE)
def test_a_task_at_work_is_killed(mode, tmp_path):
    """Its worker, or its command, is gone; the rest of the run is not touched."""
    runner = runner_in(mode, 1, terminate_timeout=0.2)
    STAYS.add(runner, mode, tmp_path / "pid", label="a")
    SUCCEED.add(runner, mode, label="b", depends_on=["a"])
    SUCCEED.add(runner, mode, label="c")
    runner.execute_in_background()
    pid = read(tmp_path / "pid")
    assert runner.cancel("a") is True
    wait_for_end_of(pid)
    assert runner.cancel("a") is False
    results = runner.get_background_results(verify=False)
    assert statuses(results) == {
        "a": "Terminated",
        "b": "Terminated",
        "c": "Successful",
    }
    check(results["a"])
    assert (results["a"]["error"], results["b"]["error"]) == (ERROR, SKIPPED)
    assert results["a"]["execution_mode"] == mode_of(mode)
    assert type(runner.exception("a")).__name__ == "CancelledError"


@pytest.mark.parametrize("mode", ["thread", "fallback"])
def test_a_thread_goes_on_unheeded(mode):
    """Its place is free for the next one at once."""
    with Gate() as gate:
        runner = runner_in(mode, 1)
        runner.add_task(lambda: gate.wait("late"), label="a")
        runner.add_task(lambda: "done", label="c")
        runner.execute_in_background()
        gate.reached_by(1)
        assert runner.cancel("a")
        results = runner.get_background_results(verify=False)
    check(results["a"])
    assert results["a"]["error"] == ERROR and results["a"]["result"] is None
    assert results["a"]["execution_mode"] == mode_of(mode)
    assert results["c"]["result"] == "done"


@pytest.mark.parametrize("mode", MODES)
def test_before_the_start(mode):
    """It never starts; once is enough."""
    runner = runner_in(mode, 1)
    for label, needs in (("c", []), ("a", ["c"]), ("b", ["a"])):
        SUCCEED.add(runner, mode, label=label, depends_on=needs)
    assert runner.cancel("a") is True
    assert runner.cancel("a") is False
    assert runner.results_registry["a"] == {}
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
    assert (results["a"]["error"], results["b"]["error"]) == (ERROR, SKIPPED)
    assert results["a"]["attempts"] == 0
    assert results["c"]["status"] == "Successful"


def test_all_before_the_start():
    """A run in which there is nothing left to do ends."""
    runner = concurra.TaskRunner(progress_stats=False)
    for label in "abc":
        runner.add_task(str, label=label)
        runner.cancel(label)
    results = runner.run(verify=False)
    assert {result["error"] for result in results.values()} == {ERROR}


@pytest.mark.parametrize("order", ["abcd", "dcba", "badc"])
def test_some_that_depend_on_each_other_before_the_start(order):
    """Each has been told that it is cancelled, so none of them is skipped instead."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    for label, needed in zip("abcde", ["", "a", "b", "c", "d"]):
        runner.add_task(str, label=label, depends_on=list(needed))
    assert [runner.cancel(label) for label in order] == [True] * 4
    results = runner.run(verify=False)
    assert [results[label]["error"] for label in "abcd"] == [ERROR] * 4
    assert results["e"]["error"].startswith("RuntimeError: Skipped")


def test_one_that_waits_for_others():
    """They go on, and succeed, and it does not start after all."""
    with Gate() as gate:
        runner = concurra.TaskRunner(2, progress_stats=False)
        runner.add_task(gate.wait, label="first")
        runner.add_task(str, label="a", depends_on=["first"])
        runner.add_task(str, label="b", depends_on=["a"])
        runner.add_task(str, label="c", depends_on=["first"])
        runner.execute_in_background()
        gate.reached_by(1)
        assert runner.cancel("a")
        gate.open()
        results = runner.get_background_results(verify=False)
    assert statuses(results) == {
        "first": "Successful",
        "a": "Terminated",
        "b": "Terminated",
        "c": "Successful",
    }


def test_one_that_is_ready():
    """It waits for a worker, and never gets one."""
    with Gate() as gate:
        runner = concurra.TaskRunner(1, progress_stats=False)
        runner.add_task(gate.wait, label="first")
        for number in range(50):
            runner.add_task(str, label=number)
        runner.execute_in_background()
        gate.reached_by(1)
        assert runner.counts()["ready"] == 50
        assert all(runner.cancel(number) for number in range(0, 50, 2))
        assert runner.counts()["ready"] == 25
        gate.open()
        results = runner.get_background_results(verify=False)
    assert [results[number]["attempts"] for number in range(50)] == [0, 1] * 25


def test_from_within_a_task():
    """Another one, and itself: what it returns then is not heeded."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    found, done = {}, threading.Event()

    def work():
        found["other"] = runner.cancel("b")
        found["mine"] = runner.cancel("a")
        done.set()
        return "done"

    runner.add_task(work, label="a")
    runner.add_task(str, label="b")
    runner.add_task(str, label="c")
    results = runner.run(verify=False)
    assert done.wait(BOUND), "its thread goes on, and nobody waits for it"
    assert found == {"other": True, "mine": True}
    assert statuses(results) == {
        "a": "Terminated",
        "b": "Terminated",
        "c": "Successful",
    }
    assert results["a"]["result"] is None


def test_from_many_threads():
    """One of them did it."""
    with Gate() as gate:
        runner = concurra.TaskRunner(1, progress_stats=False)
        runner.add_task(gate.wait, label="first")
        runner.add_task(str, label="a")
        runner.execute_in_background()
        gate.reached_by(1)
        found, barrier = [], threading.Barrier(8)

        def cancel():
            barrier.wait()
            found.append(runner.cancel("a"))

        threads = [threading.Thread(target=cancel) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gate.open()
        runner.get_background_results(verify=False)
    assert sorted(found) == [False] * 7 + [True]


def test_after_the_end():
    """What has ended keeps its outcome."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    runner.run()
    assert runner.cancel("a") is False
    assert runner.results_registry["a"]["status"] == "Successful"


def test_a_label_that_does_not_exist():
    """Is refused by name, at any time."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    for step in (runner.run, runner.abort):
        for label in ("b", 0):
            with pytest.raises(ValueError, match="label must be that of a task, not"):
                runner.cancel(label)
        step()


def test_it_is_no_failure_that_ends_everything():
    """With `fast_fail` the others go on: somebody wanted it so."""
    with Gate() as gate:
        runner = concurra.TaskRunner(2, progress_stats=False, fast_fail=True)
        runner.add_task(gate.wait, label="a")
        runner.add_task(gate.wait, label="b")
        runner.execute_in_background()
        gate.reached_by(2)
        runner.cancel("a")
        gate.open()
        results = runner.get_background_results(verify=False)
    assert statuses(results) == {"a": "Terminated", "b": "Successful"}


def test_it_is_not_tried_again():
    """However many retries are left."""
    with Gate() as gate:
        runner = concurra.TaskRunner(1, progress_stats=False, task_retries=5)
        runner.add_task(gate.wait, label="a")
        runner.execute_in_background()
        gate.reached_by(1)
        runner.cancel("a")
        result = runner.get_background_results(verify=False)["a"]
    assert (result["attempts"], result["task_retries"]) == (1, 5)


def test_it_counts_as_a_failure_of_the_run(log):
    """The report names it; `exit_code` is 1."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    runner.cancel("a")
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.run(raise_exception=True)
    assert list(caught.value.failed) == ["a"]
    assert f"Task 'a' failed with error: {ERROR}" in str(caught.value)
    assert runner.exit_code == 1


def test_what_a_command_had_printed(tmp_path):
    """Is kept, as for every command that is terminated."""
    runner = concurra.TaskRunner(progress_stats=False, terminate_timeout=0.2)
    line = f"echo so far; touch {tmp_path}/here; exec sleep 60"
    runner.add_shell_command(line, label="a")
    runner.execute_in_background()
    read(tmp_path / "here")
    runner.cancel("a")
    result = runner.get_background_results(verify=False)["a"]
    assert "so far" in result["trace"] and result["result"] is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_copy_that_a_fork_has_made():
    """There is nothing at work in it that could be ended."""
    queue = multiprocessing.get_context("fork").SimpleQueue()

    def ask(runner):
        try:
            runner.cancel("a")
        except RuntimeError as error:
            queue.put(str(error))

    with Gate() as gate:
        runner = concurra.TaskRunner(1, progress_stats=False)
        runner.add_task(task(gate.wait), label="a")
        runner.execute_in_background()
        gate.reached_by(1)
        process = multiprocessing.get_context("fork").Process(
            target=ask, args=(runner,)
        )
        process.start()
        assert "copy of a runner" in queue.get()
        process.join()
        process.close()
        gate.open()
        assert statuses(runner.get_background_results()) == {"a": "Successful"}
    queue.close()
