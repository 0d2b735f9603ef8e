"""The exception behind an outcome, as it was or as it can be made of the text."""

from __future__ import annotations

import pickle
import traceback
from concurrent.futures import CancelledError
from typing import Any

import pytest

from concurra.errors import CommandExecutionError, RemoteTraceback
from concurra.exceptions import exception_of
from concurra.outcomes import ERROR, NOTHING, AtHand, Outcome
from tests.unit.support import success


class Choosy(Exception):
    """Can be pickled, but not made again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


class Several(Exception):
    """As long as the errors that it has, which may be none."""

    def __len__(self) -> int:
        return 0


class Big:
    """Something that a frame holds."""


def from_elsewhere(error: BaseException) -> Outcome:
    """The outcome of a task that has raised in another process."""
    outcome = Outcome(ERROR, "process", None, f"{type(error).__name__}: {error}", "tr")
    outcome.exception = pickle.dumps(error)
    return outcome


def test_what_did_not_fail_has_none() -> None:
    """A success, and what was not called for."""
    assert exception_of(success()) is None
    assert exception_of(Outcome.untriggered()) is None


def test_an_error_of_this_process_is_the_error_itself() -> None:
    """With its own causes, then its traceback as text; asked twice, it is the same."""
    try:
        try:
            raise KeyError("inner")
        except KeyError as inner:
            raise ValueError("bad") from inner
    except ValueError as error:
        raised = error
    outcome = Outcome.raised("thread", raised)
    assert exception_of(outcome) is exception_of(outcome) is raised
    assert isinstance(raised.__cause__, KeyError)
    shown = traceback.format_exception(type(raised), raised, raised.__traceback__)
    assert 'raise ValueError("bad") from inner' in "".join(shown)


def test_no_variable_is_kept_alive() -> None:
    """Not by the error, its cause, its context, or the members of its group."""
    import weakref

    kept: list[Any] = []

    def deep(chained: BaseException | None) -> None:
        big = Big()
        kept.append(weakref.ref(big))
        try:
            raise KeyError("context")
        except KeyError:
            raise ValueError("bad") from chained

    raised = None
    for _ in range(3):
        try:
            deep(raised)
        except ValueError as error:
            raised = error
    assert raised is not None
    outcome = Outcome.raised("thread", raised)
    assert exception_of(outcome) is raised
    assert [ref() for ref in kept] == [None] * 3
    assert raised.__traceback__ is None


def test_an_error_that_counts_as_false_is_a_cause() -> None:
    """It is not passed over for the context."""
    raised, cause = ValueError("bad"), Several("cause")
    raised.__cause__, raised.__context__ = cause, KeyError("context")
    assert exception_of(Outcome.raised("thread", raised)) is raised
    assert isinstance(cause.__cause__, RemoteTraceback)
    assert raised.__context__.__cause__ is None


def test_an_error_from_another_process() -> None:
    """It is a copy; the traceback there is its cause, as text."""
    outcome = from_elsewhere(ValueError("bad"))
    error = exception_of(outcome)
    assert type(error) is ValueError and error.args == ("bad",)
    assert isinstance(error.__cause__, RemoteTraceback)
    assert error.__cause__.trace == "tr" and "tr" in str(error.__cause__)
    assert exception_of(outcome) is error, "it is made once"


@pytest.mark.parametrize("bad", [Choosy("a", "b"), b"no pickle", pickle.dumps("text")])
def test_an_error_that_cannot_be_made_again(bad: Any) -> None:
    """One that says the same stands for it."""
    outcome = Outcome(ERROR, "process", None, "Choosy: a", "the traceback")
    outcome.exception = bad if isinstance(bad, bytes) else pickle.dumps(bad)
    error = exception_of(outcome)
    assert type(error) is RuntimeError and str(error) == "Choosy: a"
    assert isinstance(error.__cause__, RemoteTraceback)
    assert error.__cause__.trace == "the traceback"


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (Outcome.timed_out(5, NOTHING), TimeoutError, "Task exceeded timeout of 5 sec"),
        (Outcome.attempt_timed_out(5, NOTHING), TimeoutError, "Attempt exceeded 5 sec"),
        (Outcome.run_timed_out(5), TimeoutError, "Run exceeded timeout of 5 seconds"),
        (Outcome.cancelled(), CancelledError, "Task was cancelled"),
        (Outcome.stopped(), RuntimeError, "Execution terminated before completion"),
        (Outcome.skipped(["a"]), RuntimeError, "Skipped: dependency ['a'] failed or"),
        (Outcome.lost("process", "was killed"), RuntimeError, "Worker process was kil"),
        (Outcome.unpicklable("PicklingError: no", ""), RuntimeError, "PicklingError: "),
    ],
)
def test_where_there_was_none(outcome: Outcome, kind: type, message: str) -> None:
    """One is made of the text, of the type that its beginning names."""
    error = exception_of(outcome)
    assert type(error) is kind and str(error).startswith(message)


def test_what_a_command_had_printed_is_the_cause() -> None:
    """When it was terminated."""
    error = exception_of(Outcome.timed_out(5, AtHand("subprocess", "stdout:\nsome")))
    assert error is not None and isinstance(error.__cause__, RemoteTraceback)
    assert "some" in error.__cause__.trace


def test_a_failed_command() -> None:
    """It has the error with the result."""
    result: Any = {"returncode": 3, "stderr": "bad", "stdout": "", "command": ["x"]}
    error = exception_of(Outcome.exited("subprocess", result, "trace"))
    assert isinstance(error, CommandExecutionError) and error.returncode == 3
