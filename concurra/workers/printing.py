"""What functions print, on its way to where it is shown.

::

    in a thread    print ──> StandIn ───────────────────────────────> Display
    in a process   print ──> StandIn ──> Sender ── the worker's ──> Receiver ──> Display
                                                    one pipe

What is written to the descriptors themselves, by a library in C or another program,
goes where it always goes.
"""

from __future__ import annotations

import math
import threading

from .. import streams
from ..current import at_work, current_task
from ..display import GROUPED, Display
from ..wording import kind
from .kept import Kept
from .thread import perform
from .transfer import Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Hashable, Optional, Tuple

    from ..tasks import Call

    #: Label and number of an attempt, the number of the stream, and what was written.
    Printed = Tuple[Hashable, int, int, str]

#: Stands for the number of a stream where an attempt has ended.
END = -1

#: Characters without an end of a line after which they are sent all the same.
LONGEST = 8192


class Printing:
    """How a run shows what its functions print.

    :param how: see `Display`.
    :param limit: bytes that are kept of a block; None for all.
    """

    def __init__(self, how: str, limit: Optional[float] = None) -> None:
        self._how = how
        self._limit = None if limit is None or limit == math.inf else int(limit)
        self._open = False

    def open(self) -> None:
        """The run begins: from now on `perform` has an effect."""
        if not self._open:
            self._open = True
            streams.install()

    def close(self) -> None:
        """The run is over."""
        if self._open:
            self._open = False
            streams.uninstall()

    def perform(self, call: Call) -> Any:
        """Call a function in this thread, and show what it prints.

        Unless its task has been ended meanwhile: it goes on unheeded then.
        """
        task = current_task()
        if task is None:
            return perform(call)
        display = self.display(task.label, task.attempt)
        before, note = streams.exchange(display.write), ""
        try:
            return perform(call)
        except BaseException as error:
            note = _note(error)
            raise
        finally:
            streams.exchange(before)
            display.end(note)

    def display(self, label: Hashable, attempt: int) -> Display:
        """What shows an attempt."""
        block = None
        if self._how == GROUPED and self._limit is not None:
            block = Kept(self._limit)
        return Display(self._how, label, attempt, None, block)


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
        task, note = at_work(), ""
        if task is not None:
            self._about = task.label, task.attempt
        streams.lead(self.write)
        try:
            return perform(call)
        except BaseException as error:
            note = _note(error)
            raise
        finally:
            streams.lead(None)
            self._end(note)

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


def _note(error: BaseException) -> str:
    return f"raised {kind(error)}"
