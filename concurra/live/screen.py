"""A few lines at the bottom of a terminal, with all else above them.

The terminal is left as it is at any moment: the cursor is shown and stands below these
lines, no mode is set for longer than one write. So there is nothing to be restored,
whatever ends the program.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial

from ..output.streams import NAMES, is_terminal, put, real, stand_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Any, Dict, Final, List, Sequence

#: Around what is drawn, so that a line that is wider than it seems is cut, not wrapped.
NO_WRAP: Final = "\x1b[?7l"
WRAP: Final = "\x1b[?7h"


class Screen:
    """The bottom of a terminal.

    :param stream: of the terminal.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._drawn = 0  # lines
        self._last = ""
        self._lock = threading.RLock()
        self._open = False
        self._proxies: List[Above] = []
        self._handlers: Dict[logging.StreamHandler[Any], Above] = {}

    def open(self) -> None:
        """From now on, what is printed or logged to the terminal comes above."""
        self._open = True
        for number in range(len(NAMES)):
            stream = real(number)
            # One stand-in may serve for both names: then a proxy is there already.
            if is_terminal(stream) and not self._is_mine(stream):
                proxy: Above = stand_in(stream, _is_free, partial(Above, stream, self))
                proxy.serve(self)
                self._proxies.append(proxy)
                put(number, proxy)
        if self._proxies and "logging" in sys.modules:
            self._take_handlers()

    def _take_handlers(self) -> None:
        import logging

        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        for logger in loggers:
            for handler in getattr(logger, "handlers", ()):
                for proxy in self._proxies:
                    if getattr(handler, "stream", None) is proxy.stream:
                        handler.setStream(proxy)
                        self._handlers[handler] = proxy

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines, none of which is too wide, in place of those before."""
        with self._lock:
            if self._open:
                text = "".join(f"{line}\x1b[K\n" for line in lines)
                self._write(f"{self._up()}{text}\x1b[J")
                self._drawn, self._last = len(lines), text

    def above(self, stream: Any, text: str) -> None:
        """Write whole lines above, to a stream of the same terminal."""
        with self._lock:
            if self._drawn:
                self._write(f"{self._up()}\x1b[J")
            try:
                stream.write(text)
                stream.flush()
            finally:
                if self._drawn:
                    self._write(self._last)

    def close(self) -> None:
        """Leave what is shown, and have nothing more to do with the terminal."""
        with self._lock:
            self._open = False
            self._drawn = 0
        for number in range(len(NAMES)):
            stream = real(number)
            if self._is_mine(stream):
                put(number, stream.stream)
        for handler, proxy in self._handlers.items():
            if handler.stream is proxy:
                handler.setStream(proxy.stream)
        for proxy in self._proxies:
            proxy.finish()
        self._handlers.clear()

    def _is_mine(self, stream: Any) -> bool:
        return isinstance(stream, Above) and stream in self._proxies

    @property
    def is_open(self) -> bool:
        """Whether lines are shown, in this process."""
        return self._open

    def _up(self) -> str:
        return f"\x1b[{self._drawn}A\r" if self._drawn else ""

    def _write(self, text: str) -> None:
        self._stream.write(f"{NO_WRAP}{text}{WRAP}")
        self._stream.flush()


class Above:
    """Stands for a stream of a terminal: lines come whole, and above a `Screen`.

    In a process that was forked it only passes on to the stream.
    """

    def __init__(self, stream: Any, screen: Screen) -> None:
        self.stream = stream
        self._begun: Dict[int, str] = {}  # lines, by the thread
        self.serve(screen)

    def serve(self, screen: Screen) -> None:
        """From now on, stand above this screen."""
        self.screen = screen
        self._pid = os.getpid()

    @property
    def _passes_on(self) -> bool:
        """Whether that is all it does: no lines are shown below, in this process."""
        return not self.screen.is_open or os.getpid() != self._pid

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write the lines that are complete; the rest waits for the end of its line."""
        if self._passes_on:
            written: int = self.stream.write(text)
            return written
        me = threading.get_ident()
        whole, newline, rest = (self._begun.pop(me, "") + text).rpartition("\n")
        if rest:
            self._begun[me] = rest
        if newline:
            self.screen.above(self.stream, whole + newline)
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Write them one after the other."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush the stream; complete lines have been flushed already."""
        if self._passes_on:
            self.stream.flush()

    def finish(self) -> None:
        """Write the lines that are not complete."""
        while self._begun:
            self.stream.write(self._begun.popitem()[1])


def _is_free(kept: Any) -> bool:
    return type(kept) is Above and not kept.screen.is_open
