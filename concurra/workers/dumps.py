"""Where a worker process was when SIGTERM ended it.

::

    parent                                   worker process
    ------                                   --------------
    a file without a name ─────────────────> the same file
    SIGTERM ───────────────────────────────> `faulthandler` writes the stacks there, and
    reads the file when it has ended <────── goes on to what SIGTERM would do anyway

So nothing else is sent, and nobody waits. The stacks are written by C code, also of a
process that holds the interpreter's lock for ever. To Python the signal still has its
default. A task that sets up a handler of its own replaces this one: then the process
tells nothing, like one that was killed.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from contextlib import suppress

from ..clock import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Optional

    from .exits import Exit

SILENCE: Final = "(Where it was is not known: its process did not tell.)\n"

#: Seconds after a stop for which a reader waits for the end of the process.
PATIENCE: Final = 0.2

#: Bytes of a dump that are looked at. The main thread's stack is the last.
LONGEST: Final = 1 << 16


def can_dump() -> bool:
    """Whether this system can tell where a process is."""
    return hasattr(faulthandler, "register")


class Dump:
    """The file of one process; what is in it is a text, by ``str()``."""

    def __init__(self, fd: Optional[int] = None) -> None:
        if fd is None:
            from .guardian import nameless_file  # which a worker process has no use for

            fd = nameless_file()
        self._fd: Optional[int] = fd
        self._exit: Optional[Exit] = None
        self._until: Optional[float] = None
        self._starting = False
        self._raw = b""  # of a file that has been closed
        self._text: Optional[str] = None  # made of that
        # Held by whoever reads or closes the file: once it is closed, its number may be
        # that of another.
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        assert self._fd is not None
        return _received, (DupFd(self._fd),)

    # -- in the parent -----------------------------------------------------------

    def stopped(self, end: Exit, ready: bool) -> None:
        """The process is about to be stopped.

        :param end: of the process, as something to wait for.
        :param ready: whether it can have begun its job.
        """
        if self._until is None and self._fd is not None:
            self._starting = not ready
            self._exit = end
            self._until = monotonic() + PATIENCE

    def __str__(self) -> str:
        """Where the process was; waits for a moment if it was stopped just now."""
        end, until, ended = self._exit, self._until, True
        if until is None:
            return ""
        if end is not None:
            with suppress(OSError, ValueError):  # it has just been reaped
                ended = end.wait(max(0.0, until - monotonic()))
        with self._lock:
            if self._text is not None:
                return self._text
            raw, closed = self._read(), self._fd is None
            text = self._told(raw) if raw or ended or closed else ""
            if closed:
                self._text, self._raw = text, b""
            return text

    def close(self) -> None:
        """The process has been reaped: keep alone what is in the file."""
        if self._pid != os.getpid():  # a fork, in which the lock may be held for ever
            return self._release()
        with self._lock:
            if self._until is not None:
                self._raw = self._read()
            self._exit = None
            self._release()

    def _release(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _read(self) -> bytes:
        if self._fd is None:
            return self._raw
        try:
            size = os.fstat(self._fd).st_size
            return os.pread(self._fd, LONGEST, max(0, size - LONGEST))
        except OSError:
            return self._raw

    def _told(self, raw: bytes) -> str:
        # What a worker process has no use for, and neither have most runs.
        from .places import STARTING, parsed, told

        if not raw:
            return STARTING if self._starting else SILENCE
        found, whole = parsed(raw.decode("ascii", "backslashreplace"))
        return told(found, whole, self._starting)

    # -- in the process ----------------------------------------------------------

    def install(self) -> None:
        """Have SIGTERM write to the file, whatever else it does."""
        assert self._fd is not None
        try:
            faulthandler.unregister(signal.SIGTERM)
            faulthandler.register(
                signal.SIGTERM, self._fd, all_threads=True, chain=True
            )
        except (OSError, RuntimeError):
            pass  # a task has closed the file

    def forget(self) -> None:
        """In a process that a task has forked: write nothing about that process.

        The number of the file stays in use, so that no other file gets it.
        """
        if self._fd is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._fd, inheritable=False)
            os.close(nowhere)


def _received(duplicate: Any) -> Dump:
    fd: int = duplicate.detach()
    os.set_inheritable(fd, False)
    return Dump(fd)
