"""What users pass in for commands: taken in a documented form, or refused by name."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from typing import Any

import pytest

from concurra.adders import command_checks as checks

SECRET = "s3cret"
CODES = sys.getfilesystemencoding()

CHOSEN: dict[str, Any] = {
    "stop_signal": None,
    "input": None,
    "stderr": None,
    "pass_fds": (),
    "stdout": None,
    "max_output": None,
    "output": None,
}


class Raw:
    """A path, but in bytes."""

    def __fspath__(self) -> bytes:
        return b"/tmp/\xff"


class Broken:
    """A path that cannot be had."""

    def __fspath__(self) -> str:
        raise OSError("gone")


def refused(check: Any, bad: Any, kind: type[Exception], text: str) -> None:
    """With exactly this message."""
    with pytest.raises(kind) as caught:
        check(bad)
    assert type(caught.value) is kind
    assert str(caught.value) == text


# The command --------------------------------------------------------------------------


def test_programs() -> None:
    """A list or tuple of strings becomes a list of its own."""
    argv = ["a", "b c"]
    assert checks.exec_argv(argv) == argv
    assert checks.exec_argv(argv) is not argv
    assert checks.exec_argv(("a",)) == ["a"]


def test_what_subprocess_takes_as_an_argument() -> None:
    """Paths and bytes become strings, from which the system gets the same bytes."""
    argv = [pathlib.PurePosixPath("/bin/ls"), b"-l", Raw(), b"\xfe"]
    strings = checks.exec_argv(argv)
    assert strings == ["/bin/ls", "-l", "/tmp/\udcff", "\udcfe"]
    assert [os.fsencode(each) for each in strings][2:] == [b"/tmp/\xff", b"\xfe"]


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (
            "ls -l",
            TypeError,
            "command must be a list of strings (add_shell_command takes a string), "
            "not 'ls -l'",
        ),
        (5, TypeError, "command must be a list or tuple of strings, not 5"),
        ({"ls"}, TypeError, "command must be a list or tuple of strings, not {'ls'}"),
        ([], ValueError, "command must be at least the name of a program, not []"),
        (
            ["ls", SECRET, 5],
            TypeError,
            "command[2] must be a string or a path, not 5",
        ),
        (["ls", None], TypeError, "command[1] must be a string or a path, not None"),
        (["", SECRET], ValueError, "command[0] must be the name of a program, not ''"),
        (
            ["ls", SECRET, "a\0b"],
            ValueError,
            "command[2] must be text that can be passed to a program, without NUL, "
            "not 'a\\x00b'",
        ),
        (
            ["ls", SECRET, "a\ud800b"],
            ValueError,
            f"command[2] must be text that can be encoded ({CODES}), "
            "not 'a\\ud800b'",
        ),
    ],
)
def test_what_is_no_program(bad: Any, kind: type[Exception], text: str) -> None:
    """Names the position at fault, and shows no other argument."""
    refused(checks.exec_argv, bad, kind, text)


def test_a_path_that_breaks() -> None:
    """Is none."""
    with pytest.raises(TypeError, match=r"command\[0\] must be a string or a path"):
        checks.exec_argv([Broken()])


def test_a_long_value_is_cut() -> None:
    """What is wrong with it shows at its beginning."""
    with pytest.raises(ValueError) as caught:
        checks.exec_argv(["\0" + "x" * 10_000])
    assert len(str(caught.value)) < 200 and str(caught.value).endswith("x...")


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (
            ["ls"],
            TypeError,
            "command must be a string (add_command takes a list), not ['ls']",
        ),
        (
            b"ls",
            TypeError,
            "command must be a string (add_command takes a list), not b'ls'",
        ),
        ("", ValueError, "command must be a line for the shell, not ''"),
        (" \n", ValueError, "command must be a line for the shell, not ' \\n'"),
    ],
)
def test_shell_lines(bad: Any, kind: type[Exception], text: str) -> None:
    """A string that is not empty."""
    assert checks.shell_argv("ls | wc") == "ls | wc"
    refused(checks.shell_argv, bad, kind, text)


# Where it runs ------------------------------------------------------------------------


def test_directories() -> None:
    """A string, bytes or a path."""
    assert checks.directory(None) is None
    assert checks.directory("/tmp") == "/tmp"
    assert checks.directory(b"/tmp") == "/tmp"
    assert checks.directory(Raw()) == "/tmp/\udcff"  # type: ignore[arg-type]
    assert checks.directory(pathlib.PurePosixPath("/tmp/x")) == "/tmp/x"
    refused(checks.directory, 5, TypeError, "cwd must be a path, not 5")
    refused(checks.directory, ["/"], TypeError, "cwd must be a path, not ['/']")
    empty = "cwd must be the path of a directory, not "
    refused(checks.directory, "", ValueError, f"{empty}''")
    refused(checks.directory, b"", ValueError, f"{empty}b''")


def test_environments() -> None:
    """Strings to strings, or None; copied."""
    env = {"A": "1", "B": None}
    assert checks.environ(None) is None
    assert checks.environ(env) == env
    assert checks.environ(env) is not env
    paths = {b"A": b"1", "P": pathlib.PurePosixPath("/x")}
    assert checks.environ(paths) == {"A": "1", "P": "/x"}


NUL = "text that can be passed to a program, without NUL, not 'a\\x00b'"


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        (
            {"JOBS": 4},
            TypeError,
            "env['JOBS'] must be a string, or None to unset it, " "not 4",
        ),
        ({1: "A"}, TypeError, "a name in env must be a string, not 1"),
        ({None: "A"}, TypeError, "a name in env must be a string, not None"),
        (
            {"A=B": "C"},
            ValueError,
            "a name in env must be a name without '=', not " "'A=B'",
        ),
        ({"": "C"}, ValueError, "a name in env must be a name without '=', not ''"),
        ({"A": "a\0b"}, ValueError, f"env['A'] must be {NUL}"),
        ({"a\0b": "A"}, ValueError, f"a name in env must be {NUL}"),
    ],
)
def test_what_is_no_variable(bad: Any, kind: type[Exception], text: str) -> None:
    """Names the variable at fault, and shows no other one's value."""
    refused(checks.environ, {"TOKEN": SECRET, **bad}, kind, text)


@pytest.mark.parametrize("bad", [["A=1"], "A=1", [("A", "1")]])
def test_what_is_no_environment(bad: Any) -> None:
    """No mapping."""
    with pytest.raises(TypeError, match="env must be a mapping of names to strings"):
        checks.environ(bad)


# Keyword-only -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, signal.SIGTERM),
        ("SIGINT", signal.SIGINT),
        ("INT", signal.SIGINT),
        (signal.SIGHUP, signal.SIGHUP),
        (9, signal.SIGKILL),
        (signal.SIGRTMIN, signal.SIGRTMIN),
    ],
)
def test_signals(value: Any, number: int) -> None:
    """By name, by number, or as one."""
    assert checks.stop_signal(value) == number


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        ("int", ValueError),
        ("SIGNOTHING", ValueError),
        ("", ValueError),
        (0, ValueError),
        (-9, ValueError),
        (1000, ValueError),
        (True, TypeError),
        (9.0, TypeError),
        (b"SIGINT", TypeError),
    ],
)
def test_what_is_no_signal(bad: Any, kind: type[Exception]) -> None:
    """Of this system."""
    with pytest.raises(kind, match="stop_signal must be a signal"):
        checks.stop_signal(bad)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (None, None),
        ("", b""),
        ("é\n", "é\n".encode()),
        (b"\xff", b"\xff"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"ab"), b"ab"),
    ],
)
def test_inputs(value: Any, kept: bytes | None) -> None:
    """Text or bytes, kept as bytes."""
    assert checks.standard_input(value) == kept


def test_what_is_no_input() -> None:
    """Neither a file, nor text that nobody can write."""
    refused(
        checks.standard_input, 5, TypeError, "input must be a string or bytes, not 5"
    )
    with pytest.raises(ValueError, match="input must be text that can be encoded"):
        checks.standard_input("\ud800")


def test_where_errors_go() -> None:
    """Apart, or to the others."""
    assert [checks.merged(value) for value in (None, "stdout")] == [False, True]
    refused(
        checks.merged, "null", ValueError, "stderr must be 'stdout' or None, not 'null'"
    )
    refused(checks.merged, -2, TypeError, "stderr must be 'stdout' or None, not -2")


def test_shells() -> None:
    """A path; whether it exists shows later."""
    assert checks.executable(None) is None
    assert checks.executable(pathlib.PurePosixPath("/bin/bash")) == "/bin/bash"
    refused(checks.executable, 5, TypeError, "executable must be a path, not 5")
    with pytest.raises(ValueError, match="executable must be the path of a shell"):
        checks.executable("")


def test_descriptors() -> None:
    """Numbers, above the first three."""
    assert checks.descriptors([3, 4]) == (3, 4)
    assert checks.descriptors(iter(())) == ()
    bad_ones: list[tuple[Any, type[Exception]]] = [
        (3, TypeError),
        ("34", TypeError),
        ([3, "4"], TypeError),
        ([3, True], TypeError),
        ([3, 2], ValueError),
    ]
    for bad, kind in bad_ones:
        with pytest.raises(kind, match="pass_fds"):
            checks.descriptors(bad)


# All together -------------------------------------------------------------------------


def test_options() -> None:
    """Keywords of a command; flags become truth values."""
    given = {"cwd": pathlib.Path("x"), "env": {"A": "1"}, "check": 1, "text": None}
    found = checks.options({**given, "capture_output": 0, **CHOSEN})
    assert found == {
        "cwd": "x",
        "env": {"A": "1"},
        "check": True,
        "capture_output": False,
        "text": False,
        "stop_signal": signal.SIGTERM,
        "input": None,
        "merged": False,
        "executable": None,
        "pass_fds": (),
        "stdout": None,
        "max_output": None,
        "output": None,
    }


def test_a_file_for_what_is_printed() -> None:
    """A path, from the root on: the directory may be another one later."""
    assert checks.output_file(None) is None
    assert checks.output_file(pathlib.Path("a", "b")) == os.path.abspath("a/b")
    assert checks.output_file(b"/a/../b") == "/b"
    for bad in (5, 1.5, "", "a\0b"):
        with pytest.raises((TypeError, ValueError), match="^stdout must be "):
            checks.output_file(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "value"), [("output", "grouped"), ("max_output", 5)])
def test_what_is_not_captured_is_neither_shown_nor_cut(name: str, value: Any) -> None:
    """It goes where the program prints, without a look at it."""
    given = {"cwd": None, "env": None, "check": True, "text": True, **CHOSEN}
    given.update({"capture_output": False, name: value})
    with pytest.raises(ValueError, match=f"^{name} must be None with capture_output="):
        checks.options(given)
