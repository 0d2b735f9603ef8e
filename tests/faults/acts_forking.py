"""Busy programs that fork; each function runs in an interpreter of its own."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  it locks at forks, as others do
import importlib
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, Callable

import concurra
from tests.faults.stage import BOUND, Footprint, add, check_all, make, quick, set_up
from tests.faults.stage import value_of
from tests.helpers import wait_until

_logger = logging.getLogger("host")


def _log() -> None:
    _logger.warning("the host is busy")


def _print() -> None:
    print("the host is busy")
    sys.stdout.flush()


def _import(*names: str) -> None:
    for name in names or ("colorsys", "stringprep"):
        sys.modules.pop(name, None)
        importlib.import_module(name)


def _allocate() -> None:
    garbage: Any = [[number] * 10 for number in range(1000)]
    garbage.append(garbage)


@contextmanager
def _busy(*acts: Callable[[], object]) -> Iterator[None]:
    """Do each of `acts` over and over in a thread of its own, meanwhile."""
    over = threading.Event()
    errors: list[BaseException] = []

    def repeat(act: Callable[[], object]) -> None:
        try:
            while not over.is_set():
                act()
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(BOUND)
    assert not errors
    assert not any(thread.is_alive() for thread in threads)


def chatter(value: int) -> int:
    """Take the locks that another thread may have held when this process began."""
    _logger.warning("a worker is busy")
    print("a worker is busy")
    _import()
    return value


def host_is_busy(method: str, tasks: int, per_child: int) -> None:
    """Run process tasks while threads of the host log, print, import and allocate."""
    logging.basicConfig(stream=sys.stdout)
    set_up(method)
    sys.setswitchinterval(0.0005)  # or the run waits for the others most of the time
    with _busy(_log, _print, _import, _allocate):
        runner = make(method, 4, max_tasks_per_child=per_child)
        for number in range(tasks):
            runner.add_task(chatter, number)
        results = runner.run(verify=False)
    check_all(runner)
    for number, result in results.items():
        assert result["result"] == number, result


def _fork_and_wait() -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def _run_a_process() -> None:
    process = multiprocessing.get_context("fork").Process(target=quick, args=(1, 0.01))
    process.start()
    process.join()
    # Whoever starts a process looks after all others, so that another thread may have
    # reaped this one, and be about to say so.
    wait_until(lambda: process.exitcode is not None)
    process.close()


def host_forks(mode: str, runs: int) -> None:
    """Start and stop runs while threads of the host fork."""
    set_up(mode)
    footprint = Footprint.take()
    with _busy(_fork_and_wait, _run_a_process):
        for number in range(runs):
            one = make(mode, timeout=BOUND, max_tasks_per_child=_per_child(mode))
            for each in range(6):
                add(one, mode, quick, each, label=each)
            one.add_shell_command("echo side", label="side")
            results = one.run(verify=False)
            check_all(one)
            values = [value_of(result) for result in results.values()]
            assert values == [*map(str, range(6)), "side"], results
    footprint.assert_restored()


def _per_child(mode: str) -> int | None:
    return 1 if mode == "fork" else None


def host_keeps_forked_child(mode: str) -> None:
    """Fork children, while a run is at work, which live on: its ends must be seen."""
    set_up(mode)
    footprint = Footprint.take()
    keep_read, keep_write = os.pipe()
    pids = []
    runner = make(mode, 3)
    held = threading.Event()

    def hold() -> None:
        assert held.wait(BOUND)

    for number in range(4):
        add(runner, mode, quick, number, 0.05, label=number)
    if mode == "thread":
        runner.add_task(hold, label="hold")
    runner.execute_in_background()
    for _ in range(8):
        pid = os.fork()
        if not pid:
            os.close(keep_write)
            os.read(keep_read, 1)  # until the parent lets go
            os._exit(0)
        pids.append(pid)
    held.set()
    runner.get_background_results(verify=False)
    results = check_all(runner)
    assert {each["status"] for each in results.values()} == {"Successful"}
    os.close(keep_write)
    for pid in pids:
        os.waitpid(pid, 0)
    os.close(keep_read)
    footprint.assert_restored()


def run_in_forked_child(mode: str) -> None:
    """A run in a child that the host forked while another run was at work."""
    set_up(mode)
    outer = make(mode)
    for number in range(4):
        add(outer, mode, quick, number, 0.05)
    outer.execute_in_background()
    pid = os.fork()
    if not pid:
        inner = make(mode)
        for number in range(4):
            add(inner, mode, quick, number)
        inner.run(verify=False)
        results = check_all(inner)
        bad = [each for each in results.values() if each["status"] != "Successful"]
        if mode == "forkserver":  # Python's own cannot be used by a forked child
            bad = [each for each in bad if "ChildProcessError" not in each["error"]]
        print(bad)
        os._exit(1 if bad else 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    outer.get_background_results(verify=False)
    statuses = {each["status"] for each in check_all(outer).values()}
    assert statuses == {"Successful"}


def nested(value: int) -> list[Any]:
    """A run within a task: commands, and processes that are forked in threads."""
    runner = concurra.TaskRunner(2, progress_stats=False)
    runner.add_shell_command(f"echo {value}")
    runner.add_shell_command(f"echo {value + 1}")
    runner.add_task(_run_a_process)
    runner.add_task(_fork_and_wait)
    return [value_of(each) for each in runner.run(verify=False).values()]


def tasks_start_processes(method: str) -> None:
    """Tasks that start processes themselves, in threads of theirs."""
    set_up(method)
    runner = make(method, 2, timeout=BOUND)
    for number in range(4):
        runner.add_task(nested, number)
    results = runner.run(verify=False)
    check_all(runner)
    for number, result in results.items():
        assert result["result"] == [str(number), str(number + 1), None, None], result


class _Slow:
    """A finder that holds up each import of a module, until it is let go on."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.pid = os.getpid()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.module or os.getpid() != self.pid:
            return None
        found: Any = PathFinder.find_spec(name, path, target)
        execute = found.loader.exec_module

        def execute_late(module: Any) -> None:
            self.reached.set()
            assert self.go_on.wait(BOUND)
            execute(module)

        found.loader.exec_module = execute_late
        return found


async def _fail_wide(module: str) -> None:
    importlib.import_module(module)
    raise ValueError("失敗")  # a traceback measures how wide this is


async def _add_up(path: str) -> int:
    sys.path.insert(0, path)
    total: int = importlib.import_module("parted").total
    return total


def host_imports_a_part(path: str) -> None:
    """Fork a worker while a thread has imported one module of a package, and is at the
    next."""
    set_up()
    for name, text in (
        ("__init__", "from .one import *\nfrom .two import *\ntotal = one.a + two.b\n"),
        ("one", "__all__ = ['a']\na = 1\n"),
        ("two", "__all__ = ['b']\nb = 2\n"),
    ):
        file = Path(path, "parted", f"{name}.py")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    sys.path.insert(0, path)
    finder: Any = _Slow("parted.two")
    sys.meta_path.insert(0, finder)
    importing = threading.Thread(target=importlib.import_module, args=("parted",))
    importing.start()
    assert finder.reached.wait(BOUND)
    runner = make("fork", timeout=BOUND / 2)
    runner.add_task(_add_up, path, label="sum")
    runner.execute_in_background()
    assert runner.wait(BOUND)
    finder.go_on.set()
    importing.join(BOUND)
    result = runner.get_background_results(verify=False)["sum"]
    assert result["result"] == 3, result


def host_imports(module: str) -> None:
    """Fork a worker while a thread imports what the worker needs as well."""
    set_up()
    sys.modules.pop(module, None)
    finder: Any = _Slow(module)
    sys.meta_path.insert(0, finder)
    importing = threading.Thread(target=importlib.import_module, args=(module,))
    importing.start()
    assert finder.reached.wait(BOUND)
    # Who waits for the import is let go on, and who does not has forked by then.
    letting = threading.Timer(0.5, finder.go_on.set)
    letting.start()
    runner = make("fork", timeout=BOUND / 2)
    runner.add_task(_fail_wide, module, label="bad")
    results = runner.run(verify=False)
    assert results["bad"]["error"] == "ValueError: 失敗", results["bad"]
    importing.join(BOUND)
    letting.join(BOUND)
