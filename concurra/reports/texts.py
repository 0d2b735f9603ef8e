"""Texts of tasks as reports show them: nothing invisible, and no colours."""

from __future__ import annotations

import re

from ..sanitize import last_states, one_line, sanitize, shorten

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Final, Iterable, List

#: Colours, titles and all else that is said to a terminal.
_ANSI: Final = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])"
)


def block(text: str) -> str:
    """A text of several lines, without colours, and each line as it was left."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    if "\r" in text:
        text = last_states(text)
    return sanitize(text)


def line(text: str, limit: int = 0) -> str:
    """A text in one line, without colours; cut if it is longer than a limit."""
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    text = one_line(text)
    return shorten(text, limit) if limit else text


def first_line(text: str) -> str:
    """The first line of an error that has something in it, for a heading."""
    for each in text.split("\n"):
        if each.strip():
            return line(each.strip(), 300)
    return ""


def unique(texts: Iterable[str]) -> List[str]:
    """The texts, told apart by a number where some are equal."""
    texts = list(texts)
    taken = set(texts)
    following: Dict[str, int] = {}
    found = []
    for text in texts:
        name = text
        if text in following:
            while name in taken:
                name = f"{text} ({following[text]})"
                following[text] += 1
        else:
            following[text] = 2
        taken.add(name)
        found.append(name)
    return found
