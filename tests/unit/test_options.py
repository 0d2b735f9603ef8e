"""What is chosen for a task and for a run: checked, and taken once."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest

from concurra.options import DEFAULTS, Options
from concurra.run_options import RunOptions

GIVEN: dict[str, Any] = {
    "log": logging.getLogger("tests"),
    "name": "Nightly",
    "timeout": 5,
    "terminate_timeout": 0,
    "progress_stats": True,
    "fast_fail": False,
    "use_multiprocessing": False,
    "log_errors": True,
    "fallback_to_thread_on_pickle_error": False,
    "task_retries": 2,
    "max_tasks_per_child": 7,
    "resources": {"db": 2},
    "run_timeout": 60,
    "initializer": print,
    "initargs": ("a",),
    "observers": [],
    "keep_results": True,
    "checkpoint": None,
    "mp_context": "spawn",
    "max_concurrency": 3,
}


def chosen(**changes: Any) -> SimpleNamespace:
    """Somebody with the attributes of a runner."""
    return SimpleNamespace(**{**GIVEN, **changes})


def test_options_of_a_task() -> None:
    """Nothing chosen is no retry."""
    assert DEFAULTS.retries == Options().retries == 0
    assert Options(3).retries == 3


def test_the_names_are_those_that_are_copied() -> None:
    """Each attribute of a runner that is a parameter, and no other."""
    assert set(RunOptions.NAMES) == set(GIVEN)


def test_a_copy() -> None:
    """What is changed afterwards comes too late."""
    runner = chosen()
    options = RunOptions(runner)
    for name in GIVEN:
        setattr(runner, name, "changed")
    assert {name: getattr(options, name) for name in GIVEN} == GIVEN
    assert options.warning == ""


def test_what_stands_for_a_default() -> None:
    """None is the logger, the name and the number of processors that are documented."""
    options = RunOptions(chosen(log=None, name=None, max_concurrency=None))
    assert options.log is logging.getLogger("concurra.core")
    assert options.name == "TaskRunner"
    assert options.max_concurrency == os.cpu_count()


def test_nothing_is_chosen() -> None:
    """None stays where it means that there is no limit, or nothing chosen."""
    names = "timeout", "max_tasks_per_child", "mp_context"
    options = RunOptions(chosen(**dict.fromkeys(names)))
    assert [getattr(options, name) for name in names] == [None] * 3


@pytest.mark.parametrize("name", [name for name in GIVEN if type(GIVEN[name]) is bool])
def test_switches_are_truth_values(name: str) -> None:
    """What defines its own truth becomes it; a string is refused, by name."""
    for value in (1, 0, None):
        kept = getattr(RunOptions(chosen(**{name: value})), name)
        assert kept is bool(value)
    with pytest.raises(TypeError, match=f"^{name} must be True or False, not 'no'"):
        RunOptions(chosen(**{name: "no"}))


@pytest.mark.parametrize("number", [0, -5])
def test_less_than_one_at_a_time(number: int) -> None:
    """Counts as one, and the log is to be told."""
    options = RunOptions(chosen(max_concurrency=number))
    assert options.max_concurrency == 1
    assert options.warning.startswith("max_concurrency is less than 1")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("log", "x", "logger must be a logging.Logger, not 'x'"),
        ("name", 5, "name must be a string, not 5"),
        ("timeout", "5", "timeout must be a number of seconds, not '5'"),
        ("timeout", 0, "timeout must be a number of seconds, more than 0, not 0"),
        ("terminate_timeout", None, "terminate_timeout must be a number of seconds"),
        ("terminate_timeout", -1, "terminate_timeout must be a number of seconds, 0"),
        ("task_retries", "2", "task_retries must be an integer or a Retry, not '2'"),
        ("task_retries", -1, "task_retries must be at least 0, not -1"),
        ("max_tasks_per_child", 0, "max_tasks_per_child must be at least 1, not 0"),
        ("mp_context", 5, "mp_context must be a start method or a context, not 5"),
        ("max_concurrency", "2", "max_concurrency must be an integer, not '2'"),
    ],
)
def test_what_is_refused(name: str, value: Any, error: str) -> None:
    """By the name of the parameter, with the value."""
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        RunOptions(chosen(**{name: value}))
