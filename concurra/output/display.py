"""What tasks print, shown where this program prints: line by line, or in blocks.

::

    piece ──> Lines ──> prefixed: at once, each line behind the label
                   ──> grouped:  at the end of the attempt, below a heading

Nothing that goes wrong there, such as a stream that was closed, reaches the task. A
stream that nobody reads any more holds up those who print, as it does without this.
"""

from __future__ import annotations

import os
import threading

from . import colours, streams
from .lines import Lines
from ..encoding import encodable, encoding_of
from ..sanitize import one_line
from ..wording import name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Hashable, List, Optional, Protocol, Tuple, Union

    class Blocks(Protocol):
        """What bytes can be appended to."""

        def append(self, data: bytes) -> None:
            """Take what has come."""


#: How it is shown: lines behind the label, or a block below it.
PREFIXED = "prefixed"
GROUPED = "grouped"

#: The longest label that is shown, in characters: much of a line is left for the rest.
WIDTH = 32

# So that lines of two tasks never mix. Reentrant: what writes may print itself.
_writing = threading.RLock()


class Display:
    """Shows what one attempt of a task prints; never raises because of a stream.

    :param how: `PREFIXED` or `GROUPED`.
    :param label: of the task.
    :param attempt: its number, from 1 on.
    :param encoding: of what is printed; None if that is text.
    :param block: where a block is kept until its end, as in an empty list of bytes.
    """

    def __init__(
        self,
        how: str,
        label: Hashable,
        attempt: int = 1,
        encoding: Optional[str] = None,
        block: Any = None,
    ) -> None:
        self.label = _cut(one_line(name(label)))
        self._attempt = attempt
        self._lines = Lines(encoding), Lines(encoding)
        self._block = ([] if block is None else block) if how == GROUPED else None
        self._looks: List[Optional[Tuple[Any, bool, str]]] = [None, None]
        # If a task is ended by force, another thread shows what there is, while the
        # function goes on.
        self._changing = threading.RLock()
        self._ended = False  # no further block is shown

    def write(self, number: int, piece: Union[bytes, str]) -> None:
        """Show what was printed to a stream, as far as its lines are complete."""
        with self._changing:
            lines = self._lines[number].feed(piece)
            if lines:
                self._take(number, lines)

    def end(self, note: str = "") -> None:
        """The attempt has ended: show what is left.

        :param note: what the heading of a block says of it.
        """
        with self._changing:
            for number in (0, 1):
                lines = self._lines[number].end()
                if lines:
                    self._take(number, lines)
            self._ended = True
            if self._block:
                block, self._block = self._block, []
                text = b"".join(block).decode("utf-8", "backslashreplace")
                self._show(0, text.split("\n")[:-1], self._heading(note))

    def _take(self, number: int, lines: List[str]) -> None:
        if self._block is None:
            self._show(number, lines)
        elif not self._ended:
            text = "\n".join(lines) + "\n"
            self._block.append(text.encode("utf-8", "backslashreplace"))

    def _heading(self, note: str) -> str:
        which = f", attempt {self._attempt}" if self._attempt > 1 else ""
        return f"{which}: {note}" if note else which

    def _show(
        self, number: int, lines: List[str], heading: Optional[str] = None
    ) -> None:
        """Show lines: each behind the label, or all of them below it."""
        try:
            stream, coloured, label = self._look(number)
            if not "".join(lines).isprintable():
                lines = [colours.clean(line, coloured) for line in lines]
            if heading is None:
                prefix = f"[{label}] "
                text = prefix + f"\n{prefix}".join(lines)
            else:
                text = "\n".join([f"== {label}{heading} ==", *lines])
            _write(number, stream, text + "\n")
        except Exception:
            pass  # closed, a pipe whose reader has gone, or None: it is not shown

    def _look(self, number: int) -> Tuple[Any, bool, str]:
        """The stream as it is now, whether it has colours, and how the label looks."""
        stream, look = streams.real(number), self._looks[number]
        if look is None or look[0] is not stream:
            coloured = colours.are_wanted(stream)
            label = colours.paint(self.label) if coloured else self.label
            look = self._looks[number] = stream, coloured, label
        return look


class Shown:
    """Pieces of a stream, which are kept and shown as well.

    :param kept: gets all of them first.
    """

    def __init__(self, kept: Blocks, display: Display, number: int) -> None:
        self._kept = kept
        self._display = display
        self._number = number

    def append(self, piece: bytes) -> None:
        """Take the next piece."""
        self._kept.append(piece)
        self._display.write(self._number, piece)


def _cut(text: str) -> str:
    """A text, its middle left out if it is long: the ends tell labels apart."""
    half = WIDTH // 2
    return text if len(text) <= WIDTH else f"{text[: half - 3]}...{text[-half:]}"


def _write(number: int, stream: Any, text: str) -> None:
    """Write a text to a stream, or leave it to `streams.leader`, if there is one."""
    leader = streams.leader()
    if leader is not None:  # in a worker process, it is a part of what its task prints
        return leader(number, text)
    text = encodable(text, encoding_of(stream))
    # What the stream prints itself is not the task's: it would come back here.
    writer = streams.exchange(None)
    try:
        with _writing:
            stream.write(text)
            stream.flush()
    finally:
        streams.exchange(writer)


def _in_child() -> None:
    global _writing
    _writing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
