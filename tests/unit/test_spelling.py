"""Which keywords look as if they were meant for an adder."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

import pytest

from concurra import options
from concurra.spelling import MOST_LABELS, OPTIONS, question, suspects


def takes_all(*args: Any, **kwargs: Any) -> None: ...


def takes_some(depend_on: Any = None, **kwargs: Any) -> None: ...


@functools.wraps(takes_some)
def wrapper(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    "keyword, meant",
    [
        *[(name, "label") for name in ("lable", "Label", "LABEL", "labl", "labell")],
        *[(name, "depends_on") for name in ("depend_on", "dependson", "dependsOn")],
        *[(name, "depends_on") for name in ("depends", "depend", "dpends_on")],
        *[(name, "depends_on") for name in ("dependencies", "dependency")],
        *[(name, "task_retries") for name in ("task_retry", "taskretries")],
        *[(name, "task_retries") for name in ("task_retires", "tasks_retries")],
        *[("time_out", "timeout"), ("priorty", "priority"), ("resorces", "resources")],
        *[("triger_rule", "trigger_rule"), ("triggerRule", "trigger_rule")],
    ],
)
def test_slips(keyword: str, meant: str) -> None:
    """By whom they are forwarded does not matter."""
    for own in ("add_task", "add_func"):
        assert list(suspects(takes_all, [keyword], own)) == [(keyword, meant)]


@pytest.mark.parametrize(
    "keyword",
    ["labels", "retries", "timeout", "key", "Key", "name", "on", "task", "url", "x"]
    + [
        "priority",
        "resources",
        "resource",
        "timeouts",
        "deposit",
        "table",
        "tables",
        "data",
        "retry",
        "max_retries",
        "",
        "level",
    ],
)
def test_other_names(keyword: str) -> None:
    """They are the function's, whatever it is."""
    assert not list(suspects(takes_all, [keyword], "add_task"))


@pytest.mark.parametrize("keyword", ["label", "depends_on", "task_retries", "keys"])
def test_what_add_func_does_not_take(keyword: str) -> None:
    """The very names of `add_task`'s own; of its own only slips."""
    assert not list(suspects(takes_all, [keyword], "add_task"))
    assert list(suspects(takes_all, [keyword], "add_func"))


@pytest.mark.parametrize("func", [takes_some, wrapper, functools.partial(takes_some)])
def test_a_parameter_of_the_function(func: Any) -> None:
    """It is meant for the function, then."""
    assert not list(suspects(func, ["depend_on"], "add_task"))
    assert list(suspects(func, ["depends"], "add_task"))


def test_a_function_that_does_not_say_what_it_takes() -> None:
    """Nobody knows, so nothing is said."""

    class Mute:
        __signature__ = "none"

        def __call__(self, **kwargs: Any) -> None: ...

    assert not list(suspects(Mute(), ["depend_on"], "add_task"))


def takes_none(x: Any = None) -> None: ...


def test_every_option_is_known() -> None:
    """Of `task`; `add_task` takes one of them itself."""
    assert {*OPTIONS, "task_retries"} == {*options.OPTIONS}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_the_function_does_not_take(option: str) -> None:
    """The call would raise, so the option was meant."""
    for own in ("add_task", "add_func"):
        assert list(suspects(takes_none, [option, "x"], own)) == [(option, option)]
    assert list(suspects(takes_none, ["retries"], "add_task")) == [
        ("retries", "task_retries")
    ]
    assert list(suspects(takes_none, ["key"], "add_task")) == [("key", "label")]
    assert not list(suspects(takes_none, ["keys", "url"], "add_task"))
    assert not list(suspects(takes_none, ["key"], "add_func"))
    assert not list(suspects(takes_all, ["key", option], "add_task"))


@pytest.mark.parametrize(
    "missing, asked",
    [
        (["lod"], "Did you mean 'load'?"),
        (["1"], "Did you mean 1?"),
        ([2], "Did you mean '2'?"),
        (["1", "lod", "else"], "Did you mean 1 and 'load'?"),
        (["report"], ""),
        ([("load", 1)], ""),
        ([None], ""),
    ],
)
def test_labels_that_do_not_exist(missing: list[Hashable], asked: str) -> None:
    """One may be of another type, or have a slip."""
    assert question({"w": missing}, ["w", 1, "2", "load"], [missing]) == asked


def test_a_tuple_that_is_a_label() -> None:
    """In `depends_on` it is several labels."""
    whole = ("extract", "north")
    assert question({"w": list(whole)}, ["w", whole], [whole]) == (
        "A label that is a tuple has to be in a list: [('extract', 'north')]."
    )


def test_there_are_too_many_to_look_through() -> None:
    """It would take longer than anybody waits for an error."""
    labels = [f"load {number}" for number in range(MOST_LABELS)]
    assert question({"w": ["lod"]}, ["w", *labels], [["lod"]]) == ""
