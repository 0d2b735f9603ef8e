"""The result structure: seventeen fields for each task, whatever became of it."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import threading
import time
import weakref
from datetime import datetime

import pytest

import concurra
from tests.helpers import run_script

from .support import BOUND, FIELDS, SAME_LIBRARY, TERMINATED, Gate, check


class Refused(Exception):
    """An exception of the user's own."""


def deep(message):
    def deeper():
        raise Refused(message)

    deeper()


def one(task, *args, **options):
    """The result of a single task in a runner with these options."""
    runner = concurra.TaskRunner(progress_stats=False, **options)
    runner.add_task(task, *args, label="a")
    return runner.run(verify=False)["a"]


# The structure ----------------------------------------------------------------


def all_kinds_of_ends():
    """Results of one task for each way to end, by a name for that way."""
    ends = {}
    runner = concurra.TaskRunner(progress_stats=False, max_concurrency=2)
    runner.add_task(str, label="success")
    runner.add_task(deep, "no", label="failure", task_retries=1)
    runner.add_task(str, label="skip", depends_on=["failure"])
    runner.add_command(["echo", "x"], label="command")
    runner.add_shell_command("exit 3", label="failed command")
    ends.update(runner.run(verify=False))
    runner = concurra.TaskRunner(progress_stats=False, use_multiprocessing=True)
    runner.add_task(abs, -3, label="process")
    runner.add_task(deep, "no", label="failed process")
    runner.add_task(lambda: 1, label="not picklable")
    ends.update(runner.run(verify=False))
    runner = concurra.TaskRunner(
        progress_stats=False,
        use_multiprocessing=True,
        fallback_to_thread_on_pickle_error=True,
    )
    runner.add_task(lambda: 1, label="fallback")
    ends.update(runner.run(verify=False))
    with Gate() as gate:
        runner = concurra.TaskRunner(progress_stats=False, max_concurrency=1)
        runner.add_task(gate.wait, label="aborted")
        runner.add_task(str, label="never started")
        runner.execute_in_background()
        gate.reached_by(1)
        ends.update(runner.abort())
        ends["timeout"] = one(gate.wait, timeout=0.2)
    return ends


def test_every_end_has_the_documented_fields():
    """Seventeen fields, none more, of the documented types, in agreement."""
    ends = all_kinds_of_ends()
    for result in ends.values():
        check(result)
    assert {name: result["status"] for name, result in ends.items()} == {
        "success": "Successful",
        "failure": "Failed",
        "skip": "Terminated",
        "command": "Successful",
        "failed command": "Failed",
        "process": "Successful",
        "failed process": "Failed",
        "not picklable": "Failed",
        "fallback": "Successful",
        "aborted": "Terminated",
        "never started": "Terminated",
        "timeout": "Terminated",
    }
    assert {name: result["execution_mode"] for name, result in ends.items()} == {
        "success": "thread",
        "failure": "thread",
        "skip": None,
        "command": "subprocess",
        "failed command": "subprocess",
        "process": "process",
        "failed process": "process",
        "not picklable": None,
        "fallback": "thread_fallback",
        "aborted": "thread",
        "never started": None,
        "timeout": "thread",
    }


def test_there_are_seventeen_fields():
    """The list that these tests compare with is the documented one."""
    assert len(FIELDS) == len(set(FIELDS)) == 17


def test_results_can_be_printed_as_json():
    """`json.dumps(results, default=str)` works for every end."""
    printed = json.loads(json.dumps(all_kinds_of_ends(), default=str))
    assert printed["failure"]["error"] == "Refused: no"
    assert printed["skip"]["execution_mode"] is None


# Times ------------------------------------------------------------------------


def test_timestamps_are_local_wall_clock_times():
    """`start_time` and `end_time` lie between the moments before and after the run."""
    before = datetime.now().replace(microsecond=0)
    result = one(str)
    after = datetime.now()
    start, end = (
        datetime.strptime(result[field], "%Y-%m-%d %H:%M:%S")
        for field in ("start_time", "end_time")
    )
    assert before <= start <= end <= after


def test_duration_is_that_of_the_task():
    """At least as long as the task took, as number and as text."""
    result = one(time.sleep, 0.06)
    assert result["duration_seconds"] >= 0.06
    assert result["duration"] == f"{result['duration_seconds']} sec"


def test_duration_does_not_count_the_time_in_the_queue():
    """It begins when the task starts, not when the run does."""
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    runner.add_task(time.sleep, 0.3, label="long")
    runner.add_task(str, label="short")
    results = runner.run()
    assert results["long"]["duration_seconds"] >= 0.3
    assert results["short"]["duration_seconds"] < results["long"]["duration_seconds"]


def test_a_change_of_the_wall_clock_changes_no_duration(monkeypatch):
    """Durations are measured on the monotonic clock."""
    clock = time.time

    def back_in_time():
        monkeypatch.setattr(time, "time", lambda: clock() - 3600)

    result = one(back_in_time)
    assert 0 <= result["duration_seconds"] < 60


LEAP = """
import time

now = 1000.0
time.monotonic = lambda: now

import json
import logging

import concurra


def leap():
    global now
    now += 150


logging.basicConfig(level=logging.INFO)
runner = concurra.TaskRunner()
runner.add_task(leap, label="a")
print(json.dumps(runner.run()))
"""


def test_durations_beyond_a_minute():
    """150 seconds on a clock of our own: minutes in result, table and progress."""
    done = run_script(LEAP, check=True, env=SAME_LIBRARY)
    result = json.loads(done.stdout)["a"]
    assert result["duration"] == "2.5 min"
    assert result["duration_seconds"] == 150.0
    assert "| a       | leap   | Successful | 2.5 min    |" in done.stderr
    assert " 1/1 [100.0%] in 2 min 30.0 sec" in done.stderr


# Values -----------------------------------------------------------------------


def test_result_and_output_are_what_the_task_returned():
    """The very object, in a thread."""
    value = object()
    result = one(lambda: value)
    assert result["result"] is value
    assert result["output"] is value


@pytest.mark.parametrize("value", [None, 0, "", [], False, ValueError("a value")])
def test_any_value_is_a_success(value):
    """None, falsy values, and exceptions that are returned instead of raised."""
    result = one(lambda: value)
    assert result["result"] is value
    assert result["status"] == "Successful"
    assert result["error"] is None
    assert result["trace"] is None


def test_a_failed_task_has_no_result():
    """`result` and `output` are None, `has_failed` is True."""
    result = one(deep, "no")
    assert (result["result"], result["output"]) == (None, None)
    assert result["has_failed"] is True


@pytest.mark.parametrize("use_multiprocessing", [False, True])
@pytest.mark.parametrize("message", ["no", "two\nlines", "ü→", "", "x" * 10_000])
def test_error_is_type_and_message(use_multiprocessing, message):
    """`"ExcType: message"`, in full, with the bare name of the type."""
    result = one(deep, message, use_multiprocessing=use_multiprocessing)
    assert result["error"] == f"Refused: {message}"


def test_error_shows_the_message_as_str_does():
    """A KeyError's message has its quotes."""
    assert one({}.__getitem__, "k")["error"] == "KeyError: 'k'"


@pytest.mark.parametrize("use_multiprocessing", [False, True])
def test_trace_is_the_full_traceback(use_multiprocessing):
    """From its heading, through the user's functions, to the exception."""
    trace = one(deep, "no", use_multiprocessing=use_multiprocessing)["trace"]
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "in deep\n    deeper()" in trace
    assert "raise Refused(message)" in trace
    assert trace.rstrip().endswith("Refused: no")


def chained():
    try:
        deep("inner")
    except Refused as error:
        raise ValueError("outer") from error


@pytest.mark.parametrize("use_multiprocessing", [False, True])
def test_trace_includes_causes(use_multiprocessing):
    """An exception's cause is in the trace, also out of a process."""
    result = one(chained, use_multiprocessing=use_multiprocessing)
    assert result["error"] == "ValueError: outer"
    inner, outer = result["trace"].split("direct cause of the following exception")
    assert "Refused: inner" in inner
    assert "ValueError: outer" in outer


def test_arguments_of_a_failed_task_are_let_go():
    """A result holds text, not frames: what the task used is freed with the runner."""

    class Thing:
        def fail(self):
            raise Refused("no")

    thing = Thing()
    reference = weakref.ref(thing)
    result = one(thing.fail)
    del thing
    gc.collect()
    assert result["error"] == "Refused: no"
    assert reference() is None


def test_warning_is_none_without_a_reason():
    """There is nothing to say about an ordinary task, failed or not."""
    assert one(str)["warning"] is None
    assert one(deep, "no")["warning"] is None


# The dicts belong to the user -------------------------------------------------


def test_results_are_plain_dicts():
    """`dict` itself, inside and outside."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    results = runner.run()
    assert type(results) is dict
    assert type(results["a"]) is dict


def test_results_are_mutable_and_independent():
    """What the user does to one task's result shows in no other's."""
    runner = concurra.TaskRunner(progress_stats=False)
    for label in "ab":
        runner.add_task(deep, "no", label=label)
    results = runner.run(verify=False)
    results["a"]["retry_errors"].append("mine")
    results["a"]["status"] = "Mine"
    results["a"]["mine"] = True
    del results["a"]["trace"]
    assert results["b"]["retry_errors"] == ["Refused: no"]
    assert results["b"]["status"] == "Failed"
    check(results["b"])


def test_results_survive_the_runner():
    """They can be kept, copied and pickled when the runner is gone."""
    results = one(deep, "no")
    assert copy.deepcopy(results) == results
    assert pickle.loads(pickle.dumps(results)) == results


# A thread that was given up ---------------------------------------------------


def test_a_late_thread_does_not_change_its_result():
    """What a timed-out thread returns in the end is not written over its result."""
    late = threading.Event()

    def task():
        gate.wait()
        late.set()
        return "too late"

    with Gate() as gate:
        runner = concurra.TaskRunner(timeout=0.2, progress_stats=False)
        runner.add_task(task, label="a")
        results = runner.run(verify=False)
        before = dict(results["a"])
    assert late.wait(BOUND)
    assert results["a"] == before
    assert runner.results_registry["a"] == before
    assert before["status"] == "Terminated"
    assert before["error"] != TERMINATED


FROZEN = """
import time

import concurra

if __name__ == "__main__":
    wall = 1_700_000_000.0
    time.time = time.monotonic = lambda: wall
    runner = concurra.TaskRunner(progress_stats=False, use_multiprocessing=True)
    runner.add_task(abs, -1)
    runner.add_command(["true"])
    for result in runner.run().values():
        assert result["status"] == "Successful", result
        for field in ("start_time", "end_time"):
            moment = time.mktime(time.strptime(result[field], "%Y-%m-%d %H:%M:%S"))
            assert 0 <= moment - wall < 60, result
        assert 0 < result["duration_seconds"] < 60 or result["duration"] == "0.0 sec"
"""


def test_timestamps_where_the_time_is_frozen():
    """They are of the frozen day, as both clocks are in a test that freezes it."""
    run_script(FROZEN, check=True, env=SAME_LIBRARY)
