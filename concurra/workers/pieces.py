"""A message before it is sent: piece by piece, with a head that says what follows."""

from __future__ import annotations

import pickle
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Union

    #: What is to be sent, piece by piece.
    Message = List[Union[bytes, memoryview]]

#: Bytes that are received at once, if it is not known yet where they are to go; and
#: from which on a buffer is large. The pickler has the same limit for large bytes.
CHUNK = 1 << 16

#: Pieces, and bytes, that one system call can move on every system.
PIECES = 1000
MOST_BYTES = 1 << 30

# What a message begins with, and a large buffer.
HEAD = struct.Struct("=QII")
SIZE = struct.Struct("=Q")

# What a head says of its message.
OTHER, PLAINLY, RECORD = range(3)


class Pieces:
    """The file that a pickler writes to: it joins nothing."""

    def __init__(self) -> None:
        self._pickle: Message = []
        self._buffers: List[memoryview] = []

    def write(self, piece: Union[bytes, bytearray]) -> None:
        """Keep a piece, which is a large object itself or a frame of small ones."""
        # A bytearray could not be resized by its owner while we hold a view of it.
        self._pickle.append(piece if type(piece) is bytes else bytes(piece))

    def in_band(self, buffer: pickle.PickleBuffer) -> bool:
        """Keep a buffer, unless it is to become part of the pickle."""
        try:
            view = buffer.raw()
        except BufferError:
            return True  # it is in several parts, which the pickler complains of
        if len(view) < CHUNK:
            return True
        self._buffers.append(view)
        return False

    def message(self) -> Message:
        """Everything, in the order in which it is to be sent."""
        if not self._buffers and len(self._pickle) == 1:
            (piece,) = self._pickle
            return [HEAD.pack(len(piece), 0, OTHER) + piece]
        pieces: Message = []
        for view in self._buffers:
            pieces += SIZE.pack(len(view)), view
        pieces += self._pickle
        head = HEAD.pack(sum(map(len, pieces)), len(self._buffers), OTHER)
        return [head, *pieces]


def drop(message: Message, count: int) -> None:
    """Take the first ``count`` bytes away."""
    done = 0
    for piece in message:
        if count < len(piece):
            break
        count -= len(piece)
        done += 1
    del message[:done]
    if count:
        message[0] = memoryview(message[0])[count:]
