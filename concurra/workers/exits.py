"""The end of a process, as something to wait for."""

from __future__ import annotations

import os
import select
import signal
from multiprocessing import connection

from .forks import POSIX
from .groups import await_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess
    from typing import Any, Callable, List, Optional, Tuple

    from .transfer import Channel

#: Seconds for which the operating system can be asked to wait.
LONG = 1e6

#: Seconds that a fork server has to tell the exit code of a process that has ended.
TELLING = 0.5


class Exit:
    """The end of a process, as something to wait for.

    A pidfd, where the system has it, is sure. The sentinel of `multiprocessing` is a
    pipe in some cases, which a grandchild may keep open.
    """

    def __init__(self, pid: int, sentinel: int) -> None:
        self._pid = pid
        self._sign = sentinel
        #: For the dispatcher; None where the system has none.
        self.pidfd: Optional[int] = None
        self._reaped = False
        try:
            self._sign = self.pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._reaped = True
        except (AttributeError, OSError):
            pass
        self._poll: Optional[select.poll] = None

    def or_readable(self, pipe: Channel) -> bool:
        """Wait for the process or the pipe; whether there is something to read."""
        if not POSIX:
            return pipe.source in connection.wait([pipe.source, self._sign])
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(pipe.source, select.POLLIN)
            self._poll.register(self._sign, select.POLLIN)
        # A second look finds what it has sent between the looks at the pipe and at it.
        return self._shows_pipe(self._poll.poll()) or self._shows_pipe(
            self._poll.poll(0)
        )

    def shows(self, pipe: Channel) -> bool:
        """Whether the process has ended, or there is something to read; for any thread.

        :raises OSError, ValueError: a file has been closed.
        """
        files: List[Any] = [pipe.source, self._sign]
        if not POSIX:
            return bool(connection.wait(files, 0))
        poll = select.poll()
        for file in files:
            poll.register(file, select.POLLIN)
        return bool(poll.poll(0))

    def _shows_pipe(self, events: List[Tuple[int, int]]) -> bool:
        return any(fd != self._sign for fd, _ in events)

    def wait(self, timeout: Optional[float]) -> bool:
        """Wait for the process, at most ``timeout`` seconds; whether it has ended."""
        if timeout is not None:
            timeout = min(timeout, LONG)
        if not POSIX:
            return bool(connection.wait([self._sign], timeout))
        poll = select.poll()
        poll.register(self._sign, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def wait_without_reaping(self) -> None:
        """Wait for the process, if that can be done without reaping it."""
        if self.pidfd is not None:
            self.wait(None)
        else:
            await_end(self._pid)

    def reaper(self, process: BaseProcess, served: bool) -> Callable[[], object]:
        """What reaps the process, which has ended; see ``reap`` of `ProcessGroup.reap`.

        :param served: whether it comes from a fork server, which alone can reap it, and
            tells its code. One that is suspended does neither.
        """
        if not served or self.pidfd is None:
            return process.join
        connection.wait([process.sentinel], TELLING)
        return lambda: process.exitcode is not None

    def is_reaped(self) -> bool:
        """Whether its id may be another's by now, as far as that can be known."""
        if self.pidfd is None:
            return self._reaped
        try:
            signal.pidfd_send_signal(self.pidfd, 0)
        except ProcessLookupError:
            return True
        except OSError:
            pass  # it is another user's by now, say
        return False

    def close(self) -> None:
        """Close the pidfd; there is nothing to wait for any more."""
        if self.pidfd is not None:
            os.close(self.pidfd)
