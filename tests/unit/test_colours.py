"""What is shown of lines that others have printed."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.colours import RESET, are_wanted, clean, paint

RED = "\x1b[31m"


class Terminal(io.StringIO):
    """A stream that says that it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("environment", "terminal", "elsewhere"),
    [
        ({}, True, False),
        ({"NO_COLOR": "1"}, False, False),
        ({"NO_COLOR": "0"}, False, False),
        ({"NO_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1"}, True, True),
        ({"FORCE_COLOR": ""}, True, False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
    ],
)
def test_where_colours_are_wanted(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    terminal: bool,
    elsewhere: bool,
) -> None:
    """On a terminal, unless a variable that is not empty says otherwise."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert are_wanted(Terminal()) is terminal
    assert are_wanted(io.StringIO()) is elsewhere


def test_a_stream_that_cannot_be_asked() -> None:
    """Has no colours."""
    closed = Terminal()
    closed.isatty = closed.missing = None  # type: ignore
    for stream in (None, object(), closed):
        assert not are_wanted(stream)


def test_the_colour_of_a_label_is_stable() -> None:
    """The same in each run, and not one for all."""
    assert paint("build") == paint("build") == f"\x1b[35mbuild{RESET}"
    assert len({paint(f"{n}").split("m")[0] for n in range(50)}) == 6
    assert paint("\udcff").endswith(RESET)


@pytest.mark.parametrize(
    ("line", "plain", "coloured"),
    [
        ("a b", "a b", "a b"),
        ("a\tb", "a\tb", "a\tb"),
        (f"{RED}a{RESET}b", "ab", f"{RED}a{RESET}b{RESET}"),
        ("\x1b[38;5;1;4ma", "a", f"\x1b[38;5;1;4ma{RESET}"),
        ("\x1b[2J\x1b[1;1Ha\x1b[K", "a", "a"),
        ("\x1b[?25la\x1b[?25h", "a", "a"),
        ("\x1b]0;title\x07a", "a", "a"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link", "link"),
        ("\x1b(Ba", "a", "a"),
        ("a\x07\0\x1bZ\x9b31m", "a\\x07\\x00\\x1bZ\\x9b31m", None),
        ("\x1b[31", "\\x1b[31", None),
        ("\x1b]0;title", "\\x1b]0;title", None),
        ("\u202ea\udcff\u2028", "\\u202ea\\udcff\\u2028", None),
    ],
)
def test_examples(line: str, plain: str, coloured: str | None) -> None:
    """Sequences that are complete are left out, all else is escaped."""
    assert clean(line, False) == plain
    assert clean(line, True) == (plain if coloured is None else coloured)


@given(
    st.text(
        st.one_of(
            st.characters(exclude_categories=()),
            st.sampled_from("\x1b\x1b[]0123;m?hHJKl\x07\\\t\x9b\u202e\udcff"),
        )
    ),
    st.booleans(),
)
def test_nothing_else_passes(line: str, coloured: bool) -> None:
    """What is left is visible, or a tab, or a colour, which ends with the line."""
    import re

    shown = clean(line, coloured)
    rest: Any = re.sub(r"\x1b\[[0-9;:]*m", "", shown) if coloured else shown
    assert rest.replace("\t", "").translate(JOINERS).isprintable()
    assert clean(shown, coloured).startswith(shown)
    if "\x1b" in shown:
        assert shown.endswith(RESET)


#: What `sanitize` shows though Python does not call it printable.
JOINERS = dict.fromkeys(map(ord, "\xa0\u202f\u3000\u200c\u200d"))
