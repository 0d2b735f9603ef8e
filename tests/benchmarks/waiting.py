"""While tasks sleep, and when they are ended."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import concurra

from .rows import OURS, Faster, Measured, Row, System, Within, expect, fork, run
from .rows import values

#: The longest sleep of a task that is ended before.
LONG = 60
TIMEOUT = 0.5


# -- doing nothing ---------------------------------------------------------------------

IDLERS = 20


def idle_seconds(n: int) -> float:
    """How long the tasks sleep: less at a smaller scale."""
    return 3 * n / IDLERS


def idle(n: int) -> Measured:
    """The CPU time that this program takes while all tasks are asleep."""
    everybody = threading.Barrier(n + 1)
    asleep = idle_seconds(n)

    def sleep() -> None:
        everybody.wait()
        time.sleep(asleep)

    runner = concurra.TaskRunner(max_concurrency=n, timeout=LONG)
    for _ in range(n):
        runner.add_task(sleep)
    runner.execute_in_background()
    everybody.wait()
    cpu = _cpu_while_asleep(asleep)
    return Measured(cpu, runner.get_background_results(verify=False))


def idle_executor(n: int) -> Measured:
    """The same with `ThreadPoolExecutor`, which has no timeouts."""
    everybody = threading.Barrier(n + 1)
    asleep = idle_seconds(n)

    def sleep() -> None:
        everybody.wait()
        time.sleep(asleep)

    with ThreadPoolExecutor(n) as pool:
        futures = [pool.submit(sleep) for _ in range(n)]
        everybody.wait()
        cpu = _cpu_while_asleep(asleep)
        return Measured(cpu, [future.result() for future in futures])


def _cpu_while_asleep(seconds: float) -> float:
    time.sleep(0.1 * seconds)  # until the last one sleeps
    start = time.process_time()
    time.sleep(0.8 * seconds)
    return time.process_time() - start


def check_idle(n: int, results: Any) -> None:
    """All have slept well."""
    expect(values(results) == [None] * n, "a result is missing")


# -- timeouts --------------------------------------------------------------------------


def doze(over: threading.Event) -> None:
    """Sleep, until the end of the measurement at most."""
    over.wait(LONG)


def late(n: int) -> Measured:
    """How long after the timeout `run` returns."""
    over = threading.Event()
    runner = concurra.TaskRunner(max_concurrency=n, timeout=TIMEOUT)
    for _ in range(n):
        runner.add_task(doze, over)
    start = time.perf_counter()
    results = run(runner)
    seconds = time.perf_counter() - start
    over.set()
    return Measured(seconds - TIMEOUT, results)


def late_commands(n: int) -> Measured:
    """The same with commands, whose processes end before `run` returns."""
    runner = concurra.TaskRunner(max_concurrency=n, timeout=TIMEOUT)
    for _ in range(n):
        runner.add_command(["sleep", str(LONG)])
    start = time.perf_counter()
    results = run(runner)
    return Measured(time.perf_counter() - start - TIMEOUT, results)


def check_late(n: int, results: Any) -> None:
    """All were terminated for their timeout."""
    expect(len(results) == n, "a result is missing")
    for result in results.values():
        expect(result["status"] == "Terminated", result["status"])
        expect("TimeoutError" in result["error"], result["error"])


# -- abort -----------------------------------------------------------------------------


def abort(n: int) -> Measured:
    """How long `abort` takes when ``n`` processes sleep."""
    unread = logging.getLogger("unread")  # for the report
    unread.propagate = False
    unread.addHandler(logging.NullHandler())
    runner = concurra.TaskRunner(n, use_multiprocessing=True, logger=unread)
    for _ in range(n):
        runner.add_task(time.sleep, LONG)
    runner.execute_in_background()
    while runner.get_active_runner_count() < n:
        time.sleep(0.01)
    time.sleep(0.5)  # until the last one has begun
    start = time.perf_counter()
    results = runner.abort()
    return Measured(time.perf_counter() - start, results)


def kill_and_wait(n: int) -> Measured:
    """What the system takes for the end of ``n`` forked processes, and nothing else."""
    children = []
    for _ in range(n):
        child = fork()
        if not child:
            time.sleep(LONG)
            os._exit(0)
        children.append(child)
    time.sleep(0.5)  # until the last one sleeps
    start = time.perf_counter()
    for child in children:
        os.kill(child, signal.SIGTERM)
    for child in children:
        os.waitpid(child, 0)
    return Measured(time.perf_counter() - start)


def check_abort(n: int, results: Any) -> None:
    """All were terminated."""
    if results is None:
        return  # nobody has made any
    expect(len(results) == n, "a result is missing")
    for result in results.values():
        expect(result["status"] == "Terminated", result["status"])
        expect(result["execution_mode"] == "process", result["execution_mode"])


ROWS = [
    Row(
        "idle",
        "CPU time while {n} tasks sleep for 3 s",
        IDLERS,
        Within(0.002),
        [
            System(OURS, idle),
            System("ThreadPoolExecutor", idle_executor, limit=True),
        ],
        check_idle,
        grows=False,
    ),
    Row(
        "timeout",
        "0.5 s timeout of {n} threads: how late run() returns",
        50,
        Within(0.05),
        [System(OURS, late)],
        check_late,
        grows=False,
    ),
    Row(
        "timeout-commands",
        "0.5 s timeout of {n} commands: how late, with their start and end",
        50,
        None,
        [System(OURS, late_commands, needs=["concurra.workers.command"])],
        check_late,
        grows=False,
    ),
    Row(
        "abort",
        "abort() of {n} sleeping processes",
        64,
        Faster(0.33),  # three times the floor at most
        [
            System(OURS, abort, needs=["tabulate"]),
            System("os.kill + os.waitpid", kill_and_wait),
        ],
        check_abort,
        grows=False,
    ),
]
