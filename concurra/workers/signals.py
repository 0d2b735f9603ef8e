"""What a process worker makes of the signals that it finds set up."""

from __future__ import annotations

import signal

from .forks import raw

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict


class Handlers:
    """The handlers that a process has when this is made, or unpickled, in it.

    That is before the worker runs. A handler that is set up in between is meant for the
    worker: `coverage` sets one up, as it hooks the start of processes.
    """

    def __init__(self) -> None:
        self._found: Dict[int, Any] = {}
        for number in raw.valid_signals():
            handler = raw.getsignal(number)
            if callable(handler):
                self._found[number] = handler

    def __reduce__(self) -> Any:
        return Handlers, ()

    def reset(self) -> None:
        """Forget them, and the mask; in a worker that begins.

        Signals that came since a fork have been held back (see `forks.forking`). Those
        to this process have their effect now. A Ctrl-C was for the program's whole
        group, to which this process belonged then, and is dropped.
        """
        signal.set_wakeup_fd(-1)
        for number, handler in self._found.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # drops one that is held back
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        signal.signal(signal.SIGINT, signal.default_int_handler)
