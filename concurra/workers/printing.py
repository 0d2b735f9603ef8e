"""What functions print, on its way to where it is shown.

::

    in a thread    print ──> StandIn ───────────────────────────────> Display
    in a process   print ──> StandIn ──> Sender ── the worker's ──> Receiver ──> Display
                                                    one pipe

What is written to the descriptors themselves, by a library in C or another program,
goes where it always goes.
"""

from __future__ import annotations

import threading

from ..current import at_work, current_task
from ..output import streams
from ..output.display import Display
from ..output.lines import LONGEST
from ..wording import kind
from .max_output import chunks
from .thread import perform
from .transfer import Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Hashable, Optional, Tuple

    from ..tasks import Call

    #: Label and number of an attempt, the number of the stream, and what was written.
    Printed = Tuple[Hashable, int, int, str]

#: Seconds that the end of a run waits for a stream that does not take what is left.
PATIENCE = 0.5

#: Stands for the number of a stream where an attempt has ended.
END = -1


class Printing:
    """How a run shows what its functions print.

    :param how: see `Display`.
    :param limit: see `max_output.chunks`; of a block.
    """

    def __init__(self, how: str, limit: Optional[float] = None) -> None:
        self._how = how
        self._limit = limit
        self._open = False

    def open(self) -> None:
        """The run begins: from now on what functions print is shown."""
        if not self._open:
            self._open = True
            streams.install()

    def close(self) -> None:
        """The run is over."""
        if self._open:
            self._open = False
            streams.uninstall()

    def performer(self, start: Callable[..., object]) -> Performer:
        """What calls the functions of one worker, and shows what they print."""
        return Performer(self, start)

    def display(self, label: Hashable, attempt: int) -> Display:
        """What shows an attempt."""
        return Display(self._how, label, attempt, None, chunks(self._limit))


class Performer:
    """Calls the functions of one worker, and shows what they print.

    :param printing: the run's.
    :param start: starts a call in another thread.
    """

    def __init__(self, printing: Printing, start: Callable[..., object]) -> None:
        self._printing = printing
        self._start = start
        self._display: Optional[Display] = None  # of the call at hand
        self._finished = threading.Event()  # that call

    def __call__(self, call: Call) -> Any:
        """Call a function in this thread.

        Unless its task has been ended meanwhile: it goes on unheeded then.
        """
        task = current_task()
        if task is None:
            return perform(call)
        display = self._printing.display(task.label, task.attempt)
        before = streams.exchange(display.write)
        self._finished.clear()
        self._display = display

        def finish(note: str) -> None:
            streams.exchange(before)
            display.end(note)
            self._display = None
            self._finished.set()

        return _perform(call, finish)

    def abandon(self, cancelled: bool) -> None:
        """The call at hand goes on unheeded: show what it has printed so far.

        :param cancelled: whether it will soon end, and may print as it does.
        """
        display, shown = self._display, threading.Event()
        if display is None or (cancelled and self._finished.wait(PATIENCE)):
            return
        try:
            self._start(_show_stopped, display, shown)
        except Exception:
            return  # there are no threads
        shown.wait(PATIENCE)


def _show_stopped(display: Display, shown: threading.Event) -> None:
    display.end("was stopped")
    shown.set()


class Receiver:
    """Shows what comes from one worker process.

    :param display: makes what shows an attempt.
    """

    def __init__(self, display: Callable[[Hashable, int], Display]) -> None:
        self._make = display
        self._attempt: Optional[Tuple[Hashable, int]] = None
        self._display: Optional[Display] = None

    def __call__(self, printed: Printed) -> None:
        """Take what a `Sender` has sent."""
        label, attempt, number, text = printed
        if self._display is None or self._attempt != (label, attempt):
            self.end()
            self._attempt = label, attempt
            self._display = self._make(label, attempt)
        if number == END:
            self.end(text)
        else:
            self._display.write(number, text)

    def end(self, note: str = "") -> None:
        """Nothing more of this attempt will come."""
        display, self._display = self._display, None
        if display is not None:
            display.end(note)


class Sender:
    """Sends what the tasks of this process print, line by line, in all its threads."""

    def __init__(self, send: Callable[[Printed], None]) -> None:
        self._send = send
        self._about: Tuple[Hashable, int] = "", 1
        self._rest: Dict[Tuple[int, int], str] = {}  # by the thread and the stream
        self._sent = False
        streams.install()

    def perform(self, call: Call) -> Any:
        """Call a function, and send what it prints."""
        task = at_work()
        if task is not None:
            self._about = task.label, task.attempt
        streams.lead(self.write)
        return _perform(call, self._end)

    def write(self, number: int, text: str) -> None:
        """Take what was written to a stream; send the lines that are complete."""
        key = threading.get_ident(), number
        text = self._rest.pop(key, "") + text
        end = text.rfind("\n") + 1
        if len(text) - end > LONGEST:
            end = len(text)
        if end < len(text):
            self._rest[key] = text[end:]
        if end:
            self._put(number, text[:end])

    def _end(self, note: str) -> None:
        streams.lead(None)
        while self._rest:
            (_, number), text = self._rest.popitem()
            self._put(number, f"{text}\n")
        if self._sent:
            self._sent = False
            self._put(END, note)

    def _put(self, number: int, text: str) -> None:
        self._sent = number != END
        try:
            self._send((*self._about, number, text))
        except Ended:
            pass  # the program has gone


def _perform(call: Call, finish: Callable[[str], None]) -> Any:
    """Call a function.

    :param finish: called after that, with what is to be noted of it; empty for nothing.
    """
    note = ""
    try:
        return perform(call)
    except BaseException as error:
        note = f"raised {kind(error)}"
        raise
    finally:
        finish(note)
