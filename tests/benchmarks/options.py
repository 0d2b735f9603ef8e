"""What each option of a task costs, when it is used.

    python -m tests.benchmarks.options --scale 0.1

Each line is measured in a process of its own: no-ops in threads, from the first adder
to the last result. The first line is without any option.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import time
from typing import Any, Callable, Optional

import concurra
from concurra import Retry, task

from .rows import expect

WORKERS = 2

#: An attempt that has failed once is told by its number.
_failed: set[int] = set()


def noop() -> None:
    """The shortest task."""


def fail_once(number: int) -> None:
    """The first attempt fails."""
    if number not in _failed:
        _failed.add(number)
        raise ConnectionError


def who() -> None:
    """It asks who it is."""
    concurra.current_task()


def runner(**options: Any) -> concurra.TaskRunner:
    return concurra.TaskRunner(WORKERS, progress_stats=False, **options)


def same(
    function: Callable[..., Any], **options: Any
) -> Callable[[int], concurra.TaskRunner]:
    """So many tasks, for all of which the same is chosen, in one object."""

    def add(n: int) -> concurra.TaskRunner:
        ours = runner(resources={"db": 1, "gpu": 2})
        chosen = task(function, **options) if options else function
        for _ in range(n):
            ours.add_task(chosen)
        return ours

    return add


def priorities(n: int) -> concurra.TaskRunner:
    """Seven of them, in turn."""
    ours = runner()
    for number in range(n):
        ours.add_function(noop, priority=number % 7)
    return ours


def resources(n: int) -> concurra.TaskRunner:
    """Three groups that ask for something else, in turn."""
    ours = runner(resources={"db": 1, "gpu": 2})
    asked = {"db": 1}, {"gpu": 1}, {"db": 1, "gpu": 1}
    for number in range(n):
        ours.add_function(noop, resources=asked[number % 3])
    return ours


def rules(n: int) -> concurra.TaskRunner:
    """A chain in which each runs whatever became of the one before."""
    ours = runner()
    for number in range(n):
        needed = [number - 1] if number else None
        ours.add_function(noop, depends_on=needed, trigger_rule="all_done")
    return ours


def chain(n: int) -> concurra.TaskRunner:
    """The same without a rule."""
    ours = runner()
    for number in range(n):
        ours.add_function(noop, depends_on=[number - 1] if number else None)
    return ours


def retries(delay: float) -> Callable[[int], concurra.TaskRunner]:
    """Each fails once, and waits so long."""

    def add(n: int) -> concurra.TaskRunner:
        ours = runner(task_retries=Retry(1, delay=delay))
        for number in range(n):
            ours.add_task(fail_once, number)
        return ours

    return add


def cancelled(n: int) -> concurra.TaskRunner:
    """All of them are cancelled before the start."""
    ours = same(noop)(n)
    for number in range(n):
        ours.cancel(number)
    return ours


CASES: dict[str, tuple[int, Callable[[int], concurra.TaskRunner]]] = {
    "no option": (100_000, same(noop)),
    "name": (100_000, same(noop, name="x")),
    "timeout": (100_000, same(noop, timeout=60)),
    "attempt_timeout": (100_000, same(noop, task_retries=Retry(0, attempt_timeout=60))),
    "Retry, not needed": (100_000, same(noop, task_retries=Retry(3, delay=1))),
    "priority": (1_000_000, priorities),
    "resources": (100_000, resources),
    "chain": (100_000, chain),
    "chain, all_done": (100_000, rules),
    "current_task()": (100_000, same(who)),
    "one failure, retried": (100_000, retries(0)),
    "one failure, 1 s later": (10_000, retries(1)),
    "cancelled before the start": (100_000, cancelled),
}


def measure(name: str, n: int) -> dict[str, float]:
    """Seconds, CPU seconds, and bytes of memory, all for one task."""
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.monotonic()
    results = CASES[name][1](n).run(verify=False)
    seconds = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    expect(len(results) == n, "a result is missing")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = (after.ru_maxrss - before.ru_maxrss) * 1024
    return {"seconds": seconds / n, "cpu": cpu / n, "bytes": size / n, "all": seconds}


def measured(name: str, n: int) -> Any:
    """The same, in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--one", name, "--tasks", str(n)]
    return json.loads(subprocess.run(command, stdout=-1, text=True, check=True).stdout)


def main(arguments: Optional[list[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--one", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--tasks", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        print(json.dumps(measure(chosen.one, chosen.tasks)))
        return
    print("| option | tasks | a task | CPU | bytes | in all |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, (full, _) in CASES.items():
        n = max(1, round(full * chosen.scale))
        found = measured(name, n)
        times = f"{found['seconds'] * 1e6:.2f} us | {found['cpu'] * 1e6:.2f} us"
        told = f"{times} | {found['bytes']:,.0f} | {found['all']:.2f} s"
        print(f"| {name} | {n:,} | {told} |", flush=True)


if __name__ == "__main__":
    main()
