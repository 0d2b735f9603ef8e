"""`Retry`: after which errors a task is tried again, how much later, for how long."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time

import pytest

import concurra
from concurra import Retry, task
from tests.helpers import wait_until

from .modes import (
    FAIL,
    FLAKY,
    FUNCTIONS,
    KILLABLE,
    MODES,
    SLOW_AT_FIRST,
    SUCCEED,
    as_in,
    lines,
    mode_of,
    runner_in,
)
from .support import BOUND, TERMINATED, Gate, check, statuses


def is_value_error(error):
    """A rule that can be sent to a process."""
    return isinstance(error, ValueError)


def rule_that_raises(error):
    raise LookupError("no rule for that")


def returned_three(error):
    """A rule for commands."""
    return error.result["returncode"] == 3


def exit_task():
    raise SystemExit(3)


class Odd(Exception):
    """Cannot be sent to another process."""

    def __reduce__(self):
        raise TypeError("not this one")


def odd():
    raise Odd("odd")


def run_one(runner, verify=False):
    result = runner.run(verify=verify)["a"]
    check(result)
    return result


# After which errors -------------------------------------------------------------------


@pytest.mark.parametrize("mode", FUNCTIONS)
@pytest.mark.parametrize(
    ("on", "attempts"),
    [
        (ValueError, 3),
        ((KeyError, ValueError), 3),
        (KeyError, 1),
        (is_value_error, 3),
    ],
)
def test_only_after_these_errors(mode, on, attempts):
    """It is judged where the error is, so it works in processes as well."""
    runner = runner_in(mode, task_retries=Retry(2, on=on))
    FAIL.add(runner, mode, label="a")
    result = run_one(runner)
    assert (result["attempts"], result["task_retries"]) == (attempts, 2)
    assert result["error"] == "ValueError: bad"
    assert result["retry_errors"] == ["ValueError: bad"] * attempts
    assert result["execution_mode"] == mode_of(mode)


@pytest.mark.parametrize("mode", MODES)
def test_it_stops_with_the_first_success(mode, tmp_path):
    """As with a number."""
    runner = runner_in(mode, task_retries=Retry(5))
    FLAKY.add(runner, mode, tmp_path / "count", 2, label="a")
    result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Successful", 3)
    assert type(result["task_retries"]) is int and result["task_retries"] == 5


@pytest.mark.parametrize(
    ("on", "attempts"),
    [
        (returned_three, 3),
        (lambda error: error.returncode == 4, 1),
        (concurra.CommandExecutionError, 3),
        (OSError, 1),
    ],
)
def test_commands_by_their_return_code(on, attempts):
    """The error of a command has its structured result."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_shell_command("exit 3", label="a", task_retries=Retry(2, on=on))
    assert run_one(runner)["attempts"] == attempts


@pytest.mark.parametrize(("on", "attempts"), [(OSError, 2), (ValueError, 1)])
def test_a_program_that_cannot_be_started(on, attempts):
    """Has the error of the system, which can be asked for."""
    runner = concurra.TaskRunner(progress_stats=False)
    rule = Retry(1, on=on)
    runner.add_command(["/there/is/no such program"], label="a", task_retries=rule)
    assert run_one(runner)["attempts"] == attempts
    assert type(runner.exception("a")) is FileNotFoundError


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_rule_that_raises(mode):
    """The task fails, with both errors."""
    runner = runner_in(mode, task_retries=Retry(2, on=rule_that_raises))
    FAIL.add(runner, mode, label="a")
    result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Failed", 1)
    assert result["error"] == (
        "ValueError: bad (and, when asked whether to retry: "
        "LookupError: no rule for that)"
    )


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_errors_that_cannot_be_sent_are_judged_too(mode):
    """The rule is asked in the task's own process."""
    runner = runner_in(mode, task_retries=Retry(1, on=Odd))
    runner.add_task(as_in(mode, odd), label="a")
    assert run_one(runner)["attempts"] == 2


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_what_is_no_exception_is_asked_for(mode):
    """`SystemExit` is none of `Exception`."""
    for on, attempts in ((Exception, 1), (BaseException, 2)):
        runner = runner_in(mode, task_retries=Retry(1, on=on))
        runner.add_task(as_in(mode, exit_task), label="a")
        assert run_one(runner)["attempts"] == attempts


def test_a_number_takes_any_error():
    """As documented: also what is no `Exception`."""
    runner = concurra.TaskRunner(progress_stats=False, task_retries=1)
    runner.add_task(exit_task, label="a")
    assert run_one(runner)["attempts"] == 2


def test_a_rule_that_no_process_can_get():
    """The task is treated as any other that cannot be pickled; its trace names that."""
    for fallback, attempts in ((False, 0), (True, 2)):
        runner = concurra.TaskRunner(
            use_multiprocessing=True,
            progress_stats=False,
            fallback_to_thread_on_pickle_error=fallback,
        )
        rule = Retry(1, on=lambda error: True)
        FAIL.add(runner, "thread", label="a", task_retries=rule)
        result = run_one(runner)
        assert result["attempts"] == attempts
        assert (result["execution_mode"] is None) is not fallback
        assert fallback or "the `on` of a Retry" in result["trace"]


# How much later -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_delay(mode, tmp_path):
    """The time between two attempts; it is part of the task's duration."""
    runner = runner_in(mode, task_retries=Retry(2, delay=0.2, backoff=2))
    FLAKY.add(runner, mode, tmp_path / "count", 2, label="a")
    result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Successful", 3)
    assert result["duration_seconds"] >= 0.59


def test_a_task_that_waits_holds_no_worker():
    """Another one does its work meanwhile, on the only one that there is."""
    ended = threading.Event()
    first = iter([ValueError("once")])

    def flaky():
        for error in first:
            raise error
        return ended.is_set()

    # The delay is over when the other task has ended: it is asked how long until then.
    def until_the_other_has_ended(attempts):
        assert attempts == 1 and ended.wait(BOUND)
        return 0

    runner = concurra.TaskRunner(1, progress_stats=False)
    retry = Retry(1, delay=until_the_other_has_ended)
    runner.add_task(flaky, label="flaky", task_retries=retry)
    runner.add_task(ended.set, label="other")
    results = runner.run()
    assert results["flaky"]["result"] is True


def test_a_run_that_waits_burns_no_time():
    """Nobody polls for the moment."""
    runner = concurra.TaskRunner(4, progress_stats=False)
    for number in range(20):
        FAIL.add(runner, "thread", label=number, task_retries=Retry(1, delay=0.5))
    before = time.process_time()
    results = runner.run(verify=False)
    assert time.process_time() - before < 0.4
    assert {result["attempts"] for result in results.values()} == {2}


def test_many_delays_are_told_apart():
    """Who has the shortest is next."""
    order = []

    def note(number, failed=set()):
        if number not in failed:
            failed.add(number)
            raise ValueError
        order.append(number)

    runner = concurra.TaskRunner(1, progress_stats=False)
    for number, delay in enumerate([0.6, 0.3, 0.9]):
        runner.add_task(note, number, task_retries=Retry(1, delay=delay))
    runner.run()
    assert order == [1, 0, 2]


@pytest.mark.parametrize(
    ("delay", "told"),
    [
        (lambda attempts: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda attempts: -1, "ValueError: delay must be a number of seconds, 0 or mo"),
        (lambda attempts: math.inf, "ValueError: delay must be finite, not inf"),
        (lambda attempts: "x", "TypeError: delay must be a number of seconds, not 'x'"),
    ],
)
def test_a_delay_that_cannot_be_told(delay, told):
    """The task fails with both errors, and the run goes on."""
    runner = concurra.TaskRunner(progress_stats=False)
    FAIL.add(runner, "thread", label="a", task_retries=Retry(3, delay=delay))
    SUCCEED.add(runner, "thread", label="b", depends_on=["a"])
    SUCCEED.add(runner, "thread", label="c")
    results = runner.run(verify=False)
    assert statuses(results) == {"a": "Failed", "b": "Terminated", "c": "Successful"}
    result = results["a"]
    check(result)
    assert result["error"].startswith(f"ValueError: bad ({told}")
    assert result["error"].endswith(" in the delay)")
    assert result["attempts"] == 1


def test_the_timeout_covers_the_delays():
    """It ends a task that waits for its next attempt."""
    runner = concurra.TaskRunner(progress_stats=False, timeout=0.3)
    FAIL.add(runner, "thread", label="a", task_retries=Retry(3, delay=BOUND * 3))
    result = run_one(runner)
    assert result["status"] == "Terminated"
    assert result["error"] == "TimeoutError: Task exceeded timeout of 0.3 seconds"
    assert (result["attempts"], result["execution_mode"]) == (1, "thread")
    assert result["retry_errors"] == ["ValueError: bad"]


def waiting_run(**options):
    """A run in the background whose only task at hand waits for its next attempt."""
    failed = threading.Event()

    def fail():
        failed.set()
        raise ValueError("bad")

    runner = concurra.TaskRunner(1, progress_stats=False, **options)
    runner.add_task(fail, label="a", task_retries=Retry(9, delay=BOUND * 3))
    runner.add_task(str, label="b", depends_on=["a"])
    runner.execute_in_background()
    assert failed.wait(BOUND)
    wait_until(lambda: not runner.get_active_runner_count(), BOUND)
    return runner


def test_what_waits_for_its_time_is_counted_as_waiting():
    """It is neither ready nor at work."""
    runner = waiting_run()
    assert runner.counts() == {
        "waiting": 2,
        "ready": 0,
        "running": 0,
        "successful": 0,
        "failed": 0,
        "terminated": 0,
    }
    runner.abort(verify=False)


@pytest.mark.parametrize("way", ["abort", "cancel", "run_timeout"])
def test_what_ends_a_run_ends_a_delay(way):
    """At once."""
    runner = waiting_run(**({"run_timeout": 0.5} if way == "run_timeout" else {}))
    began = time.monotonic()
    if way == "abort":
        runner.abort(verify=False)
    elif way == "cancel":
        assert runner.cancel("a")
    results = runner.get_background_results(verify=False)
    assert time.monotonic() - began < BOUND
    check(results["a"])
    errors = {
        "abort": TERMINATED,
        "cancel": "CancelledError: Task was cancelled",
        "run_timeout": "TimeoutError: Run exceeded timeout of 0.5 seconds",
    }
    assert results["a"]["error"] == errors[way]
    assert results["a"]["attempts"] == 1


def test_fast_fail_waits_for_the_last_attempt():
    """An attempt that is followed by another is no failure; then it ends the delays of
    others, too."""
    runner = concurra.TaskRunner(2, progress_stats=False, fast_fail=True)
    FAIL.add(runner, "thread", label="long", task_retries=Retry(1, delay=BOUND * 3))
    FAIL.add(runner, "thread", label="a", task_retries=Retry(2, delay=0.01))
    results = runner.run(verify=False)
    assert results["a"]["attempts"] == 3
    assert statuses(results) == {"long": "Terminated", "a": "Failed"}


# For how long -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KILLABLE)
def test_an_attempt_that_takes_too_long_is_stopped(mode, tmp_path):
    """And it has failed: another one follows."""
    limit = 1 if mode in ("fork", "command") else 3  # the second one starts a worker
    runner = runner_in(
        mode, task_retries=Retry(1, attempt_timeout=limit), terminate_timeout=0.2
    )
    count, pid = tmp_path / "count", tmp_path / "pid"
    SLOW_AT_FIRST.add(runner, mode, count, pid, label="a")
    result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Successful", 2)
    assert result["retry_errors"] == [f"TimeoutError: Attempt exceeded {limit} seconds"]
    assert lines(count) == ["x", "x"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


@pytest.mark.parametrize("mode", ["thread", "fallback"])
def test_a_thread_that_takes_too_long_goes_on_unheeded(mode):
    """Nothing can stop it; the next attempt runs beside it."""
    with Gate() as gate:
        attempts = iter([gate.wait, str])
        runner = runner_in(mode, 1, task_retries=Retry(1, attempt_timeout=1))
        runner.add_task(as_in("fallback", lambda: next(attempts)()), label="a")
        result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Successful", 2)
    assert result["retry_errors"] == ["TimeoutError: Attempt exceeded 1 seconds"]


@pytest.mark.parametrize("mode", ["thread", "fallback"])
def test_what_goes_on_unheeded_may_end_before_the_next_attempt(mode):
    """Whatever it returns then, the next attempt calls the function again."""
    calls, again = [], threading.Event()

    def late(argument):
        calls.append(argument)
        if len(calls) == 1:
            again.wait(BOUND)
        return argument

    def delay(attempts):
        again.set()
        return 0.3  # it ends meanwhile

    retry = Retry(1, delay=delay, attempt_timeout=1)
    runner = runner_in(mode, 2, task_retries=retry)
    runner.add_task(as_in(mode, late), "x", label="a")
    result = run_one(runner)
    assert (result["status"], result["result"]) == ("Successful", "x")
    assert result["retry_errors"] == ["TimeoutError: Attempt exceeded 1 seconds"]
    assert calls == ["x", "x"]


@pytest.mark.parametrize("limit", ["attempt", "task"])
def test_the_rule_is_not_asked_about_what_was_stopped(limit):
    """A coroutine ends with a cancellation then, which is not the task's own error."""
    asked, ended = [], threading.Event()

    async def stay():
        try:
            await asyncio.sleep(BOUND)
        finally:
            ended.set()

    limits = {"attempt_timeout": 0.2, "delay": 0.2} if limit == "attempt" else {}
    retry = Retry(1, on=lambda error: asked.append(error) or True, **limits)
    runner = concurra.TaskRunner(2, progress_stats=False, task_retries=retry)
    own = math.inf if limit == "attempt" else 0.2
    runner.add_task(task(stay, timeout=own), label="a")
    runner.add_task(lambda: ended.wait(BOUND) and time.sleep(0.1), label="b")
    assert "TimeoutError" in runner.run(verify=False)["a"]["error"]
    assert asked == []


@pytest.mark.parametrize("pause", [0, 0.2])
def test_a_coroutine_that_takes_too_long_is_cancelled(pause):
    """And it has failed: another one follows, once it has ended or sooner."""
    calls = []

    async def slow_at_first():
        calls.append("x")
        await asyncio.sleep(0 if len(calls) == 3 else BOUND)
        return "done"

    retry = Retry(2, delay=pause, attempt_timeout=0.5)
    runner = concurra.TaskRunner(2, progress_stats=False, task_retries=retry)
    runner.add_task(slow_at_first, label="a")
    result = run_one(runner)
    assert (result["status"], result["result"]) == ("Successful", "done")
    assert result["retry_errors"] == ["TimeoutError: Attempt exceeded 0.5 seconds"] * 2
    assert calls == ["x"] * 3


def test_the_last_attempt_that_takes_too_long():
    """The task has failed, not been terminated; `on` is not asked."""
    with Gate() as gate:
        retry = Retry(1, on=KeyError, attempt_timeout=0.1)
        runner = concurra.TaskRunner(progress_stats=False, task_retries=retry)
        runner.add_task(gate.wait, label="a")
        result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Failed", 2)
    assert result["error"] == "TimeoutError: Attempt exceeded 0.1 seconds"
    assert isinstance(runner.exception("a"), TimeoutError)


def test_the_timeout_of_the_task_comes_first():
    """If it does; it is the end, whatever retries are left."""
    with Gate() as gate:
        retry = Retry(9, attempt_timeout=BOUND)
        runner = concurra.TaskRunner(progress_stats=False, task_retries=retry)
        runner.add_task(task(gate.wait, timeout=0.2), label="a")
        result = run_one(runner)
    assert (result["status"], result["attempts"]) == ("Terminated", 1)


def test_a_retry_of_no_retries_limits_the_attempt():
    """There is one, which may not take longer."""
    with Gate() as gate:
        runner = concurra.TaskRunner(progress_stats=False)
        limited = task(gate.wait, task_retries=Retry(0, attempt_timeout=0.1))
        runner.add_task(limited, label="a")
        result = run_one(runner)
    assert (result["status"], result["task_retries"]) == ("Failed", 0)


def test_the_trace_of_an_attempt_that_is_not_the_last_is_never_written(monkeypatch):
    """To make it into text takes longer than all else of a failure."""
    written = []
    write = concurra.wording.Trace.__str__

    def count(trace):
        written.append(threading.current_thread().name)
        return write(trace)

    monkeypatch.setattr(concurra.wording.Trace, "__str__", count)
    for retries in (Retry(2), 2):
        runner = concurra.TaskRunner(1)
        runner.add_task(task(int, task_retries=retries), "no number", label="a")
        result = runner.run(verify=False)["a"]
        assert (result["attempts"], len(result["retry_errors"])) == (3, 3)
        assert "no number" in result["trace"]
    assert len(written) == 2


def raise_next(path, errors):
    """Fails once with each of them."""
    with open(path, "a") as file:
        file.write("x")
    raise errors[os.path.getsize(path) - 1]


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_an_attempt_after_which_there_is_none_has_a_trace(mode, tmp_path):
    """Though the first might have been followed by a third."""
    runner = runner_in(mode, 1)
    errors = [ValueError("first"), KeyError("second")]
    again = Retry(2, on=ValueError)
    path = str(tmp_path / "attempts")
    runner.add_task(task(raise_next, task_retries=again), path, errors, label="a")
    result = runner.run(verify=False)["a"]
    assert (result["attempts"], result["task_retries"]) == (2, 2)
    assert "raise errors[" in result["trace"]
    assert result["trace"].endswith("KeyError: 'second'\n")
