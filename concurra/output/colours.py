"""What may be shown of a line that others have printed: text, and its colours."""

from __future__ import annotations

import os
import re
import zlib

from .streams import is_terminal
from ..sanitize import one_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Sequences that set colours and the like, and end nothing else.
_COLOUR = r"\x1b\[[0-9;:]*m"

#: All other control sequences that are complete: they move the cursor, erase, set the
#: title, make links, and show nothing by themselves.
_OTHER = r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()*+][ -~]"

_SEQUENCE = re.compile(f"({_COLOUR})|{_OTHER}")

RESET = "\x1b[0m"

#: The colours of labels; red is left to errors.
_LABELS = "\x1b[36m", "\x1b[33m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[96m"


def are_wanted(stream: Any) -> bool:
    """Whether colours are to be kept: on a terminal, unless the environment says else.

    ``NO_COLOR`` and ``FORCE_COLOR`` decide, in this order, if they are not empty.
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return os.environ.get("TERM") != "dumb" and is_terminal(stream)


def paint(label: str) -> str:
    """A label in its colour, which is the same in each run."""
    number = zlib.crc32(label.encode("utf-8", "backslashreplace"))
    return f"{_LABELS[number % len(_LABELS)]}{label}{RESET}"


def clean(line: str, colours: bool) -> str:
    """A line without control sequences, but for colours if these are wanted.

    Colours end with the line. Other control characters are escaped; tabs are kept.
    """
    if line.isprintable():
        return line
    if "\x1b" not in line:
        return _text(line)
    parts = _SEQUENCE.split(line)
    parts[::2] = map(_text, parts[::2])
    if not colours:
        return "".join(parts[::2])
    shown = "".join(part for part in parts if part)
    return shown + RESET if any(parts[1::2]) else shown


def _text(text: str) -> str:
    return "\t".join(map(one_line, text.split("\t")))
