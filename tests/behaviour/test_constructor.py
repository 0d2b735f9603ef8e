"""The parameters of `TaskRunner`: what each does, its default, and what it refuses."""

from __future__ import annotations

import logging
import multiprocessing
import os
from decimal import Decimal

import pytest

import concurra


def fail():
    raise ValueError("no")


# Defaults and attributes ------------------------------------------------------


def test_defaults():
    """What a runner is without arguments, by its public attributes."""
    runner = concurra.TaskRunner()
    assert runner.max_concurrency == os.cpu_count()
    assert runner.name == "TaskRunner"
    assert runner.timeout is None
    assert runner.fast_fail is False
    assert runner.use_multiprocessing is False
    assert runner.log is logging.getLogger("concurra.core")
    assert runner.results_registry == {}
    assert len(runner) == 0
    assert runner.get_active_runner_count() == 0
    assert runner.is_running() is False


def test_arguments_are_attributes(own_log):
    """The public attributes show what was given."""
    runner = concurra.TaskRunner(
        max_concurrency=3,
        name="mine",
        timeout=2.5,
        fast_fail=True,
        use_multiprocessing=True,
        logger=own_log.logger,
    )
    assert runner.max_concurrency == 3
    assert runner.name == "mine"
    assert runner.timeout == 2.5
    assert runner.fast_fail is True
    assert runner.use_multiprocessing is True
    assert runner.log is own_log.logger


def test_all_ten_by_position(own_log):
    """The documented order of positional arguments, each seen by its effect."""
    runner = concurra.TaskRunner(
        2, "mine", 5, False, True, True, own_log.logger, True, True, 1
    )
    assert (runner.max_concurrency, runner.name, runner.timeout) == (2, "mine", 5)
    assert (runner.fast_fail, runner.use_multiprocessing) == (True, True)
    assert runner.log is own_log.logger
    runner.add_task(lambda: fail(), label="a")
    result = runner.run(verify=False)["a"]
    assert own_log.progress() == []
    assert result["execution_mode"] == "thread_fallback"
    assert result["attempts"] == 2
    assert "ValueError: no" in own_log.text(logging.ERROR)


def test_what_was_added_since_is_keyword_only():
    """An eleventh positional argument is refused."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(
            1, "n", None, True, False, False, None, False, False, 0, "x"
        )


# max_concurrency --------------------------------------------------------------


def test_max_concurrency_none_is_the_number_of_cpus():
    """None, given or not, is `os.cpu_count()`."""
    runner = concurra.TaskRunner(max_concurrency=None)
    assert runner.max_concurrency == os.cpu_count()


@pytest.mark.parametrize("number", [0, -1, -1000])
def test_max_concurrency_below_one_is_one(log, number):
    """It becomes 1, with a warning in the log."""
    runner = concurra.TaskRunner(max_concurrency=number)
    assert runner.max_concurrency == 1
    (warning,) = log.lines(logging.WARNING)
    assert "max_concurrency" in warning


def test_max_concurrency_warns_where_the_runner_logs(log, own_log):
    """The warning goes to the logger that was given."""
    concurra.TaskRunner(max_concurrency=0, logger=own_log.logger)
    assert len(own_log.lines(logging.WARNING)) == 1
    assert log.lines() == []


def test_max_concurrency_of_one_needs_no_warning(log):
    """1 is a number like another."""
    assert concurra.TaskRunner(max_concurrency=1).max_concurrency == 1
    assert log.lines() == []


@pytest.mark.parametrize("thing", ["2", 2.0, 1.5, True, False, [2], b"2"], ids=repr)
def test_max_concurrency_is_an_integer(thing):
    """What is no integer is a TypeError, booleans included."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(max_concurrency=thing)


# name, logger, progress_stats -------------------------------------------------


def test_name_is_in_the_progress_lines(log):
    """Progress lines begin with the runner's name."""
    runner = concurra.TaskRunner(name="MyRunner")
    runner.add_task(str)
    runner.run()
    (line,) = log.progress()
    assert line.startswith("MyRunner progress: [")


def test_name_defaults_to_taskrunner(log):
    """So does a runner whose name is None."""
    for runner in (concurra.TaskRunner(), concurra.TaskRunner(name=None)):
        runner.add_task(str)
        runner.run()
    assert [line.split()[0] for line in log.progress()] == ["TaskRunner"] * 2


def test_logger_gets_every_line(log, own_log):
    """With a logger of one's own, the default one is silent."""
    runner = concurra.TaskRunner(logger=own_log.logger, fast_fail=True)
    runner.add_task(fail, label="a")
    runner.run()
    text = own_log.text()
    assert "TaskRunner progress: [" in text
    assert "ValueError: no" in text
    assert "terminating execution!" in text
    assert "| a       | fail   | Failed   |" in text
    assert log.lines() == []


def test_progress_stats_off(log):
    """No progress lines; the report stays."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    runner.run()
    assert log.progress() == []
    (report,) = log.lines()
    assert "| a       | str    | Successful |" in report


def test_progress_stats_on_by_default(log):
    """Progress is logged unless it is turned off."""
    for runner in (concurra.TaskRunner(), concurra.TaskRunner(progress_stats=True)):
        runner.add_task(str)
        runner.run(verify=False)
    assert len(log.progress()) == 2


# timeout ----------------------------------------------------------------------


@pytest.mark.parametrize("thing", ["4", True, False, [4], b"4", ...], ids=repr)
def test_timeout_is_a_number(thing):
    """What is no number is a TypeError at construction, booleans included."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(timeout=thing)


@pytest.mark.parametrize("number", [0, 0.0, -1, -0.5, float("nan"), -float("inf")])
def test_timeout_is_positive(number):
    """Zero, negative numbers and NaN are ValueErrors at construction."""
    with pytest.raises(ValueError):
        concurra.TaskRunner(timeout=number)


@pytest.mark.parametrize(
    "timeout", [None, 30, 30.5, 10**12, 1e308, float("inf"), Decimal(30)]
)
def test_timeout_that_is_not_reached(timeout):
    """All kinds of numbers, beyond what a platform can wait for, and none."""
    runner = concurra.TaskRunner(timeout=timeout, progress_stats=False)
    runner.add_task(str, label="a")
    assert runner.run()["a"]["status"] == "Successful"
    assert runner.timeout == timeout


# Changed attributes -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("timeout", "5", "timeout must be a number of seconds, not '5'"),
        ("max_concurrency", "2", "max_concurrency must be an integer, not '2'"),
        ("fast_fail", "no", "fast_fail must be True or False, not 'no'"),
        ("max_tasks_per_child", 0, "max_tasks_per_child must be at least 1, not 0"),
        ("terminate_timeout", -1, "terminate_timeout must be a number of seconds, 0"),
        ("mp_context", 5, "mp_context must be a start method or a context, not 5"),
    ],
)
def test_attributes_are_checked_when_the_run_starts(name, value, error):
    """They may have been changed; nothing has started, and they can be mended."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(abs, -1, label="a")
    before = getattr(runner, name)
    setattr(runner, name, value)
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        runner.run()
    setattr(runner, name, before)
    assert runner.run()["a"]["result"] == 1


def test_no_limit_is_the_number_of_processors_later_as_well():
    """As in the constructor."""
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    runner.max_concurrency = None
    runner.run()
    assert runner.max_concurrency == os.cpu_count()


def test_what_is_changed_during_the_run_comes_too_late(log):
    """And the log does not speak of it as if it had come in time."""

    def change():
        runner.fast_fail, runner.max_concurrency = True, 2
        fail()

    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    runner.add_task(change, label="a")
    runner.add_task(abs, -1, label="b")
    assert runner.run()["b"]["status"] == "Successful"
    assert "terminating execution!" not in log.text()


# task_retries -----------------------------------------------------------------

RETRY_PARAMETERS = {
    "TaskRunner": lambda retries: concurra.TaskRunner(task_retries=retries),
    "add_task": lambda retries: concurra.TaskRunner().add_task(
        str, task_retries=retries
    ),
    "add_function": lambda retries: concurra.TaskRunner().add_function(
        str, task_retries=retries
    ),
    "add_command": lambda retries: concurra.TaskRunner().add_command(
        ["true"], task_retries=retries
    ),
    "add_shell_command": lambda retries: concurra.TaskRunner().add_shell_command(
        "exit 0", task_retries=retries
    ),
}


@pytest.mark.parametrize("where", RETRY_PARAMETERS)
@pytest.mark.parametrize("thing", ["2", 2.0, True, False, [2]], ids=repr)
def test_task_retries_is_an_integer(where, thing):
    """What is no integer is a TypeError wherever it can be given."""
    with pytest.raises(TypeError):
        RETRY_PARAMETERS[where](thing)


@pytest.mark.parametrize("where", RETRY_PARAMETERS)
def test_task_retries_is_not_negative(where):
    """A negative number is a ValueError wherever it can be given."""
    with pytest.raises(ValueError):
        RETRY_PARAMETERS[where](-1)


def test_a_refused_task_retries_adds_nothing():
    """The call that raised has added no task."""
    runner = concurra.TaskRunner()
    with pytest.raises(ValueError):
        runner.add_task(str, task_retries=-1)
    with pytest.raises(TypeError):
        runner.add_command(["true"], task_retries=1.0)
    assert len(runner) == 0


# What this library adds -------------------------------------------------------


def test_additions_default_to_the_platforms_ways():
    """None for context and tasks per child, one second of grace, may be written out."""
    runner = concurra.TaskRunner(
        mp_context=None,
        max_tasks_per_child=None,
        terminate_timeout=1,
        use_multiprocessing=True,
    )
    runner.add_task(str, label="a")
    assert runner.run()["a"]["execution_mode"] == "process"


def test_mp_context_is_a_known_start_method():
    """The name of an unknown start method is a ValueError."""
    with pytest.raises(ValueError):
        concurra.TaskRunner(use_multiprocessing=True, mp_context="teleport")


@pytest.mark.parametrize("thing", [3, True, ["spawn"]], ids=repr)
def test_mp_context_is_a_name_or_a_context(thing):
    """Anything else is a TypeError."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(use_multiprocessing=True, mp_context=thing)


def test_mp_context_takes_a_context():
    """A context object is taken as it is."""
    runner = concurra.TaskRunner(
        use_multiprocessing=True, mp_context=multiprocessing.get_context("spawn")
    )
    runner.add_task(os.getpid, label="a")
    assert runner.run()["a"]["result"] != os.getpid()


@pytest.mark.parametrize("number", [0, -1])
def test_max_tasks_per_child_is_positive(number):
    """At least one task, or the worker would be of no use."""
    with pytest.raises(ValueError):
        concurra.TaskRunner(max_tasks_per_child=number)


@pytest.mark.parametrize("thing", ["1", 1.0, True, [1]], ids=repr)
def test_max_tasks_per_child_is_an_integer(thing):
    """What is no integer is a TypeError."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(max_tasks_per_child=thing)


@pytest.mark.parametrize("number", [-1, -0.5, float("nan")])
def test_terminate_timeout_is_not_negative(number):
    """There is no grace of less than no time."""
    with pytest.raises(ValueError):
        concurra.TaskRunner(terminate_timeout=number)


@pytest.mark.parametrize("thing", ["1", True, None, [1]], ids=repr)
def test_terminate_timeout_is_a_number(thing):
    """What is no number is a TypeError."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(terminate_timeout=thing)


# The switches, which have chapters of their own


def test_switches_are_off_by_default(log):
    """No fast-fail, no processes, no errors in the log as they occur, no retries."""
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    runner.add_task(fail, label="a")
    runner.add_task(str, label="b")
    results = runner.run(verify=False)
    assert results["a"]["attempts"] == 1
    assert results["a"]["execution_mode"] == "thread"
    assert results["b"]["status"] == "Successful"
    assert log.lines() == []
