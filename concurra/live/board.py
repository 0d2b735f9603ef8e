"""`LiveBoard`: a run that can be looked at while it is at work."""

from __future__ import annotations

import os
import sys
import threading

from ..checks import seconds, whole
from ..observers import Observer
from ..output.streams import is_terminal, real
from ..threads import WORKER, daemon
from . import view
from .shows import Notebook, Plain, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Final, Optional

    from ..engine.snapshot import Snapshot
    from ..observers import Fact

    Look = Callable[[], Snapshot]


class LiveBoard(Observer):
    """Shows a run while it is at work, at the bottom of the terminal.

    There is a line of counts, and one for each task at work; that of a command has the
    last line of its output. What the program prints or logs meanwhile comes above, and
    so does each failure. What worker processes print comes there only if the runner has
    an ``output``. A notebook shows a table instead. Where there is no terminal, or it
    cannot move its cursor, or another board has it, there are plain lines on stderr.

    :param rows: how many tasks at work are shown at the most; 0 for the counts alone.
    :param plain_every: seconds from one plain line to the next, more than 0.
    :raises TypeError, ValueError: an argument is of the wrong type or out of its range.
    """

    def __init__(self, *, rows: int = 15, plain_every: float = 30) -> None:
        self._rows = whole("rows", rows, least=0)
        self._plain_every = seconds("plain_every", plain_every)
        self._look: Optional[Look] = None
        self._show: Optional[Plain] = None
        self._over = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def watch(self, look: Look) -> None:
        """See `Observer.watch`."""
        self._look = look

    def on_run_start(self, fact: Fact) -> None:
        """Show it from now on."""
        if self._look is None:
            return
        self._show = show = _choose(self._rows, self._plain_every)
        self._over = over = threading.Event()
        self._thread = daemon(_follow, show, self._look, over)
        self._thread.start()

    def on_task_failure(self, fact: Fact) -> None:
        """Show it at once."""
        if self._show is not None and fact.result is not None:
            self._show.tell(view.failure(fact.label, fact.result["error"]))

    def on_run_end(self, fact: Fact) -> None:
        """Show how it has come out, and leave that."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if self._show is not None and self._look is not None:
            self._show.end(self._look())
        self._look = self._show = self._thread = None


def _follow(show: Plain, look: Look, over: threading.Event) -> None:
    """Show how far a run has come, again and again."""
    try:
        show.begin(look())
        while not over.wait(show.period):
            show.show(look())
    except (OSError, ValueError):  # the terminal has gone, or the stream was closed
        show.give_up()


def _choose(rows: int, plain_every: float) -> Plain:
    """What shows the run here: a notebook, a terminal, or plain lines."""
    if _in_notebook():
        return Notebook(rows)
    stream = _terminal()
    shown = None if stream is None else terminal(stream, rows)
    return shown or Plain(plain_every)


def _terminal() -> Optional[Any]:
    """The stream of a terminal that can move its cursor; stderr, if that is one.

    None in a worker process: the program may have a board there.
    """
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.current_process().name == WORKER:
        return None
    if os.environ.get("CI", "") not in ("", "0", "false"):
        return None
    if os.environ.get("TERM", "dumb" if os.name == "posix" else "") in _DUMB:
        return None
    if os.name == "nt" and not os.environ.get("WT_SESSION"):
        return None
    return next((s for s in (real(1), real(0)) if is_terminal(s)), None)


_DUMB: Final = ("dumb", "unknown")


def _in_notebook() -> bool:
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
