"""What a board shows: lines of a given width, whatever tasks are called and print."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.engine.snapshot import AtWork, Snapshot
from concurra.live import notebook
from concurra.live.view import (
    board,
    cells,
    drawable,
    failure,
    fitted,
    last_line,
    painted,
    shortened,
)
from concurra.workers.command_output import Transcript
from tests.unit.support import failure as failed
from tests.unit.support import make, success

STATES = ("waiting", "ready", "running", "successful", "failed", "terminated")

#: Texts that do harm where they are shown as they are.
HOSTILE = st.one_of(
    st.text(st.characters(), max_size=60),
    st.sampled_from(
        [
            *("\x1b[2J\x1b[H", "a\0b", "\u202egnihton", "[red]markup[/red]", "\udcff"),
            *("<script>alert(1)</script>", "]]>", "表" * 50, "e\u0301" * 50, "👩‍👩‍👧"),
            *("x" * 5000, "\r\n\t\v\f\x85\u2028", "%s{0}", "\x9b2J"),
        ]
    ),
)


class Said:
    """Output, of which the last line is known."""

    def __init__(self, line: str) -> None:
        self._line = line

    def last_line(self) -> str:
        return self._line


def a_run(*tasks: AtWork, **counts: int) -> Snapshot:
    whole = {**dict.fromkeys(STATES, 0), **counts}
    return Snapshot("Nightly", 75.0, whole, list(tasks))


def texts(look: Snapshot, width: int = 100, rows: int = 15) -> list[str]:
    return [painted(line, False) for line in board(look, width, rows)]


def test_a_board() -> None:
    """Counts, then the longest at work first; the attempt where there were more."""
    look = a_run(
        AtWork("load users", "load", 1, 61.0, "subprocess", Said("page 7")),
        AtWork("send", "send", 3, 2.25),
        **{"running": 2, "ready": 3, "successful": 4, "failed": 1},
    )
    assert texts(look) == [
        "Nightly ━━━━━━────── 5/10, 1 failed, 2 at work, 1.2 min, about 1.2 min left",
        "  load users    1.0 min  page 7",
        "  send          2.2 sec (attempt 3)  ",
    ]


def test_a_map_tells_how_many_items_are_done() -> None:
    """In the terminal and in a notebook, with their number if that is known."""
    look = a_run(
        AtWork("parse", "parse", 2, 3.0, "process", None, (120, 400)),
        AtWork("read", "read", 1, 1.0, "thread", None, (7, None)),
        running=2,
    )
    assert texts(look)[1:] == [
        "  parse    3.0 sec (attempt 2)  120 of 400 items  ",
        "  read     1.0 sec  7 items  ",
    ]
    assert '<td style="text-align: left">120 of 400 items</td>' in notebook.board(
        "Nightly", look, 15, []
    )
    tasks = [make("parse"), make("read"), make("last")]
    shown = notebook.runner("Nightly", look, tasks)
    assert "at work, 120 of 400 items" in shown and "at work, 7 items" in shown


def test_of_many_at_work_some_are_shown() -> None:
    """With the number of the others."""
    look = a_run(*(AtWork(n, "f", 1, 1.0) for n in range(200)), running=200)
    lines = texts(look)
    assert len(lines) == 17 and lines[-1] == "  and 185 more"
    assert texts(look, rows=0)[1:] == ["  and 200 more"]


def test_long_labels_are_cut() -> None:
    """So that the time and the output have their columns."""
    look = a_run(AtWork("x" * 5000, "f", 1, 1.0, None, Said("y" * 5000)), running=1)
    (line,) = texts(look, 80)[1:]
    assert len(line) == 80 and "x…    1.0 sec  yyy" in line and line.endswith("…")


@given(
    st.lists(st.tuples(HOSTILE, HOSTILE), max_size=5),
    HOSTILE,
    st.integers(0, 120),
)
def test_no_text_breaks_a_board(
    tasks: list[tuple[str, str]], name: str, width: int
) -> None:
    """No line is too wide, none has a character that is more than to be seen."""
    look = a_run(*(AtWork(label, "f", 2, 1.0, None, Said(t)) for label, t in tasks))
    look.name = name
    lines = texts(look, width) + [painted(failure(name, name), False)]
    for line in lines[:-1]:
        assert cells(line) <= width
    for char in "".join(lines):
        assert char.isprintable() or char in "\xa0\u202f\u3000\u200c\u200d", char
        assert not unicodedata.category(char).startswith("Cs")


@given(HOSTILE, st.integers(0, 100))
def test_a_text_is_fitted(text: str, width: int) -> None:
    """Into exactly so many columns."""
    assert cells(fitted(text, width)) == width or cells(shortened(text, width)) < width
    assert cells(shortened(text, width)) <= width


def test_wide_characters_and_those_of_no_width() -> None:
    """As terminals show them."""
    assert [cells(each) for each in ("abc", "表", "e\u0301", "é")] == [3, 2, 1, 1]
    assert shortened("表表表", 5) == "表表…"


def test_colours_are_spans_of_their_own() -> None:
    """And none of them, if there are to be none."""
    line = failure("a", "ValueError: \x1b[31m")
    assert painted(line, True).startswith("\x1b[31m✗ a: \x1b[0mValueError: \\x1b[31m")
    assert "\x1b" not in painted(line, False)


def test_what_a_stream_cannot_encode() -> None:
    """Is shown in plainer form."""
    assert drawable("━─ ✗ …é", "utf-8") == "━─ ✗ …é"
    assert drawable("━─ ✗ …é", "ascii") == "#. x ~\\xe9"
    assert drawable("a…", "no-such-codec") == "a~"


@pytest.mark.parametrize(
    ("out", "err", "line"),
    [
        ([], [], ""),
        ([b"one\ntwo\n"], [b"err\n"], "two"),
        ([b"one\nha", b"lf"], [], "half"),
        ([b"\n \n"], [b"10%\r20%\r"], "20%"),
        ([b"caf\xff"], [], "caf\\xff"),
    ],
)
def test_the_last_line_of_a_command(out: Any, err: Any, line: str) -> None:
    """As it was left; of stderr, if stdout has none."""
    transcript = Transcript()
    transcript.stdout, transcript.stderr = out, err
    assert last_line(transcript) == line
    assert last_line(None) == last_line(object()) == ""


# Notebooks ------------------------------------------------------------------------


class Texts(HTMLParser):
    """The texts of a document, and the names of its elements."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.texts: list[str] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@given(HOSTILE, HOSTILE)
def test_no_text_becomes_html(label: str, line: str) -> None:
    """Neither of a board nor of a runner."""
    look = a_run(AtWork(label, "f", 2, 1.0, None, Said(line)), running=1)
    task = make(label)
    for document in (
        notebook.board(label, look, 15, [line]),
        notebook.runner(label, look, [task]),
    ):
        document.encode("utf-8")
        found = Texts(document)
        assert found.names <= {"p", "b", "table", "tr", "th", "td", "pre"}


def test_a_runner_shows_its_failures_first() -> None:
    """Then what is at work, what succeeded, what waits; of many, some."""
    tasks = [make(label) for label in ("waits", "well", "busy", "bad")]
    for task, outcome in ((tasks[1], success()), (tasks[3], failed())):
        task.started, task.ended, task.outcome = 1.0, 3.0, outcome
    look = a_run(AtWork("busy", "f", 1, 5.0), running=1)
    found = Texts(notebook.runner("runner", look, tasks)).texts
    assert found[5:9] == ["bad", "nothing", "Failed", "2.0 sec"]
    assert [t for t in found if t in ("bad", "busy", "well", "waits")] == [
        *("bad", "busy", "well", "waits"),
    ]
    many = notebook.runner("runner", look, [make(n) for n in range(80)])
    assert many.count("<tr>") == 51 and many.endswith("<p>and 30 more</p>")
    assert "table" not in notebook.runner("empty", a_run(), [])
