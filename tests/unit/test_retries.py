"""A `Retry`: after which errors there is another attempt, and how much later."""

from __future__ import annotations

import functools
import math
import pickle
import random
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.retries import Retry, refusal

NAMES = "on", "delay", "backoff", "max_delay", "jitter", "attempt_timeout"


def on_timeout(error: BaseException) -> bool:
    """A rule of the user's that can be pickled."""
    return isinstance(error, TimeoutError)


def growing(attempts: int) -> float:
    """A delay of the user's that can be pickled."""
    return attempts * 10


# What is kept, and what is refused ----------------------------------------------------


def test_a_rule_with_attributes_of_its_own_making() -> None:
    """It is asked like any other."""

    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise KeyError(name)

        def __call__(self, *args: object) -> int:
            return 0

    odd = Odd()
    assert Retry(1, on=odd, delay=odd).on is odd


def test_defaults() -> None:
    """At once, after any exception, for however long an attempt takes."""
    retry = Retry(3)
    assert retry.retries == 3
    assert [getattr(retry, name) for name in NAMES] == [Exception, 0, 1, None, 0, None]
    assert [retry.wait(number) for number in (1, 2, 50)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"retries": -1}, "retries must be at least 0, not -1"),
        ({"retries": 1.5}, "retries must be an integer, not 1.5"),
        ({"retries": True}, "retries must be an integer, not True"),
        ({"retries": None}, "retries must be an integer, not None"),
        ({"on": None}, "on must be a type of exceptions, several, or a function"),
        ({"on": int}, "on must be a type of exceptions, several, or a function"),
        ({"on": "OSError"}, "on must be .*, not 'OSError'"),
        ({"on": [OSError, "x"]}, "on must be .*, not a value of type list"),
        ({"on": OSError()}, "on must be a type of exceptions"),
        ({"delay": -1}, "delay must be a number of seconds, 0 or more, not -1"),
        ({"delay": None}, "delay must be a number of seconds, not None"),
        ({"delay": "1"}, "delay must be a number of seconds, not '1'"),
        ({"delay": math.nan}, "delay must be a number of seconds, 0 or more, not nan"),
        ({"delay": True}, "delay must be a number of seconds, not True"),
        ({"delay": math.inf}, "delay must be finite, not inf"),
        ({"backoff": math.inf}, "backoff must be finite, not inf"),
        ({"on": []}, "on must be a type of exceptions, several, or a function"),
        ({"backoff": 0.5}, "backoff must be at least 1, not 0.5"),
        ({"backoff": "2"}, "backoff must be a number, not '2'"),
        ({"backoff": None}, "backoff must be a number, not None"),
        ({"backoff": math.nan}, "backoff must be at least 1, not nan"),
        ({"max_delay": -1}, "max_delay must be a number of seconds, 0 or more"),
        ({"max_delay": "1"}, "max_delay must be a number of seconds, not '1'"),
        ({"jitter": -0.1}, "jitter must be from 0 to 1, not -0.1"),
        ({"jitter": 1.1}, "jitter must be from 0 to 1, not 1.1"),
        ({"jitter": True}, "jitter must be a number, not True"),
        ({"backoff": 2}, "backoff has no effect without a delay: backoff=2.0 must"),
        ({"delay": 0.0, "backoff": 2}, "backoff has no effect without a delay: "),
        ({"max_delay": 5}, "max_delay has no effect without a delay: max_delay=5 must"),
        ({"max_delay": 0}, "max_delay has no effect without a delay: "),
        ({"jitter": 0.5}, "jitter has no effect without a delay: jitter=0.5 must come"),
        ({"delay": 0, "jitter": 1}, "jitter has no effect without a delay: "),
        ({"attempt_timeout": 0}, "attempt_timeout must be a number of seconds, more"),
        ({"attempt_timeout": "5"}, "attempt_timeout must be a number of seconds"),
    ],
)
def test_what_is_refused(options: dict[str, Any], error: str) -> None:
    """By the name of the parameter, with the value as it was given."""
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        Retry(**{"retries": 1, **options})


async def awaited(given: Any) -> float:
    """Nobody awaits it."""
    return 0


def generated(given: Any) -> Iterator[float]:
    """Nobody takes anything of it."""
    yield 0


async def generated_later(given: Any) -> AsyncIterator[float]:
    """The same."""
    yield 0


class Awaited:
    """Called, it is to be awaited; to make one is not."""

    def __init__(self, given: object = None) -> None:
        pass

    def __float__(self) -> float:
        return 2.0

    async def __call__(self, given: Any) -> float:
        return 0


@pytest.mark.parametrize("parameter", ["on", "delay"])
@pytest.mark.parametrize(
    "function",
    [
        awaited,
        generated,
        generated_later,
        Awaited(),
        Awaited().__call__,
        functools.partial(awaited),
        functools.partial(functools.partial(Awaited())),
    ],
)
def test_a_function_that_would_never_run_is_refused(
    parameter: str, function: Any
) -> None:
    """What it returns would count as true, and is no number."""
    told = f"^{parameter} must be a function that runs when it is called, neither async"
    with pytest.raises(TypeError, match=f"{told} def nor a generator function, not "):
        Retry(1, **{parameter: function})


def test_what_is_made_by_a_call_may_be_awaited() -> None:
    """The call itself runs at once."""
    delay: Any = Awaited
    assert Retry(1, delay=delay).wait(1) == 2


def test_all_but_the_number_are_keywords() -> None:
    """So that a reader sees what is meant."""
    with pytest.raises(TypeError):
        Retry(1, OSError)  # type: ignore[misc]


def test_numbers_of_any_kind() -> None:
    """Whatever is a float's equal; timeouts stay as given, since messages show them."""
    retry = Retry(
        2,
        delay=Fraction(1, 2),  # type: ignore[arg-type]
        max_delay=Decimal("0.75"),  # type: ignore[arg-type]
        backoff=2,
        attempt_timeout=Decimal("1.50"),  # type: ignore[arg-type]
    )
    assert [retry.wait(number) for number in (1, 2)] == [0.5, 0.75]
    assert str(retry.attempt_timeout) == "1.50"
    assert Retry(1, attempt_timeout=math.inf).attempt_timeout == math.inf


# When ---------------------------------------------------------------------------------


def test_the_delay_grows() -> None:
    """By the factor, with each further attempt."""
    retry = Retry(9, delay=1, backoff=2)
    assert [retry.wait(number) for number in range(1, 6)] == [1, 2, 4, 8, 16]
    assert [Retry(9, delay=3).wait(number) for number in (1, 9)] == [3, 3]


def test_no_delay_exceeds_the_greatest() -> None:
    """Whatever the factor, or the function, says."""
    retry = Retry(9, delay=1, backoff=3, max_delay=5)
    assert [retry.wait(number) for number in range(1, 5)] == [1, 3, 5, 5]
    assert Retry(9, delay=growing, max_delay=25).wait(9) == 25
    assert Retry(9, delay=10, max_delay=0).wait(1) == 0


@pytest.mark.parametrize("backoff", [2, 10.0])
def test_a_delay_beyond_all_numbers(backoff: float) -> None:
    """It is very long, or the greatest; it never raises, and is never endless."""
    assert Retry(9, delay=1, backoff=backoff).wait(1) == 1
    assert Retry(9, delay=1, backoff=backoff).wait(10_000) == 1e9
    assert Retry(9, delay=1, backoff=backoff, max_delay=7).wait(10_000) == 7
    nothing = Retry(9, delay=lambda _: 0, backoff=backoff)
    assert nothing.wait(10_000) == 0


@given(
    delay=st.floats(0, 1e9, exclude_min=True),
    backoff=st.floats(1, 100),
    jitter=st.floats(0, 1),
    greatest=st.none() | st.floats(0, 1e6),
    attempts=st.integers(1, 400),
)
def test_jitter_shortens(
    delay: float, backoff: float, jitter: float, greatest: float | None, attempts: int
) -> None:
    """By its part at the most, and it never makes a delay longer."""
    fixed = Retry(9, delay=delay, backoff=backoff, max_delay=greatest).wait(attempts)
    retry = Retry(9, delay=delay, backoff=backoff, max_delay=greatest, jitter=jitter)
    least = fixed if fixed == math.inf else fixed * (1 - jitter)
    assert least <= retry.wait(attempts) * (1 + 1e-9)
    assert retry.wait(attempts) <= fixed


def test_jitter_spreads() -> None:
    """Two tasks hardly ever wait equally long, whatever the program has seeded."""
    retry = Retry(1, delay=1, jitter=0.5)
    found = set()
    for _ in range(10):
        random.seed(1)
        found.add(retry.wait(1))
    assert len(found) > 5


def test_jitter_leaves_the_programs_numbers_alone() -> None:
    """What a program draws does not depend on what failed."""
    random.seed(1)
    expected = random.random()
    random.seed(1)
    Retry(1, delay=1, jitter=1).wait(1)
    assert random.random() == expected


def test_a_delay_of_the_users() -> None:
    """It gets the number of attempts so far."""
    assert [Retry(5, delay=growing).wait(number) for number in (1, 2)] == [10, 20]
    assert Retry(5, delay=growing, backoff=2).wait(3) == 120
    assert Retry(5, delay=lambda attempts: Decimal(2)).wait(1) == 2  # type: ignore


@pytest.mark.parametrize(
    ("returned", "error"),
    [
        (-1, "delay must be a number of seconds, 0 or more, not -1"),
        (None, "delay must be a number of seconds, not None"),
        ("1", "delay must be a number of seconds, not '1'"),
        (math.nan, "delay must be a number of seconds, 0 or more, not nan"),
        (math.inf, "delay must be finite, not inf"),
        (Decimal("inf"), "delay must be finite, not inf"),
    ],
)
def test_a_delay_of_the_users_that_is_none(returned: Any, error: str) -> None:
    """It is refused when it comes."""
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        Retry(5, delay=lambda attempts: returned).wait(1)


def test_a_delay_of_the_users_that_raises() -> None:
    """The error goes on to whoever asked."""
    with pytest.raises(ZeroDivisionError):
        Retry(5, delay=lambda attempts: 1 / 0).wait(1)


# After what ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "applies"),
    [
        (Exception, True),
        (OSError, True),
        (ConnectionError, True),
        (TimeoutError, False),
        ((TimeoutError, ConnectionError), True),
        ([TimeoutError, ConnectionError], True),
        ({TimeoutError, OSError}, True),
        ((kind for kind in (OSError,)), True),
        (lambda error: "reset" in str(error), True),
        (lambda error: "lost" in str(error), False),
        (lambda error: [], False),
        (on_timeout, False),
    ],
)
def test_after_which_errors(on: Any, applies: bool) -> None:
    """One type, several, or a function that gets the error."""
    rule, error = Retry(1, on=on).on, ConnectionError("reset")
    assert refusal(rule, error) == (None if applies else "")
    assert refusal(rule, error) == (None if applies else ""), "it can be asked again"


def test_what_is_no_exception_is_not_meant_by_default() -> None:
    """Who exits does not mean to begin again, unless it is asked for."""
    assert refusal(Retry(1).on, SystemExit(1)) == ""
    assert refusal(Retry(1, on=BaseException).on, SystemExit(1)) is None


@pytest.mark.parametrize("error", [ZeroDivisionError("by nothing"), SystemExit(3)])
def test_a_rule_that_raises(error: BaseException) -> None:
    """It is no other attempt, and a text that tells of it."""

    def rule(_: object) -> bool:
        raise error

    told = f" (and, when asked whether to retry: {type(error).__name__}: {error})"
    assert refusal(rule, ValueError()) == told


def test_a_rule_whose_answer_has_no_truth() -> None:
    """It has raised, too."""

    class Undecided:
        def __bool__(self) -> bool:
            raise RuntimeError("undecided")

    told = refusal(lambda error: Undecided(), ValueError())
    assert told is not None and "RuntimeError: undecided" in told


# A value ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "shown"),
    [
        (Retry(3), "Retry(3)"),
        (Retry(0, on=OSError), "Retry(0, on=<class 'OSError'>)"),
        (
            Retry(3, delay=0.5, backoff=2, max_delay=9, jitter=0.25, attempt_timeout=4),
            "Retry(3, delay=0.5, backoff=2.0, max_delay=9, jitter=0.25, "
            "attempt_timeout=4)",
        ),
    ],
)
def test_repr(retry: Retry, shown: str) -> None:
    """What was chosen, as it would be written."""
    assert repr(retry) == shown


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle(protocol: int) -> None:
    """A copy says the same."""
    retry = Retry(
        3, on=on_timeout, delay=growing, backoff=2, jitter=0.0, attempt_timeout=4
    )
    copy = pickle.loads(pickle.dumps(retry, protocol))
    assert type(copy) is Retry
    assert repr(copy) == repr(retry)
    assert copy.on is on_timeout and copy.wait(2) == 40


def test_nothing_else_can_be_set() -> None:
    """A name that is misspelt is an error."""
    with pytest.raises(AttributeError):
        Retry(1).timeout = 5  # type: ignore[attr-defined]
