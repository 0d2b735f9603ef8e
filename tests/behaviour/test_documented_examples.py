"""Every example of the documentation, with the output that it documents.

Sleeps are replaced by meetings where the documented output does not depend on them.
"""

from __future__ import annotations

import json
import re
import sys
import threading

import pytest

import concurra

from tests.helpers import run_script

from .support import BOUND, FIELDS, SAME_LIBRARY, Gate

# All tasks pass ---------------------------------------------------------------

CONSOLE = """\
INFO:concurra.core:TaskRunner progress: \
[########.................] 1/3 [33.33%] in 0 min N sec
INFO:concurra.core:TaskRunner progress: \
[#################........] 2/3 [66.67%] in 0 min N sec
INFO:concurra.core:TaskRunner progress: \
[#########################] 3/3 [100.0%] in 0 min N sec
INFO:concurra.core:
+-------------+--------+------------+------------+
| label       | task   | status     | duration   |
|-------------+--------+------------+------------|
| square_4    | square | Successful | N sec      |
| square_5    | square | Successful | N sec      |
| divide_10_2 | divide | Successful | N sec      |
+-------------+--------+------------+------------+"""


def without_durations(console):
    """The console text with `N sec` for each duration, columns kept."""

    def same_width(match):
        return "N sec" + " " * (len(match[0]) - len("N sec") if match[1] else 0)

    return re.sub(r"\d+\.\d+ sec( +(?=\|))?", same_width, console)


def all_pass_runner():
    divided = threading.Event()

    def square(x):
        assert divided.wait(BOUND)
        return x * x

    def divide(x, y):
        divided.set()
        return x / y

    runner = concurra.TaskRunner(max_concurrency=4)
    runner.add_task(square, 4, label="square_4")
    runner.add_task(square, 5, label="square_5")
    runner.add_task(divide, 10, 2, label="divide_10_2")
    return runner


def test_all_tasks_pass_logs_the_documented_console_output(log):
    """Three progress lines and the table, character by character but for times."""
    all_pass_runner().run()
    assert without_durations(log.console()) == CONSOLE


def test_all_tasks_pass_gives_the_documented_json():
    """The printed JSON has the documented fields, in order, with these values."""
    results = json.loads(json.dumps(all_pass_runner().run(), indent=4, default=str))
    assert list(results) == ["square_4", "square_5", "divide_10_2"]
    square = results["square_4"]
    assert list(square) == [
        *("task_name", "start_time", "end_time", "duration", "duration_seconds"),
        *("result", "error", "trace", "status", "has_failed", "output"),
        *("execution_mode", "warning", "attempts", "task_retries", "retried"),
        "retry_errors",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", square.pop("start_time"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", square.pop("end_time"))
    assert square.pop("duration") == f"{square.pop('duration_seconds')} sec"
    assert square == {
        "task_name": "square",
        "result": 16,
        "error": None,
        "trace": None,
        "status": "Successful",
        "has_failed": False,
        "output": 16,
        "execution_mode": "thread",
        "warning": None,
        "attempts": 1,
        "task_retries": 0,
        "retried": False,
        "retry_errors": [],
    }
    assert results["divide_10_2"]["result"] == 5.0


# Partial failures -------------------------------------------------------------


def partial_failure_runner():
    def square(x):
        return x * x

    def divide(x, y):
        return x / y

    runner = concurra.TaskRunner(max_concurrency=4)
    runner.add_task(square, 4, label="square_4")
    runner.add_task(divide, 10, 2, label="divide_10_2")
    runner.add_task(divide, 10, 0, label="divide_by_zero")
    return runner


def test_partial_failures_are_in_the_results_and_the_log(log):
    """The others succeed, the failure has its error, a report is logged."""
    results = partial_failure_runner().run(verify=True)
    failed = json.loads(json.dumps(results["divide_by_zero"], default=str))
    trace = failed["trace"]
    assert trace.startswith("Traceback (most recent call last):")
    assert "return x / y" in trace
    documented = {
        "task_name": "divide",
        "result": None,
        "error": "ZeroDivisionError: division by zero",
        "trace": trace,
        "status": "Failed",
        "has_failed": True,
        "output": None,
        "execution_mode": "thread",
        "warning": None,
    }
    assert {field: failed[field] for field in documented} == documented
    assert results["square_4"]["result"] == 16
    assert results["divide_10_2"]["result"] == 5.0
    assert "divide_by_zero" in log.text()


def test_failures_turn_into_an_exception_on_request():
    """`run(raise_exception=True)` raises if a task failed."""
    with pytest.raises(Exception, match="ZeroDivisionError: division by zero"):
        partial_failure_runner().run(raise_exception=True)


# Task retries -----------------------------------------------------------------


def test_retries_upload_at_the_third_attempt():
    """Two failed attempts, then success, all of it on record."""
    attempts = {"upload": 0}

    def upload_report():
        attempts["upload"] += 1
        if attempts["upload"] < 3:
            raise ConnectionError("temporary upload failure")
        return "uploaded"

    runner = concurra.TaskRunner(task_retries=2)
    runner.add_task(upload_report, label="upload_report")
    results = runner.run()
    assert results["upload_report"]["status"] == "Successful"
    assert results["upload_report"]["attempts"] == 3
    assert results["upload_report"]["retried"] is True
    assert results["upload_report"]["retry_errors"] == [
        "ConnectionError: temporary upload failure",
        "ConnectionError: temporary upload failure",
    ]


def test_retries_of_a_single_task():
    """The override of the documentation: four retries for one task."""
    calls = []

    def call_partner_api():
        calls.append("call")
        raise ConnectionError("down")

    runner = concurra.TaskRunner(task_retries=2)
    runner.add_task(call_partner_api, label="partner_api", task_retries=4)
    results = runner.run()
    assert results["partner_api"]["attempts"] == len(calls) == 5


# External commands ------------------------------------------------------------


def test_commands_report_one_after_the_other():
    """Two direct commands in a chain, with their structured results."""
    runner = concurra.TaskRunner(max_concurrency=2)
    runner.add_command(["echo", "generate report"], label="generate_report")
    runner.add_command(
        ["echo", "send report"], label="send_report", depends_on=["generate_report"]
    )
    results = runner.run()
    assert results["generate_report"]["execution_mode"] == "subprocess"
    assert results["generate_report"]["result"] == {
        "command": ["echo", "generate report"],
        "shell": False,
        "returncode": 0,
        "stdout": "generate report\n",
        "stderr": "",
        "cwd": None,
    }
    assert results["send_report"]["result"]["stdout"] == "send report\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_shell_command_filters_output():
    """A pipe in a shell command."""
    runner = concurra.TaskRunner()
    runner.add_shell_command(
        "printf 'alpha\\nbeta\\n' | grep beta", label="filter_output"
    )
    assert runner.run()["filter_output"]["result"]["stdout"] == "beta\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_shell_command_filters_errors_into_a_file(tmp_path):
    """Globbing, pipe and redirect of the chapter on external commands."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.txt").write_text("ERROR one\nfine\n")
    (tmp_path / "logs" / "b.txt").write_text("fine\nERROR two\n")
    runner = concurra.TaskRunner()
    runner.add_shell_command(
        "cat logs/*.txt | grep ERROR > errors.txt", label="filter_errors", cwd=tmp_path
    )
    assert runner.run()["filter_errors"]["status"] == "Successful"
    assert (tmp_path / "errors.txt").read_text() == "ERROR one\nERROR two\n"


def test_commands_mix_with_functions():
    """A command that depends on a Python function."""

    def prepare_payload():
        return "payload ready"

    runner = concurra.TaskRunner(max_concurrency=2)
    runner.add_task(prepare_payload, label="prepare")
    runner.add_command(
        ["echo", "external command ran"],
        label="external_command",
        depends_on=["prepare"],
    )
    results = runner.run()
    assert results["prepare"]["result"] == "payload ready"
    assert results["external_command"]["execution_mode"] == "subprocess"
    assert results["external_command"]["result"]["stdout"] == "external command ran\n"


# Fast-fail, timeout, abort ----------------------------------------------------


def test_fast_fail_terminates_the_other_task():
    """One fails, the other is terminated."""

    def will_fail():
        raise RuntimeError("Oops!")

    with Gate() as gate:

        def will_succeed():
            return gate.wait("Success")

        runner = concurra.TaskRunner(fast_fail=True, max_concurrency=2)
        runner.add_task(will_succeed, label="ok")
        runner.add_task(will_fail, label="fail")
        results = runner.run(verify=False)
    assert results["fail"]["status"] == "Failed"
    assert results["ok"]["status"] == "Terminated"
    assert results["ok"]["error"] == (
        "RuntimeError: Execution terminated before completion"
    )


def test_timeout_terminates_the_slow_task():
    """The one example that takes its time: the number 4 is in the documented text."""
    with Gate() as gate:

        def slow():
            return gate.wait("Done")

        runner = concurra.TaskRunner(timeout=4)
        runner.add_task(slow, label="timeout_task")
        results = runner.run(verify=False)
    assert results["timeout_task"]["status"] == "Terminated"
    assert results["timeout_task"]["error"] == (
        "TimeoutError: Task exceeded timeout of 4 seconds"
    )


def test_abort_terminates_the_job():
    """Abort a background run while its task is busy."""
    with Gate() as gate:

        def long_task():
            gate.wait()

        runner = concurra.TaskRunner()
        runner.add_task(long_task, label="job")
        runner.execute_in_background()
        gate.reached_by(1)
        results = runner.abort()
    assert results["job"]["status"] == "Terminated"


# Multiprocessing --------------------------------------------------------------

CPU_BOUND = """
import multiprocessing
import sys

import concurra


def heavy(n):  # must be a top-level, picklable function
    total = 0
    for i in range(n):
        total += i * i
    return total


if __name__ == "__main__":  # required for spawn (macOS/Windows)
    multiprocessing.set_start_method(sys.argv[1])
    runner = concurra.TaskRunner(max_concurrency=4, use_multiprocessing=True)
    runner.add_task(heavy, 1_000, label="job1")
    runner.add_task(heavy, 2_000, label="job2")

    results = runner.run()
    print(results["job1"]["execution_mode"])
    print(results["job1"]["result"], results["job2"]["result"])
"""


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_multiprocessing_in_a_script(start_method):
    """The guarded script runs with the start method that its program chose."""
    if start_method == "fork" and sys.platform in ("win32", "darwin"):
        pytest.skip("needs a system whose programs fork")
    done = run_script(CPU_BOUND, start_method, check=True, env=SAME_LIBRARY)
    squares = [sum(i * i for i in range(n)) for n in (1_000, 2_000)]
    assert done.stdout == f"process\n{squares[0]} {squares[1]}\n"


# Dependent tasks --------------------------------------------------------------


def test_order_pipeline(capsys):
    """Six steps, printed in the order of adding; two of them run in parallel."""
    together = threading.Barrier(2, timeout=BOUND)
    steps = []

    def receive_order(order_id):
        steps.append("receive_order")
        return f"received {order_id}"

    def validate_payment(order_id):
        together.wait()
        steps.append("check")
        return f"payment validated for {order_id}"

    def check_inventory(order_id):
        together.wait()
        steps.append("check")
        return f"inventory reserved for {order_id}"

    def pack_order(order_id):
        steps.append("pack_order")
        return f"packed {order_id}"

    def ship_order(order_id):
        steps.append("ship_order")
        return f"shipped {order_id}"

    def send_confirmation(order_id):
        steps.append("send_confirmation")
        return f"confirmation sent for {order_id}"

    runner = concurra.TaskRunner(max_concurrency=3)
    order_id = "ORD-1001"
    runner.add_task(receive_order, order_id, label="receive_order")
    runner.add_task(
        validate_payment,
        order_id,
        label="validate_payment",
        depends_on=["receive_order"],
    )
    runner.add_task(
        check_inventory, order_id, label="check_inventory", depends_on=["receive_order"]
    )
    runner.add_task(
        pack_order,
        order_id,
        label="pack_order",
        depends_on=["validate_payment", "check_inventory"],
    )
    runner.add_task(ship_order, order_id, label="ship_order", depends_on=["pack_order"])
    runner.add_task(
        send_confirmation,
        order_id,
        label="send_confirmation",
        depends_on=["ship_order"],
    )
    results = runner.run()
    for label, info in results.items():
        print(f"{label}: {info['status']} → {info['result']}")
    assert capsys.readouterr().out == (
        "receive_order: Successful → received ORD-1001\n"
        "validate_payment: Successful → payment validated for ORD-1001\n"
        "check_inventory: Successful → inventory reserved for ORD-1001\n"
        "pack_order: Successful → packed ORD-1001\n"
        "ship_order: Successful → shipped ORD-1001\n"
        "send_confirmation: Successful → confirmation sent for ORD-1001\n"
    )
    assert steps == [
        *("receive_order", "check", "check"),
        *("pack_order", "ship_order", "send_confirmation"),
    ]


@pytest.mark.parametrize("culprit", ["validate_payment", "check_inventory"])
def test_order_pipeline_stops_where_a_check_fails(culprit):
    """What depends on a failed check is skipped and says so."""

    def step(name):
        if name == culprit:
            raise ValueError("refused")

    runner = concurra.TaskRunner(max_concurrency=3)
    chain = {
        "receive_order": None,
        "validate_payment": ["receive_order"],
        "check_inventory": ["receive_order"],
        "pack_order": ["validate_payment", "check_inventory"],
        "ship_order": ["pack_order"],
    }
    for name, needed in chain.items():
        runner.add_task(step, name, label=name, depends_on=needed)
    results = runner.run()
    assert results["pack_order"]["status"] == "Terminated"
    assert results["pack_order"]["error"] == (
        f"RuntimeError: Skipped: dependency ['{culprit}'] failed or was terminated"
    )
    assert results["ship_order"]["status"] == "Terminated"


# The adders and the constructor, as the reference shows them ------------------


def test_reference_of_the_convenience_adders():
    """`add_func`, `add_function` and the four forms of `add_work` in one runner."""

    def collect(*args, **kwargs):
        return args, kwargs

    runner = concurra.TaskRunner(max_concurrency=2)
    runner.add_func(collect, "arg1", key="task0", some_kwarg=1)
    runner.add_function(
        collect, args=(1, 2), kwargs={"x": 3}, key="task1", depends_on=["task0"]
    )
    runner.add_work(
        [
            (collect,),
            (collect, (1, 2)),
            (collect, (1,), {"x": 2}),
            (collect, (), {}, "label_d"),
        ]
    )
    results = runner.run()
    assert {label: result["result"] for label, result in results.items()} == {
        "task0": (("arg1",), {"some_kwarg": 1}),
        "task1": ((1, 2), {"x": 3}),
        2: ((), {}),
        3: ((1, 2), {}),
        4: ((1,), {"x": 2}),
        "label_d": ((), {}),
    }


def test_reference_of_the_constructor(own_log):
    """The calls of the reference, as they are printed there."""
    runner = concurra.TaskRunner(
        max_concurrency=4,
        name="MyRunner",
        timeout=10,
        progress_stats=True,
        fast_fail=False,
        use_multiprocessing=False,
        logger=own_log.logger,
        log_errors=False,
        fallback_to_thread_on_pickle_error=False,
        task_retries=0,
    )
    runner.add_task(pow, 2, 3, label="task1", mod=5)
    runner.add_task(str, label="task2", depends_on=["task1"])
    runner.execute_in_background()
    results = runner.get_background_results()
    assert results["task1"]["result"] == 3
    assert all(sorted(result) == sorted(FIELDS) for result in results.values())
    assert own_log.progress()[-1].startswith("MyRunner progress: ")
