"""What a live board shows: lines of a given width, made of a snapshot. Pure."""

from __future__ import annotations

import unicodedata

from ..encoding import encodable
from ..sanitize import one_line
from ..summary import counted, rounded
from ..wording import name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Final, List, Sequence, Tuple

    from ..engine.snapshot import AtWork, Snapshot

    #: A style, "" for none, and a text in it.
    Span = Tuple[str, str]
    Line = List[Span]

#: The most columns of the bar, and of a label.
BAR: Final = 20
LABEL: Final = 40

#: Characters of a text that are looked at: no terminal shows more in a line.
LONGEST: Final = 1000

#: Styles as terminals know them.
STYLES: Final[Dict[str, str]] = {
    "bold": "1",
    "dim": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
}


def board(snapshot: Snapshot, width: int, rows: int) -> List[Line]:
    """A line of counts, then what is at work: the longest first, at most ``rows``."""
    lines = [_head(snapshot, min(BAR, width // 8))]
    shown = snapshot.at_work[:rows]
    labels = [_plain(each.label) for each in shown]
    column = min([LABEL, width // 3, max(map(cells, labels), default=0)])
    for each, label in zip(shown, labels):
        lines.append(_row(each, label, column))
    left = len(snapshot.at_work) - len(shown)
    if left:
        lines.append([("dim", f"  and {left} more")])
    return [cut(line, width) for line in lines]


def _head(snapshot: Snapshot, bar: int) -> Line:
    counts, total = snapshot.counts, snapshot.total
    filled = bar * snapshot.ended // total if total else bar
    bad = counts["failed"] + counts["terminated"]
    line: Line = [
        ("bold", f"{_plain(snapshot.name)} "),
        ("red" if bad else "green", "━" * filled),
        ("dim", "─" * (bar - filled)),
        ("", f" {snapshot.ended}/{total}"),
    ]
    if counts["failed"]:
        line.append(("red", f", {counts['failed']} failed"))
    if counts["terminated"]:
        line.append(("yellow", f", {counts['terminated']} terminated"))
    told = f", {len(snapshot.at_work)} at work" if snapshot.at_work else ""
    told += f", {rounded(snapshot.seconds)}"
    if snapshot.rest:
        told += f", about {rounded(snapshot.rest)} left"
    return [*line, ("", told)]


def _row(each: AtWork, label: str, column: int) -> Line:
    attempt = f" (attempt {each.attempt})" if each.attempt > 1 else ""
    items = f"  {counted(each.items)}" if each.items else ""
    return [
        ("", f"  {fitted(label, column)}"),
        ("", f"  {rounded(each.seconds):>9}"),
        ("yellow", attempt),
        ("", items),
        ("dim", f"  {last_line(each.output)}"),
    ]


def failure(label: object, error: object) -> Line:
    """The line of a task that went wrong."""
    return [("red", f"✗ {_plain(label)}: "), ("", _plain(error))]


def last_line(output: object) -> str:
    """The last line of what a task has printed, as far as it can tell."""
    tell = getattr(output, "last_line", None)
    return _plain(tell()) if callable(tell) else ""


def _plain(text: object) -> str:
    return one_line(name(text)[:LONGEST])


def cut(line: Line, width: int) -> Line:
    """As much of a line as fits."""
    kept: Line = []
    for style, text in line:
        if text and width > 0:
            wide = cells(text)
            kept.append((style, text if wide <= width else shortened(text, width)))
            width -= wide
    return kept


def shortened(text: str, width: int) -> str:
    """The beginning of a text, with ``…`` if it is too long."""
    if cells(text) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _wide(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…" if width > 0 else ""


def fitted(text: str, width: int) -> str:
    """A text in so many columns: cut, or with spaces after it."""
    text = shortened(text, width)
    return text + " " * (width - cells(text))


def cells(text: str) -> int:
    """The columns that a text takes in a terminal."""
    return len(text) if text.isascii() else sum(map(_wide, text))


def _wide(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def painted(line: Sequence[Span], colours: bool) -> str:
    """A line as a terminal takes it."""
    if not colours:
        return "".join(text for _, text in line)
    return "".join(
        f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style else text for style, text in line
    )


def drawable(text: str, encoding: str) -> str:
    """The text; in ASCII if the encoding lacks any of its characters."""
    plainer = text.translate({0x2501: "#", 0x2500: ".", 0x2717: "x", 0x2026: "~"})
    try:
        text.encode(encoding)
        return text
    except (LookupError, UnicodeError):
        return encodable(plainer, "ascii")
