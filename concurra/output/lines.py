"""The lines of what is printed piece by piece; pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Union

#: Characters after which a line is cut, so that one without an end is not kept whole.
LONGEST = 8192


class Lines:
    """Puts lines together from pieces, wherever the stream was cut into these.

    Of a line with lone ``\\r`` the last state counts, as on a terminal. Bytes that
    cannot be decoded become backslash escapes.

    :param encoding: of the pieces; None if they are text.
    """

    def __init__(self, encoding: Optional[str] = None) -> None:
        self._decoder = None
        self._rest = ""  # of a line whose end has not come: its last state
        if encoding is not None:
            from codecs import getincrementaldecoder

            self._decoder = getincrementaldecoder(encoding)("backslashreplace")

    def feed(self, piece: Union[bytes, str]) -> List[str]:
        """Take a piece; the lines that are complete with it, without their ends."""
        if isinstance(piece, str):
            return self._split(piece)
        assert self._decoder is not None
        return self._split(self._decoder.decode(piece))

    def end(self) -> List[str]:
        """There are no more pieces; the lines that were not complete."""
        found = []
        if self._decoder is not None:
            found = self._split(self._decoder.decode(b"", True))
        rest, self._rest = self._rest.rstrip("\r"), ""
        return [*found, rest] if rest else found

    def _split(self, text: str) -> List[str]:
        text = self._rest + text
        lines = text.split("\n")
        if "\r" not in text and max(map(len, lines)) <= LONGEST:
            self._rest = lines.pop()
            return lines
        found: List[str] = []
        last = lines.pop()
        for line in lines:
            found.append(_last_state(line, found))
        # Whether an end follows this "\r", which is none of its own then, is not known.
        end = "\r" if last.endswith("\r") else ""
        self._rest = _last_state(last, found) + end
        return found


def _last_state(line: str, found: List[str]) -> str:
    """What is left of a line that was written over, or is too long.

    :param found: gets what is cut off.
    """
    state = ""
    for state in line.rstrip("\r").split("\r"):
        while len(state) > LONGEST:
            found.append(state[:LONGEST])
            state = state[LONGEST:]
    return state
