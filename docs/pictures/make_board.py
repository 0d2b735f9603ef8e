"""Make the picture of a board, ``board.svg``: ``python docs/pictures/make_board.py``.

The run is made up, and the lines are those that a terminal of 84 columns gets.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.sax.saxutils import escape

from concurra.live import view
from concurra.snapshot import AtWork, Snapshot

HERE = Path(__file__).resolve().parent
COLUMNS, ROW, COLUMN, MARGIN = 84, 19, 8.4, 16

#: What a terminal makes of a style.
FILLS = {
    "": "#d4d4d4",
    "bold": "#ffffff",
    "dim": "#9a9a9a",
    "red": "#ff8080",
    "green": "#7ccf8a",
    "yellow": "#e5c07b",
}


class Printed(str):
    """What a command has printed."""

    def last_line(self) -> str:
        return self


AT_WORK = [
    AtWork("load invoices", "load", 2, 14.2),
    AtWork("export prices", "command", 1, 11.8, output=Printed("page 12 of 40")),
    AtWork("parse orders/2026-11-28.csv", "parse", 1, 6.3),
    AtWork("compress archive", "command", 1, 2.9, output=Printed("61.2 %, 18.4 MB/s")),
]

COUNTS = dict(waiting=71, ready=12, running=4, successful=209, failed=4, terminated=0)


def lines() -> list[view.Line]:
    """Two failures, which stand above the board, and the board."""
    look = Snapshot("Nightly", 49.4, COUNTS, AT_WORK)
    return [
        view.failure("load stock", "ConnectionError: reset by peer"),
        view.failure(
            "check totals", "Command exited with return code 3: 2 rows differ"
        ),
        *view.board(look, COLUMNS, rows=15),
    ]


def drawn(line: view.Line, row: int) -> str:
    """A line of text, each span of it at its column."""
    column, spans = 0, []
    for style, text in line:
        x, fill = MARGIN + column * COLUMN, FILLS[style]
        weight = ' font-weight="bold"' if style == "bold" else ""
        length = f'textLength="{len(text) * COLUMN:.1f}"' if text.strip() else ""
        spans.append(
            f'<tspan x="{x:.1f}" fill="{fill}"{weight} {length}>{escape(text)}</tspan>'
        )
        column += len(text)
    y, text = MARGIN + 14 + row * ROW, "".join(spans)
    return f'<text style="white-space: pre" y="{y}">{text}</text>'


def main() -> None:
    """Write the picture beside this file."""
    made = lines()
    width, height = 2 * MARGIN + COLUMNS * COLUMN, 2 * MARGIN + len(made) * ROW
    texts = "\n".join(drawn(line, row) for row, line in enumerate(made))
    path = HERE / "board.svg"
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        'font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#1e1e1e"/>\n{texts}\n</svg>\n',
        encoding="utf-8",
    )
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
