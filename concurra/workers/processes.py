"""Makes the process workers of a run, which share a dispatcher."""

from __future__ import annotations

import threading
from importlib import import_module

from .dispatched import DispatchedWorker
from .dispatcher import Dispatcher, can_dispatch
from .forks import POSIX
from .log_forwarding import LogForwarding
from .process import ProcessWorker
from .starts import Starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Any, Optional

    from ..threads import ThreadCache
    from .guardian import Guardian


class Processes:
    """The process workers of a run.

    :param context: how to start processes.
    :param threads: where the dispatcher leaves what may take its time.
    :param forward_logs: see `LogForwarding`.
    :param options: of `ProcessWorker`.
    """

    def __init__(
        self,
        context: BaseContext,
        guardian: Guardian,
        threads: ThreadCache,
        forward_logs: Optional[bool] = None,
        **options: Any,
    ) -> None:
        _import_start_method(context)
        #: What passes on what they log, if that is wanted.
        self.log_forwarding = LogForwarding(forward_logs)
        if self.log_forwarding.is_wanted(context):
            options["pass_on"] = self.log_forwarding
        #: Whether no thread waits for them.
        self.elsewhere = can_dispatch()
        #: What serves them, if no thread waits for them; made with the first.
        self.dispatcher: Optional[Dispatcher] = None
        self._context = context
        self._guardian = guardian
        self._threads = threads
        self._starts = Starts()
        self._options = {**options, "starts": self._starts}
        self._lock = threading.Lock()

    def make(self) -> ProcessWorker:
        """Start one.

        :raises Hopeless: several have failed, and none has ever become ready.
        """
        self._starts.check()
        first = self._context, self._guardian
        if not self.elsewhere:
            return ProcessWorker(*first, **self._options)
        return DispatchedWorker(*first, self._dispatcher(), **self._options)

    def _dispatcher(self) -> Dispatcher:
        with self._lock:
            if self.dispatcher is None or self.dispatcher.closed:
                self.dispatcher = Dispatcher(self._threads)  # the last one broke
            return self.dispatcher

    def close(self) -> None:
        """There are no more workers."""
        if self.dispatcher is not None:
            self.dispatcher.close()


def _import_start_method(context: BaseContext) -> None:
    """Import what `multiprocessing` would import when it first starts a process."""
    method = context.get_start_method()
    if method == "spawn":
        method = "spawn_posix" if POSIX else "spawn_win32"
    import_module(f"multiprocessing.popen_{method}")
