"""Plain values: names of jobs, outcomes, and errors made into text."""

from __future__ import annotations

import functools
import math
import operator
import signal
import sys
import weakref
from contextvars import copy_context
from typing import Any, Callable
from unittest import mock

import pytest

from concurra.outcomes import (
    ERROR,
    FAILED,
    SUCCESS,
    TERMINATED,
    UNAVAILABLE,
    UNPICKLABLE,
    AtHand,
    Outcome,
)
from concurra.tasks import EMPTY, Call, Command, FullCall, call_of
from concurra.wording import describe, ending, outline
from tests.unit.support import nothing

# Names --------------------------------------------------------------------------------


class Callable_:
    """An object that can be called."""

    def __call__(self) -> None:
        """Do nothing."""

    def method(self) -> None:
        """Do nothing."""


class RaisingName(Callable_):
    """Has a name that cannot be had."""

    @property
    def __name__(self) -> str:
        raise ValueError("no name")


class RaisingEverything(Callable_):
    """Has nothing that it does not raise about."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(name)


class Unbound(Callable_):
    """Raises about its class as well, as proxies of nothing do."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("unbound")

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("unbound")


class NamedByNumber(Callable_):
    """Has a name that is no text."""

    __name__ = 7


class ItsOwnFunc(Callable_):
    """Wraps itself, as far as can be seen."""

    @property
    def func(self) -> ItsOwnFunc:
        return self


@pytest.mark.parametrize(
    ("func", "name"),
    [
        (nothing, "nothing"),
        (len, "len"),
        (Callable_, "Callable_"),
        (Callable_(), "Callable_"),
        (Callable_().method, "method"),
        ([].append, "append"),
        (lambda: None, "<lambda>"),
        (functools.partial(nothing), "nothing"),
        (functools.partial(functools.partial(nothing, 1), 2), "nothing"),
        (functools.partial(Callable_()), "Callable_"),
        (functools.lru_cache(nothing), "nothing"),
        (operator.itemgetter(1), "itemgetter"),
        (RaisingName(), "RaisingName"),
        (RaisingEverything(), "RaisingEverything"),
        (NamedByNumber(), "NamedByNumber"),
        (ItsOwnFunc(), "ItsOwnFunc"),
        (mock.Mock(), "Mock"),
        (mock.MagicMock(), "MagicMock"),
        (functools.partial(mock.Mock()), "Mock"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_name_of_a_call(func: Callable[..., Any], name: str) -> None:
    """The function's; of a partial, that of what it wraps; else that of the type."""
    assert Call(func).name == name


@pytest.mark.parametrize(
    ("func", "module"),
    [
        (nothing, nothing.__module__),
        (functools.partial(functools.partial(math.sqrt, 1), 2), "math"),
        ([].append, None),
        (RaisingEverything(), __name__),
        (mock.Mock(__module__=1), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_module_of_a_call(func: Callable[..., Any], module: str | None) -> None:
    """The function's, if it has one; of a partial, that of what it wraps."""
    assert Call(func).module == module


def test_a_call_of_what_raises_about_its_class() -> None:
    """It has a name and a module all the same. (pytest could not show it.)"""
    call = Call(Unbound())
    assert (call.name, call.module) == ("Unbound", __name__)


def test_a_call_without_keywords_has_none() -> None:
    """An empty mapping is the same as none."""
    assert Call(nothing).kwargs is None
    assert FullCall(nothing, (), {}).kwargs is None
    assert FullCall(nothing, (1,), {"a": 2}).kwargs == {"a": 2}


def test_a_call_is_no_larger_than_it_needs_to_be() -> None:
    """Keywords and a context are paid for by those that have them."""
    context = copy_context()
    plain = call_of(nothing, (1,), {}, EMPTY)
    assert type(plain) is Call and plain.identity == (nothing, (1,), {})
    assert (plain.kwargs, plain.context) == (None, EMPTY)
    for full in (
        call_of(nothing, (1,), {"a": 2}, EMPTY),
        call_of(nothing, (1,), None, context),
    ):
        assert type(full) is FullCall and sys.getsizeof(plain) < sys.getsizeof(full)
    assert full.context is context


def test_the_name_of_a_command() -> None:
    """By the way in which it is read."""
    assert (Command(["ls"]).name, Command(["ls"]).shell) == ("command", False)
    assert (Command("ls").name, Command("ls").shell) == ("shell_command", True)


# Errors made into text ----------------------------------------------------------------


class Hostile(Exception):
    """Raises when it is printed."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> str:
        raise self.error

    __repr__ = __str__


def caught(func: Callable[[], object]) -> BaseException:
    try:
        func()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def divide() -> float:
    return 1 / 0


def test_an_error_becomes_type_and_message() -> None:
    """And its traceback."""
    text, trace = describe(caught(divide))
    assert text == "ZeroDivisionError: division by zero"
    assert trace.startswith("Traceback (most recent call last):\n")
    assert "in divide" in trace
    assert trace.endswith("\nZeroDivisionError: division by zero\n")


@pytest.mark.parametrize(
    "error",
    [ValueError(), RecursionError(), SystemExit(1), KeyboardInterrupt(), MemoryError()],
    ids=lambda error: type(error).__name__,
)
def test_describe_never_raises(error: BaseException) -> None:
    """Whatever the error's own `__str__` raises."""

    def fail() -> None:
        raise Hostile(error)

    text, trace = describe(caught(fail))
    assert text == "Hostile: <unprintable Hostile>"
    assert "Hostile" in trace


def test_an_outline_holds_no_frame() -> None:
    """The locals of a function are let go of with it, though its trace can be read."""

    class Big:
        pass

    def fail() -> None:
        big = Big()
        watched.append(weakref.ref(big))
        raise ValueError("x")

    watched: list[weakref.ref[Big]] = []
    text, trace = outline(caught(fail))
    assert watched[0]() is None
    assert text == "ValueError: x"
    assert 'raise ValueError("x")' in str(trace)
    assert str(trace) is str(trace), "it is written once"


def test_describe_of_an_error_that_was_never_raised() -> None:
    """It has no traceback."""
    text, trace = describe(ValueError("x"))
    assert text == "ValueError: x"
    assert trace == "ValueError: x\n"


def test_causes_are_in_the_trace() -> None:
    """All that Python would print."""

    def fail() -> None:
        try:
            divide()
        except ZeroDivisionError as error:
            raise KeyError("why") from error

    text, trace = describe(caught(fail))
    assert text == "KeyError: 'why'"
    assert "division by zero" in trace
    assert "direct cause" in trace


def library_frames(package: str, then: Callable[[], object]) -> None:
    """Raise from a function that seems to be of `package`, and calls `then`."""
    names: dict[str, Any] = {"__package__": package, "then": then}
    exec("def own_frame():\n    then()", names)
    names["own_frame"]()


@pytest.mark.parametrize("package", ["concurra", "concurra.workers"])
def test_the_frames_of_the_library_are_left_out(package: str) -> None:
    """The outermost ones: the trace begins in the task's own code."""
    names: dict[str, Any] = {"__package__": package, "then": divide, "describe": None}
    code = "def own():\n    try:\n        then()\n    except Exception as e:\n"
    exec(code + "        return e", names)
    trace = describe(names["own"]())[1]
    assert trace.splitlines()[1].endswith(", in divide")


def test_a_trace_of_nothing_but_library_is_kept() -> None:
    """Better than none."""
    names: dict[str, Any] = {"__package__": "concurra"}
    code = "def own():\n    try:\n        1 / 0\n    except Exception as e:\n"
    exec(code + "        return e", names)
    assert "in own" in describe(names["own"]())[1]


def test_library_frames_inside_user_code_are_kept() -> None:
    """A task may use the library itself."""
    error = caught(lambda: library_frames("concurra", divide))
    assert "in own_frame" in describe(error)[1]


# Outcomes -----------------------------------------------------------------------------


def test_an_outcome_is_good_or_not() -> None:
    """`ok` tells."""
    assert Outcome(SUCCESS, "thread", 1).ok
    assert not Outcome(ERROR, "thread").ok
    assert not Outcome.stopped().ok


@pytest.mark.parametrize(
    ("outcome", "status", "fault", "retry"),
    [
        (Outcome(UNPICKLABLE, "process"), FAILED, True, False),
        (Outcome(UNAVAILABLE, None), FAILED, True, False),
        (Outcome(UNAVAILABLE, "subprocess"), FAILED, True, True),
        (Outcome.raised("thread", ValueError()), FAILED, True, True),
        (Outcome.unpicklable("ValueError: ", "trace"), FAILED, True, False),
        (Outcome.lost("process", "x"), FAILED, True, False),
        (Outcome.lost(None, "x"), FAILED, True, True),
        (Outcome.exited("subprocess", {}, None), FAILED, True, True),
        (Outcome.timed_out(1, AtHand("thread")), TERMINATED, True, False),
        (Outcome.stopped(AtHand("thread")), TERMINATED, False, False),
        (Outcome.skipped(["a"]), TERMINATED, False, False),
    ],
)
def test_what_kinds_of_outcomes_mean(
    outcome: Outcome, status: str, fault: bool, retry: bool
) -> None:
    """Who is at fault, and whether it may be tried again."""
    assert (outcome.status, outcome.fault, outcome.retry) == (status, fault, retry)


@pytest.mark.parametrize("seconds", [4, 4.0, 0.5, 1e-05, 3600])
def test_a_timeout_is_printed_as_it_was_given(seconds: float) -> None:
    """4 is "4", and 4.0 is "4.0"."""
    outcome = Outcome.timed_out(seconds, AtHand("thread"))
    expected = f"TimeoutError: Task exceeded timeout of {seconds!r} seconds"
    assert outcome.error == expected


KILLED = "was killed by"


@pytest.mark.parametrize(
    ("exitcode", "end"),
    [
        (0, "exited with code 0"),
        (255, "exited with code 255"),
        (None, "ended without an exit code"),
        (-int(signal.SIGTERM), f"{KILLED} SIGTERM"),
        (-int(signal.SIGSEGV), f"{KILLED} SIGSEGV"),
        (-9, f"{KILLED} SIGKILL (signal 9, probably out of memory)"),
        (-250, f"{KILLED} signal 250"),
    ],
)
def test_the_end_of_a_lost_process_has_a_name(exitcode: int | None, end: str) -> None:
    """The exit code, or the signal."""
    assert ending(exitcode) == end


def test_a_skip_shows_labels_as_they_are() -> None:
    """Separated by commas."""
    error = str(Outcome.skipped(["a", 1, ("b", 2)]).error)
    expected = "Skipped: dependency ['a', 1, ('b', 2)] failed or was terminated"
    assert error == f"RuntimeError: {expected}"
