"""Threads that are used again: who has nothing to do waits for the next call.

To start a thread takes about as long as ten small tasks; to wake one that waits takes
as long as one. A run has one cache. What runs here is the run's own code, but an
exception that was meant for a task may strike late (`PyThreadState_SetAsyncExc`), at
any line. In a thread that waits it has no effect.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    Work = Tuple[Callable[..., object], Tuple[Any, ...]]


class _Thread:
    """A thread of the cache: the next call, and a lock to wait for it.

    Whoever takes it from the idle ones sets ``woken``, and then releases the lock.
    """

    __slots__ = ("work", "woken", "wake", "thread")

    def __init__(self, work: Work) -> None:
        self.work: Optional[Work] = work
        self.woken = False
        self.wake = threading.Lock()
        self.wake.acquire()
        self.thread: Optional[threading.Thread] = None

    def awake(self) -> None:
        """Let it go on."""
        self.woken = True
        self.wake.release()


class ThreadCache:
    """Starts calls in threads, which are daemons."""

    def __init__(self) -> None:
        self._idle: List[_Thread] = []
        self._closed = False

    def start(self, target: Callable[..., object], *args: Any) -> None:
        """Call ``target(*args)`` in a thread; what it raises ends that thread.

        :raises RuntimeError: no thread can be started.
        """
        try:
            idle = self._idle.pop()  # atomic: nobody else gets the same
        except IndexError:
            new = _Thread((target, args))
            new.thread = threading.Thread(
                target=self._serve, args=(new,), name="concurra", daemon=True
            )
            new.thread.start()
        else:
            idle.work = (target, args)
            idle.awake()

    def close(self) -> None:
        """Let the threads end: those that wait now, the others when they are done."""
        self._closed = True
        ending = []
        while self._idle:
            try:
                idle = self._idle.pop()
            except IndexError:
                break
            idle.awake()
            ending.append(idle.thread)
        for thread in ending:
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    def _serve(self, me: _Thread) -> None:
        while me.work is not None:
            target, args = me.work
            me.work = None
            target(*args)
            del target, args  # nothing is held while it waits
            self._wait(me)

    def _wait(self, me: _Thread) -> None:
        """Wait for the next call; without one, the thread is to end."""
        me.woken = waiting = False
        while not me.woken:
            try:
                if not waiting:
                    self._idle.append(me)
                    waiting = True
                    if self._closed and self._withdraw(me):
                        return
                me.wake.acquire()
            except BaseException:  # late, see above
                waiting = me.woken or me in self._idle

    def _withdraw(self, me: _Thread) -> bool:
        """Wait no longer; False if somebody has chosen this thread already."""
        try:
            self._idle.remove(me)
        except ValueError:
            return False
        return True


def report(error: BaseException) -> None:
    """Let the program know of an exception that nobody waits for."""
    args = (type(error), error, error.__traceback__, threading.current_thread())
    try:
        threading.excepthook(threading.ExceptHookArgs(args))
    except Exception:
        pass  # its own hook, or stderr has been closed
