"""Background execution, the questions one can ask meanwhile, and abort."""

from __future__ import annotations

import logging
import os
import threading
import time

import pytest

import concurra
from concurra.engine.scheduler import Scheduler
from concurra.workers.pool import Pool

from .support import (
    BOUND,
    STAY,
    TERMINATED,
    Gate,
    check,
    read,
    statuses,
    stay,
    wait_for_end_of,
)

POSIX = pytest.mark.skipif(
    os.name != "posix", reason="needs POSIX signals and a POSIX shell"
)


def fail():
    raise ValueError("no")


def runner_with(*tasks, **options):
    """A runner with these tasks, labelled a, b, c..."""
    runner = concurra.TaskRunner(**{"progress_stats": False, **options})
    for label, task in zip("abcdef", tasks):
        runner.add_task(task, label=label)
    return runner


# Background -------------------------------------------------------------------


def test_execute_in_background_returns_at_once():
    """While its task cannot yet end; the results come when they are asked for."""
    with Gate() as gate:
        runner = runner_with(lambda: gate.wait("value"))
        assert runner.execute_in_background() is None
        gate.reached_by(1)
        gate.open()
        results = runner.get_background_results()
    assert statuses(results) == {"a": "Successful"}
    assert results["a"]["result"] == "value"


def test_get_background_results_blocks_until_the_end():
    """It is called while tasks run, and returns the complete results."""
    with Gate() as gate:
        runner = runner_with(gate.wait, str, fail, max_concurrency=2)
        runner.execute_in_background()
        gate.reached_by(1)
        returned = []
        waiter = threading.Thread(
            target=lambda: returned.append(runner.get_background_results())
        )
        waiter.start()
        assert returned == []
        assert runner.results_registry["a"] == {}
        gate.open()
        waiter.join(BOUND)
    (results,) = returned
    assert statuses(results) == {"a": "Successful", "b": "Successful", "c": "Failed"}
    for result in results.values():
        check(result)


def test_get_background_results_before_the_start():
    """A RuntimeError that says what to call."""
    with pytest.raises(RuntimeError, match="execute_in_background"):
        runner_with(str).get_background_results()


def test_get_background_results_again():
    """The same results as often as one asks."""
    runner = runner_with(str, fail)
    runner.execute_in_background()
    first = runner.get_background_results(verify=False)
    assert runner.get_background_results(verify=False) == first
    assert runner.get_background_results() == first
    assert first["a"]["status"] == "Successful"


def test_get_background_results_verifies(log):
    """`verify`, `raise_exception` and `error_message` mean what they mean for `run`."""
    runner = runner_with(fail)
    runner.execute_in_background()
    runner.get_background_results(verify=False)
    assert log.lines() == []
    runner.get_background_results(error_message="Nightly failed")
    (report,) = log.lines(logging.ERROR)
    assert report.startswith("Nightly failed\n")
    runner.get_background_results(verify=False, raise_exception=True)
    with pytest.raises(concurra.ExecutionError, match="^Nightly failed\n"):
        runner.get_background_results(
            raise_exception=True, error_message="Nightly failed"
        )


def test_get_background_results_positional_order():
    """`verify, raise_exception, error_message`."""
    runner = runner_with(fail)
    runner.execute_in_background()
    assert statuses(runner.get_background_results(False, True)) == {"a": "Failed"}
    with pytest.raises(concurra.ExecutionError, match="^Nightly failed\n"):
        runner.get_background_results(True, True, "Nightly failed")


def test_the_background_run_logs_as_a_run_does(log):
    """Progress while it runs, the report when results are asked for."""
    runner = runner_with(str, str, progress_stats=True, max_concurrency=1)
    runner.execute_in_background()
    runner.get_background_results()
    assert len(log.progress()) == 2
    assert "| a       | str    | Successful |" in log.lines()[-1]


def test_a_background_run_starts_once():
    """Neither way to start works again, while it runs and after it."""
    with Gate() as gate:
        runner = runner_with(gate.wait)
        runner.execute_in_background()
        for start in (runner.execute_in_background, runner.run, runner.execute):
            with pytest.raises(RuntimeError):
                start()
        gate.open()
        runner.get_background_results()
        for start in (runner.execute_in_background, runner.run, runner.execute):
            with pytest.raises(RuntimeError):
                start()


# Questions --------------------------------------------------------------------


def test_is_running_from_start_to_get_background_results():
    """It stays True when the last task has ended, until results are asked for."""
    done = threading.Event()
    runner = runner_with(done.set)
    assert runner.is_running() is False
    runner.execute_in_background()
    assert runner.is_running() is True
    assert done.wait(BOUND)
    assert runner.is_running() is True
    runner.get_background_results()
    assert runner.is_running() is False


def test_is_running_until_abort():
    """An abort ends it as well."""
    with Gate() as gate:
        runner = runner_with(gate.wait)
        runner.execute_in_background()
        assert runner.is_running() is True
        runner.abort()
        assert runner.is_running() is False


def test_is_running_no_more_if_the_abort_was_faster(monkeypatch):
    """An abort may come before the call that starts the run has returned."""
    start = Scheduler.start

    def start_and_abort(scheduler):
        start(scheduler)
        runner.abort()

    monkeypatch.setattr(Scheduler, "start", start_and_abort)
    with Gate() as gate:
        runner = runner_with(gate.wait)
        runner.execute_in_background()
        assert not runner.is_running()


def test_is_running_is_about_the_background():
    """In a foreground run it is False, during and after."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(runner.is_running, label="a")
    assert runner.run()["a"]["result"] is False
    assert runner.is_running() is False


def test_get_active_runner_count():
    """How many tasks are executing: none, two of three, none."""
    with Gate() as gate:
        runner = runner_with(*[gate.wait] * 3, max_concurrency=2)
        assert runner.get_active_runner_count() == 0
        runner.execute_in_background()
        gate.reached_by(2)
        assert runner.get_active_runner_count() == 2
        gate.open()
        runner.get_background_results()
        assert runner.get_active_runner_count() == 0


def test_nothing_is_active_after_an_abort():
    """Threads that were given up do not count."""
    with Gate() as gate:
        runner = runner_with(gate.wait, gate.wait, max_concurrency=2)
        runner.execute_in_background()
        gate.reached_by(2)
        runner.abort()
        assert runner.get_active_runner_count() == 0


def test_results_registry_grows():
    """`{}` for a task without a result, its result dict as soon as it has one."""
    with Gate() as gate:
        ended = threading.Event()
        runner = runner_with(str, gate.wait, max_concurrency=1)
        runner.add_task(ended.set, label="c")
        assert runner.results_registry == {"a": {}, "b": {}, "c": {}}
        runner.execute_in_background()
        gate.reached_by(1)
        registry = runner.results_registry
        check(registry["a"])
        assert registry["a"]["status"] == "Successful"
        assert (registry["b"], registry["c"]) == ({}, {})
        assert list(registry) == ["a", "b", "c"]
        gate.open()
        results = runner.get_background_results()
    assert runner.results_registry == results


def test_show_progress(log):
    """It logs the progress line of this moment."""
    with Gate() as gate:
        runner = runner_with(str, gate.wait, max_concurrency=1)
        runner.execute_in_background()
        gate.reached_by(1)
        runner.show_progress()
        gate.open()
        runner.get_background_results(verify=False)
        runner.show_progress()
    first, second = log.progress()
    assert "] 1/2 [50.0%] in 0 min " in first
    assert "] 2/2 [100.0%] in 0 min " in second


# Abort ------------------------------------------------------------------------


def test_abort_terminates_what_runs_and_what_waits():
    """The complete results: ended tasks keep theirs, all others are Terminated."""
    with Gate() as gate:
        runner = concurra.TaskRunner(progress_stats=False, max_concurrency=1)
        runner.add_task(abs, -1, label="success")
        runner.add_task(fail, label="failure")
        runner.add_task(str, label="skip", depends_on=["failure"])
        runner.add_task(gate.wait, label="running")
        runner.add_task(str, label="pending")
        runner.add_task(str, label="dependent", depends_on=["running"])
        runner.execute_in_background()
        gate.reached_by(1)
        results = runner.abort()
    assert statuses(results) == {
        "success": "Successful",
        "failure": "Failed",
        "skip": "Terminated",
        "running": "Terminated",
        "pending": "Terminated",
        "dependent": "Terminated",
    }
    assert list(results) == list(statuses(results))
    assert results["skip"]["error"].startswith("RuntimeError: Skipped: ")
    for label in ("running", "pending", "dependent"):
        assert results[label]["error"] == TERMINATED
    assert results["running"]["attempts"] == 1
    assert results["running"]["execution_mode"] == "thread"
    assert results["pending"]["attempts"] == 0
    for result in results.values():
        check(result)


def test_abort_stops_processes(tmp_path):
    """Force-terminated, as the mode says."""
    runner = concurra.TaskRunner(
        max_concurrency=1, use_multiprocessing=True, progress_stats=False
    )
    runner.add_task(stay, tmp_path / "pid", label="a")
    runner.add_task(str, label="b")
    runner.execute_in_background()
    pid = read(tmp_path / "pid")
    results = runner.abort()
    wait_for_end_of(pid)
    assert statuses(results) == {"a": "Terminated", "b": "Terminated"}
    assert results["a"]["execution_mode"] == "process"
    check(results["a"])


def test_abort_of_a_process_task_that_has_only_just_begun(tmp_path):
    """What has begun counts as an attempt, however soon the abort comes after it."""
    for index in range(25):
        begun = tmp_path / str(index)
        runner = concurra.TaskRunner(use_multiprocessing=True, progress_stats=False)
        runner.add_task(stay, begun, label="a")
        runner.execute_in_background()
        end = time.monotonic() + BOUND
        while not begun.exists():  # no pause, to be as quick as can be
            assert time.monotonic() < end
        result = runner.abort()["a"]
        check(result)
        assert (result["execution_mode"], result["attempts"]) == ("process", 1)


@POSIX
def test_abort_stops_commands_with_all_that_they_started(tmp_path):
    """The whole process group."""
    child, parent = tmp_path / "child", tmp_path / "parent"
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_shell_command(
        f"sh -c '{STAY.format(child)}' & {STAY.format(parent)}", label="a"
    )
    runner.execute_in_background()
    pids = [read(parent), read(child)]
    assert statuses(runner.abort()) == {"a": "Terminated"}
    for pid in pids:
        wait_for_end_of(pid)


def test_abort_leaves_threads_running_and_protects_the_result():
    """The thread ends later; its result is not written over the Terminated one."""
    ended = threading.Event()

    def slow():
        gate.wait()
        ended.set()
        return "late"

    with Gate() as gate:
        runner = runner_with(slow)
        runner.execute_in_background()
        gate.reached_by(1)
        results = runner.abort()
        assert not ended.is_set()
    assert ended.wait(BOUND)
    assert runner.abort() == results
    assert results["a"]["result"] is None


def test_abort_twice():
    """The same complete results again, whatever is called."""
    with Gate() as gate:
        runner = runner_with(gate.wait, str, max_concurrency=1)
        runner.execute_in_background()
        gate.reached_by(1)
        results = runner.abort()
        assert runner.abort() == results
        assert runner.get_background_results() == results
        assert runner.results_registry == results
    assert set(statuses(results).values()) == {"Terminated"}


def test_abort_before_the_start():
    """All tasks are Terminated; a run afterwards runs nothing and returns the same."""
    ran = []
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(ran.append, 1, label="a")
    runner.add_command(["echo", "x"], label="b")
    results = runner.abort()
    assert statuses(results) == {"a": "Terminated", "b": "Terminated"}
    for result in results.values():
        check(result)
        assert result["error"] == TERMINATED
        assert result["attempts"] == 0
    assert runner.run() == results
    assert ran == []


def test_abort_before_the_start_with_unknown_dependencies():
    """There is nothing to start, so there is nothing to complain of."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a", depends_on=["unknown"])
    assert statuses(runner.abort()) == {"a": "Terminated"}


@pytest.mark.parametrize("background", [True, False])
def test_abort_after_the_end(background):
    """Every task keeps its outcome."""
    runner = runner_with(str, fail)
    if background:
        runner.execute_in_background()
        results = runner.get_background_results()
    else:
        results = runner.run()
    assert runner.abort() == results
    assert statuses(results) == {"a": "Successful", "b": "Failed"}


@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize("background", [True, False])
def test_abort_from_inside_a_task(background, timeout):
    """The task that aborts is aborted as well, and gets the complete results."""
    for _ in range(5):
        runner = concurra.TaskRunner(
            max_concurrency=1, timeout=timeout, progress_stats=False
        )
        seen, returned = [], threading.Event()

        def abort():
            try:
                seen.append(runner.abort())
            finally:
                returned.set()

        runner.add_task(str, label="before")
        runner.add_task(abort, label="aborter")
        runner.add_task(str, label="after")
        if background:
            runner.execute_in_background()
            results = runner.get_background_results()
        else:
            results = runner.run()
        assert statuses(results) == {
            "before": "Successful",
            "aborter": "Terminated",
            "after": "Terminated",
        }
        assert returned.wait(BOUND)
        assert seen == [results]
        assert runner.abort() == results


def test_abort_after_a_start_that_failed(monkeypatch):
    """The results are complete all the same; who waits gets the error."""

    refused = threading.Event()

    def refuse(pool, stopped):
        refused.set()
        raise OSError("no workers today")

    monkeypatch.setattr(Pool, "prepare", refuse)
    runner = runner_with(stay, stay)
    runner.execute_in_background()
    assert refused.wait(BOUND)
    assert statuses(runner.abort()) == {"a": "Terminated", "b": "Terminated"}
    with pytest.raises(OSError, match="no workers today"):
        runner.get_background_results()


def test_abort_from_another_thread_ends_a_foreground_run():
    """`run()` returns at once, with the same results as `abort()`."""
    with Gate() as gate:
        runner = runner_with(gate.wait, str, max_concurrency=1)
        aborted = []

        def abort_when_busy():
            gate.reached_by(1)
            aborted.append(runner.abort())

        aborter = threading.Thread(target=abort_when_busy)
        aborter.start()
        results = runner.run(verify=False)
        aborter.join(BOUND)
    assert set(statuses(results).values()) == {"Terminated"}
    assert aborted == [results]


def test_abort_from_many_threads():
    """All of them get the same complete results."""
    with Gate() as gate:
        runner = runner_with(gate.wait, gate.wait, str, max_concurrency=2)
        runner.execute_in_background()
        gate.reached_by(2)
        barrier = threading.Barrier(8, timeout=BOUND)
        returned = []

        def abort():
            barrier.wait()
            returned.append(runner.abort())

        threads = [threading.Thread(target=abort) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
    assert len(returned) == 8
    assert set(statuses(returned[0]).values()) == {"Terminated"}
    assert all(results == returned[0] for results in returned)


def test_abort_wakes_a_waiting_get_background_results():
    """Who waits for the results gets the aborted ones."""
    with Gate() as gate:
        runner = runner_with(gate.wait)
        runner.execute_in_background()
        gate.reached_by(1)
        returned = []
        waiter = threading.Thread(
            target=lambda: returned.append(runner.get_background_results(verify=False))
        )
        waiter.start()
        results = runner.abort()
        waiter.join(BOUND)
    assert returned == [results]


def test_no_task_joins_after_an_abort():
    """Every adder is refused, even if the runner was never started."""
    runner = runner_with(str)
    runner.abort()
    for add in (
        lambda: runner.add_task(str),
        lambda: runner.add_func(str),
        lambda: runner.add_function(str),
        lambda: runner.add_work([(str,)]),
        lambda: runner.add_command(["ls"]),
        lambda: runner.add_shell_command("ls"),
    ):
        with pytest.raises(RuntimeError):
            add()
    assert len(runner) == 1


@pytest.mark.parametrize("adder", ["add_work", "add_task"])
def test_no_task_joins_that_took_its_time(adder):
    """The run has started while the caller's own generator was at work."""
    runner = runner_with(str)

    def start_meanwhile():
        runner.execute_in_background()
        yield (str,) if adder == "add_work" else "a"

    with pytest.raises(RuntimeError, match="after execution has started"):
        if adder == "add_work":
            runner.add_work(start_meanwhile())
        else:
            runner.add_task(str, depends_on=start_meanwhile())
    assert list(runner.get_background_results(verify=False)) == ["a"]


def test_abort_logs_the_report(log):
    """At ERROR, with the table and each terminated task."""
    with Gate() as gate:
        runner = runner_with(gate.wait, str, max_concurrency=1)
        runner.execute_in_background()
        gate.reached_by(1)
        runner.abort()
        reports = log.lines(logging.ERROR)
    (report,) = reports
    assert report.startswith("Execution Failed\n+---")
    assert "| a       | wait   | Terminated |" in report
    assert f"Task 'b' failed with error: {TERMINATED}" in report


def test_abort_of_an_empty_runner():
    """An empty dict, before and after."""
    runner = concurra.TaskRunner()
    assert runner.abort() == {}
    assert runner.run() == {}
    assert runner.abort() == {}
