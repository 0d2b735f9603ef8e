"""A small terminal: what somebody would see of what was written to it."""

from __future__ import annotations

import errno
import os
import re
import struct
import sys
import threading
from typing import Any

if sys.platform != "win32":
    import fcntl
    import pty
    import termios

_TOKEN = re.compile(r"\x1b\[(\??[\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Screen:
    """Lines of text, and a cursor; knows what a board makes use of, and no more.

    :param width: columns. What does not fit is cut, while lines are not wrapped.
    """

    def __init__(self, width: int = 80) -> None:
        self.width = width
        self.lines = [""]
        self.row = self.column = 0
        self.wraps = True
        self.cursor = True

    def feed(self, text: str) -> None:
        """See what was written."""
        at = 0
        while at < len(text):
            token = _TOKEN.match(text, at)
            assert token, f"unknown to this terminal: {text[at:at + 20]!r}"
            at = token.end()
            given, command, control, plain = token.groups()
            if command:
                self._do(given, command)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            else:
                self._show(plain)

    def _do(self, given: str, command: str) -> None:
        if command == "A":
            self.row = max(0, self.row - int(given or 1))
        elif command in "JK" and given in ("", "0"):
            self.lines[self.row] = self.lines[self.row][: self.column]
            if command == "J":
                del self.lines[self.row + 1 :]
        elif given == "?7":
            self.wraps = command == "h"
        elif given == "?25":
            self.cursor = command == "h"
        else:
            assert command == "m", (given, command)

    def _show(self, text: str) -> None:
        for char in text:
            if self.column >= self.width:
                if not self.wraps:
                    return
                self.column = 0
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + char + line[self.column + 1 :]
            self.column += 1


class Terminal:
    """A real one, a pty, with what was written there so far."""

    def __init__(self, width: int = 80, height: int = 24) -> None:
        self.ours, self.theirs = pty.openpty()
        size = struct.pack("HHHH", height, width, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, size)
        self._width = width
        self._written = bytearray()
        self._more = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self.ours, 1 << 16)
            except OSError as error:
                assert error.errno == errno.EIO
                return  # nobody has the other end any more
            if not chunk:
                return
            with self._more:
                self._written += chunk
                self._more.notify_all()

    @property
    def text(self) -> str:
        """What was written."""
        return bytes(self._written).decode().replace("\r\n", "\n")

    def screen(self) -> Screen:
        """What is to be seen now."""
        seen = Screen(self._width)
        text = self.text
        end = text.rfind("\x1b[?7l")  # of which the rest may still come
        complete = end < 0 or "\x1b[?7h" in text[end:]
        # A new line begins at its first column: the pty's other end sees to that.
        seen.feed((text if complete else text[:end]).replace("\n", "\r\n"))
        return seen

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        """Until it was written."""
        with self._more:
            found = self._more.wait_for(lambda: text in self.text, seconds)
        assert found, f"no {text!r} in {self.text[-2000:]!r}"

    def wait_to_see(self, *texts: str, seconds: float = 20.0) -> Screen:
        """The first screen that has all of it."""

        def look() -> Screen | None:
            seen = self.screen()
            shown = "\n".join(seen.lines)
            return seen if all(text in shown for text in texts) else None

        with self._more:
            found = self._more.wait_for(look, seconds)
        assert found, f"no {texts} in {self.screen().lines}"
        return found

    def attributes(self) -> Any:
        """How it is set up."""
        return termios.tcgetattr(self.theirs)

    def close(self) -> None:
        """Close both ends."""
        os.close(self.theirs)
        self._thread.join(5)
        os.close(self.ours)
