"""A pytest plugin with two guards that stand around every test.

Hang guard: no phase of a test (setup, call, teardown) may take longer than 120 s (or
some more), or what `@pytest.mark.hang_after(seconds)` says. A hang ends the whole run
with the stacks of all threads: faulthandler's own watchdog does it, which needs no GIL.
(It ends the process that runs the test; pytest-xdist is told not to start another.)

Leak guard: when a test has ended, no thread, no process and no open file may be there
that was not there before it. What is about to end gets a moment to do so.

    thread    anything that runs Python code, daemon or not
    process   any descendant, zombies included, and any orphan that carries our mark
    file      any new entry in /proc/self/fd

The helper processes of multiprocessing (resource tracker, fork server) live as long
as the run; they are told by their identity, and started before the first test, so
that no test lends them its environment or working directory.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any

import pytest

from tests.helpers import (
    HAS_PROC,
    MARK,
    START_METHODS,
    Process,
    descendants,
    marked,
    running,
    wait_until,
    with_mark,
)

HANG_AFTER = 120.0
# The watchdog is a thread. For most tests it would take longer to start and to stop it
# than to run them, so one watches over all that begins in so many seconds.
SLACK = 15.0
GRACE = 5.0

_stderr = pytest.StashKey[int]()
_mark = uuid.uuid4().hex
# The pids of those that were there before the tests, and are there still. To look at
# each of them around every test would take longer than most tests.
_strangers: set[int] = set()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "hang_after(seconds): end the run with all stacks when a phase of this test "
        f"takes longer than this, instead of {HANG_AFTER:g} s",
    )
    # The stacks must get past the capturing of output.
    config.stash[_stderr] = os.dup(sys.__stderr__.fileno() if sys.__stderr__ else 2)
    os.environ[MARK] = with_mark(os.environ, _mark)[MARK]


def pytest_unconfigure(config: pytest.Config) -> None:
    os.close(config.stash[_stderr])


def pytest_sessionstart() -> None:
    if "forkserver" in START_METHODS:
        from multiprocessing import forkserver

        # What nearly all test modules import, so that not each worker has to.
        common = ["datetime", "pathlib", "subprocess", "typing"]
        forkserver.set_forkserver_preload(["__main__", *common])
        forkserver.ensure_running()  # starts the resource tracker as well
    if HAS_PROC:
        ours = {each.pid for each in descendants(os.getpid())}
        _strangers.update(running() - ours - {os.getpid()})


def pytest_collectstart() -> None:
    gc.disable()  # thousands of tests, of which none is garbage


def pytest_collection_finish() -> None:
    gc.freeze()  # nor is any run to go through them all again
    gc.enable()


_watched_until = 0.0


def _watch(config: pytest.Config, seconds: float) -> None:
    """End the process after so many seconds, with all stacks."""
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[_stderr])


def _unwatch() -> None:
    global _watched_until
    faulthandler.cancel_dump_traceback_later()
    _watched_until = 0.0


@contextlib.contextmanager
def _bounded(item: pytest.Item) -> Iterator[None]:
    global _watched_until
    marker = item.get_closest_marker("hang_after")
    if marker is None:
        now = time.monotonic()
        if _watched_until < now + HANG_AFTER:
            _watch(item.config, HANG_AFTER + SLACK)
            _watched_until = now + HANG_AFTER + SLACK
        yield
        return
    _watch(item.config, float(marker.args[0]))
    try:
        yield
    finally:
        _unwatch()


def pytest_exception_interact() -> None:
    _unwatch()  # as pytest has just done: the next phase is watched again


def pytest_sessionfinish() -> None:
    _unwatch()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _bounded(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _bounded(item):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    with _bounded(item):
        return (yield)


def _helpers() -> tuple[set[int], set[int]]:
    """Process ids and file descriptors of multiprocessing's own helpers, as of now."""
    tracker: Any = resource_tracker._resource_tracker
    pids, files = {tracker._pid}, {tracker._fd}
    if forkserver := sys.modules.get("multiprocessing.forkserver"):
        server = forkserver._forkserver
        pids.add(server._forkserver_pid)
        files.add(server._forkserver_alive_fd)
    return pids - {None}, files - {None}


def _threads() -> dict[int, str]:
    # Not threading.enumerate(): it misses threads of _thread, and it keeps those for
    # ever that asked for current_thread() once.
    names = {thread.ident: repr(thread) for thread in threading.enumerate()}
    running = sys._current_frames()
    return {ident: names.get(ident, f"thread {ident}") for ident in running}


def _pids() -> set[int]:
    """All that may be ours: to look at each of them takes longer than most tests."""
    if not HAS_PROC:
        return {child.pid or 0 for child in multiprocessing.active_children()}
    everyone = running()
    _strangers.intersection_update(everyone)  # a pid may be in use again
    return everyone - _strangers


def _processes(new: set[int], pids: set[int]) -> dict[int, Process]:
    """Those of the new ones that are ours."""
    if not new:
        return {}
    if HAS_PROC:
        ours = [*descendants(os.getpid(), pids), *marked(_mark, new)]
    else:
        ours = [
            Process(child.pid or 0, os.getpid(), 0, "R", repr(child))
            for child in multiprocessing.active_children()
        ]
    return {each.pid: each for each in ours if each.pid in new}


def _files(helpers: set[int]) -> dict[int, str]:
    targets = {}
    for name in os.listdir("/proc/self/fd") if HAS_PROC else []:
        # The descriptor that lists the folder is gone by now.
        with contextlib.suppress(FileNotFoundError):
            targets[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return {fd: target for fd, target in targets.items() if fd not in helpers}


@dataclass(frozen=True)
class Snapshot:
    """What is there at one moment."""

    threads: dict[int, str]
    files: dict[int, str]
    pids: set[int]

    @classmethod
    def take(cls) -> Snapshot:
        pids, files = _helpers()
        return cls(_threads(), _files(files), _pids() - pids)

    def since(self, before: Snapshot) -> Left:
        """What is there now and was not before."""
        return Left(
            {k: v for k, v in self.threads.items() if k not in before.threads},
            {k: v for k, v in self.files.items() if before.files.get(k) != v},
            _processes(self.pids - before.pids, self.pids),
        )


@dataclass(frozen=True)
class Left:
    """What was left behind."""

    threads: dict[int, str]
    files: dict[int, str]
    processes: dict[int, Process]

    def __bool__(self) -> bool:
        return bool(self.threads or self.processes or self.files)

    def report(self) -> str:
        """Each culprit by name, threads with their stacks."""
        lines = []
        frames = sys._current_frames()
        for ident, name in self.threads.items():
            lines.append(f"{name}, which is at:")
            if ident in frames:
                stack = traceback.format_stack(frames[ident])
                lines.append("".join(stack).rstrip())
        lines += [str(each) for each in self.processes.values()]
        lines += [f"file descriptor {k}: {v}" for k, v in self.files.items()]
        return "\n".join(lines)

    def kill(self) -> None:
        """End the processes, lest they outlive the tests."""
        for each in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def leak_guard() -> Iterator[None]:
    """Fail the test that leaves a thread, a process or an open file behind."""
    before = Snapshot.take()
    yield
    left = before.since(before)

    def nothing_is_left() -> bool:
        nonlocal left
        left = Snapshot.take().since(before)
        return not left

    with contextlib.suppress(AssertionError):
        wait_until(nothing_is_left, GRACE)
        return
    report = left.report()
    gc.collect()
    if not Snapshot.take().since(before):
        report += "\n(gone after a garbage collection: nobody closed it)"
    left.kill()
    pytest.fail(f"left behind {GRACE:g} s after the test:\n{report}", pytrace=False)
