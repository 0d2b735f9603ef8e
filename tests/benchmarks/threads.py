"""Functions in threads, without dependencies."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import concurra

from .rows import OURS, Faster, Results, Row, System, expect, run, values

WORKERS = 2
SLEEPERS = 100
SLEEP = 0.01


def noop() -> None:
    """The shortest task: all that it costs is what its runner costs."""


def nap() -> None:
    """A task that waits, as one that downloads something does."""
    time.sleep(SLEEP)


# -- adding ----------------------------------------------------------------------------


def labels(n: int) -> list[str]:
    """Labels, made beforehand: neither their time nor their memory is ours."""
    return [f"task {number}" for number in range(n)]


def add(labels: Sequence[str]) -> concurra.TaskRunner:
    """Add a task for each label; of any version of concurra."""
    runner = concurra.TaskRunner(max_concurrency=WORKERS)
    for label in labels:
        runner.add_task(noop, label=label)
    return runner


def add_to_dict(labels: Sequence[str]) -> dict[str, Any]:
    """The least that adding can be."""
    tasks = {}
    for label in labels:
        tasks[label] = (noop, (), {})
    return tasks


def check_added(labels: Sequence[str], added: Any) -> None:
    """All of them are there."""
    if hasattr(added, "__len__"):
        expect(len(added) == len(labels), "not all tasks were added")


# -- running ---------------------------------------------------------------------------


def runs(task: Callable[[], None], workers: int) -> Callable[[int], Results]:
    """The work with concurra."""

    def concurra_run(n: int) -> Results:
        runner = concurra.TaskRunner(max_concurrency=workers)
        for _ in range(n):
            runner.add_task(task)
        return run(runner)

    return concurra_run


def submits(task: Callable[[], None], workers: int) -> Callable[[int], list[None]]:
    """The work with `ThreadPoolExecutor`."""

    def executor_run(n: int) -> list[None]:
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(task) for _ in range(n)]
            return [future.result() for future in futures]

    return executor_run


def threads_alone(n: int) -> list[None]:
    """The sleeps in bare threads, which share a counter."""
    left = iter(range(n))
    results = []

    def work() -> None:
        for _ in left:
            results.append(nap())  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=work) for _ in range(SLEEPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def loop(n: int) -> list[None]:
    """The calls, and nothing else."""
    return [noop() for _ in range(n)]  # type: ignore[func-returns-value]


def check_count(n: int, results: Any) -> None:
    """As many results as tasks."""
    expect(values(results) == [None] * n, "a result is missing")


# -- for the plot ----------------------------------------------------------------------

PLOTTED = 20_000


def with_workers(workers: int) -> Results:
    """The same tasks with more and more workers."""
    return runs(noop, workers)(PLOTTED)


def executor_with_workers(workers: int) -> list[None]:
    """The same with `ThreadPoolExecutor`."""
    return submits(noop, workers)(PLOTTED)


def check_plotted(workers: int, results: Any) -> None:
    """As many results as tasks."""
    check_count(PLOTTED, results)


ROWS = [
    Row(
        "add",
        "{n} add_task",
        1_000_000,
        Faster(4),
        [
            System(OURS, add),
            System("concurra 1.1.12", add, published=True),
            System("dict", add_to_dict, limit=True),
        ],
        check_added,
        given=labels,
        most_bytes=300,
    ),
    Row(
        "threads",
        "{n} no-ops",
        100_000,
        Faster(3),
        [
            System(OURS, runs(noop, WORKERS)),
            System("ThreadPoolExecutor", submits(noop, WORKERS)),
            System("bare loop", loop, limit=True),
        ],
        check_count,
        most_bytes=1400,
    ),
    Row(
        "sleeps",
        "{n} sleeps of 10 ms, 100 at a time",
        2_000,
        Faster(1),
        [
            System(OURS, runs(nap, SLEEPERS)),
            System("ThreadPoolExecutor", submits(nap, SLEEPERS)),
            System("bare threads", threads_alone, limit=True),
        ],
        check_count,
    ),
]

PLOTS = [
    Row(
        "workers",
        "20,000 no-ops on {n} threads",
        WORKERS,
        None,
        [
            System(OURS, with_workers),
            System("ThreadPoolExecutor", executor_with_workers),
        ],
        check_plotted,
    )
]
