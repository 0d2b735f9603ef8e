"""What a command prints, and its end, as one thing to wait for.

::

    a program ──> pipes ──> Output.read ──> Transcript
                    │           ^
        its end ────┼───────────┤
        a stop  ────┼── Waker ──┘
                    └──> Drain      once it has ended, if others hold the pipes open
"""

from __future__ import annotations

import math
import os
import sys
import threading
from contextlib import suppress

from ..clock import monotonic
from ..encoding import encoding
from ..threads import daemon
from .forks import POSIX
from .groups import await_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Iterable, List, Optional, Protocol, Set

    from .max_output import Chunks

    class Sink(Protocol):
        """Where what comes from a pipe goes."""

        def append(self, data: bytes, /) -> None:
            """Take what has come."""


if POSIX:
    import select

#: Bytes read at once: the capacity of a pipe.
CHUNK = 1 << 16

#: Bytes at the end of a stream in which its last line is looked for.
LINE = 1000

#: What is written to wake a reader: an eventfd takes nothing else.
_ONE = (1).to_bytes(8, sys.byteorder)

FOREVER = math.inf


class Transcript:
    """What a command prints, as it comes in.

    ``str()`` gives what there is of it so far, under the headings stdout and stderr.
    Unlike in results, a line that was written over stays one line.

    :param limit: see `max_output.chunks`; of each stream.
    """

    def __init__(self, limit: Optional[float] = None) -> None:
        self.stdout = _kept(limit)
        self.stderr = _kept(limit)

    def __str__(self) -> str:
        streams = (("stdout", self.stdout), ("stderr", self.stderr))
        parts = [f"{name}:\n{_written(chunks)}" for name, chunks in streams if chunks]
        return "\n".join(parts)

    def last_line(self) -> str:
        """The last line that is not blank: of stdout, or else of stderr."""
        for chunks in (self.stdout, self.stderr):
            last = chunks if isinstance(chunks, list) else list(chunks)
            end = b"".join(last[-2:])[-LINE:]
            lines = end.replace(b"\r", b"\n").split(b"\n")
            for line in reversed(lines):
                if line.strip():
                    return line.decode(encoding(), "backslashreplace").strip()
        return ""


def _kept(limit: Optional[float]) -> Chunks:
    if limit is None:
        return []
    from .max_output import chunks

    return chunks(limit)


class Waker:
    """Something to wait for together with pipes, which ends the wait."""

    def __init__(self) -> None:
        eventfd = hasattr(os, "eventfd")
        self._ends = [os.eventfd(0)] if eventfd else [*os.pipe()]
        self._lock = threading.Lock()
        self.read_end = self._ends[0]

    def wake(self) -> None:
        """Make the read end readable, until it is cleared or closed."""
        with self._lock:
            if self._ends:
                os.write(self._ends[-1], _ONE)

    def clear(self) -> None:
        """The wait has ended."""
        os.read(self.read_end, CHUNK)

    def close(self) -> None:
        """Close its files."""
        with self._lock:
            ends, self._ends = self._ends, []
        close(ends)


class Output:
    """The pipes of a program that runs, and its end.

    :param pid: a child that nobody reaps meanwhile.
    :param pipes: where what comes from each of them goes.
    :param waker: ends a wait.
    """

    def __init__(self, pid: int, pipes: Dict[int, Sink], waker: Waker) -> None:
        #: Those that have not come to their end.
        self.open = dict(pipes)
        #: Whether the process has ended.
        self.ended = False
        self._waker = waker
        self._poll = select.poll()
        for fd in (waker.read_end, *pipes):
            self._poll.register(fd, select.POLLIN)
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(pid)
            self._poll.register(self._pidfd, select.POLLIN)
        except ProcessLookupError:
            self.ended = True
        except (AttributeError, OSError):  # not on this system
            daemon(self._await_end, pid).start()

    def _await_end(self, pid: int) -> None:
        await_end(pid)
        self.ended = True
        self._waker.wake()

    @property
    def goes_on(self) -> bool:
        """Whether there is still something to wait for."""
        return bool(self.open) or not self.ended

    def read(self, until: float = FOREVER) -> bool:
        """Read until something ends, the waker wakes, or ``until``; whether woken."""
        left = until - monotonic()
        timeout = None if left == FOREVER else math.ceil(1000 * max(0.0, left))
        woken = False
        for fd, event in self._poll.poll(timeout):
            if fd == self._waker.read_end:
                self._waker.clear()
                woken = True
            elif fd == self._pidfd:
                self._poll.unregister(fd)
                self.ended = True
            else:
                self._take(fd, event)
        return woken

    def _take(self, fd: int, event: int) -> None:
        # A pipe that has ended, and is empty, need not be read.
        data = b"" if event == select.POLLHUP else os.read(fd, CHUNK)
        if data:
            self.open[fd].append(data)
        else:
            self._poll.unregister(fd)
            del self.open[fd]

    def close(self) -> None:
        """Let go of the process."""
        if self._pidfd >= 0:
            os.close(self._pidfd)


class Drain:
    """Reads pipes to their ends, so that nobody who writes there is held up.

    :param start: starts a call in a thread.
    """

    def __init__(self, start: Callable[[Callable[[], None]], object]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._waker: Optional[Waker] = None
        self._new: List[int] = []
        self._closed = False

    def take(self, pipes: Iterable[int]) -> None:
        """Read these from now on, and close each at its end."""
        with self._lock:
            self._new += pipes
            try:
                if self._waker is None and not self._closed:
                    self._waker = Waker()
                    self._start(self._run)
                if self._waker is not None:
                    self._waker.wake()
                    return
            except (OSError, RuntimeError):  # no descriptor, or no thread
                self._closed = True
                if self._waker is not None:
                    self._waker.close()
                    self._waker = None
            close(self._new)
            self._new.clear()

    def close(self) -> None:
        """Close all that is left."""
        with self._lock:
            self._closed = True
            if self._waker is not None:
                self._waker.wake()

    def _run(self) -> None:
        waker, poll, pipes = self._waker, select.poll(), set[int]()
        assert waker is not None
        poll.register(waker.read_end, select.POLLIN)
        while not self._closed:
            for fd, _ in poll.poll():
                if fd == waker.read_end:
                    waker.clear()
                elif not os.read(fd, CHUNK):
                    poll.unregister(fd)
                    pipes.discard(fd)
                    os.close(fd)
            with self._lock:
                for fd in self._new:
                    poll.register(fd, select.POLLIN)
                pipes.update(self._new)
                self._new.clear()
        with self._lock:
            self._waker = None
            pipes.update(self._new)
            self._new.clear()
        close(pipes)
        waker.close()


def read_in_threads(
    pipes: Dict[int, Sink], wait: Callable[[], object], seconds: float
) -> Set[int]:
    """Read where pipes cannot be polled: in a thread for each, which also closes it.

    :param wait: waits for the end of the process.
    :param seconds: how long the ends of the pipes are waited for after that.
    :return: those that are still open.
    """
    left = set(pipes)

    def read(fd: int, into: Sink) -> None:
        with suppress(OSError):
            for data in iter(lambda: os.read(fd, CHUNK), b""):
                into.append(data)
        left.discard(fd)
        os.close(fd)

    readers = [daemon(read, *each) for each in pipes.items()]
    for reader in readers:
        reader.start()
    wait()
    until = monotonic() + seconds
    for reader in readers:
        reader.join(max(0.0, until - monotonic()))
    return set(left)


def close(ends: Iterable[int]) -> None:
    """Close descriptors."""
    for end in ends:
        os.close(end)


def decode(chunks: Iterable[bytes]) -> str:
    """Text with uniform newlines, as `subprocess` makes it; never fails."""
    return _written(chunks).replace("\r", "\n")


def _written(chunks: Iterable[bytes]) -> str:
    """Text with its lines ended by newlines; never fails."""
    text = b"".join(chunks).decode(encoding(), "backslashreplace")
    return text.replace("\r\n", "\n")
