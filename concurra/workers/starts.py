"""Whether new processes of a run become ready at all.

A script that its workers import may raise there each time: it has no guard, or needs a
module that is missing there. Then two processes for each task, and their tracebacks,
would tell no more than the first few.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Optional, Set

#: After so many failures, with none ever ready, no more are started.
MANY: Final = 3


class Hopeless(Exception):
    """No more processes are started, as none became ready; with their error."""


class Starts:
    """How the starts of processes came out so far; for any thread."""

    def __init__(self) -> None:
        #: Whether one has ever been ready.
        self.good = False
        self._failed = 0
        self._error = ""
        self._servers: Set[Optional[int]] = set()  # that have failed

    def failed(self, error: str, exitcode: Optional[int]) -> None:
        """A process has ended before it was ready.

        If it was killed that does not count: the next one may not be.

        :param exitcode: None if it is not known.
        """
        if exitcode is not None and exitcode > 0:
            self._count(error)

    def server_failed(self, error: str, pid: Optional[int], killed: bool) -> None:
        """The server that was to start a process has ended.

        It counts once, however many have waited for it.

        :param killed: whether it is known to have been killed.
        """
        if pid not in self._servers:
            self._servers.add(pid)
            if not killed:
                self._count(error)

    def _count(self, error: str) -> None:
        self._error = error  # first: it is read after the number
        self._failed += 1

    def check(self) -> None:
        """Refuse to start another one if that is hopeless.

        :raises Hopeless: it is.
        """
        if not self.good and self._failed >= MANY:
            raise Hopeless(self._error)
