"""What is put back after each task of a process worker.

It is what belongs to the process as a whole, is easily left changed, and makes the next
task go wrong for no reason of its own. Modules keep the state that tasks give them, as
in every pool.
"""

from __future__ import annotations

import os
import socket
import sys
import time

import _locale as locale  # that of Python brings more than a worker needs

from .forks import POSIX, raw
from .thread import flush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Sequence, Tuple, Union

#: How to open a directory that is only to be entered, which needs no right to read it.
TO_ENTER = getattr(os, "O_PATH", os.O_RDONLY)


def _numbers(*names: str) -> Tuple[int, ...]:
    return tuple(int(getattr(raw, each)) for each in names if hasattr(raw, each))


#: What would strike the next task if a task had left it running.
TIMERS = _numbers("ITIMER_REAL", "ITIMER_VIRTUAL", "ITIMER_PROF")

#: The signals for which programs have handlers.
SIGNALS = _numbers(
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGCHLD", "SIGPIPE"),
    *("SIGUSR1", "SIGUSR2", "SIGVTALRM", "SIGPROF"),
)

CATEGORIES = locale.LC_NUMERIC, locale.LC_TIME, locale.LC_COLLATE


class Surroundings:
    """What tasks find around them in a worker, as it was at first; no timers.

    :param hook: called when signals have been put back that a task had changed.
    """

    def __init__(self, hook: Optional[Callable[[], object]] = None) -> None:
        self._hook = hook
        #: Whether it could not be put back, so that no other task may find it.
        self.spoiled = False
        self._directory: Union[int, str, None] = None
        try:
            self._directory = os.open(".", TO_ENTER) if POSIX else os.getcwd()
        except OSError:
            pass  # nobody may read it: tasks that leave it are to come back themselves
        self._streams = sys.stdin, sys.stdout, sys.stderr
        #: The streams that the last task to replace them has left: its threads may be
        #: printing there.
        self._left: Sequence[Any] = ()
        self._open = [stream for stream in self._streams if _is_open(stream)]
        self._environ = dict(os.environ)
        self._raw = dict(self._variables())
        self._handlers = _handlers()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._settings = _settings()
        self._limit, self._interval = sys.getrecursionlimit(), sys.getswitchinterval()
        self._timeout = socket.getdefaulttimeout()
        self._locale = locale.setlocale(locale.LC_ALL)

    def restore(self) -> None:
        """Put all of it back, if that is possible."""
        try:
            if (sys.stdin, sys.stdout, sys.stderr) != self._streams:
                flush()
                # Not freed: see `streams.stand_in`.
                self._left = sys.stdin, sys.stdout, sys.stderr
                sys.stdin, sys.stdout, sys.stderr = self._streams
            for stream in self._open:
                if stream.closed:
                    self.spoiled = True
            for timer in TIMERS:
                raw.setitimer(timer, 0)
            if POSIX:
                if _handlers() != self._handlers:
                    self._restore_handlers()
                raw.set_wakeup_fd(-1)
                raw.pthread_sigmask(raw.SIG_SETMASK, ())
            if isinstance(self._directory, int):
                os.fchdir(self._directory)
            elif self._directory is not None:
                os.chdir(self._directory)
            if self._variables() != self._raw:
                os.environ.clear()
                os.environ.update(self._environ)
            os.umask(self._umask)
            if _settings() != self._settings:
                self._restore_settings()
        except Exception:  # a task has closed it, removed it, put None in its place
            self.spoiled = True

    def _restore_handlers(self) -> None:
        for number, handler in zip(SIGNALS, self._handlers):
            raw.signal(number, handler)
        if self._hook is not None:
            self._hook()

    def _restore_settings(self) -> None:
        sys.setrecursionlimit(self._limit)
        sys.setswitchinterval(self._interval)
        socket.setdefaulttimeout(self._timeout)
        if POSIX:
            time.tzset()
        locale.setlocale(locale.LC_ALL, self._locale)

    @staticmethod
    def _variables() -> Any:
        # The encoded variables, where they can be had: decoding them all after each
        # task would cost more than a small task does.
        return getattr(os.environ, "_data", os.environ)


def _is_open(stream: Any) -> bool:
    try:
        return not stream.closed
    except Exception:  # None, or not much of a stream
        return False


def _handlers() -> Tuple[Any, ...]:
    return tuple(map(raw.getsignal, SIGNALS))


def _settings() -> Tuple[Any, ...]:
    """What is looked at together, as it seldom changes.

    Of the locale, what numbers, dates and orders look like.
    """
    return (
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        socket.getdefaulttimeout(),
        time.tzname,
        time.timezone,
        time.altzone,
        *map(locale.setlocale, CATEGORIES),
    )
