"""Fixtures for all tests; `guards.py` and `compiling.py` stand around them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Callable

import pytest

from tests.helpers import START_METHODS

pytest_plugins = ["tests.guards", "tests.compiling"]


def pytest_configure() -> None:
    """What the environment says, and how busy it is, is not for these tests."""
    # A shell's background jobs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Hundreds of processes import concurra, and would compile it each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with suppress(ImportError):  # the benchmarks do without it
        from hypothesis import settings

        # On a busy machine any example may be slow. A guard ends what hangs.
        settings.register_profile("concurra", deadline=None)
        settings.load_profile("concurra")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: most of the time, tests wait for something."""
    return min(4 * (os.cpu_count() or 1), 32)


@pytest.fixture
def gate() -> Iterator[Callable[[], threading.Event]]:
    """Makes events that are set when the test ends, before leaks are looked for.

    A task that a timeout or an abort leaves behind in its thread cannot be killed:
    let it wait for such an event.
    """
    events: list[threading.Event] = []

    def make() -> threading.Event:
        events.append(threading.Event())
        return events[-1]

    yield make
    for event in events:
        event.set()


@pytest.fixture(params=START_METHODS)
def start_method(request: pytest.FixtureRequest) -> str:
    """Runs the test once for each way in which this platform starts processes."""
    method: str = request.param
    return method
