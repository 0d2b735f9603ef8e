"""The tree of errors: what each is, says and carries."""

from __future__ import annotations

import pickle
import signal
from types import SimpleNamespace
from typing import Any

import pytest

import concurra
from concurra import core, errors
from concurra.errors import (
    CircularDependencyError,
    CommandExecutionError,
    ConcurraError,
    DuplicateLabelError,
    ExecutionError,
    LifeCycleError,
    UnknownDependencyError,
    hidden,
    name,
    quote,
    show,
)
from concurra.wording import ending


class Unprintable:
    """Neither `str` nor `repr` work; it can be a label all the same."""

    def __repr__(self) -> str:
        raise ValueError("no")


class Deadly:
    """Tries to end the program that prints it."""

    def __repr__(self) -> str:
        raise SystemExit(1)


def failed(code: int = 7, stdout: Any = "", stderr: Any = "") -> CommandExecutionError:
    return CommandExecutionError(
        {
            "command": ["do", "it"],
            "shell": False,
            "returncode": code,
            "stdout": stdout,
            "stderr": stderr,
            "cwd": None,
        }
    )


EXAMPLES = [
    failed(),
    failed(1, b"\xff", None),
    DuplicateLabelError("a"),
    CircularDependencyError(("a", "b", "a")),
    CircularDependencyError(("a", "a")),
    UnknownDependencyError({"a": ["x", 1], 2: ["y"]}),
    LifeCycleError("too late"),
    ExecutionError("report", {"a": {"error": "x"}, "b": {}}, {"a": {"error": "x"}}),
]


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (CommandExecutionError, RuntimeError),
        (DuplicateLabelError, ValueError),
        (CircularDependencyError, ValueError),
        (UnknownDependencyError, ValueError),
        (LifeCycleError, RuntimeError),
        (ExecutionError, Exception),
    ],
)
def test_each_is_a_concurra_error_and_a_builtin(kind: type, builtin: type) -> None:
    """So that `except ValueError` keeps working, and one base catches all."""
    assert issubclass(kind, ConcurraError)
    assert issubclass(kind, builtin)
    assert issubclass(kind, Exception)


def test_an_execution_error_is_no_value_or_runtime_error() -> None:
    """Failed tasks are not the caller's mistake."""
    assert not issubclass(ExecutionError, (ValueError, RuntimeError))


def test_all_are_public() -> None:
    """What can be raised can be caught by a name of the package."""
    for public in errors.__all__:
        assert getattr(concurra, public) is getattr(errors, public)
        assert public in concurra.__all__
    assert core.CommandExecutionError is concurra.CommandExecutionError


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error: Exception) -> None:
    """With their messages and all that they carry."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


def test_a_command_error_carries_the_result() -> None:
    """As a whole, and by name."""
    error = failed(7, "out", "err")
    assert error.result["returncode"] == error.returncode == 7
    assert error.command == ["do", "it"]
    assert (error.stdout, error.stderr) == ("out", "err")


@pytest.mark.parametrize(
    ("stdout", "stderr", "told"),
    [
        ("out", "err", ": err"),
        ("out", "", ": out"),
        ("out", " \n", ": out"),
        (None, None, ""),
        ("", "", ""),
        ("  out\n", "", ": out"),
        (b"out", b"\xff!", ": \\xff!"),
        ("", "first" + "e" * 500, ": ... " + "e" * 500),
        (b"first" + b"o" * 495 + b"last\n", "", ": ... t" + "o" * 495 + "last"),
        ("o" * 500, "", ": " + "o" * 500),
    ],
)
def test_a_command_error_quotes_the_output(stdout: Any, stderr: Any, told: str) -> None:
    """Of stderr, or else of stdout, the last 500 characters."""
    error = failed(3, stdout, stderr)
    assert str(error) == f"Command exited with return code 3{told}"


def test_a_command_error_of_an_empty_result() -> None:
    """Users may make one themselves."""
    error = CommandExecutionError({})
    assert (error.command, error.returncode, error.stdout, error.stderr) == (None,) * 4
    assert str(error) == "Command exited with return code None"


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_a_command_error_names_the_signal(number: signal.Signals) -> None:
    """In the words that lost workers have."""
    told = str(failed(-number, "", "half done"))
    assert told == f"Command {ending(-number)}: half done"
    assert told.startswith(f"Command was killed by {number.name}")


def test_a_question_follows_the_labels() -> None:
    """What may have been meant, also in a copy."""
    error = UnknownDependencyError({"a": ["lod"]}, "Did you mean 'load'?")
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert str(each) == (
            "Unknown task dependency label(s): a depends on ['lod']. "
            "Did you mean 'load'?"
        )


def test_many_unknown_labels_are_cut() -> None:
    """Of tasks, and of what one of them depends on; ``unknown`` has them all."""
    numbers = list(range(3000))
    error = UnknownDependencyError({number: [f"x{number}"] for number in numbers})
    assert str(error).endswith("; 9 depends on ['x9']; ... (2990 more).")
    assert list(error.unknown) == numbers
    error = UnknownDependencyError({"a": numbers[:11]})
    told = "a depends on [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (1 more)]"
    assert str(error) == f"Unknown task dependency label(s): {told}."
    error = UnknownDependencyError({"a": numbers[:10]})
    assert str(error).endswith(" 8, 9].")


UNIQUE = "labels must be unique."


def test_messages_name_the_labels() -> None:
    """Each says in one sentence what is wrong."""
    assert [str(error) for error in EXAMPLES[2:6]] == [
        "Task 'a' exists already: labels must be unique.",
        "Circular dependency detected: a -> b -> a.",
        "Task 'a' cannot depend on itself.",
        "Unknown task dependency label(s): a depends on ['x', 1]; 2 depends on ['y'].",
    ]


def test_a_long_way_round_is_cut_in_the_message() -> None:
    """Beyond twenty labels it has the first and the last ten; the attribute has all."""
    whole = CircularDependencyError([*range(19), 0])
    assert str(whole).count(" -> ") == 19
    error = CircularDependencyError([*range(3000), 0])
    ends = [*map(str, range(10)), "... (2981 more) ...", *map(str, range(2991, 3000))]
    assert str(error) == f"Circular dependency detected: {' -> '.join([*ends, '0'])}."
    assert error.cycle == (*range(3000), 0)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_taken_number_may_have_been_nobodys_choice() -> None:
    """Labels that are numbers can meet those that tasks get by themselves."""
    hint = " A task without a label is named by its number."
    assert str(DuplicateLabelError(1)).endswith(f"'1' exists already: {UNIQUE}{hint}")
    assert str(DuplicateLabelError("1")).endswith(f"'1' exists already: {UNIQUE}")


def test_facts_are_attributes() -> None:
    """Nobody has to read a message."""
    label, cycle, own, unknown = EXAMPLES[2:6]
    assert label.label == "a"  # type: ignore[attr-defined]
    assert cycle.cycle == ("a", "b", "a")  # type: ignore[attr-defined]
    assert own.cycle == ("a", "a")  # type: ignore[attr-defined]
    expected = {"a": ["x", 1], 2: ["y"]}
    assert unknown.unknown == expected  # type: ignore[attr-defined]


def test_an_execution_error_has_the_results() -> None:
    """All of them, and those that failed; its message is the report."""
    results, bad = {"a": {"n": 1}, "b": {"n": 2}}, {"b": {"n": 2}}
    error = ExecutionError("the report", results, bad)
    assert (error.results, error.failed, str(error)) == (results, bad, "the report")


@pytest.mark.parametrize("label", [Unprintable(), Deadly()])
def test_unprintable_labels_hide_no_error(label: object) -> None:
    """A label whose `__repr__` raises is shown by its type."""
    shown = f"<unprintable {type(label).__name__}>"
    assert show(label) == name(label) == shown
    assert quote(label) == f"'{shown}'"
    for error in (
        DuplicateLabelError(label),
        CircularDependencyError((label, label)),
        CircularDependencyError((label, "b", label)),
        UnknownDependencyError({label: [label]}),
    ):
        assert shown in str(error)


def test_pytest_hides_our_frames_where_the_error_is_ours() -> None:
    """And shows them where it is not: that is a bug of ours, or a wrong argument."""
    assert hidden(SimpleNamespace(type=LifeCycleError))
    assert not hidden(SimpleNamespace(type=ValueError))
    assert hidden(None)  # nothing is known of it
