"""Whether a task that failed is tried again, and when."""

from __future__ import annotations

import math
from collections.abc import Iterable

from . import checks
from .wording import describe

#: No delay is endless.
_MOST = 1e9

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple, Type, Union

    ErrorTypes = Union[Type[BaseException], Tuple[Type[BaseException], ...]]
    Judge = Callable[[BaseException], object]


class Retry:
    """How often a task that failed is tried again, after which errors, and when.

    It takes the place of a number wherever ``task_retries`` is taken. Result dicts have
    the number, ``retries``.

    :param retries: attempts after the first, at the most.
    :param on: the types of errors after which another attempt is made: one, or a
        collection of them. Or a function that is called with the error and says so. A
        command that fails has a `CommandExecutionError`, whose ``result`` has the
        return code. A function is called where the error is: in the process of the
        task, for one, so it must be picklable then. If it raises, the task fails with
        both errors.
    :param delay: seconds from the end of an attempt to the start of the next, during
        which the task takes up no worker. Or a function that returns them, called with
        the number of attempts so far. Neither it nor ``on`` may be ``async def``.
    :param backoff: what the delay is multiplied by after each further attempt, at least
        1.
    :param max_delay: seconds that no delay exceeds; None for no limit. Like ``backoff``
        and ``jitter`` it is refused where the delay is 0, as it would have no effect.
    :param jitter: the part of each delay, from 0 to 1, up to which it is shortened at
        random, so that tasks that failed together do not start together.
    :param attempt_timeout: seconds that an attempt may take; None for no limit. One
        that takes longer is stopped, and has failed, whatever ``on`` says. The
        ``timeout`` of the task still covers all of it, from the start of the first
        attempt, delays included.
    :raises TypeError, ValueError: an argument is of the wrong type or out of its range.

    >>> Retry(3, on=ConnectionError, delay=1, backoff=2).wait(3)
    4.0
    """

    __slots__ = (
        *("retries", "on", "delay", "backoff", "max_delay", "jitter"),
        "attempt_timeout",
    )

    on: Any
    delay: Any
    max_delay: Optional[float]
    attempt_timeout: Optional[float]

    def __init__(
        self,
        retries: int,
        *,
        on: Union[ErrorTypes, Iterable[Type[BaseException]], Judge] = Exception,
        delay: Union[float, Callable[[int], float]] = 0,
        backoff: float = 1,
        max_delay: Optional[float] = None,
        jitter: float = 0,
        attempt_timeout: Optional[float] = None,
    ) -> None:
        self.retries = checks.whole("retries", retries, least=0)
        self.on = _error_types(on)
        self.delay = delay
        if callable(delay):
            checks.prompt("delay", delay)
        else:
            _seconds_of(delay)
        self.backoff = _finite("backoff", checks.number("backoff", backoff, 1))
        self.max_delay = max_delay
        if max_delay is not None:
            checks.seconds("max_delay", max_delay, zero=True)
        self.jitter = checks.number("jitter", jitter, 0, most=1)
        if not self.delays:
            _without_delay(self.backoff, max_delay, self.jitter)
        self.attempt_timeout = attempt_timeout
        if attempt_timeout is not None:
            checks.seconds("attempt_timeout", attempt_timeout)

    def __repr__(self) -> str:
        shown = [repr(self.retries)]
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value is not default and value != default:
                shown.append(f"{name}={value!r}")
        return f"Retry({', '.join(shown)})"

    def __reduce__(self) -> Any:
        return _retry, (
            type(self),
            self.retries,
            {name: getattr(self, name) for name in _DEFAULTS},
        )

    @property
    def delays(self) -> bool:
        """Whether attempts may have to wait: without it, `wait` is not called."""
        return callable(self.delay) or bool(self.delay)

    def wait(self, attempts: int) -> float:
        """Seconds until the next attempt, after so many.

        :raises BaseException: what the user's function raises, or is raised because of
            what it returns.
        """
        if callable(self.delay):
            seconds = _seconds_of(self.delay(attempts))
        else:
            seconds = float(self.delay)
        if self.backoff != 1 and seconds:
            try:
                seconds *= self.backoff ** (attempts - 1)
            except OverflowError:
                seconds = _MOST
            seconds = min(seconds, _MOST)
        if self.max_delay is not None:
            seconds = min(seconds, float(self.max_delay))
        if self.jitter and seconds:
            import random

            # Its own: the program's sequence of numbers is not to depend on failures.
            seconds *= 1 - self.jitter * random.SystemRandom().random()
        return seconds


def refusal(on: Any, error: BaseException) -> Optional[str]:
    """Whether a rule speaks against another attempt after an error.

    :param on: see `Retry`.
    :return: None if it does not; otherwise what is to be added to the error's text,
        which is nothing, or what the user's function has raised.
    """
    try:
        if isinstance(on, (type, tuple)):
            applies = isinstance(error, on)
        else:
            applies = bool(on(error))
    except BaseException as another:
        return f" (and, when asked whether to retry: {describe(another)[0]})"
    return None if applies else ""


#: What can be given by name, as the signature has it.
_DEFAULTS = dict(Retry.__init__.__kwdefaults__ or ())


def _retry(kind: Type[Retry], retries: int, rest: Any) -> Retry:
    return kind(retries, **rest)


def _seconds_of(delay: Any) -> float:
    return _finite("delay", checks.seconds("delay", delay, zero=True))


def _finite(parameter: str, number: float) -> float:
    if math.isinf(number):
        raise checks.wrong(ValueError, parameter, "finite", number)
    return number


def _without_delay(backoff: float, max_delay: Optional[float], jitter: float) -> None:
    """Refuse what has no effect where attempts follow each other at once."""
    for parameter, value, default in (
        ("backoff", backoff, 1),
        ("max_delay", max_delay, None),
        ("jitter", jitter, 0),
    ):
        if value != default:
            raise ValueError(
                f"{parameter} has no effect without a delay: {parameter}={value!r} "
                "must come with delay=, of more than 0 seconds"
            )


def _error_types(on: Any) -> Any:
    """One type of errors, a tuple of them, or a function."""
    several = isinstance(on, Iterable) and not callable(on)
    kinds = tuple(on) if several else (on,)
    if kinds and all(
        isinstance(each, type) and issubclass(each, BaseException) for each in kinds
    ):
        return kinds if several else on
    if callable(on) and not isinstance(on, type):
        return checks.prompt("on", on)
    raise checks.wrong(
        TypeError, "on", "a type of exceptions, several, or a function", on
    )
