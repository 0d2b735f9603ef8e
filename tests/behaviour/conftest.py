"""The library's log, as a test sees it."""

from __future__ import annotations

import logging

import pytest

PLAIN = logging.Formatter("%(message)s")
CONSOLE = logging.Formatter(logging.BASIC_FORMAT)


class Log:
    """Everything that one logger was given during a test, INFO and above."""

    def __init__(self, caplog, name):
        self._caplog = caplog
        self._name = name

    @property
    def records(self):
        return [record for record in self._caplog.records if record.name == self._name]

    def lines(self, level=None):
        """The messages (with traces, if any), all of them or those of one level."""
        return [
            PLAIN.format(record)
            for record in self.records
            if level is None or record.levelno == level
        ]

    def progress(self):
        return [line for line in self.lines(logging.INFO) if " progress: [" in line]

    def console(self):
        """The text as `logging.basicConfig` would write it."""
        return "\n".join(map(CONSOLE.format, self.records))

    def text(self, level=None):
        return "\n".join(self.lines(level))


@pytest.fixture
def log(caplog):
    """What the default logger, `concurra.core`, was given."""
    caplog.set_level(logging.INFO, logger="concurra.core")
    return Log(caplog, "concurra.core")


@pytest.fixture
def own_log(caplog):
    """A logger of the user's own, as `own_log.logger`, and what it was given."""
    caplog.set_level(logging.INFO, logger="users.own")
    log = Log(caplog, "users.own")
    log.logger = logging.getLogger("users.own")
    return log
