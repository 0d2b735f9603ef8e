"""Where faults are played: runners and tasks for each mode, scripts, footprints.

No pytest here, so that spawned workers load this quickly.

    MODES           every way in which a task can run
    make, add       a runner for a mode, and the same task in any mode
    in_script       a function of ours in an interpreter of its own
    Footprint       threads, children and open files, to be compared with later ones
"""

from __future__ import annotations

import logging
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, NamedTuple

import concurra
from tests.behaviour.support import check
from tests.helpers import HAS_PROC, START_METHODS, Script, descendants, process
from tests.helpers import run_script, start_script, wait_until

MODES = ("thread", "fallback", *START_METHODS, "command")
#: Those whose tasks are killed when they are stopped.
KILLABLE = (*START_METHODS, "command")

BOUND = 20.0

LINGER = 120.0

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = Path(concurra.__file__).resolve().parents[1]

PLANNED = "planned failure"
OVERDUE = "TimeoutError: Task exceeded timeout of "


# Tasks --------------------------------------------------------------------------------


def quick(value: object, seconds: float = 0.0) -> object:
    """Return `value` after a while."""
    time.sleep(seconds)
    return value


def fail(seconds: float = 0.0) -> None:
    """Raise after a while."""
    time.sleep(seconds)
    raise ValueError(PLANNED)


def arrive(folder: str) -> None:
    """Leave the process id in the folder, in a file that appears at once."""
    pid = os.getpid()
    unfinished = Path(folder, f"{pid}.unfinished")
    unfinished.write_text(str(pid))
    unfinished.rename(Path(folder, f"{pid}.pid"))


def linger(folder: str) -> str:
    """Arrive, and stay until somebody ends this process."""
    arrive(folder)
    time.sleep(LINGER)
    return "was not stopped"


def stubborn(folder: str) -> str:
    """Linger, and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return linger(folder)


def breed(folder: str) -> str:
    """Linger with a child, both of which ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sh", "-c", _SLEEP + _ARRIVE.format(shlex.quote(folder)) + _WAIT])
    return linger(folder)


_ARRIVE = "cd {0}; echo $$ > $$.tmp; mv $$.tmp $$.pid; cd /; "
# First what stays, as a signal may come as soon as it has arrived.
_SLEEP, _WAIT = f"sleep {LINGER:g} & ", "wait; "
_DEAF = "trap '' TERM; "


def line(task: Callable[..., object], *args: Any) -> str:
    """The shell's version of a task from above."""
    if task is quick:
        value, seconds = (*args, 0.0)[:2]
        return f"sleep {seconds:.4f}; echo {value}"
    if task is fail:
        (seconds,) = args or (0.0,)
        return f"sleep {seconds:.4f}; echo {PLANNED} >&2; exit 7"
    arriving = _ARRIVE.format(shlex.quote(args[0]))
    if task is linger:
        return arriving + f"exec sleep {LINGER:g}"
    if task is stubborn:
        return _DEAF + _SLEEP + arriving + _WAIT
    assert task is breed
    child = shlex.quote(_SLEEP + arriving + _WAIT)
    return f"{_DEAF} sh -c {child} & {_SLEEP} {arriving} {_WAIT}"


# Runners ------------------------------------------------------------------------------


def make(mode: str, workers: int = 2, **options: Any) -> concurra.TaskRunner:
    """A runner whose tasks, added by `add`, run in `mode`."""
    options.setdefault("progress_stats", False)
    if mode in START_METHODS:
        options.update(use_multiprocessing=True, mp_context=mode)
    elif mode == "fallback":
        options.update(
            use_multiprocessing=True, fallback_to_thread_on_pickle_error=True
        )
    return concurra.TaskRunner(workers, **options)


def add(
    runner: concurra.TaskRunner,
    mode: str,
    task: Callable[..., object],
    *args: Any,
    **options: Any,
) -> None:
    """Add `task`, or what is the same in this mode."""
    if mode == "command":
        runner.add_shell_command(line(task, *args), **options)
    elif mode == "fallback":
        runner.add_task(lambda: task(*args), **options)  # which nobody can pickle
    else:
        runner.add_task(task, *args, **options)


def value_of(result: Mapping[str, Any]) -> str | None:
    """What a task returned, or a command printed, as text; None if nothing."""
    value = result["result"]
    if isinstance(value, dict) and "stdout" in value:
        value = value["stdout"].strip()
    return None if value is None else str(value)


def check_all(runner: concurra.TaskRunner) -> dict[Any, dict[str, Any]]:
    """Assert that each task has a complete result; these."""
    registry = runner.results_registry
    results = {label: registry[label] for label in registry}
    assert len(results) == len(runner)
    for label, result in results.items():
        assert result, f"{label!r} has no result"
        check(result)
    return results


def arrived(folder: str | os.PathLike[str], count: int) -> list[int]:
    """Wait until so many processes have arrived in a folder; their ids."""

    def pids() -> list[int]:
        found = [int(file.stem) for file in Path(folder).glob("*.pid")]
        return found if len(found) >= count else []

    return wait_until(pids, BOUND, f"{count} processes to arrive")


# What is left behind ------------------------------------------------------------------


def set_up(*modes: str) -> None:
    """Begin a script: no log, and multiprocessing's own helpers, which outlive runs.

    Only those that runs in these modes would start: each is an interpreter more.
    """
    logging.getLogger("concurra").addHandler(logging.NullHandler())
    methods = {START_METHODS[0] if mode == "fallback" else mode for mode in modes}
    if methods & {"forkserver", "spawn"}:
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
    if "forkserver" in methods:
        from multiprocessing import forkserver

        forkserver.ensure_running()


def _helpers() -> set[int | None]:
    tracker: Any = sys.modules.get("multiprocessing.resource_tracker")
    forkserver: Any = sys.modules.get("multiprocessing.forkserver")
    return {
        tracker._resource_tracker._pid if tracker else None,
        forkserver._forkserver._forkserver_pid if forkserver else None,
    }


def open_files() -> dict[int, str]:
    """What each of our file descriptors is."""
    targets = {}
    for name in os.listdir("/proc/self/fd") if HAS_PROC else []:
        try:
            targets[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            pass  # the one that lists them
    return targets


class Footprint(NamedTuple):
    """What this process has at one moment."""

    threads: frozenset[int]
    children: frozenset[int]
    files: frozenset[tuple[int, str]]

    @classmethod
    def take(cls) -> Footprint:
        me, helpers = os.getpid(), _helpers()
        family = descendants(me) if HAS_PROC else []
        return cls(
            frozenset(sys._current_frames()),
            frozenset(
                each.pid
                for each in family
                if each.pid not in helpers and (each.parent == me or each.state != "Z")
            ),
            frozenset(open_files().items()),
        )

    def added(self) -> str:
        """What is there now and was not then, as text; empty for nothing."""
        now = Footprint.take()
        names = {each.ident: each.name for each in threading.enumerate()}
        threads = [names.get(each, each) for each in now.threads - self.threads]
        added = map(process, now.children - self.children)
        children = [str(each) for each in added if each is not None]
        files = sorted(now.files - self.files)
        found = {"threads": threads, "children": children, "files": files}
        return ", ".join(f"{what}: {which}" for what, which in found.items() if which)

    def assert_restored(self, within: float = 5.0) -> None:
        """Fail if something new is still there after a while."""
        try:
            wait_until(lambda: not self.added(), within)
        except AssertionError:
            left = self.added()
            assert not left, f"left behind: {left}"


# Scripts ------------------------------------------------------------------------------

_CALL = """
if __name__ == "__main__":
    from {0} import {1}

    {1}(**{2})
"""
_PATH = {"PYTHONPATH": os.pathsep.join([str(LIBRARY), str(ROOT)])}


def _calling(function: Callable[..., object], arguments: Mapping[str, Any]) -> str:
    return _CALL.format(function.__module__, function.__name__, arguments)


def in_script(
    function: Callable[..., object], timeout: float = 40.0, **arguments: Any
) -> str:
    """Call a top-level function in an interpreter of its own; what it printed.

    Fails when it raises, takes too long, or leaves a process behind.
    """
    code = _calling(function, arguments)
    return run_script(code, timeout=timeout, check=True, env=_PATH).stdout


@contextmanager
def started_script(
    function: Callable[..., object], **arguments: Any
) -> Iterator[Script]:
    """The same, running while the block does."""
    with start_script(_calling(function, arguments), env=_PATH) as script:
        yield script


def ample(mode: str) -> float:
    """Seconds in which a task of this mode begins for sure: some times what the slower
    of two takes, on this machine, as busy as it is now. Some tests wait that long."""
    longest = 0.0
    for _ in range(2):
        started = time.monotonic()
        runner = make(mode, 1)
        add(runner, mode, quick, 1)
        runner.run(verify=False)
        longest = max(longest, time.monotonic() - started)
    return round(min(max(1.0, 10 * longest), 20.0), 3)


def new_seed() -> int:
    """A seed for random moments: ``CONCURRA_TEST_SEED``, or another each time."""
    return int(os.environ.get("CONCURRA_TEST_SEED") or random.randrange(1_000_000))
