"""Task retries: another attempt for a task that raised, and a record of each."""

from __future__ import annotations

import os
import threading

import pytest

import concurra

from .support import Gate, check, statuses


class Flaky:
    """A task that fails so many times, each with its own message, then succeeds."""

    def __init__(self, failures):
        self.failures = failures
        self.attempts = 0

    def __call__(self):
        self.attempts += 1
        if self.attempts <= self.failures:
            raise ConnectionError(f"attempt {self.attempts}")
        return f"attempt {self.attempts}"


def flaky_in_file(path, failures):
    """The same for processes, whose attempts share nothing but a file."""
    with open(path, "a") as file:
        file.write("x")
    attempt = os.path.getsize(path)
    if attempt <= failures:
        raise ConnectionError(f"attempt {attempt}")
    return f"attempt {attempt}"


def errors(count):
    return [f"ConnectionError: attempt {number}" for number in range(1, count + 1)]


@pytest.mark.parametrize("failures", [0, 1, 2])
def test_a_task_that_succeeds_within_its_budget(failures):
    """The result is that of the last attempt; the failed ones are on record."""
    runner = concurra.TaskRunner(task_retries=2, progress_stats=False)
    runner.add_task(Flaky(failures), label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    assert result["status"] == "Successful"
    assert result["result"] == f"attempt {failures + 1}"
    assert result["attempts"] == failures + 1
    assert result["retried"] is (failures > 0)
    assert result["retry_errors"] == errors(failures)
    assert result["task_retries"] == 2
    assert result["error"] is None
    assert result["trace"] is None


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_a_task_that_exhausts_its_budget(retries):
    """n retries are n + 1 attempts; the error is the last of the recorded ones."""
    task = Flaky(failures=100)
    runner = concurra.TaskRunner(task_retries=retries, progress_stats=False)
    runner.add_task(task, label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    assert result["status"] == "Failed"
    assert result["attempts"] == task.attempts == retries + 1
    assert result["retried"] is (retries > 0)
    assert result["retry_errors"] == errors(retries + 1)
    assert result["error"] == f"ConnectionError: attempt {retries + 1}"
    assert f"attempt {retries + 1}" in result["trace"]


# Where retries are set --------------------------------------------------------


@pytest.mark.parametrize(("own", "attempts"), [(None, 2), (0, 1), (1, 2), (3, 4)])
def test_a_task_overrides_the_runner(own, attempts):
    """`task_retries` of an adder, 0 included; None uses the runner's default."""
    runner = concurra.TaskRunner(task_retries=1, progress_stats=False)
    runner.add_task(Flaky(100), label="task", task_retries=own)
    runner.add_function(Flaky(100), key="function", task_retries=own)
    runner.add_command(["false"], label="command", task_retries=own)
    runner.add_shell_command("exit 3", label="shell", task_retries=own)
    results = runner.run(verify=False)
    assert {result["attempts"] for result in results.values()} == {attempts}
    assert {result["task_retries"] for result in results.values()} == {attempts - 1}


def test_adders_without_the_parameter_use_the_runners_default():
    """`add_func` and `add_work` have no override of their own."""
    runner = concurra.TaskRunner(task_retries=2, progress_stats=False)
    runner.add_func(Flaky(2), key="func")
    runner.add_work([(Flaky(2), (), {}, "work")])
    results = runner.run()
    assert [results[label]["attempts"] for label in ("func", "work")] == [3, 3]


def test_the_budget_is_reported_even_if_unused():
    """`task_retries` is what was configured, also for a task that never started."""
    runner = concurra.TaskRunner(task_retries=1, progress_stats=False)
    runner.add_task(Flaky(100), label="x")
    runner.add_task(str, label="skipped", depends_on=["x"], task_retries=5)
    assert runner.run(verify=False)["skipped"]["task_retries"] == 5


# Every mode -------------------------------------------------------------------


def test_processes_retry(tmp_path):
    """Attempts in processes, counted like any others."""
    runner = concurra.TaskRunner(
        task_retries=2, use_multiprocessing=True, progress_stats=False
    )
    runner.add_task(flaky_in_file, tmp_path / "two", 2, label="two")
    runner.add_task(flaky_in_file, tmp_path / "many", 100, label="many")
    results = runner.run(verify=False)
    assert statuses(results) == {"two": "Successful", "many": "Failed"}
    assert results["two"]["result"] == "attempt 3"
    assert results["two"]["retry_errors"] == errors(2)
    assert results["many"]["retry_errors"] == errors(3)
    assert os.path.getsize(tmp_path / "many") == 3


def test_the_thread_fallback_retries():
    """Attempts of a task that could not be pickled."""
    lock = threading.Lock()
    attempts = []

    def flaky():
        with lock:
            attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError(f"attempt {len(attempts)}")

    runner = concurra.TaskRunner(
        task_retries=2,
        use_multiprocessing=True,
        fallback_to_thread_on_pickle_error=True,
        progress_stats=False,
    )
    runner.add_task(flaky, label="a")
    result = runner.run()["a"]
    assert result["execution_mode"] == "thread_fallback"
    assert result["retry_errors"] == errors(2)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_commands_retry(tmp_path):
    """A command that fails twice and then succeeds."""
    runner = concurra.TaskRunner(task_retries=3, progress_stats=False)
    runner.add_shell_command(
        "printf x >> count; test $(wc -c < count) -ge 3", label="a", cwd=tmp_path
    )
    result = runner.run()["a"]
    check(result)
    assert result["attempts"] == 3
    assert (
        result["retry_errors"]
        == ["CommandExecutionError: Command exited with return code 1"] * 2
    )
    assert result["result"]["returncode"] == 0


def test_coroutines_retry():
    """A new coroutine for each attempt."""
    attempts = []

    async def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise ConnectionError(f"attempt {len(attempts)}")
        return "done"

    runner = concurra.TaskRunner(task_retries=2, progress_stats=False)
    runner.add_task(flaky, label="a")
    result = runner.run()["a"]
    assert result["result"] == "done"
    assert result["retry_errors"] == errors(2)


# What is not retried ----------------------------------------------------------


def test_a_skipped_task_is_not_retried():
    """It makes no attempt at all."""
    runner = concurra.TaskRunner(task_retries=2, progress_stats=False)
    runner.add_task(Flaky(100), label="x")
    runner.add_task(Flaky(0), label="skipped", depends_on=["x"])
    result = runner.run(verify=False)["skipped"]
    assert (result["attempts"], result["retry_errors"]) == (0, [])


def test_a_task_that_cannot_be_pickled_is_not_retried():
    """It fails before its first attempt."""
    runner = concurra.TaskRunner(
        task_retries=2, use_multiprocessing=True, progress_stats=False
    )
    runner.add_task(lambda: 1, label="a")
    result = runner.run(verify=False)["a"]
    assert (result["attempts"], result["retry_errors"]) == (0, [])
    assert result["retried"] is False


def test_an_aborted_task_is_not_retried():
    """A failure after the abort is of no account."""
    with Gate() as gate:
        task = Flaky(100)

        def fail_late():
            gate.wait()
            task()

        runner = concurra.TaskRunner(task_retries=2, progress_stats=False)
        runner.add_task(fail_late, label="a")
        runner.execute_in_background()
        gate.reached_by(1)
        result = runner.abort()["a"]
    assert (result["status"], result["attempts"]) == ("Terminated", 1)
    assert task.attempts <= 1


def test_a_task_that_waits_for_its_next_attempt_is_aborted():
    """The attempt that it made is on record; in the queue it was when all ended."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            task_retries=1, max_concurrency=2, progress_stats=False
        )

        def fail_when_busy():
            gate.reached_by(1)
            raise ConnectionError("attempt 1")

        # Both workers are taken by tasks that were added before "a": the first when
        # "opener" ends, the second when "a" fails.
        runner.add_task(gate.wait, label="first", depends_on=["opener"])
        runner.add_task(gate.wait, label="second", depends_on=["opener"])
        runner.add_task(fail_when_busy, label="a")
        runner.add_task(str, label="opener")
        runner.execute_in_background()
        gate.reached_by(2)
        result = runner.abort()["a"]
    check(result)
    assert result["status"] == "Terminated"
    assert result["attempts"] == 1
    assert result["execution_mode"] == "thread"
    assert result["retry_errors"] == errors(1)


def test_dependents_wait_for_the_last_attempt():
    """They run after the success, not after the first failure."""
    task = Flaky(2)
    runner = concurra.TaskRunner(
        task_retries=2, max_concurrency=2, progress_stats=False
    )
    runner.add_task(task, label="a")
    runner.add_task(lambda: task.attempts, label="b", depends_on=["a"])
    assert runner.run()["b"]["result"] == 3


# The runner's value -----------------------------------------------------------


@pytest.mark.parametrize("wrong", ["2", -1, None], ids=repr)
def test_a_wrong_value_of_the_runner_can_be_mended(wrong):
    """Nothing has been started, and tasks that are there already take the right one."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.task_retries = wrong
    runner.add_task(Flaky(2), label="a")
    runner.add_work([(Flaky(2), (), {}, "b")])
    with pytest.raises((TypeError, ValueError), match="^task_retries must be "):
        runner.run()
    assert runner.results_registry == {"a": {}, "b": {}}
    runner.task_retries = 2
    results = runner.run(verify=False)
    assert statuses(results) == {"a": "Successful", "b": "Successful"}
    for result in results.values():
        check(result)
        assert (result["attempts"], result["task_retries"]) == (3, 2)


def test_the_runners_value_at_the_start_counts():
    """For all tasks that were given none of their own, whenever they were added."""
    runner = concurra.TaskRunner(task_retries=5, progress_stats=False)
    runner.add_task(Flaky(9), label="before")
    runner.add_task(Flaky(9), label="own", task_retries=0)
    runner.task_retries = 1
    runner.add_task(Flaky(9), label="after")
    results = runner.run(verify=False)
    given = {label: result["task_retries"] for label, result in results.items()}
    attempts = {label: result["attempts"] for label, result in results.items()}
    assert given == {"before": 1, "own": 0, "after": 1}
    assert attempts == {"before": 2, "own": 1, "after": 2}


def test_the_runners_value_is_not_looked_at_again():
    """What is changed during the run comes too late."""
    runner = concurra.TaskRunner(1, task_retries=1, progress_stats=False)

    def change():
        runner.task_retries = 5

    runner.add_task(change, label="a")
    runner.add_task(Flaky(9), label="b", depends_on=["a"])
    result = runner.run(verify=False)["b"]
    assert (result["attempts"], result["task_retries"]) == (2, 1)
