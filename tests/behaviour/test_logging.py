"""The log: progress lines, errors as they happen, and who gets to see them."""

from __future__ import annotations

import logging
import re
import threading

import pytest

import concurra
from tests.helpers import run_script, wait_until

from .support import BOUND, SAME_LIBRARY, Gate


def fail(message="no"):
    raise ValueError(message)


def progress_of(log, count, **options):
    """The progress lines of a run of `count` tasks, without their times."""
    runner = concurra.TaskRunner(**options)
    for _ in range(count):
        runner.add_task(str)
    runner.run(verify=False)
    lines = log.progress()
    time = r" in \d+ min \d+\.\d+ sec$"
    assert all(re.search(time, line) for line in lines)
    return [re.sub(time, "", line) for line in lines]


# Progress ---------------------------------------------------------------------


def test_progress_of_three_tasks(log):
    """A bar of 25 characters, the count and the percentage."""
    assert progress_of(log, 3) == [
        "TaskRunner progress: [########.................] 1/3 [33.33%]",
        "TaskRunner progress: [#################........] 2/3 [66.67%]",
        "TaskRunner progress: [#########################] 3/3 [100.0%]",
    ]


def test_progress_of_other_numbers(log):
    """Halves and sevenths: rounded to two decimals, at least one of them shown."""
    assert progress_of(log, 2) == [
        "TaskRunner progress: [############.............] 1/2 [50.0%]",
        "TaskRunner progress: [#########################] 2/2 [100.0%]",
    ]
    assert [line.split("] ", 1)[1] for line in progress_of(log, 7)[2:]] == [
        *("1/7 [14.29%]", "2/7 [28.57%]", "3/7 [42.86%]", "4/7 [57.14%]"),
        *("5/7 [71.43%]", "6/7 [85.71%]", "7/7 [100.0%]"),
    ]


def test_the_bar_is_always_25_wide(log):
    """However many tasks there are, and it never shrinks."""
    bars = [re.search(r"\[([#.]+)\]", line)[1] for line in progress_of(log, 19)]
    assert {len(bar) for bar in bars} == {25}
    assert bars == sorted(bars, key=lambda bar: bar.count("#"))
    assert bars[-1] == "#" * 25


@pytest.mark.parametrize(
    ("total", "logged"),
    [
        (1, [1]),
        (9, list(range(1, 10))),
        (10, list(range(1, 11))),
        (19, list(range(1, 20))),
        (20, list(range(2, 21, 2))),
        (25, [*range(2, 25, 2), 25]),
        (105, [*range(10, 101, 10), 105]),
    ],
)
def test_progress_comes_at_every_tenth(log, total, logged):
    """At every `max(1, total // 10)` tasks that ended, and always at the last one."""
    lines = progress_of(log, total, max_concurrency=3)
    assert [int(re.search(r" (\d+)/", line)[1]) for line in lines] == logged
    assert all(f"/{total} [" in line for line in lines)


def test_progress_is_of_the_start_that_counts(log):
    """An abort that is about to take its place takes no line from the run."""
    entered, go = threading.Event(), threading.Event()

    class Slow(list):
        def __iter__(self):
            if threading.current_thread() is aborting:
                entered.set()
                assert go.wait(BOUND)
            return super().__iter__()

    with Gate() as gate:
        runner = concurra.TaskRunner(1)
        runner.add_task(gate.wait)
        aborting = threading.Thread(target=runner.abort, args=(False,))
        runner.observers = Slow([concurra.Observer()])
        aborting.start()
        assert entered.wait(BOUND)
        runner.execute_in_background()
        gate.reached_by(1)
        go.set()
        aborting.join(BOUND)
        assert runner.done()
    assert len(log.progress()) == 1


def test_progress_is_at_info(log):
    """At no other level."""
    progress_of(log, 3)
    assert {record.levelno for record in log.records} == {logging.INFO}


def test_progress_has_the_name(log):
    """Of the runner."""
    (line,) = progress_of(log, 1, name="Nightly run")
    assert line.startswith("Nightly run progress: [")


def test_progress_counts_tasks_that_were_skipped(log):
    """They have ended as well: the last line is that of the last task."""
    runner = concurra.TaskRunner(max_concurrency=1)
    runner.add_task(str)
    runner.add_task(fail, label="x")
    runner.add_task(str, depends_on=["x"])
    runner.add_task(str, depends_on=[2])
    runner.run(verify=False)
    assert " 4/4 [100.0%] in " in log.progress()[-1]


def test_progress_comes_while_the_run_goes_on(log):
    """A line appears when its task ends, not at the end of the run."""
    with Gate() as gate:
        runner = concurra.TaskRunner(max_concurrency=1)
        runner.add_task(str)
        runner.add_task(gate.wait)
        runner.execute_in_background()
        wait_until(lambda: len(log.progress()) == 1, what="the first line")
        gate.open()
        runner.get_background_results()
    assert len(log.progress()) == 2


def test_every_line_is_logged_when_run_returns(log):
    """With many workers as well, none comes later."""
    for _ in range(20):
        before = len(log.progress())
        runner = concurra.TaskRunner(max_concurrency=8)
        for _ in range(8):
            runner.add_task(str)
        runner.run(verify=False)
        assert len(log.progress()) == before + 8
        assert " 8/8 [100.0%] in " in log.progress()[-1]


def test_progress_of_other_modes(log):
    """Processes and commands make progress, too."""
    runner = concurra.TaskRunner(use_multiprocessing=True)
    runner.add_task(str)
    runner.add_command(["echo", "x"])
    runner.run(verify=False)
    assert len(log.progress()) == 2


# Errors as they happen --------------------------------------------------------


@pytest.mark.parametrize("use_multiprocessing", [False, True])
def test_log_errors_logs_error_and_trace(log, use_multiprocessing):
    """At ERROR, for each failed task."""
    runner = concurra.TaskRunner(
        log_errors=True,
        progress_stats=False,
        use_multiprocessing=use_multiprocessing,
        max_concurrency=1,
    )
    runner.add_task(fail, "first")
    runner.add_task(str)
    runner.add_task(fail, "second")
    runner.run(verify=False)
    lines = log.lines()
    assert log.lines(logging.ERROR) == lines
    assert len(lines) == 2
    for line, message in zip(lines, ("first", "second")):
        assert f"ValueError: {message}" in line
        assert "Traceback (most recent call last)" in line
        assert "in fail" in line


def test_errors_are_logged_while_the_run_goes_on(log):
    """As they happen, not at the end."""
    with Gate() as gate:
        runner = concurra.TaskRunner(log_errors=True, max_concurrency=1)
        runner.add_task(fail)
        runner.add_task(gate.wait)
        runner.execute_in_background()
        wait_until(lambda: log.lines(logging.ERROR), what="the error in the log")
        gate.open()
        runner.get_background_results(verify=False)
    assert len(log.lines(logging.ERROR)) == 1


def test_log_errors_is_off_by_default(log):
    """Then only the report tells of them."""
    runner = concurra.TaskRunner()
    runner.add_task(fail)
    runner.run(verify=False)
    assert log.lines(logging.ERROR) == []


def test_log_errors_of_a_command(log):
    """A command's error, with what it said."""
    runner = concurra.TaskRunner(log_errors=True)
    runner.add_shell_command("echo trouble >&2; exit 7")
    runner.run(verify=False)
    assert "Command exited with return code 7: trouble" in log.text(logging.ERROR)


def test_log_errors_of_a_retried_task(log):
    """The failure of the task is logged, once."""
    runner = concurra.TaskRunner(log_errors=True, task_retries=2)
    runner.add_task(fail, "in the end")
    runner.run(verify=False)
    errors = log.lines(logging.ERROR)
    assert "ValueError: in the end" in errors[-1]


# Who sees it ------------------------------------------------------------------


def test_the_default_logger_belongs_to_the_application():
    """`concurra.core`: no handler, no level, not cut off from the root logger."""
    logger = concurra.TaskRunner().log
    assert logger.name == "concurra.core"
    assert [
        handler
        for handler in logger.handlers
        if not isinstance(handler, logging.NullHandler)
    ] == []
    assert logger.propagate is True


QUIET = """
import concurra

runner = concurra.TaskRunner(max_concurrency=1)
runner.add_task(str)
print(runner.run()[0]["status"])
"""


def test_a_program_without_logging_sees_nothing_of_a_success():
    """Without a configuration, INFO goes nowhere."""
    done = run_script(QUIET, check=True, env=SAME_LIBRARY)
    assert (done.stdout, done.stderr) == ("Successful\n", "")


CONSOLE = """
import logging

import concurra

logging.basicConfig(level=logging.INFO)
runner = concurra.TaskRunner(max_concurrency=1)
runner.add_task(str, label="a")
runner.run()
"""


def test_a_program_with_basic_config_sees_the_documented_lines():
    """The console output, as the documentation shows it."""
    done = run_script(CONSOLE, check=True, env=SAME_LIBRARY)
    first, second, *table = done.stderr.splitlines()
    assert re.fullmatch(
        r"INFO:concurra\.core:TaskRunner progress: \[#{25}\] 1/1 \[100\.0%\] "
        r"in 0 min \d+\.\d+ sec",
        first,
    )
    assert second == "INFO:concurra.core:"
    assert table[1] == "| label   | task   | status     | duration   |"


def test_a_logger_that_fails_spoils_no_run(own_log):
    """An exception in the user's handler neither hangs the run nor loses a result."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("disk full")

    broken = Broken()
    own_log.logger.addHandler(broken)
    try:
        runner = concurra.TaskRunner(logger=own_log.logger, log_errors=True)
        runner.add_task(fail, label="a")
        runner.add_task(str, label="b")
        runner.execute_in_background()
        wait_until(lambda: all(runner.results_registry.values()), what="the results")
        ended = [result["status"] for result in runner.results_registry.values()]
    finally:
        own_log.logger.removeHandler(broken)
        runner.abort()
    assert ended == ["Failed", "Successful"]


def test_lines_of_threads_do_not_mix(log):
    """Each line is a record of its own, whichever worker wrote it."""
    barrier = threading.Barrier(4, timeout=BOUND)
    runner = concurra.TaskRunner(max_concurrency=4)
    for _ in range(4):
        runner.add_task(barrier.wait)
    runner.run(verify=False)
    assert [re.search(r"(\d)/4", line)[1] for line in log.progress()] == list("1234")
