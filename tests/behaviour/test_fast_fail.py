"""Fast-fail: the first failure terminates everything else."""

from __future__ import annotations

import logging
import os
import threading

import pytest

import concurra

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


def fail_after(path):
    read(path)
    raise ValueError("no")


def test_running_and_pending_tasks_are_terminated():
    """All that had not ended, the failed task's dependents too, with the same error."""
    with Gate() as gate:

        def fail_when_busy():
            gate.reached_by(1)
            raise ValueError("no")

        ran = []
        runner = concurra.TaskRunner(
            fast_fail=True, max_concurrency=2, progress_stats=False
        )
        runner.add_task(gate.wait, label="running")
        runner.add_task(fail_when_busy, label="x")
        runner.add_task(ran.append, 1, label="dependent", depends_on=["x"])
        runner.add_task(ran.append, 2, label="next one", depends_on=["dependent"])
        runner.add_task(ran.append, 3, label="waiting", depends_on=["running"])
        runner.add_task(ran.append, 4, label="free")
        results = runner.run(verify=False)
    assert results["x"]["status"] == "Failed"
    assert results["x"]["error"] == "ValueError: no"
    others = [results[label] for label in results if label != "x"]
    assert [other["status"] for other in others] == ["Terminated"] * 5
    assert [other["error"] for other in others] == [TERMINATED] * 5
    assert [other["attempts"] for other in others] == [1, 0, 0, 0, 0]
    assert [other["execution_mode"] for other in others] == ["thread", *[None] * 4]
    assert ran == []
    for result in results.values():
        check(result)


def test_tasks_that_had_ended_keep_their_outcome():
    """What was successful before the failure stays so."""
    runner = concurra.TaskRunner(
        fast_fail=True, max_concurrency=1, progress_stats=False
    )
    runner.add_task(abs, -1, label="before")
    runner.add_task(fail, label="x")
    runner.add_task(str, label="after")
    results = runner.run(verify=False)
    assert statuses(results) == {
        "before": "Successful",
        "x": "Failed",
        "after": "Terminated",
    }
    assert results["before"]["result"] == 1


def test_without_a_failure_nothing_is_terminated():
    """The option is harmless when all is well."""
    runner = concurra.TaskRunner(fast_fail=True, progress_stats=False)
    for _ in range(10):
        runner.add_task(str)
    assert set(statuses(runner.run()).values()) == {"Successful"}


def test_without_fast_fail_the_rest_goes_on():
    """By default, a failure ends itself and what depends on it only."""
    runner = concurra.TaskRunner(
        fast_fail=False, max_concurrency=1, progress_stats=False
    )
    runner.add_task(fail, label="x")
    runner.add_task(str, label="after")
    assert statuses(runner.run(verify=False)) == {"x": "Failed", "after": "Successful"}


# What counts as a failure -----------------------------------------------------


def test_a_timeout_counts():
    """A task that overruns terminates the rest as one that fails."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            fast_fail=True, timeout=0.2, max_concurrency=1, progress_stats=False
        )
        runner.add_task(gate.wait, label="slow")
        runner.add_task(str, label="after")
        results = runner.run(verify=False)
    assert results["slow"]["error"] == (
        "TimeoutError: Task exceeded timeout of 0.2 seconds"
    )
    assert results["after"]["error"] == TERMINATED


def test_a_task_that_cannot_be_pickled_counts():
    """A pickle failure terminates the rest, like any other failure."""
    runner = concurra.TaskRunner(
        fast_fail=True,
        max_concurrency=1,
        use_multiprocessing=True,
        progress_stats=False,
    )
    runner.add_task(lambda: 1, label="x")
    runner.add_task(str, label="after")
    results = runner.run(verify=False)
    assert results["x"]["status"] == "Failed"
    assert results["after"]["error"] == TERMINATED


@pytest.mark.parametrize(
    ("check_", "after"), [(True, "Terminated"), (False, "Successful")]
)
def test_a_failed_command_counts(check_, after):
    """A non-zero return code, unless `check` is off."""
    runner = concurra.TaskRunner(
        fast_fail=True, max_concurrency=1, progress_stats=False
    )
    runner.add_shell_command("exit 3", label="x", check=check_)
    runner.add_task(str, label="after")
    assert runner.run(verify=False)["after"]["status"] == after


def test_an_attempt_that_is_retried_does_not_count():
    """Only the failure of the last attempt is the failure of the task."""
    attempts = []

    def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise ValueError("not yet")

    runner = concurra.TaskRunner(
        fast_fail=True, task_retries=2, max_concurrency=1, progress_stats=False
    )
    runner.add_task(flaky, label="flaky")
    runner.add_task(str, label="after")
    assert statuses(runner.run()) == {"flaky": "Successful", "after": "Successful"}


# How the others are stopped ---------------------------------------------------


def test_a_thread_runs_on_and_changes_nothing():
    """It is marked at once and goes on in the background."""
    ended = threading.Event()

    def slow():
        gate.wait()
        ended.set()
        return "late"

    def fail_when_busy():
        gate.reached_by(1)
        raise ValueError("no")

    with Gate() as gate:
        runner = concurra.TaskRunner(
            fast_fail=True, max_concurrency=2, progress_stats=False
        )
        runner.add_task(slow, label="slow")
        runner.add_task(fail_when_busy, label="x")
        results = runner.run(verify=False)
        assert not ended.is_set()
        assert results["slow"]["error"] == TERMINATED
    assert ended.wait(BOUND)
    assert results["slow"]["result"] is None


def test_processes_are_killed(tmp_path):
    """A process that runs is force-terminated."""
    runner = concurra.TaskRunner(
        fast_fail=True,
        max_concurrency=2,
        use_multiprocessing=True,
        progress_stats=False,
    )
    runner.add_task(stay, tmp_path / "pid", label="busy")
    runner.add_task(fail_after, tmp_path / "pid", label="x")
    results = runner.run(verify=False)
    wait_for_end_of(read(tmp_path / "pid"))
    assert results["busy"]["error"] == TERMINATED
    assert results["busy"]["execution_mode"] == "process"


@POSIX
def test_commands_are_killed(tmp_path):
    """So is a command."""
    runner = concurra.TaskRunner(
        fast_fail=True, max_concurrency=2, progress_stats=False
    )
    runner.add_shell_command(STAY.format(tmp_path / "pid"), label="busy")
    runner.add_task(fail_after, tmp_path / "pid", label="x")
    results = runner.run(verify=False)
    wait_for_end_of(read(tmp_path / "pid"))
    assert results["busy"]["error"] == TERMINATED
    assert results["busy"]["execution_mode"] == "subprocess"


# The log ----------------------------------------------------------------------


def test_the_failure_is_logged_and_then_the_termination(log):
    """Error and trace at ERROR, also without `log_errors`, then the consequence."""
    runner = concurra.TaskRunner(fast_fail=True, max_concurrency=1)
    runner.add_task(fail, label="x")
    runner.add_task(str, label="after")
    runner.run(verify=False)
    failure, termination = log.lines(logging.ERROR)
    assert "ValueError: no" in failure
    assert "Traceback (most recent call last)" in failure
    assert "in fail" in failure
    assert termination == "terminating execution!"


def test_without_a_failure_no_termination_is_logged(log):
    """Nothing at ERROR when all is well."""
    runner = concurra.TaskRunner(fast_fail=True)
    runner.add_task(str, label="a")
    runner.run()
    assert log.lines(logging.ERROR) == []
