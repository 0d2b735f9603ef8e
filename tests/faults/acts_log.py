"""Loggers and handlers that misbehave, for runs in this process."""

from __future__ import annotations

import logging
import os
import sys
import threading
from typing import Any, Callable

import concurra
from tests.faults.stage import BOUND

Act = Callable[[concurra.TaskRunner], object]


def _background_results(runner: concurra.TaskRunner) -> object:
    return runner.get_background_results(verify=False)


#: What a handler may ask of the runner whose record it handles.
CALLS: dict[str, Act] = {
    "len": len,
    "abort": lambda runner: runner.abort(),
    "verify": lambda runner: runner.verify(),
    "show_progress": lambda runner: runner.show_progress(),
    "results_registry": lambda runner: [*map(dict, runner.results_registry.values())],
    "get_background_results": _background_results,
    "is_running": lambda runner: runner.is_running(),
    "get_active_runner_count": lambda runner: runner.get_active_runner_count(),
}


_NOWHERE = logging.NullHandler()


class Handler(logging.Handler):
    """Does something with the runner for each record, its own records excepted."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act = act
        self._busy = threading.local()
        self.calls = 0
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self.calls += 1
            self._act()
        except BaseException as error:
            self.errors.append(error)
            raise
        finally:
            self._busy.now = False


class Logger:
    """No `logging.Logger` at all: it has what a runner needs, and acts instead."""

    def __init__(self, act: Callable[[], object]) -> None:
        self._act = act
        self.calls = 0

    def _log(self, message: object, *args: Any) -> None:
        self.calls += 1
        self._act()

    debug = info = warning = error = critical = _log


class Broken:
    """Does nothing right: whatever it is asked for raises."""

    def info(self, message: object) -> None:
        raise OSError("no space left on the disk of the log")

    warning = error = info

    def isEnabledFor(self, level: int) -> bool:
        raise ValueError("which level?")


def raise_error() -> None:
    raise OSError("no space left on the disk of the log")


def raise_exit() -> None:
    raise SystemExit("a handler that wants to end the program")


def wait_for(event: threading.Event) -> None:
    if not event.wait(BOUND):
        raise AssertionError("the test never let the handler go on")


def log_from_task(number: int) -> int:
    """A task that logs much; without a handler nobody sees it."""
    log = logging.getLogger("users.tasks")
    log.addHandler(_NOWHERE)
    for line in range(50):
        log.warning("task %d: line %d", number, line)
    return number


def run_without_stderr(broken: str) -> None:
    """Run with a handler whose records, and whose errors, have nowhere to go."""
    kept = os.dup(2)
    if broken == "pipe":
        source, sink = os.pipe()
        os.close(source)
        os.dup2(sink, 2)
    logging.basicConfig(level=logging.INFO)
    if broken == "closed":
        sys.stderr.close()
    runner = concurra.TaskRunner(2, log_errors=True, timeout=0.2)
    gate = threading.Event()
    runner.add_task(gate.wait, label="overdue")
    runner.add_task(int, "x", label="bad")
    runner.add_task(int, "1", label="good")
    results = runner.run()
    gate.set()
    os.dup2(kept, 2)
    assert results["good"]["status"] == "Successful", results
    assert results["bad"]["status"] == "Failed", results
    assert results["overdue"]["status"] == "Terminated", results
    logging.disable()  # no more is to be written at the end
