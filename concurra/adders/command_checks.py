"""Checks of what users pass in for commands.

Each returns the value in the form in which it is kept, or raises a ``TypeError`` or
``ValueError``. The error names the parameter, the key or position at fault, its value,
cut, and what was expected; no other value, as that may be a secret.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from .. import checks
from ..checks import flag
from ..wording import cut, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple, Union

    #: What is taken for the path of a file, or an argument of a program.
    AnyPath = Union[str, bytes, os.PathLike[str], os.PathLike[bytes]]


def options(given: Mapping[str, Any]) -> Dict[str, Any]:
    """The options of a command, as keywords of `Command`.

    :param given: what was given, by the names of the adders' parameters.
    """
    captured = flag("capture_output", given["capture_output"])
    for name in () if captured else ("output", "max_output"):
        if given[name] is not None:
            expected = (
                "None with capture_output=False: there is nothing to be had of it"
            )
            raise _wrong(ValueError, name, expected, given[name])
    return {
        "cwd": directory(given["cwd"]),
        "env": environ(given["env"]),
        "check": flag("check", given["check"]),
        "capture_output": captured,
        "text": flag("text", given["text"]),
        "stop_signal": stop_signal(given["stop_signal"]),
        "input": standard_input(given["input"]),
        "merged": merged(given["stderr"]),
        "executable": executable(given.get("executable")),
        "pass_fds": descriptors(given["pass_fds"]),
        "stdout": output_file(given["stdout"]),
        "max_output": checks.max_output(given["max_output"]),
        "output": checks.output(given["output"]),
    }


def no_written_reference(given: Mapping[str, Any]) -> None:
    """Refuse a reference that was formatted into a text: there it means nothing."""
    command, env = given["command"], given["env"]
    texts = {"command": command, "input": given["input"]}
    if isinstance(command, (list, tuple)):
        texts.update((f"command[{at}]", each) for at, each in enumerate(command))
    if isinstance(env, Mapping):
        texts.update((f"env[{show(name)}]", value) for name, value in env.items())
    for name, text in texts.items():
        if isinstance(text, str) and "<TaskRef " in text:
            expected = (
                "without a reference within a text: it has to be an argument, a value "
                "of env or the input by itself. A shell's line can put it into a text: "
                "add_shell_command('tool --tag=\"$TAG\"', env={'TAG': reference})"
            )
            raise _wrong(ValueError, name, expected, text)


def exec_argv(argv: Any) -> List[str]:
    """A program and its arguments, as strings."""
    if isinstance(argv, (str, bytes, os.PathLike)):
        hint = "a list of strings (add_shell_command takes a string)"
        raise _wrong(TypeError, "command", hint, argv)
    if not isinstance(argv, (list, tuple)):
        raise _wrong(TypeError, "command", "a list or tuple of strings", argv)
    if not argv:
        raise _wrong(ValueError, "command", "at least the name of a program", argv)
    parts = [_text(f"command[{index}]", part) for index, part in enumerate(argv)]
    if not parts[0]:
        raise _wrong(ValueError, "command[0]", "the name of a program", argv[0])
    return parts


def shell_argv(argv: Any) -> str:
    """A line for the shell."""
    if not isinstance(argv, str):
        hint = "a string (add_command takes a list)"
        raise _wrong(TypeError, "command", hint, argv)
    if not argv.strip():
        raise _wrong(ValueError, "command", "a line for the shell", argv)
    return _text("command", argv)


def directory(value: Optional[AnyPath]) -> Optional[str]:
    """The path of a directory; whether it exists shows when the command starts."""
    return None if value is None else _path("cwd", value, "a directory")


def executable(value: Optional[AnyPath]) -> Optional[str]:
    """The path of a shell; whether it exists shows when the command starts."""
    return None if value is None else _path("executable", value, "a shell")


def output_file(value: Optional[AnyPath]) -> Optional[str]:
    """The absolute path of a file; whether it can be opened shows later."""
    if value is None:
        return None
    if isinstance(value, int):
        hint = "a path (pass_fds takes descriptors)"
        raise _wrong(TypeError, "stdout", hint, value)
    return os.path.abspath(_path("stdout", value, "a file"))


def _path(parameter: str, value: AnyPath, of: str) -> str:
    path = _text(parameter, value, "a path")
    if not path:
        raise _wrong(ValueError, parameter, f"the path of {of}", value)
    return path


def environ(value: Optional[Mapping[Any, Any]]) -> Optional[Dict[str, Optional[str]]]:
    """Environment variables to set, and None for those to unset."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        expected = "a mapping of names to strings, or None to unset one"
        raise _wrong(TypeError, "env", expected, value)
    checked: Dict[str, Optional[str]] = {}
    for key, each in value.items():
        name = _text("a name in env", key, "a string")
        if not name or "=" in name:
            expected = "a name without '='"
            raise _wrong(ValueError, "a name in env", expected, key)
        where = f"env[{_brief(name)}]"
        expected = "a string, or None to unset it"
        checked[name] = None if each is None else _text(where, each, expected)
    return checked


def stop_signal(value: Union[None, str, int]) -> int:
    """The number of a signal; SIGTERM for None."""
    import signal  # here, as it takes a while

    if value is None:
        return signal.SIGTERM
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        expected = "a signal, its name, or its number"
        raise _wrong(TypeError, "stop_signal", expected, value)
    if isinstance(value, str):
        names = signal.Signals.__members__
        number = int(names.get(value) or names.get(f"SIG{value}") or 0)
    else:
        number = int(value)
    if number not in signal.valid_signals():
        raise _wrong(ValueError, "stop_signal", "a signal of this system", value)
    return number


def standard_input(value: Any) -> Optional[bytes]:
    """What the command reads; text is encoded as its output is decoded."""
    if value is None:
        return None
    if isinstance(value, str):
        from ..encoding import encoding

        try:
            return value.encode(encoding())
        except UnicodeEncodeError as error:
            expected = f"text that can be encoded ({error.encoding})"
            raise _wrong(ValueError, "input", expected, value) from None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise _wrong(TypeError, "input", "a string or bytes", value)
    return bytes(value)


def merged(stderr: Optional[str]) -> bool:
    """Whether standard error goes where standard output goes."""
    if stderr is None:
        return False
    if not isinstance(stderr, str) or stderr != "stdout":
        kind = ValueError if isinstance(stderr, str) else TypeError
        raise _wrong(kind, "stderr", "'stdout' or None", stderr)
    return True


def descriptors(value: Any) -> Tuple[int, ...]:
    """File descriptors; whether they are open shows when the command starts."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
        raise _wrong(TypeError, "pass_fds", "a collection of descriptors", value)
    found = tuple(value)
    for index, each in enumerate(found):
        where = f"pass_fds[{index}]"
        if isinstance(each, bool) or not isinstance(each, int):
            raise _wrong(TypeError, where, "a descriptor, an integer", each)
        if each < 3:
            expected = "at least 3: the first three have parameters of their own"
            raise _wrong(ValueError, where, expected, each)
    if found and os.name != "posix":
        raise ValueError("pass_fds must be empty on this system")
    return found


def _text(where: str, value: Any, expected: str = "a string or a path") -> str:
    """Text that can be passed to a program; a path or bytes as a string."""
    try:
        text = os.fspath(value) if isinstance(value, os.PathLike) else value
    except Exception:
        text = None
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if not isinstance(text, str):
        raise _wrong(TypeError, where, expected, value)
    try:
        if b"\0" not in os.fsencode(text):
            return text
        expected = "text that can be passed to a program, without NUL"
    except UnicodeEncodeError as error:
        expected = f"text that can be encoded ({error.encoding})"
    raise _wrong(ValueError, where, expected, value)


def _brief(value: Any) -> str:
    return cut(show(value))


def _wrong(kind: type, where: str, expected: str, value: Any) -> Exception:
    error: Exception = kind(f"{where} must be {expected}, not {_brief(value)}")
    return error
