"""Timeouts: each task has its own clock, and what overruns it is terminated."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time

import pytest

import concurra
from concurra.tasks import Call
from concurra.workers.thread import ThreadWorker

from .support import (
    BOUND,
    STAY,
    Gate,
    check,
    read,
    statuses,
    stay,
    wait_for_end_of,
    write,
)

POSIX = pytest.mark.skipif(
    os.name != "posix", reason="needs POSIX signals and a POSIX shell"
)


# The result -------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [0.05, 0.1, 1])
def test_the_error_has_the_number_as_it_was_given(timeout):
    """An int stays an int in the text, a float a float."""
    with Gate() as gate:
        runner = concurra.TaskRunner(timeout=timeout, progress_stats=False)
        runner.add_task(gate.wait, label="a")
        result = runner.run(verify=False)["a"]
    assert (
        result["error"] == f"TimeoutError: Task exceeded timeout of {timeout} seconds"
    )


def test_a_timed_out_task_is_terminated():
    """All fields of a task that overran: it ran that long, and has no result."""
    with Gate() as gate:
        runner = concurra.TaskRunner(timeout=0.1, progress_stats=False)
        runner.add_task(gate.wait, "value", label="a")
        result = runner.run(verify=False)["a"]
    check(result)
    assert result["status"] == "Terminated"
    assert result["has_failed"] is True
    assert result["result"] is None
    assert result["execution_mode"] == "thread"
    assert result["attempts"] == 1
    assert result["duration_seconds"] >= 0.1


def test_tasks_that_overrun_nothing_succeed():
    """The timeout of one task is none of another's business."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            timeout=0.2, max_concurrency=2, progress_stats=False
        )
        runner.add_task(gate.wait, label="slow")
        runner.add_task(str, label="quick")
        runner.add_task(str, label="after", depends_on=["quick"])
        runner.add_task(str, label="dependent", depends_on=["slow"])
        results = runner.run(verify=False)
    assert statuses(results) == {
        "slow": "Terminated",
        "quick": "Successful",
        "after": "Successful",
        "dependent": "Terminated",
    }
    assert results["dependent"]["error"] == (
        "RuntimeError: Skipped: dependency ['slow'] failed or was terminated"
    )


def test_the_clock_starts_with_the_task():
    """Time in the queue does not count: the second waits longer than the timeout."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            timeout=0.5, max_concurrency=1, progress_stats=False
        )
        runner.add_task(gate.wait, label="first")
        runner.add_task(str, label="second")
        results = runner.run(verify=False)
    assert results["first"]["duration_seconds"] >= 0.5
    assert statuses(results) == {"first": "Terminated", "second": "Successful"}


def test_the_timeout_covers_the_retries():
    """One clock for all attempts: a task that keeps failing is terminated."""

    def fail():
        time.sleep(0.01)
        raise ValueError("no")

    runner = concurra.TaskRunner(timeout=0.2, task_retries=500, progress_stats=False)
    runner.add_task(fail, label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    assert result["status"] == "Terminated"
    assert result["error"] == "TimeoutError: Task exceeded timeout of 0.2 seconds"
    assert result["retried"] is True
    assert set(result["retry_errors"]) - {result["error"]} == {"ValueError: no"}


def test_a_timeout_is_not_retried():
    """One attempt, however many retries there are."""
    with Gate() as gate:
        runner = concurra.TaskRunner(timeout=0.1, task_retries=3, progress_stats=False)
        runner.add_task(gate.wait, label="a")
        result = runner.run(verify=False)["a"]
    assert result["attempts"] == 1
    assert result["task_retries"] == 3
    assert result["retried"] is False


def test_an_exception_called_timeout_error_is_a_failure():
    """A TimeoutError of the task's own is an exception like another."""

    def own():
        raise TimeoutError("mine")

    runner = concurra.TaskRunner(timeout=BOUND, progress_stats=False)
    runner.add_task(own, label="a")
    result = runner.run(verify=False)["a"]
    assert (result["status"], result["error"]) == ("Failed", "TimeoutError: mine")


def test_a_timeout_is_logged_as_it_happens(log):
    """With `log_errors`, at ERROR; without, only the report tells of it."""
    with Gate() as gate:
        for log_errors in (False, True):
            assert log.lines(logging.ERROR) == []
            runner = concurra.TaskRunner(timeout=0.2, log_errors=log_errors)
            runner.add_task(gate.wait, label="a")
            runner.run(verify=False)
    assert "exceeded timeout of 0.2 seconds" in log.text(logging.ERROR)


# Threads ----------------------------------------------------------------------


def test_a_thread_runs_on_but_holds_no_worker():
    """It cannot be killed; the tasks behind it run nevertheless, one by one."""
    ended = threading.Event()

    def slow():
        gate.wait()
        ended.set()

    with Gate() as gate:
        runner = concurra.TaskRunner(
            timeout=0.2, max_concurrency=1, progress_stats=False
        )
        runner.add_task(slow, label="slow")
        runner.add_task(str, label="next")
        runner.add_task(str, label="last", depends_on=["next"])
        results = runner.run(verify=False)
        assert not ended.is_set()
    assert ended.wait(BOUND)
    assert statuses(results) == {
        "slow": "Terminated",
        "next": "Successful",
        "last": "Successful",
    }


def test_several_threads_overrun_one_after_the_other():
    """Each is replaced; none of the tasks is forgotten."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            timeout=0.2, max_concurrency=2, progress_stats=False
        )
        for _ in range(6):
            runner.add_task(gate.wait)
        results = runner.run(verify=False)
    assert set(statuses(results).values()) == {"Terminated"}
    assert {result["attempts"] for result in results.values()} == {1}


def test_a_thread_that_was_given_up_does_not_start_the_next_task():
    """When it ends at last it disturbs no task that runs meanwhile."""
    alone, two = threading.Lock(), threading.Event()

    def work():
        if alone.acquire(blocking=False):
            first.open()
            two.wait(0.005)  # so long another one could come
            alone.release()
        else:
            two.set()

    with Gate() as first:
        runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
        runner.add_task(concurra.task(first.wait, timeout=0.1), label="slow")
        for index in range(20):
            runner.add_task(work, label=index)
        results = runner.run(verify=False)
    assert results["slow"]["status"] == "Terminated"
    assert not two.is_set()
    assert [results[index]["status"] for index in range(20)] == ["Successful"] * 20


# Processes --------------------------------------------------------------------


def stubborn(pid_file):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stay(pid_file)


def polite(pid_file, farewell_file):
    def leave(number, frame):
        write(farewell_file, "good-bye")
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    stay(pid_file)


def test_a_process_is_terminated(tmp_path):
    """Its process is gone; the tasks behind it run in another one."""
    runner = concurra.TaskRunner(
        timeout=0.5, max_concurrency=1, use_multiprocessing=True, progress_stats=False
    )
    runner.add_task(stay, tmp_path / "pid", label="slow")
    runner.add_task(os.getpid, label="next")
    results = runner.run(verify=False)
    pid = read(tmp_path / "pid")
    wait_for_end_of(pid)
    assert statuses(results) == {"slow": "Terminated", "next": "Successful"}
    assert results["next"]["result"] != int(pid)
    assert results["slow"]["execution_mode"] == "process"
    check(results["slow"])


@POSIX
def test_a_process_that_ignores_sigterm_is_killed(tmp_path):
    """After `terminate_timeout` seconds of grace comes SIGKILL."""
    runner = concurra.TaskRunner(
        timeout=0.5,
        use_multiprocessing=True,
        terminate_timeout=0.1,
        progress_stats=False,
    )
    runner.add_task(stubborn, tmp_path / "pid", label="a")
    assert runner.run(verify=False)["a"]["status"] == "Terminated"
    wait_for_end_of(read(tmp_path / "pid"))


@POSIX
def test_a_process_may_say_good_bye(tmp_path):
    """SIGTERM comes first, and leaves it time for its own handler."""
    runner = concurra.TaskRunner(
        timeout=0.5,
        use_multiprocessing=True,
        terminate_timeout=BOUND,
        progress_stats=False,
    )
    runner.add_task(polite, tmp_path / "pid", tmp_path / "farewell", label="a")
    result = runner.run(verify=False)["a"]
    assert result["error"] == "TimeoutError: Task exceeded timeout of 0.5 seconds"
    assert read(tmp_path / "farewell") == "good-bye"
    wait_for_end_of(read(tmp_path / "pid"))


# Commands ---------------------------------------------------------------------


@POSIX
def test_a_command_is_terminated_with_all_that_it_started(tmp_path):
    """The shell and a child of its own in the background are both gone."""
    child, parent = tmp_path / "child", tmp_path / "parent"
    runner = concurra.TaskRunner(timeout=0.5, progress_stats=False)
    runner.add_shell_command(
        f"sh -c '{STAY.format(child)}' & {STAY.format(parent)}", label="a"
    )
    result = runner.run(verify=False)["a"]
    check(result)
    assert result["status"] == "Terminated"
    assert result["error"] == "TimeoutError: Task exceeded timeout of 0.5 seconds"
    assert result["execution_mode"] == "subprocess"
    wait_for_end_of(read(parent))
    wait_for_end_of(read(child))


@POSIX
def test_a_command_that_ignores_sigterm_is_killed(tmp_path):
    """After `terminate_timeout` seconds of grace comes SIGKILL."""
    runner = concurra.TaskRunner(
        timeout=0.5, terminate_timeout=0.1, progress_stats=False
    )
    runner.add_shell_command(
        f"trap '' TERM; echo $$ > x; mv x {tmp_path}/pid; while :; do sleep 0.1; done",
        label="a",
        cwd=tmp_path,
    )
    assert runner.run(verify=False)["a"]["status"] == "Terminated"
    wait_for_end_of(read(tmp_path / "pid"))


@POSIX
def test_what_a_terminated_command_had_printed_is_in_its_trace(tmp_path):
    """Under headings for stdout and stderr; the result itself is None."""
    runner = concurra.TaskRunner(timeout=0.5, progress_stats=False)
    runner.add_shell_command(
        "echo on the way; echo some trouble >&2; exec sleep 60", label="a"
    )
    result = runner.run(verify=False)["a"]
    assert result["result"] is None
    trace = result["trace"]
    assert trace.index("stdout") < trace.index("on the way")
    assert trace.index("stderr") < trace.index("some trouble")


@POSIX
def test_commands_behind_a_terminated_one_run(tmp_path):
    """A timeout costs no worker."""
    runner = concurra.TaskRunner(timeout=0.3, max_concurrency=1, progress_stats=False)
    runner.add_command(["sleep", "60"], label="slow")
    runner.add_command(["echo", "next"], label="next")
    results = runner.run(verify=False)
    assert statuses(results) == {"slow": "Terminated", "next": "Successful"}


# Coroutines -------------------------------------------------------------------


def test_a_coroutine_overruns():
    """An async task has a timeout like any other."""

    async def slow():
        await asyncio.Event().wait()

    runner = concurra.TaskRunner(timeout=0.1, progress_stats=False)
    runner.add_task(slow, label="a")
    result = runner.run(verify=False)["a"]
    assert result["error"] == "TimeoutError: Task exceeded timeout of 0.1 seconds"


# Coroutines -------------------------------------------------------------------


def end_by_attempt(runner, clean):
    one_attempt = concurra.Retry(0, attempt_timeout=0.2)
    runner.add_task(concurra.task(clean, task_retries=one_attempt), label="a")


#: How a task is ended: what is chosen, how it is added, and what is done then.
ENDS = {
    "timeout": ({"timeout": 0.2}, None, None),
    "run_timeout": ({"run_timeout": 0.2}, None, None),
    "attempt_timeout": ({}, end_by_attempt, None),
    "cancel": ({}, None, lambda runner: runner.cancel("a")),
    "abort": ({}, None, lambda runner: runner.abort(verify=False)),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_coroutine_in_a_thread_is_cancelled(how):
    """By whatever ends its task: its `finally` runs, and the thread is free."""
    waiting, cleaned = threading.Event(), threading.Event()
    seen = []

    async def clean():
        try:
            waiting.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            seen.append(type(error))
            raise
        finally:
            cleaned.set()

    options, add, act = ENDS[how]
    runner = concurra.TaskRunner(1, progress_stats=False, **options)
    add = add or (lambda runner, clean: runner.add_task(clean, label="a"))
    add(runner, clean)
    runner.execute_in_background()
    assert waiting.wait(BOUND)
    if act is not None:
        act(runner)
    result = runner.get_background_results(verify=False)["a"]
    assert cleaned.wait(BOUND)
    status = "Failed" if how == "attempt_timeout" else "Terminated"
    assert (result["status"], seen) == (status, [asyncio.CancelledError])


def test_the_coroutine_of_another_task_is_not_cancelled():
    """That a thread has taken up meanwhile: it is found by the job that it is at."""
    ended = threading.Event()
    stopped = ThreadWorker()
    stopped.thread = threading.get_ident()

    async def look():
        stopped.stop()  # its own job has ended long ago
        await asyncio.sleep(0.01)
        ended.set()

    outcome = ThreadWorker().begin(Call(look))
    assert (outcome.error, ended.is_set()) == (None, True)
