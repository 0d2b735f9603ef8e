"""Threads that are used again: one with nothing to do waits for the next call.

To start a thread takes about as long as ten small tasks; to wake one that waits takes
as long as one. A run has one cache. What runs here is the run's own code, but an
exception that was meant for a task may strike late (`PyThreadState_SetAsyncExc`), at
any line. A thread that waits goes on waiting then, and a call that was struck is made
once more.
"""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Set, Tuple

    Work = Tuple[Callable[..., object], Tuple[Any, ...]]


#: The name of all threads of this library, and that of its worker processes.
NAME = "concurra"
WORKER = "concurra-worker"


def daemon(target: Callable[..., object], *args: Any) -> threading.Thread:
    """A new thread of this library, which is to be started."""
    return threading.Thread(target=target, args=args, name=NAME, daemon=True)


class _Thread:
    """A thread of the cache: the call to be made, how often it has been begun, and a
    lock to wait for the next one."""

    __slots__ = ("work", "begun", "wake", "thread")

    def __init__(self, work: Work) -> None:
        self.work: Optional[Work] = work
        self.begun = 0
        self.wake = threading.Lock()
        self.wake.acquire()
        self.thread: Optional[threading.Thread] = None

    def awake(self) -> None:
        """Let it look for work."""
        try:
            self.wake.release()
        except RuntimeError:
            pass  # it does not wait, or has been woken already


class ThreadCache:
    """Starts calls in threads, which are daemons."""

    def __init__(self) -> None:
        self._all: Set[_Thread] = set()
        self._idle: Dict[_Thread, None] = {}
        self._own: List[threading.Thread] = []
        self._pending: Deque[Work] = deque()
        self._closed = False

    def start(self, target: Callable[..., object], *args: Any) -> None:
        """Call ``target(*args)`` in a thread; what it raises is reported.

        A call that raises is made once more, so it must bear that.

        :raises RuntimeError: no thread can be started.
        """
        try:
            idle, _ = self._idle.popitem()  # atomic: nobody else gets the same
        except KeyError:
            new = _Thread((target, args))
            new.thread = daemon(self._serve, new)
            self._all.add(new)
            try:
                new.thread.start()
            except BaseException:
                self._all.discard(new)
                raise
        else:
            idle.work = (target, args)
            idle.awake()

    def start_soon(self, target: Callable[..., object], *args: Any) -> None:
        """Start a call, or have the first thread make it that has nothing else to do.

        :raises RuntimeError: no thread can be started, and there is none.
        """
        try:
            self.start(target, *args)
        except Exception:
            if not self._all:
                raise
            self._pending.append((target, args))
            for idle in list(self._idle):  # it has become so meanwhile
                idle.awake()

    def start_own(self, target: Callable[..., object], *args: Any) -> threading.Thread:
        """Call ``target(*args)`` in a thread that makes no other calls; that thread.

        :raises RuntimeError: no thread can be started.
        """
        thread = daemon(target, *args)
        thread.start()
        self._own.append(thread)
        return thread

    def holds_caller(self) -> bool:
        """Whether the calling thread is one of these."""
        me = threading.current_thread()
        return me in self._own or any(each.thread is me for each in list(self._all))

    def close(self) -> None:
        """Let the threads end: those that wait now, the others when they are done."""
        self._closed = True
        idle = list(self._idle)
        ending = [*self._own, *(each.thread for each in idle)]
        self._idle.clear()
        # One may have been chosen, and not been woken. And one whose start Ctrl-C cut
        # short is idle, but not among all.
        for each in {*list(self._all), *idle}:
            each.awake()
        for thread in ending:
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    def _serve(self, me: _Thread) -> None:
        while True:
            try:
                self._work(me)
                self._all.discard(me)
                return
            except BaseException as error:
                report(error)

    def _work(self, me: _Thread) -> None:
        while me.work is not None or self._wait(me):
            if me.work is not None and me.begun < 2:
                me.begun += 1
                me.work[0](*me.work[1])
            me.begun = 0
            me.work = None

    def _wait(self, me: _Thread) -> bool:
        """Wait for the next call; False if there is to be none."""
        while me.work is None:
            try:
                if self._pending:
                    me.work = self._pending.popleft()
                    break
                self._idle[me] = None
                if self._closed:
                    self._idle.pop(me, None)
                    return False
                me.wake.acquire()
            except BaseException:  # late, see above; or another was faster
                pass
        self._idle.pop(me, None)
        return True


def report(error: BaseException) -> None:
    """Let the program know of an exception that nobody waits for."""
    args = (type(error), error, error.__traceback__, threading.current_thread())
    try:
        threading.excepthook(threading.ExceptHookArgs(args))
    except Exception:
        pass  # its own hook, or stderr has been closed
