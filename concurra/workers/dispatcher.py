"""One thread that serves the pipes of all process workers of a run.

::

    pipe, pidfd ──┐
    pipe, pidfd ──┼──> epoll ──> worker.serve() ──> done(outcome, serving=True)
    pipe, pidfd ──┘                  └── all that may take its time ──> threads

It only ever waits for all of them at once, and never runs the user's code. It is no
thread of the cache, so no exception that was meant for a task can strike it late. It
starts with the first worker. A worker that raises is broken off, which the others do
not notice. If the thread itself breaks, all workers are broken off: each of their jobs
gets its outcome, and what broke the thread escapes from it.
"""

from __future__ import annotations

import os
import select
import socket
import threading
from contextlib import suppress

from ..threads import report
from ..wording import describe
from .forks import close_unshared, starting, unshared
from .spinning import wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Protocol, Tuple

    from ..threads import ThreadCache
else:
    Protocol = object

#: Events that are fetched at once.
_MOST = 64


class Served(Protocol):
    """Something whose files the dispatcher waits for."""

    def sources(self) -> List[int]:
        """The files that say when to call `serve`."""

    def serve(self) -> None:
        """One of them has something to read, or had a moment ago. Never blocks."""

    def break_off(self, how: str) -> None:
        """`serve` will not be called any more, and ``how`` (words) that came."""


def can_dispatch() -> bool:
    """Whether this system has what a dispatcher needs."""
    if not hasattr(select, "epoll") or not hasattr(socket, "AF_UNIX"):
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


class Dispatcher:
    """See above.

    :param threads: where to do what may take its time.
    """

    def __init__(self, threads: ThreadCache) -> None:
        self.threads = threads
        #: Whether it serves nobody any more.
        self.closed = False
        # Held while files are added or removed: once a file is closed, another one may
        # get its number.
        self._lock = threading.Lock()
        self._served: Dict[int, Served] = {}
        self._files: Optional[_Files] = None
        self._thread: Optional[threading.Thread] = None

    def watch(self, worker: Served) -> None:
        """Serve this worker, from now on.

        :raises RuntimeError: no thread can be started, or this is closed.
        :raises OSError: no descriptor or memory is left.
        """
        with self._lock:
            files = self._start()
            try:
                for fd in worker.sources():
                    files.epoll.register(fd, select.EPOLLIN)
                    self._served[fd] = worker
            except BaseException:
                self._forget(worker)
                raise

    def forget(self, worker: Served) -> None:
        """Serve it no more; called before its files are closed. Idempotent."""
        with self._lock:
            self._forget(worker)

    def close(self) -> None:
        """End the thread, and break off the workers that are left."""
        with self._lock:
            self.closed = True
            if self._files is not None:
                self._files.wake()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _forget(self, worker: Served) -> None:
        files = self._files
        for fd in worker.sources():
            if self._served.get(fd) is worker:
                del self._served[fd]
                if files is not None:
                    with suppress(OSError):  # somebody else has closed it
                        files.epoll.unregister(fd)

    def _start(self) -> _Files:
        if self.closed:
            raise RuntimeError("the dispatcher is closed")
        if self._files is None:
            files = _Files()
            try:
                self._thread = self.threads.start_own(self._run, files)
            except BaseException:
                close_unshared(files)
                raise
            self._files = files
        return self._files

    def _run(self, files: _Files) -> None:
        poll, served, spins = files.epoll.poll, self._served, False

        def look() -> Optional[List[Tuple[int, int]]]:
            return poll(0, _MOST) or None

        def sleep() -> List[Tuple[int, int]]:
            return poll(None, _MOST)

        try:
            while not self.closed:
                found, spins = wait(look, sleep, spins)
                for fd, _ in found or ():
                    worker = served.get(fd)
                    if worker is None:
                        continue
                    try:
                        worker.serve()
                    except BaseException as error:
                        report(error)
                        what = f"was given up after {describe(error)[0]}"
                        self._break_off([worker], what)
        finally:
            self._end(files)

    @staticmethod
    def _break_off(workers: Iterable[Served], how: str) -> None:
        for worker in workers:
            try:
                worker.break_off(how)
            except BaseException as error:
                report(error)

    def _end(self, files: _Files) -> None:
        with self._lock:
            self.closed = True
            self._files = None  # nobody is to wake it any more
            left = set(self._served.values())
            self._served.clear()
        try:
            self._break_off(left, "was left without its dispatcher")
        finally:
            close_unshared(files)


class _Files:
    """What the thread waits at: an epoll, which a pipe can wake."""

    def __init__(self) -> None:
        with starting():
            self.epoll = select.epoll()
            try:
                self._ends = os.pipe()
            except BaseException:
                self.epoll.close()
                raise
            unshared(self)
        self.epoll.register(self._ends[0], select.EPOLLIN)

    def wake(self) -> None:
        """Have `poll` return, now and always."""
        os.write(self._ends[1], b".")

    def close(self) -> None:
        """Close it; a second time does nothing."""
        if not self.epoll.closed:
            self.epoll.close()
            for end in self._ends:
                os.close(end)
