"""Texts of tasks, commands and labels, made fit for a log, a terminal or a report.

What leaves here moves no cursor, hides nothing, can be encoded as any Unicode encoding,
and is not endless. Results keep their texts whole.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

#: How many lines of a command's stream, and characters of a text, are shown.
LINES = 50
CHARACTERS = 8000

#: Shown as they are, though they are not "printable" to Python: lines, tabs, the spaces
#: of French and Japanese, and what joins letters and emoji.
_KEPT = "\t\n\xa0\u202f\u3000\u200c\u200d"


class _Escapes(dict):  # type: ignore[type-arg]
    """What is shown instead of a character: see `str.translate`.

    :param kept: characters that are shown as they are, beside those that are printable.
    """

    def __init__(self, kept: str) -> None:
        super().__init__(zip(map(ord, kept), kept))

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if char.isprintable():
            return char
        return char.encode("unicode_escape").decode("ascii")


_IN_LINES = _Escapes(_KEPT)
_IN_A_LINE = _Escapes(_KEPT.replace("\t", "").replace("\n", ""))


def sanitize(text: str) -> str:
    """The text, with what is no visible character, tab or end of a line escaped.

    So what would move the cursor, turn the direction of the text, or cannot be encoded,
    is shown as in a Python string: ``\\x1b``, ``\\u202e``, ``\\udcff``.
    """
    if text.replace("\n", "").isprintable():
        return text
    return "\n".join(
        line if line.isprintable() else line.translate(_IN_LINES)
        for line in text.replace("\r\n", "\n").split("\n")
    )


def one_line(text: str) -> str:
    """The same for a text that is to stay in its line, such as a label."""
    return text if text.isprintable() else text.translate(_IN_A_LINE)


def shorten(text: str, limit: int = CHARACTERS) -> str:
    """The beginning and the end of a text that is too long to be shown."""
    left = len(text) - limit
    if left <= 0:
        return text
    half = limit // 2
    return f"{text[:half]} [... {left} characters left out ...] {text[-half:]}"


def transcript(text: str) -> str:
    """The end of each stream of what a command has printed."""
    parts = streams(text)
    if not parts:
        return shorten(text)
    return "\n".join(f"{name}:\n{_end_of(stream)}" for name, stream in parts.items())


def streams(text: str) -> Dict[str, str]:
    """What is under the headings ``stdout:`` and ``stderr:``; if it begins with one."""
    name, heading, body = text.partition(":\n")
    if name == "stderr" and heading:
        return {name: body}
    if name != "stdout" or not heading:
        return {}
    body, heading, errors = body.partition("\nstderr:\n")
    return {name: body, "stderr": errors} if heading else {name: body}


def last_states(stream: str) -> str:
    """The stream with each line as it was left: progress bars write over theirs."""
    return "\n".join(map(_last_state, stream.split("\n")))


def _end_of(stream: str) -> str:
    """The last lines of a stream, each as it was left behind."""
    end = "\n" if stream.endswith("\n") else ""
    lines = stream[: len(stream) - len(end)].rsplit("\n", LINES)
    if len(lines) > LINES:
        left = lines[0].count("\n") + 1
        lines[0] = f"[... {left} line{'s' if left > 1 else ''} left out ...]"
    return shorten("\n".join(map(_last_state, lines)) + end)


def _last_state(line: str) -> str:
    return line.rstrip("\r").rpartition("\r")[2]
