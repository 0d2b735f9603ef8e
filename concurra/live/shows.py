"""Where a live board is shown: a terminal, a notebook, or plain lines on stderr."""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module

from ..encoding import encoding_of
from ..sanitize import one_line
from ..summary import status
from . import view
from .screen import Screen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, List, Optional

    from ..engine.snapshot import Snapshot

#: Seconds from one look to the next.
PERIOD: Final = 0.25

#: The screens that are shown. A terminal has room for one.
_shown: List[Screen] = []
_showing = threading.Lock()


class Plain:
    """Plain lines on stderr.

    :param period: seconds from one to the next.
    """

    def __init__(self, period: float) -> None:
        self.period = min(period, threading.TIMEOUT_MAX)

    def begin(self, snapshot: Snapshot) -> None:
        """Begin to show the run; called once."""

    def show(self, snapshot: Snapshot) -> None:
        """Show how far the run has come."""
        self._print(one_line(status(snapshot)))

    def tell(self, line: view.Line) -> None:
        """Show the line of a task that went wrong."""
        self._print(view.painted(line, False))

    def end(self, snapshot: Snapshot) -> None:
        """Show how the run has ended; called once."""
        self.show(snapshot)

    def give_up(self) -> None:
        """Nothing can be shown any more."""

    def _print(self, text: str) -> None:
        stream = sys.stderr
        try:
            stream.write(f"{_fit(stream, text)}\n")
            stream.flush()
        except (AttributeError, OSError, ValueError):  # None, or it has been closed
            pass


class Terminal(Plain):
    """The bottom of a terminal."""

    def __init__(self, screen: Screen, stream: Any, rows: int) -> None:
        super().__init__(PERIOD)
        self._screen = screen
        self._stream = stream
        self._rows = rows
        self._over = False
        self._colours = not os.environ.get("NO_COLOR")

    def begin(self, snapshot: Snapshot) -> None:
        """See `Plain`; so for the methods below."""
        import atexit

        atexit.register(self.give_up)
        self._screen.open()
        self.show(snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Draw it anew."""
        self._draw(snapshot, self._rows)

    def tell(self, line: view.Line) -> None:
        """Show the line above the board, uncut."""
        if self._screen.is_open:
            text = _fit(self._stream, view.painted(line, self._colours))
            self._screen.above(self._stream, f"{text}\n")
        elif not self._over:
            super().tell(line)

    def end(self, snapshot: Snapshot) -> None:
        """Leave the counts there, and nothing else."""
        self._draw(snapshot, 0)
        self.give_up()

    def give_up(self) -> None:
        """Leave what is there, and let another board have the terminal."""
        import atexit

        self._over = True
        atexit.unregister(self.give_up)
        self._screen.close()
        with _showing:
            if self._screen in _shown:
                _shown.remove(self._screen)

    def _draw(self, snapshot: Snapshot, rows: int) -> None:
        try:
            size = os.get_terminal_size(self._stream.fileno())
            width, height = size.columns or 80, size.lines or 24
        except (OSError, ValueError):
            width, height = 80, 24
        lines = view.board(snapshot, width - 1, max(0, min(rows, height - 3)))
        if not rows:
            lines = lines[:1]
        self._screen.draw(
            [_fit(self._stream, view.painted(each, self._colours)) for each in lines]
        )


class Notebook(Plain):
    """The output of a cell, which is changed in place."""

    def __init__(self, rows: int) -> None:
        super().__init__(PERIOD)
        self._rows = rows
        self._failures: List[str] = []
        self._place: Any = None
        self._last = ""

    def begin(self, snapshot: Snapshot) -> None:
        """See `Plain`; so for the methods below."""
        self._display: Any = import_module("IPython.display")
        self._last = self._html(snapshot)
        shown = self._display.HTML(self._last)
        self._place = self._display.display(shown, display_id=True)

    def show(self, snapshot: Snapshot) -> None:
        """Show it in place of what was there."""
        text = self._html(snapshot)
        if self._place is not None and text != self._last:
            self._last = text
            self._place.update(self._display.HTML(text))

    def tell(self, line: view.Line) -> None:
        """Show the line with what is shown next."""
        self._failures.append(view.painted(line, False))

    def _html(self, snapshot: Snapshot) -> str:
        from . import notebook

        return notebook.board(status(snapshot), snapshot, self._rows, self._failures)


def terminal(stream: Any, rows: int) -> Optional[Terminal]:
    """The bottom of a terminal; None if another has it."""
    with _showing:
        if _shown:
            return None
        screen = Screen(stream)
        _shown.append(screen)
    return Terminal(screen, stream, rows)


def _fit(stream: Any, text: str) -> str:
    return view.drawable(text, encoding_of(stream))
