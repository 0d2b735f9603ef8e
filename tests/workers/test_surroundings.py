"""What a process worker inherits, by each start method, and what is put back there.

The tables are those of docs/explanation/inheritance.md.
"""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import concurra
from tests.helpers import START_METHODS

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="needs POSIX signals and umask"
)

#: What a task has found or left in a module: as a global.
marked: list[str] = []


def ignore(*args: Any) -> None:
    """A signal handler."""


def zone() -> Any:
    return time.tzname, time.timezone


def set_zone(name: str | None) -> None:
    if name is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = name
    time.tzset()


def umask() -> int:
    found = os.umask(0o777)
    os.umask(found)
    return found


def mask() -> list[int]:
    return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))


def handlers() -> list[Any]:
    numbers = (signal.SIGTERM, signal.SIGALRM, signal.SIGUSR1, signal.SIGHUP)
    return [repr(signal.getsignal(number)) for number in numbers]


def set_handlers() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, ignore)
    signal.signal(signal.SIGUSR1, ignore)


def set_locale() -> None:
    for name in ("C.UTF-8", "C.utf8", "POSIX"):
        try:
            locale.setlocale(locale.LC_TIME, name)
        except locale.Error:
            continue
        return


def timers() -> list[float]:
    kinds = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    return [signal.getitimer(each)[0] for each in kinds]


# By its name: what changes it, and what shows it.
PUT_BACK: dict[str, tuple[Any, Any]] = {
    "directory": (lambda: os.chdir("/"), os.getcwd),
    "environment": (
        lambda: os.environ.update({"CONCURRA_X": "1", "PATH": "/"}),
        lambda: dict(os.environ),
    ),
    "time zone": (lambda: set_zone("Asia/Tokyo"), zone),
    "streams": (
        lambda: setattr(sys, "stdout", sys.stderr),
        lambda: [sys.stdin.name, sys.stdout.name, sys.stderr.name],
    ),
    "timers": (lambda: signal.setitimer(signal.ITIMER_REAL, 1000), timers),
    "alarm": (lambda: signal.alarm(1000), timers),
    "signal handlers": (set_handlers, handlers),
    "signal mask": (
        lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]),
        mask,
    ),
    "umask": (lambda: os.umask(0o177), umask),
    "default timeout of sockets": (
        lambda: socket.setdefaulttimeout(12.5),
        socket.getdefaulttimeout,
    ),
    "locale": (set_locale, lambda: locale.setlocale(locale.LC_ALL)),
    "recursion limit": (lambda: sys.setrecursionlimit(4321), sys.getrecursionlimit),
    "switch interval": (lambda: sys.setswitchinterval(0.125), sys.getswitchinterval),
    "decimal context": (
        lambda: setattr(decimal.getcontext(), "prec", 3),
        lambda: decimal.getcontext().prec,
    ),
}

LEFT: dict[str, tuple[Any, Any]] = {
    "globals": (lambda: marked.append("x"), lambda: list(marked)),
    "random numbers": (lambda: random.seed(7), lambda: hash(random.getstate())),
    "warnings filters": (
        lambda: warnings.simplefilter("error", BytesWarning),
        lambda: repr(warnings.filters),
    ),
    "logging": (
        lambda: logging.getLogger("left").setLevel(7),
        lambda: logging.getLogger("left").level,
    ),
    "sys.path": (lambda: sys.path.append("/left"), lambda: list(sys.path)),
    "collector": (gc.disable, gc.isenabled),
    "niceness": (lambda: os.nice(1), lambda: os.nice(0)),
}


def change(name: str) -> None:
    {**PUT_BACK, **LEFT}[name][0]()


def fail(name: str) -> None:
    change(name)
    raise ValueError(name)


def look(name: str) -> Any:
    return {**PUT_BACK, **LEFT}[name][1]()


def runner_of(method: str, **options: Any) -> concurra.TaskRunner:
    return concurra.TaskRunner(
        1, use_multiprocessing=True, mp_context=method, progress_stats=False, **options
    )


def values_of(runner: concurra.TaskRunner) -> list[Any]:
    results = runner.run(verify=False).values()
    return [result["result"] for result in results]


# Put back, or left to the next task ---------------------------------------------------


@pytest.mark.parametrize("method", START_METHODS)
def test_it_is_put_back_after_a_task(method: str) -> None:
    """Also after one that fails; the worker goes on."""
    runner = runner_of(method)
    runner.add_task(os.getpid)
    for name in PUT_BACK:
        for deed in (look, change, look, fail, look):
            runner.add_task(deed, name)
    runner.add_task(os.getpid)
    first, *found, last = values_of(runner)
    assert first == last
    for number, name in enumerate(PUT_BACK):
        before, _, after, _, at_last = found[5 * number : 5 * number + 5]
        assert before == after == at_last, name


class Shown:
    """A stream of a task's own."""

    def write(self, text: str) -> int:
        marked.append(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


class Slow:
    """Whose text takes its time."""

    begun, leave = threading.Event(), threading.Event()

    def __str__(self) -> str:
        self.begun.set()
        assert self.leave.wait(20)
        return "late"


def leave_a_print_behind() -> int:
    sys.stdout = Shown()  # type: ignore[assignment]
    threading.Thread(target=print, args=(Slow(),), daemon=True).start()
    assert Slow.begun.wait(20)
    return os.getpid()


def see_it_end() -> int:
    gc.collect()
    # In the place of what was freed.
    blank = [bytes(size) for size in (15, 31, 47) for _ in range(5000)]
    Slow.leave.set()
    for thread in set(threading.enumerate()) - {threading.current_thread()}:
        if thread.name.startswith("Thread-"):
            thread.join(20)
    assert blank and marked == ["late", "\n"], marked
    return os.getpid()


@pytest.mark.parametrize("method", START_METHODS)
def test_a_thread_may_be_printing_to_what_is_replaced(method: str) -> None:
    """It ends well, and so does the next task."""
    runner = runner_of(method)
    runner.add_task(leave_a_print_behind)
    runner.add_task(see_it_end)
    first, second = values_of(runner)
    assert first == second


@pytest.mark.parametrize("name", PUT_BACK)
def test_what_changes_it_changes_it(name: str) -> None:
    """So that the test above says something."""
    runner = runner_of(START_METHODS[0])
    runner.add_task(changed, name)
    assert values_of(runner) == [name == "locale" and not other_locale()]


def other_locale() -> bool:
    return locale.setlocale(locale.LC_TIME) in ("C", "POSIX")


def changed(name: str) -> bool:
    before = look(name)
    change(name)
    return bool(look(name) == before)


@pytest.mark.parametrize("name", LEFT)
def test_it_is_left_to_the_next_task(name: str) -> None:
    """On the same worker, as in every pool."""
    runner = runner_of(START_METHODS[0])
    runner.add_task(look, name)
    runner.add_task(change, name)
    runner.add_task(look, name)
    runner.add_task(change_nothing)
    runner.add_task(look, name)
    before, _, after, _, last = values_of(runner)
    assert before != after == last


def change_nothing() -> None:
    pass


@pytest.mark.parametrize("name", sorted({*LEFT, "umask", "environment"}))
def test_a_fresh_process_has_nothing_of_it(name: str) -> None:
    """With ``max_tasks_per_child=1`` each task has one."""
    runner = runner_of(START_METHODS[0], max_tasks_per_child=1)
    runner.add_task(look, name)
    runner.add_task(change, name)
    runner.add_task(look, name)
    before, _, after = values_of(runner)
    if name != "random numbers":  # which are seeded anew in each process
        assert before == after


def initialize() -> None:
    os.environ["CONCURRA_INITIALIZED"] = "1"
    os.umask(0o027)
    signal.signal(signal.SIGUSR1, ignore)


def initialized() -> Any:
    mine = signal.getsignal(signal.SIGUSR1)
    return os.environ.get("CONCURRA_INITIALIZED"), umask(), getattr(mine, "__name__", 0)


@pytest.mark.parametrize("method", START_METHODS)
def test_what_an_initializer_changes_stays(method: str) -> None:
    """It is what tasks find, and what is put back."""
    runner = runner_of(method, initializer=initialize)
    runner.add_task(initialized)
    runner.add_task(change, "umask")
    runner.add_task(initialized)
    first, _, last = values_of(runner)
    assert first == last == ("1", 0o027, "ignore")


# Inherited ----------------------------------------------------------------------------


@pytest.fixture
def put_back() -> Iterator[None]:
    """What a test changes in this process."""
    timeout, limit = socket.getdefaulttimeout(), sys.getrecursionlimit()
    number, path, filters = umask(), list(sys.path), list(warnings.filters)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    handler = signal.getsignal(signal.SIGUSR1)
    ignored = signal.getsignal(signal.SIGUSR2)
    yield
    socket.setdefaulttimeout(timeout)
    sys.setrecursionlimit(limit)
    os.umask(number)
    sys.path[:] = path
    warnings.filters[:] = filters  # type: ignore[index]
    signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    signal.signal(signal.SIGUSR1, handler)
    signal.signal(signal.SIGUSR2, ignored)
    os.environ.pop("CONCURRA_X", None)
    marked.clear()


def found() -> dict[str, Any]:
    return {
        "environment": os.environ.get("CONCURRA_X"),
        "umask": umask(),
        "directory": os.getcwd(),
        "timeout": socket.getdefaulttimeout(),
        "limit": sys.getrecursionlimit(),
        "path": "/inherited" in sys.path,
        "filter": warnings.filters[0][0] == "error",
        "global": list(marked),
        "handler": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
        "ignored": signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN,
        "mask": mask(),
        "stdin": sys.stdin.read(),
        "session": os.getsid(0) == os.getpgid(0) == os.getpid(),
        "main thread": threading.current_thread() is threading.main_thread(),
        "daemon": multiprocessing.current_process().daemon,
    }


@pytest.mark.parametrize("method", START_METHODS)
def test_what_a_worker_inherits(
    method: str, put_back: None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the program knows all; a fresh process what the table says."""
    monkeypatch.chdir(tmp_path)
    os.environ["CONCURRA_X"] = "inherited"
    os.umask(0o037)
    socket.setdefaulttimeout(3.5)
    sys.setrecursionlimit(2345)
    sys.path.append("/inherited")
    warnings.simplefilter("error")
    marked.append("here")
    signal.signal(signal.SIGUSR1, ignore)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    runner = runner_of(method)
    runner.add_task(found)
    (seen,) = values_of(runner)
    forked, served = method == "fork", method == "forkserver"
    assert seen == {
        "environment": None if served else "inherited",
        "umask": seen["umask"] if served else 0o037,
        "directory": str(tmp_path),
        "timeout": 3.5 if forked else None,
        "limit": 2345 if forked else seen["limit"],
        "path": True,
        "filter": forked,
        "global": ["here"] if forked else [],
        "handler": True,
        "ignored": not served,
        "mask": [],
        "stdin": "",
        "session": True,
        "main thread": True,
        "daemon": False,
    }
    if not forked:
        assert seen["limit"] != 2345


def draw() -> float:
    return random.random()


@pytest.mark.parametrize("method", START_METHODS)
def test_random_numbers_differ_from_worker_to_worker(method: str) -> None:
    """Python seeds its own generator anew in each process."""
    random.seed(1)
    runner = runner_of(method, max_tasks_per_child=1)
    for _ in range(3):
        runner.add_task(draw)
    assert len(set(values_of(runner))) == 3
