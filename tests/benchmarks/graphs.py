"""Tasks that depend on others."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import concurra

from .rows import OURS, Faster, Results, Row, System, expect, run, values
from .threads import WORKERS, noop

Label = int
#: Labels with what they depend on, in the order of adding.
Graph = Sequence[tuple[Label, Sequence[Label]]]

#: Tasks in a layer of a layered graph.
WIDTH = 500


# -- graphs ----------------------------------------------------------------------------


def chain(n: int) -> Graph:
    """Each task depends on the one before."""
    return [(label, [label - 1] if label else []) for label in range(n)]


def fan(n: int) -> Graph:
    """One task, then ``n`` that depend on it, then one that depends on all of them."""
    middle = range(1, n + 1)
    return [(0, []), *((label, [0]) for label in middle), (n + 1, list(middle))]


def layered(n: int, each: int = 2) -> Graph:
    """Layers, each of whose tasks depend on ``each`` tasks of the layer before.

    Two layers depend on one more, which makes up for the first, without dependencies.
    """
    rng = random.Random(n)
    width = max(1, min(WIDTH, n // 10))
    graph = []
    for label in range(n):
        layer = label // width
        before = range((layer - 1) * width, layer * width) if layer else range(0)
        many = min(each + (layer in (1, 2)), len(before))
        graph.append((label, rng.sample(before, many)))
    return graph


def in_random_order(n: int) -> Graph:
    """The layered graph, added in random order."""
    graph = list(layered(n))
    random.Random(n).shuffle(graph)
    return graph


def in_reverse_order(n: int) -> Graph:
    """The layered graph, the last task added first."""
    return list(layered(n))[::-1]


# -- systems ---------------------------------------------------------------------------


def with_concurra(graph: Graph) -> Results:
    """The work with concurra."""
    runner = concurra.TaskRunner(max_concurrency=WORKERS)
    for label, needed in graph:
        runner.add_task(noop, label=label, depends_on=needed)
    return run(runner)


def with_graphlib(graph: Graph) -> dict[Label, None]:
    """The standard library's two halves, joined as well as they can be.

    Futures tell of their end through a queue; ``wait(FIRST_COMPLETED)``, which the
    documentation suggests, costs as much as there are futures, each time. All ends
    that have come in are taken together.
    """
    from graphlib import TopologicalSorter

    sorter = TopologicalSorter(dict(graph))
    sorter.prepare()
    results: dict[Label, None] = {}
    labels: dict[Any, Label] = {}
    ended: SimpleQueue[Any] = SimpleQueue()
    with ThreadPoolExecutor(WORKERS) as pool:
        while sorter.is_active():
            for label in sorter.get_ready():
                future = pool.submit(noop)
                labels[future] = label
                future.add_done_callback(ended.put)
            done = [ended.get()]
            while not ended.empty():
                done.append(ended.get())
            for future in done:
                label = labels.pop(future)
                results[label] = future.result()
                sorter.done(label)
    return results


def sort(graph: Graph) -> dict[Label, None]:
    """The calls, in an order that the standard library finds; no threads."""
    from graphlib import TopologicalSorter

    order = TopologicalSorter(dict(graph)).static_order()
    return {label: noop() for label in order}  # type: ignore[func-returns-value]


def loop(graph: Graph) -> dict[Label, None]:
    """The calls, in an order that was known beforehand."""
    return {label: noop() for label, _ in graph}  # type: ignore[func-returns-value]


def check(graph: Graph, results: Any) -> None:
    """Every task has a result."""
    expect(values(results) == [None] * len(graph), "a result is missing")
    expect(set(results) == {label for label, _ in graph}, "a label is missing")


SYSTEMS = [
    System(OURS, with_concurra),
    System("ThreadPoolExecutor + graphlib", with_graphlib, needs=["graphlib"]),
    System("graphlib alone", sort, needs=["graphlib"], limit=True),
    System("bare loop", loop, limit=True),
]


@contextmanager
def three_busy_threads() -> Iterator[None]:
    """Threads that compute all the time, and so compete for the interpreter."""
    over = threading.Event()

    def compute() -> None:
        while not over.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=compute) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


# -- for the plot ----------------------------------------------------------------------

PLOTTED = 5_000


def dependencies(each: int) -> Graph:
    """The layered graph with more and more dependencies."""
    return layered(PLOTTED, each)


ROWS = [
    Row("chain", "chain of {n}", 20_000, Faster(10), SYSTEMS, check, chain),
    Row("fan", "fan out and in, {n} wide", 20_000, Faster(2.5), SYSTEMS, check, fan),
    Row(
        "dag",
        "layered DAG, {n} tasks, 2 dependencies each",
        50_000,
        Faster(2.5),
        SYSTEMS,
        check,
        layered,
    ),
    Row(
        "dag-random",
        "the same, added in random order",
        50_000,
        Faster(2),
        SYSTEMS,
        check,
        in_random_order,
    ),
    Row(
        "dag-reverse",
        "the same, added in reverse order",
        50_000,
        Faster(2),
        SYSTEMS,
        check,
        in_reverse_order,
    ),
    Row(
        "beside",
        "chain of {n} beside 3 CPU-bound threads",
        500,
        Faster(20),
        SYSTEMS[:2],
        check,
        chain,
        setting=three_busy_threads,
    ),
]

PLOTS = [
    Row(
        "dependencies",
        "layered DAG, 5,000 tasks, {n} dependencies each",
        2,
        None,
        SYSTEMS[:2],
        check,
        dependencies,
    )
]
