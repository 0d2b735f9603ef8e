"""What several threads of a worker process say through its one pipe."""

from __future__ import annotations

import os
import threading
from collections import deque

from .forks import POSIX, raw
from .surroundings import SIGNALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque

    from .pieces import Message
    from .transfer import Channel


class Outbox:
    """Sends messages whole, and in the order in which they were put in."""

    def __init__(self, pipe: Channel) -> None:
        self._pipe = pipe
        self._lock = threading.RLock()
        self._waiting: Deque[Message] = deque()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        """In a fork nobody sends, and nobody would give the lock back."""
        self._lock = threading.RLock()
        self._waiting.clear()

    def send(self, message: Message) -> None:
        """Send a message, after all that were put in before.

        From within the sending of another one, by a finalizer say, it is left to that.

        :raises Ended: nobody is there to receive it.
        """
        self._waiting.append(message)
        if self._lock._is_owned():  # type: ignore[attr-defined]
            return
        with self._lock:
            while self._waiting:
                self._pipe.send(self._waiting.popleft())

    def send_whole(self, message: Message) -> None:
        """Send a message from within a task, which a signal handler may interrupt.

        What it raises there would leave half of the message in the pipe.
        """
        if not POSIX or threading.current_thread() is not threading.main_thread():
            return self.send(message)  # handlers are called in the main thread
        handled = [n for n in SIGNALS if callable(raw.getsignal(n))]
        mask = raw.pthread_sigmask(raw.SIG_BLOCK, handled)
        try:
            self.send(message)
        finally:
            raw.pthread_sigmask(raw.SIG_SETMASK, mask)
