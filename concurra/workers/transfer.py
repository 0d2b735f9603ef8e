"""Sends values from process to process, and copies what is large only twice.

::

    sender                                         receiver
    ------                                         --------
    pickle ──── size of all, number of buffers, whether it is plain
       ├─────── large buffers (numpy) ───────────> memory of their own
       └─────── the pickle in pieces: ───────────> unpickle as they arrive
                  frames of small things ────────> one chunk, used again and again
                  large bytes ───────────────────> the new bytes

What is large goes straight from where it lies into the socket, and from there straight
to where it stays. A small message takes one system call at each end.

The ends take turns: whoever has sent receives next. A message that cannot be unpickled
is read to its end all the same, so it does not spoil the next one.

A message is *plain* if only code of `pickle` runs when it is unpickled. The dispatcher,
which receives for many, takes such messages itself, and leaves others to other threads.
A *record* may come at any time, besides those whose turn it is.
"""

from __future__ import annotations

import io
import pickle
import socket
import sys
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

from .pieces import CHUNK, HEAD, MOST_BYTES, PIECES, PLAINLY, RECORD, SIZE
from .pieces import Pieces, drop
from .spinning import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Iterator, List, Optional, Protocol, Tuple

    from .pieces import Message
else:
    Protocol = object

PROTOCOL = 5

#: What stands for a message that has not come as a whole, or is not plain.
INCOMPLETE = object()

_UNKNOWN = -1
_HEAD = HEAD.size
_NO_WAIT = getattr(socket, "MSG_DONTWAIT", 0)

# Sending to an end that has gone raises an error. The signal that comes with it would
# end programs that have left it at its default; macOS takes no flag, but an option.
_NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
_SO_NOSIGPIPE = 0x1022 if sys.platform == "darwin" else None


class Ended(EOFError):
    """Nobody is at the other end, or the two no longer understand each other."""


class Channel(Protocol):
    """One end of a connection, for one thread."""

    #: How many messages have come, whether or not they could be unpickled.
    received: int

    @property
    def pending(self) -> bool:
        """Whether some of the next message has been taken in already."""

    @property
    def source(self) -> Any:
        """What `multiprocessing.connection.wait` takes, to wait for a message."""

    def pack(self, value: Any, plain: bool = False) -> Message:
        """Pickle a value; raises whatever that raises.

        A large buffer is not copied: what its owner writes there before it is sent is
        sent.

        :param plain: it is small, and `pickle` needs no help with it.
        """

    def pack_record(self, value: Any) -> Message:
        """Pickle a value that is sent out of turn, a tuple of plain values."""

    def rest(self) -> Iterator[Any]:
        """The records that are left when nobody is at the other end any more."""

    def send(self, message: Message) -> None:
        """Send a message, and forget it.

        If the other end goes in the middle of it, `receive` notices.

        :raises Ended: nobody has received any of it.
        """

    def receive(self) -> Any:
        """Wait for a message, and unpickle it; raises whatever that raises.

        :raises Ended: no message will come, neither now nor later.
        """

    def end(self) -> None:
        """Let both ends see that no more will be sent; never blocks."""

    def close(self) -> None:
        """Close this end; a second time does nothing."""


def connect(context: BaseContext) -> Tuple[Channel, Channel]:
    """The two ends of a new connection; a new process may be given one of them."""
    if hasattr(socket, "AF_UNIX"):
        one, other = socket.socketpair()
        return SocketChannel(one), SocketChannel(other)
    first, second = context.Pipe()
    return PipeChannel(first), PipeChannel(second)


def _passed_on(file: Any) -> SocketChannel:
    """The end that a new process was given."""
    return SocketChannel(socket.socket(fileno=file.detach()))


class SocketChannel:
    """See `Channel`; also the file that an unpickler reads from."""

    def __init__(self, source: socket.socket) -> None:
        source.settimeout(None)  # the program may have set another default
        source.set_inheritable(False)
        if _SO_NOSIGPIPE is not None:
            with suppress(OSError):  # the other end has gone already
                source.setsockopt(socket.SOL_SOCKET, _SO_NOSIGPIPE, 1)
        self.source = source
        self.received = 0
        self._chunk = memoryview(bytearray(CHUNK))
        self._start = self._end = 0  # what of the chunk has not been read yet
        self._left = 0  # bytes of the message that have not been read yet
        self._spins = False  # see `spinning.wait`

    def __reduce__(self) -> Any:
        # Not the socket: it may be gevent's, which multiprocessing cannot pass on if it
        # was imported before gevent took the place of the module `socket`.
        from multiprocessing.reduction import DupFd

        return _passed_on, (DupFd(self.source.fileno()),)

    def pack(self, value: Any, plain: bool = False) -> Message:
        """See `Channel.pack`."""
        if plain:
            piece = pickle.dumps(value, PROTOCOL)
            return [HEAD.pack(len(piece), 0, PLAINLY) + piece]
        pieces = Pieces()
        ForkingPickler(pieces, PROTOCOL, True, pieces.in_band).dump(value)
        return pieces.message()

    def send(self, message: Message) -> None:
        """See `Channel.send`."""
        begun = False
        try:
            while message:
                piece = message[0]
                if len(message) == 1 and len(piece) < CHUNK:
                    count = self.source.send(piece, _NO_SIGNAL)
                    if count == len(piece):
                        message.clear()
                        return
                elif len(message) == 1 or sum(map(len, message[:PIECES])) > MOST_BYTES:
                    count = self.source.send(memoryview(piece)[:MOST_BYTES], _NO_SIGNAL)
                else:
                    count = self.source.sendmsg(message[:PIECES], (), _NO_SIGNAL)
                begun = True
                drop(message, count)
        except OSError as error:
            message.clear()
            if not begun:
                raise Ended from error

    def pack_record(self, value: Any) -> Message:
        """See `Channel.pack_record`."""
        piece = pickle.dumps(value, PROTOCOL)
        return [HEAD.pack(len(piece), 0, RECORD) + piece]

    @property
    def pending(self) -> bool:
        """See `Channel.pending`."""
        return self._start != self._end

    def rest(self) -> Iterator[Any]:
        """See `Channel.rest`."""
        self.source.setblocking(False)  # somebody else may hold the other end
        try:
            while True:
                record = self._next(RECORD)
                if record is not None:
                    yield record
        except Ended:
            pass

    def arrive(self, flags: int = _NO_WAIT) -> Any:
        """Take in what has come; the message, if that is all of a plain one.

        Called between two messages. None if nothing has come yet. `INCOMPLETE` if
        `receive` is to be called for what has come, which may wait for more.

        :raises Ended: no message will come, or one was left that nobody asked for.
        """
        if self._left or self._start != self._end:
            raise Ended
        chunk = self._chunk
        try:
            count = self.source.recv_into(chunk, 0, flags)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Ended from error
        if not count:
            raise Ended
        if count >= _HEAD:
            size, _, sort = HEAD.unpack_from(chunk)
            if sort == PLAINLY and count == _HEAD + size:
                self.received += 1
                return pickle.loads(chunk[_HEAD:count])
        self._start, self._end = 0, count
        return INCOMPLETE

    def receive(self) -> Any:
        """See `Channel.receive`."""
        if self._start == self._end:
            sleep = partial(self.arrive, 0)
            message, self._spins = wait(self.arrive, sleep, self._spins)
            if message is not INCOMPLETE:
                return message
        return self._next()

    def _next(self, wanted: Optional[int] = None) -> Any:
        """The next message; None for one of another sort than the one that is wanted.

        That is not unpickled.
        """
        if self._left:
            raise Ended
        self._left = _UNKNOWN
        try:
            if self._start == self._end:
                self._fill()
            self._left, buffers, sort = HEAD.unpack(self.read(HEAD.size))
            self.received += 1
            if wanted is not None and sort != wanted:
                return None
            return self._load([self._read_buffer() for _ in range(buffers)])
        finally:
            if self._left:
                self._skip()

    def end(self) -> None:
        """See `Channel.end`."""
        with suppress(OSError):
            self.source.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """See `Channel.close`."""
        self.source.close()

    def _load(self, buffers: List[Any]) -> Any:
        start, end = self._start, self._start + self._left
        if end > self._end:
            return pickle.Unpickler(self, buffers=buffers).load()
        self._start, self._left = end, 0
        return pickle.loads(self._chunk[start:end], buffers=buffers)

    def _read_buffer(self) -> Any:
        (size,) = SIZE.unpack(self.read(SIZE.size))
        memory = bytearray(size)
        self.readinto(memory)
        return memory

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        start, end = self._start, self._start + size
        if end > self._end:
            memory = io.BytesIO(bytes(size))
            with memory.getbuffer() as view:
                self.readinto(view)
            return memory.getvalue()  # the bytes themselves, without a copy
        left, self._left = self._left, _UNKNOWN  # see `readinto`
        self._start = end
        self._left = left - size
        return self._chunk[start:end].tobytes()

    def readline(self) -> bytes:
        """Required of a file, but there are no lines in this protocol."""
        raise pickle.UnpicklingError("a message has no lines")

    def readinto(self, memory: Any) -> int:
        """Fill the memory with the next bytes."""
        # If this does not come to its end, nobody knows where in the message we are.
        left, self._left = self._left, _UNKNOWN
        view = memoryview(memory)
        size = len(view)
        while view:
            view = view[self._read_into(view) :]
        self._left = left - size
        return size

    def _read_into(self, view: memoryview) -> int:
        """Read something, without a detour if much is wanted."""
        if self._start == self._end:
            if len(view) >= CHUNK:
                return self._receive_into(view[:MOST_BYTES], socket.MSG_WAITALL)
            self._fill()
        start = self._start
        self._start = min(start + len(view), self._end)
        count = self._start - start
        view[:count] = self._chunk[start : self._start]
        return count

    def _skip(self) -> None:
        """Read what is left of the message, and forget it."""
        if self._left < 0:
            raise Ended
        while self._left:
            if self._start == self._end:
                self._fill()
            count = min(self._left, self._end - self._start)
            self._start += count
            self._left -= count

    def _fill(self) -> None:
        self._start, self._end = 0, self._receive_into(self._chunk)

    def _receive_into(self, view: memoryview, flags: int = 0) -> int:
        try:
            count = self.source.recv_into(view, 0, flags)
        except OSError as error:
            raise Ended from error
        if not count:
            raise Ended
        return count


class PipeChannel:
    """See `Channel`; for systems without local sockets: everything is one piece."""

    pending = False

    def __init__(self, source: Connection) -> None:
        self.source = source
        self.received = 0

    def __reduce__(self) -> Any:
        return PipeChannel, (self.source,)

    def pack(self, value: Any, plain: bool = False) -> Message:
        """See `Channel.pack`."""
        buffer = io.BytesIO()
        ForkingPickler(buffer, PROTOCOL).dump(value)
        return [buffer.getbuffer()]

    def pack_record(self, value: Any) -> Message:
        """See `Channel.pack_record`."""
        return self.pack(value)

    def rest(self) -> Iterator[Any]:
        """See `Channel.rest`; all messages."""
        try:
            while self.source.poll():
                yield self.receive()
        except (Ended, OSError):
            pass

    def send(self, message: Message) -> None:
        """See `Channel.send`."""
        try:
            self.source.send_bytes(message.pop())
        except OSError as error:
            raise Ended from error

    def receive(self) -> Any:
        """See `Channel.receive`."""
        try:
            message = self.source.recv_bytes()
        except BaseException as error:  # the rest may still be in the pipe
            raise Ended from error
        self.received += 1
        return pickle.loads(message)

    def end(self) -> None:
        """See `Channel.end`."""
        self.close()

    def close(self) -> None:
        """See `Channel.close`."""
        self.source.close()
