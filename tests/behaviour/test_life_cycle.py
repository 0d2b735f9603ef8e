"""The life of a runner: built, started once, ended; what is allowed when."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import concurra

from .support import BOUND, Gate, check, statuses

STARTS = ["run", "execute", "execute_in_background"]
ADDERS = {
    "add_task": lambda runner: runner.add_task(str, label="late"),
    "add_func": lambda runner: runner.add_func(str, key="late"),
    "add_function": lambda runner: runner.add_function(str, key="late"),
    "add_work": lambda runner: runner.add_work([(str, (), {}, "late")]),
    "add_command": lambda runner: runner.add_command(["ls"], label="late"),
    "add_shell_command": lambda runner: runner.add_shell_command("ls", label="late"),
}


def runner_with(task=str):
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(task, label="a")
    return runner


@pytest.mark.parametrize("first", ["run", "execute"])
@pytest.mark.parametrize("second", STARTS)
def test_a_runner_starts_once(first, second):
    """Every combination of two starts is a RuntimeError, and harmless."""
    runner = runner_with()
    results = getattr(runner, first)()
    before = dict(results["a"])
    with pytest.raises(RuntimeError):
        getattr(runner, second)()
    assert results["a"] == before
    assert runner.results_registry == results


def test_an_empty_runner_starts_once():
    """Nothing to do is a run like another."""
    runner = concurra.TaskRunner()
    runner.run()
    with pytest.raises(RuntimeError):
        runner.run()


@pytest.mark.parametrize("adder", ADDERS)
def test_nothing_is_added_to_a_run_that_goes_on(adder):
    """Every adder raises RuntimeError while tasks run, also in a task of its own."""
    with Gate() as gate:
        runner = concurra.TaskRunner(progress_stats=False, max_concurrency=2)
        runner.add_task(gate.wait, label="a")
        runner.add_task(ADDERS[adder], runner, label="b")
        runner.execute_in_background()
        gate.reached_by(1)
        with pytest.raises(RuntimeError):
            ADDERS[adder](runner)
        gate.open()
        results = runner.get_background_results(verify=False)
    assert list(results) == ["a", "b"]
    assert results["b"]["status"] == "Failed"
    assert len(runner) == 2


@pytest.mark.parametrize("adder", ADDERS)
def test_nothing_is_added_after_the_end(adder):
    """Every adder raises RuntimeError when the run is over."""
    runner = runner_with()
    runner.run()
    with pytest.raises(RuntimeError):
        ADDERS[adder](runner)
    assert len(runner) == 1
    assert list(runner.results_registry) == ["a"]


def test_the_refusal_says_what_to_do():
    """The message points to a new runner."""
    runner = runner_with()
    runner.run()
    for refused in (runner.run, lambda: runner.add_task(str)):
        with pytest.raises(RuntimeError, match="(?i)new"):
            refused()


def test_the_length_stays():
    """`len(runner)` is the number of tasks, before, during and after the run."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(lambda: len(runner), label="a")
    runner.add_task(str, label="b")
    assert len(runner) == 2
    assert runner.run()["a"]["result"] == 2
    assert len(runner) == 2


def test_results_registry_before_and_after():
    """`{}` for each task before; the results after."""
    runner = runner_with()
    runner.add_task(int, "x", label="b")
    assert runner.results_registry == {"a": {}, "b": {}}
    results = runner.run(verify=False)
    assert runner.results_registry == results
    for result in runner.results_registry.values():
        check(result)


def test_results_registry_in_a_task():
    """A task finds the results of those before it."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(abs, -1, label="a")
    runner.add_task(
        lambda: runner.results_registry["a"]["result"], label="b", depends_on=["a"]
    )
    assert runner.run()["b"]["result"] == 1


def test_a_run_inside_a_task():
    """A task may run a runner of its own, as deep as one likes."""

    def nested(depth):
        if depth == 0:
            return "bottom"
        runner = concurra.TaskRunner(progress_stats=False, max_concurrency=1)
        runner.add_task(nested, depth - 1, label="a")
        return runner.run(verify=False)["a"]["result"]

    assert nested(4) == "bottom"


def test_runners_in_several_threads():
    """Each thread has its own runner, at the same time."""
    barrier = threading.Barrier(4, timeout=BOUND)
    outcomes = []

    def run():
        runner = concurra.TaskRunner(progress_stats=False)
        runner.add_task(barrier.wait, label="a")
        outcomes.append(statuses(runner.run()))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    assert outcomes == [{"a": "Successful"}] * 4


def test_runners_that_are_never_started_cost_nothing():
    """Making one starts no thread and no process."""
    before = threading.active_count()
    runners = [runner_with() for _ in range(50)]
    concurra.TaskRunner(use_multiprocessing=True).add_task(str)
    assert threading.active_count() == before
    assert len(runners) == 50


def test_results_outlive_the_runner():
    """Nothing keeps a runner alive once it is done."""
    runner = runner_with()
    results = runner.run()
    reference = weakref.ref(runner)
    del runner
    gc.collect()
    assert reference() is None
    assert results["a"]["status"] == "Successful"
