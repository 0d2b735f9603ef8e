"""The beginning and the end of a stream that is too long to be kept whole."""

from __future__ import annotations

import math
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Union

    Chunks = Union[List[bytes], "Kept"]


def chunks(limit: Optional[float]) -> Chunks:
    """Where to put the pieces of a stream.

    :param limit: bytes that are kept; None, or infinite, for all.
    """
    return [] if limit is None or limit == math.inf else Kept(int(limit))


class Kept:
    """What is appended, up to a number of bytes; beyond that, a note in its middle.

    :param limit: bytes that are kept, half of them at either end.
    """

    def __init__(self, limit: int) -> None:
        self._most = limit - limit // 2, limit // 2  # of the beginning, and of the end
        self._head = bytearray()
        self._tail = bytearray()  # may be twice as long, so that it seldom moves
        self._left_out = 0  # between the two
        self._lock = threading.Lock()

    def append(self, data: bytes) -> None:
        """Take what has come."""
        most, end = self._most
        with self._lock:
            room = most - len(self._head)
            if room > 0:
                self._head += data[:room]
                data = data[room:]
            self._tail += data[-end:] if end else b""
            self._left_out += len(data) - min(len(data), end)
            if len(self._tail) > 2 * end:
                self._left_out += len(self._tail) - end
                del self._tail[: len(self._tail) - end]

    def __iter__(self) -> Iterator[bytes]:
        end = self._most[1]
        with self._lock:
            more = max(0, len(self._tail) - end)
            left_out = self._left_out + more
            head, tail = bytes(self._head), bytes(self._tail[more:])
        yield head
        if left_out:
            start = b"" if head.endswith(b"\n") or not head else b"\n"
            yield start + b"... %d bytes left out ...\n" % left_out
        yield tail

    def __bool__(self) -> bool:
        return bool(self._head)
