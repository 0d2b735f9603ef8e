"""Words for what the system says of a program that cannot be started."""

from __future__ import annotations

import errno
import os

from .. import wording
from .command_start import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Optional, Tuple

    from ..tasks import Command

#: The longest argument or variable on Linux, in bytes, its end included.
LONGEST = 32 * 4096

#: What there is too much of, by the number of the error.
SCARCE: Final = {
    errno.EMFILE: "this program has too many files open: see `ulimit -n`",
    errno.ENFILE: "this program has too many files open: see `ulimit -n`",
    errno.EAGAIN: "there are too many processes: see `ulimit -u`",
}

#: Bytes that are read of a file to see what it is.
HEAD = 256


def describe(error: BaseException, command: Command) -> Tuple[str, str]:
    """The text of an error, with what helps to understand it, and its traceback."""
    text, trace = wording.describe(error)
    try:
        why = _why(error, command) if isinstance(error, OSError) else ""
    except Exception:  # the user's file system, at its worst
        why = ""
    return wording.hinted(text, trace, why) if why else (text, trace)


def _why(error: OSError, command: Command) -> str:
    number = error.errno
    if command.stdout is not None and error.filename == command.stdout:
        return "the file for what it prints cannot be opened"
    if number == errno.E2BIG:
        return _too_long(command)
    if number in SCARCE:
        return SCARCE[number]
    if number == errno.EBADF and command.pass_fds:
        return "a descriptor of pass_fds is not open"
    if number == errno.ETXTBSY:
        return "it is open for writing, in this program or another one"
    if number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENOEXEC):
        return _wrong_directory(command.cwd) or _wrong_program(number, command)
    return ""


def _wrong_directory(path: Optional[str]) -> str:
    if path is None:
        return ""
    if not os.path.exists(path):
        return "the directory to run in does not exist"
    if not os.path.isdir(path):
        return "the directory to run in is none"
    if not os.access(path, os.X_OK):
        return "the directory to run in must not be entered"
    return ""


def _wrong_program(number: int, command: Command) -> str:
    argv = command.argv
    name = argv[0] if isinstance(argv, list) else command.executable or "/bin/sh"
    path = _find(name, command)
    if path is None:
        return _not_found(name, command)
    if os.path.isdir(path):
        return "it is a directory"
    if number == errno.ENOTDIR:
        return ""
    if not os.access(path, os.X_OK):
        return "it is not executable: see `chmod +x`"
    return _wrong_content(number, path)


def _find(name: str, command: Command) -> Optional[str]:
    """The path of a program, as the system looks for it; None if there is none."""
    if os.path.dirname(name):
        path = os.path.join(command.cwd or "", name)
        return path if os.path.exists(path) else None
    for folder in os.get_exec_path(environment(command.env or {})):
        path = os.path.join(command.cwd or "", folder, name)
        if os.path.exists(path):
            return path
    return None


def _not_found(name: str, command: Command) -> str:
    if name.strip() != name or len(name.split()) > 1:
        return (
            "a program and its arguments are strings of their own in the list; "
            "add_shell_command takes a line"
        )
    if not os.path.dirname(name):
        return "no directory of PATH has a program of that name"
    if command.cwd is not None and not os.path.isabs(name) and os.path.exists(name):
        return "a relative path is looked for in the directory to run in"
    return "there is no such file"


def _wrong_content(number: int, path: str) -> str:
    """What is wrong with a file that may be executed."""
    with open(path, "rb", buffering=0) as file:
        head = file.read(HEAD)
    if not head.startswith(b"#!"):
        if number == errno.ENOENT:
            return "it is there, but not the loader that it asks for"
        if not head:
            return "it is empty"
        if head.startswith(b"\x7fELF"):
            return "it is a program for another kind of machine"
        return "it is no program, nor a script that begins with #! and an interpreter"
    words = head[2:].split(b"\n")[0].split(None, 1)
    if not words:
        return "its first line names no interpreter"
    interpreter = os.fsdecode(words[0])
    if head[2:].split(b"\n")[0].endswith(b"\r"):
        return "its lines end in \\r\\n, as on Windows, so its interpreter is not found"
    if not os.path.exists(interpreter):
        return f"its interpreter {interpreter!r} does not exist"
    if not os.access(interpreter, os.X_OK) or os.path.isdir(interpreter):
        return f"its interpreter {interpreter!r} is not executable"
    return ""


def _too_long(command: Command) -> str:
    argv = command.argv if isinstance(command.argv, list) else [command.argv]
    sizes = {f"argument {n}": _size(each) for n, each in enumerate(argv)}
    if command.shell:
        sizes = {"the line": _size(command.argv)}
    variables = environment(command.env or {}).items()
    total = sum(sizes.values()) + sum(_size(k) + _size(v) for k, v in variables)
    for name, value in variables:
        sizes[f"the variable {name}"] = _size(name) + _size(value)
    longest = max(sizes, key=sizes.__getitem__)
    if sizes[longest] > LONGEST:
        more = sizes[longest] - LONGEST
        return f"{longest} has {more} bytes more than one may have, {LONGEST - 1}"
    most = os.sysconf("SC_ARG_MAX")
    return (
        f"arguments and environment have about {total} bytes, which is more than "
        f"the system takes, {most}: a file or `input` holds more"
    )


def _size(text: object) -> int:
    """Bytes that a text takes, with its end and what points to it."""
    return len(os.fsencode(str(text))) + 1
