"""What users pass in: kept in one form, or refused with a helpful message."""

from __future__ import annotations

import enum
import logging
import multiprocessing
from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction
from typing import Any, Callable

import pytest

from concurra import TaskRunner, checks
from concurra.options import choose
from tests.helpers import START_METHODS
from tests.unit.support import nothing

NAN, INFINITY = float("nan"), float("inf")


class Three:
    """Can stand for an integer."""

    def __index__(self) -> int:
        return 3


class Mute:
    """A number that does not tell."""

    def __float__(self) -> float:
        raise ArithmeticError


class Array:
    """Has no truth of its own, and is compared item by item, as those of numpy."""

    def __bool__(self) -> bool:
        raise ValueError("The truth value of an array is ambiguous.")

    def __eq__(self, other: object) -> Any:
        return self

    __hash__ = None  # type: ignore[assignment]


class Level(enum.Enum):
    """Each is true, as its class has a truth."""

    OFF = 0


def refused(kind: type[Exception], start: str, check: Callable[..., Any]) -> None:
    """The message names the parameter, what was expected and what came instead."""
    with pytest.raises(kind) as caught:
        check()
    assert type(caught.value) is kind
    assert str(caught.value).startswith(start)
    assert ", not " in str(caught.value)


# Numbers and text ---------------------------------------------------------------------


def test_text() -> None:
    """A string, or a `TypeError`."""
    assert checks.text("name", "x") == "x"
    for bad in (b"x", 1, None):
        refused(
            TypeError, "name must be a string, not ", lambda: checks.text("name", bad)
        )


@pytest.mark.parametrize("value", [3, Three()])
def test_whole_numbers(value: Any) -> None:
    """Whatever can stand for an integer becomes one."""
    number = checks.whole("n", value)
    assert number == 3
    assert type(number) is int


@pytest.mark.parametrize("bad", [3.0, "3", None, True, [3]])
def test_what_is_no_whole_number(bad: Any) -> None:
    """Not a float that looks like one, and not a truth value."""
    refused(TypeError, "n must be an integer, not ", lambda: checks.whole("n", bad))


def test_flags() -> None:
    """Whatever defines its own truth: not strings, of which "no" would be true."""
    good: list[Any] = [True, 1, 2.5, False, 0, None, 0.0]
    assert [checks.flag("f", each) for each in good] == [True] * 3 + [False] * 4
    bad_ones: list[Any] = ["no", "", b"", [], (True,), {}, object(), print]
    bad_ones += [Array(), Level.OFF]
    for bad in bad_ones:
        expected = "f must be True or False, not "
        refused(TypeError, expected, lambda: checks.flag("f", bad))


def test_whole_numbers_with_a_least() -> None:
    """It may be that, but not less."""
    assert checks.whole("n", 0, least=0) == 0
    refused(ValueError, "n must be at least 0", lambda: checks.whole("n", -1, least=0))


@pytest.mark.parametrize(
    "value", [1, 0.001, 1e9, INFINITY, Decimal("0.25"), Fraction(1, 4)]
)
def test_seconds(value: Any) -> None:
    """Whatever a float can stand for, if it is positive."""
    seconds = checks.seconds("timeout", value)
    assert (type(seconds), seconds) == (float, value)


@pytest.mark.parametrize("bad", [0, 0.0, -1, -0.5, NAN, -INFINITY, 10**400])
def test_seconds_out_of_range(bad: float) -> None:
    """Zero, negative, no number at all, or an integer beyond all floats."""
    expected = "timeout must be a number of seconds, more than 0, not "
    refused(ValueError, expected, lambda: checks.seconds("timeout", bad))


@pytest.mark.parametrize("bad", ["1", None, True, [1], 1j, Mute()])
def test_what_are_no_seconds(bad: Any) -> None:
    """Other types."""
    refused(TypeError, "timeout must be a numb", lambda: checks.seconds("timeout", bad))


def test_seconds_that_may_be_zero() -> None:
    """But not less."""
    checks.seconds("t", 0, zero=True)
    for bad in (-0.5, NAN):
        expected = "t must be a number of seconds, 0 or more, not "
        refused(ValueError, expected, lambda: checks.seconds("t", bad, zero=True))


def test_what_is_compared_item_by_item() -> None:
    """It is refused by the name of the parameter, and not by what it says itself."""
    checked: dict[str, Callable[[Any], Any]] = {
        "output": checks.output,
        "max_output": checks.max_output,
        "trigger_rule": lambda each: choose(trigger_rule=each),
        "error_message": lambda each: checks.report_options(True, True, each),
        "observers": lambda each: TaskRunner(observers=each),
    }
    for name, check in checked.items():
        for bad in (Array(), Decimal("sNaN")):
            with pytest.raises(
                (TypeError, ValueError), match=f"^{name} must be .*not "
            ):
                check(bad)


# Loggers and contexts -----------------------------------------------------------------


def test_loggers() -> None:
    """A logger, an adapter of one, or whatever has their methods; None for ours."""
    assert checks.logger(None) is logging.getLogger("concurra.core")
    logger = logging.getLogger("x")
    adapter = logging.LoggerAdapter(logger, {})
    assert checks.logger(logger) is logger
    assert checks.logger(adapter) is adapter
    for bad in ("x", print, object()):
        refused(TypeError, "logger must be a logging.Log", lambda: checks.logger(bad))


def test_contexts() -> None:
    """By the name of a start method, as they are, or the default."""
    for method in START_METHODS:
        assert checks.context(method).get_start_method() == method
        context = multiprocessing.get_context(method)
        assert checks.context(context) is context
    default = checks.context(None)
    assert (
        default.get_start_method() == multiprocessing.get_context().get_start_method()
    )


def test_what_is_no_context() -> None:
    """An unknown name is told the known ones."""
    with pytest.raises(ValueError, match="^mp_context must be one of ") as caught:
        checks.context("magic")
    assert all(method in str(caught.value) for method in START_METHODS)
    refused(TypeError, "mp_context must be ", lambda: checks.context(3))  # type: ignore


# Labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        (None, ()),
        (False, ()),
        ([], ()),
        ("ab", ("ab",)),
        (b"ab", (b"ab",)),
        (["a", "b"], ("a", "b")),
        (("b", "a", "b"), ("b", "a")),
        (["b", 1, "b", 1], ("b", 1)),
        (["a", True, b"c"], ("a", True, b"c")),
        ({"a": 1, "b": 2}, ("a", "b")),
        ({"a"}, ("a",)),
        (frozenset([1]), (1,)),
        (range(3), (0, 1, 2)),
        (iter([1, (2, 3)]), (1, (2, 3))),
        ({"a": 1}.keys(), ("a",)),
    ],
)
def test_labels(value: Any, labels: tuple[Any, ...]) -> None:
    """Any collection, each once, in order; a string is one label."""
    assert checks.labels(value) == labels
    plain = checks.plain_labels(value)
    odd = [each for each in labels if type(each) not in (str, int)]
    assert plain == (None if odd or type(value) is not list else labels)


@pytest.mark.parametrize("bad", [0, 1, True, object(), [["a"]], [{}]])
def test_what_are_no_labels(bad: Any) -> None:
    """No collection, or one of what cannot be a label."""
    refused(TypeError, "depends_on", lambda: checks.labels(bad))


# Functions ----------------------------------------------------------------------------


def test_functions() -> None:
    """Whatever can be called."""
    for func in (nothing, int, print, lambda: None):
        assert checks.function(func) is func
    for bad in (None, 1, "print"):
        refused(TypeError, "the task must be callable", lambda: checks.function(bad))


def test_calls() -> None:
    """Arguments from any iterable, keywords from any mapping; copies of both."""
    args, kwargs = [1, 2], OrderedDict(a=3)
    call = checks.call(nothing, args, kwargs)
    args.append(9)
    kwargs["b"] = 9
    assert call == (nothing, (1, 2), {"a": 3})
    assert checks.call(nothing, iter("xy")) == (nothing, ("x", "y"), {})
    assert checks.call(nothing) == (nothing, (), {})


def test_arguments_that_are_in_no_container() -> None:
    """The message shows what was probably meant."""
    with pytest.raises(TypeError, match=r"args must be .* such as \(5,\), not 5"):
        checks.call(nothing, 5)
    refused(TypeError, "kwargs must be", lambda: checks.call(nothing, (), [1]))
    refused(TypeError, "kwargs must be", lambda: checks.call(nothing, (), {1: 2}))
    refused(TypeError, "the task must be", lambda: checks.call(None))


def test_workloads() -> None:
    """Tuples of one to four."""
    items = [
        (nothing,),
        (nothing, (1,)),
        (nothing, [1], {"a": 2}),
        (nothing, None, None, "label"),
    ]
    assert checks.work(iter(items)) == [
        ((nothing, (), {}), None),
        ((nothing, (1,), {}), None),
        ((nothing, (1,), {"a": 2}), None),
        ((nothing, (), {}), "label"),
    ]
    assert checks.work([]) == []


@pytest.mark.parametrize("bad", ["ab", b"ab", {"a": 1}, None, 5, nothing])
def test_what_is_no_workload(bad: Any) -> None:
    """No iterable, or one of another kind."""
    refused(TypeError, "workload must be ", lambda: checks.work(bad))


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        ((), ValueError),
        ((nothing, (), {}, "x", 1), ValueError),
        (nothing, TypeError),
        ([nothing], TypeError),
        ((5,), TypeError),
        ((nothing, 5), TypeError),
        ((nothing, (), 5), TypeError),
    ],
)
def test_a_bad_item_is_named_by_its_number(item: Any, kind: type[Exception]) -> None:
    """So that it can be found."""
    refused(kind, "workload item 1", lambda: checks.work([(nothing,), item]))
