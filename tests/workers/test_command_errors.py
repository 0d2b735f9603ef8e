"""What the system says of a program that cannot be started, and what helps."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from concurra.outcomes import ERROR
from concurra.tasks import Command
from concurra.workers import command_errors
from concurra.workers.command import CommandWorker
from concurra.workers.guardian import Guardian
from tests.workers.support import run, sh

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs the errors of POSIX"),
    pytest.mark.skipif(
        sys.platform == "darwin", reason="needs the texts of other systems than macOS"
    ),
]


@pytest.fixture
def worker(guardian: Guardian) -> CommandWorker:
    """Closed by the fixture `close`."""
    return CommandWorker(guardian)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Has one file of each kind."""
    contents: dict[str, bytes] = {
        "orphan": b"#!/no/such/interpreter -x\necho\n",
        "windows": b"#!/bin/sh\r\necho\r\n",
        "nameless": b"#!\necho\n",
        "shut-interpreter": b"#!" + os.fsencode(tmp_path / "shut") + b"\n",
        "empty": b"",
        "text": b"echo hello\n",
        "binary": b"\0\1\2",
        "foreign": b"\x7fELF" + b"\0" * 60,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "shut").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "shut").chmod(0o644)
    (tmp_path / "folder").mkdir()
    return tmp_path


#: Name of the program, type of the error, and what is added to its text.
PROGRAMS = [
    (
        "orphan",
        "FileNotFoundError",
        "its interpreter '/no/such/interpreter' does not exist",
    ),
    (
        "windows",
        "FileNotFoundError",
        "its lines end in \\r\\n, as on Windows, so its interpreter is not found",
    ),
    ("shut", "PermissionError", "it is not executable: see `chmod +x`"),
    ("folder", "PermissionError", "it is a directory"),
    ("empty", "OSError", "it is empty"),
    (
        "binary",
        "OSError",
        "it is no program, nor a script that begins with #! and an " "interpreter",
    ),
    (
        "text",
        "OSError",
        "it is no program, nor a script that begins with #! and an " "interpreter",
    ),
    ("foreign", "OSError", "it is a program for another kind of machine"),
    ("nameless", "OSError", "its first line names no interpreter"),
    ("missing", "FileNotFoundError", "there is no such file"),
    ("text/x", "NotADirectoryError", "there is no such file"),
]


@pytest.mark.parametrize(("name", "kind", "why"), PROGRAMS)
def test_a_program_that_cannot_be_started(
    worker: CommandWorker, folder: Path, name: str, kind: str, why: str
) -> None:
    """The builtin error, its message, and in brackets what helps; so in the trace."""
    outcome = run(worker, Command([str(folder / name), "argument"]))
    assert outcome.cause is ERROR
    text = str(outcome.error)
    assert text.startswith(f"{kind}: [Errno ")
    assert text.endswith(f"{str(folder / name)!r} ({why})")
    assert str(outcome.trace).endswith(f"({why})\n")


def test_an_interpreter_that_is_not_executable(
    worker: CommandWorker, folder: Path
) -> None:
    """Is what is wrong with the script."""
    outcome = run(worker, Command([str(folder / "shut-interpreter")]))
    why = f"its interpreter {str(folder / 'shut')!r} is not executable"
    assert str(outcome.error).startswith("PermissionError: ")
    assert str(outcome.error).endswith(f"({why})")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (
            ["no-such-program-anywhere"],
            "no directory of PATH has a program of that name",
        ),
        (
            ["ls -l"],
            "a program and its arguments are strings of their own in the list; "
            "add_shell_command takes a line",
        ),
        (["./relative"], "there is no such file"),
    ],
)
def test_a_name_that_leads_nowhere(
    worker: CommandWorker, argv: list[str], why: str
) -> None:
    """Says where it was looked for, or what is wrong with it."""
    outcome = run(worker, Command(argv))
    error = f"FileNotFoundError: [Errno 2] No such file or directory: {argv[0]!r}"
    assert outcome.error == f"{error} ({why})"


def test_the_path_is_the_command_s_own(worker: CommandWorker, folder: Path) -> None:
    """As it is in its environment."""
    env: dict[str, Any] = {"PATH": str(folder)}
    outcome = run(worker, Command(["orphan"], env=env))
    assert "its interpreter '/no/such/interpreter'" in str(outcome.error)
    outcome = run(worker, Command(["true"], env=env))
    assert str(outcome.error).endswith(
        "(no directory of PATH has a program of that name)"
    )


def test_a_relative_path_is_looked_for_elsewhere(
    worker: CommandWorker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the directory to run in, not in that of this program."""
    monkeypatch.chdir(folder)
    outcome = run(worker, Command(["./text"], cwd=str(folder / "folder")))
    why = "a relative path is looked for in the directory to run in"
    assert str(outcome.error).endswith(f"({why})")


@pytest.mark.parametrize("line", [True, False], ids=["shell", "program"])
@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [
        ("missing", "FileNotFoundError", "does not exist"),
        ("text", "NotADirectoryError", "is none"),
    ],
)
def test_a_directory_that_cannot_be_entered(
    worker: CommandWorker, folder: Path, line: bool, name: str, kind: str, why: str
) -> None:
    """Is named, and not the program."""
    cwd = str(folder / name)
    job = sh("true", cwd=cwd) if line else Command(["true"], cwd=cwd)
    text = str(run(worker, job).error)
    assert text.startswith(f"{kind}: ")
    assert text.endswith(f"{cwd!r} (the directory to run in {why})")


@pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0,
    reason="needs root, who may become another user",
)
def test_a_directory_that_must_not_be_entered(
    worker: CommandWorker, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By this user."""
    error = PermissionError(errno.EACCES, "Permission denied", str(folder))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    text, _ = command_errors.describe(error, Command(["true"], cwd=str(folder)))
    assert text.endswith("(the directory to run in must not be entered)")


def test_a_shell_that_does_not_exist(worker: CommandWorker) -> None:
    """Is what is missing."""
    outcome = run(worker, sh("true", executable="/no/such/shell"))
    assert str(outcome.error) == (
        "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/shell' "
        "(there is no such file)"
    )


# Too much -----------------------------------------------------------------------------


def test_an_argument_that_is_too_long(worker: CommandWorker) -> None:
    """Which one, and by how much."""
    outcome = run(worker, Command(["true", "a", "x" * 200_000]))
    assert str(outcome.error).endswith(
        "(argument 2 has 68929 bytes more than one may have, 131071)"
    )
    outcome = run(worker, sh("true " + "x" * 200_000))
    assert "(the line has 68934 bytes more than one may have" in str(outcome.error)


def test_a_variable_that_is_too_long(worker: CommandWorker) -> None:
    """By its name; its value is not shown."""
    outcome = run(worker, Command(["true"], env={"TOKEN": "x" * 200_000}))
    assert "(the variable TOKEN has " in str(outcome.error)
    assert "xxx" not in str(outcome.error) + str(outcome.trace)


def test_arguments_that_are_too_many(worker: CommandWorker) -> None:
    """How much they are, and how much may be."""
    outcome = run(worker, Command(["true", *["x" * 1000] * 10_000]))
    text = str(outcome.error)
    assert text.startswith("OSError: [Errno 7] Argument list too long: 'true' (")
    assert f"more than the system takes, {os.sysconf('SC_ARG_MAX')}" in text


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EMFILE, "this program has too many files open: see `ulimit -n`"),
        (errno.ENFILE, "this program has too many files open: see `ulimit -n`"),
        (errno.EAGAIN, "there are too many processes: see `ulimit -u`"),
    ],
)
def test_what_there_is_too_little_of(number: int, why: str) -> None:
    """And where the limit is."""
    error = OSError(number, os.strerror(number))
    text, trace = command_errors.describe(error, Command(["true"]))
    assert text.endswith(f"({why})") and trace.endswith(f"({why})\n")


def test_what_is_known_to_nobody() -> None:
    """Stays as it is: other errors, and a disk that cannot be looked at."""
    for error in (OSError(errno.EIO, "broken"), ValueError("x")):
        text, trace = command_errors.describe(error, Command(["true"]))
        assert "(" not in text and trace.startswith(type(error).__name__)
    error = FileNotFoundError(errno.ENOENT, "No such file")
    text, _ = command_errors.describe(error, Command(["\0"]))
    assert text.startswith("FileNotFoundError: ")
