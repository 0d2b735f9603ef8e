"""The graph accepts what has no cycle, refuses what closes one, and stays fast."""

from __future__ import annotations

import random
from typing import Dict, Hashable, List, Sequence, Tuple

import pytest

from concurra import dag
from concurra.dag import Dag
from concurra.errors import CircularDependencyError
from concurra.tasks import Call, Task

Edges = Dict[Hashable, Tuple[Hashable, ...]]


def task(label: Hashable, depends_on: Sequence[Hashable] = ()) -> Task:
    return Task(label, Call(print), tuple(depends_on))


def reaches(edges: Edges, start: Sequence[Hashable], goal: Hashable) -> bool:
    """Whether following dependencies leads from one of `start` to `goal`."""
    seen, stack = set(start), list(start)
    while stack:
        label = stack.pop()
        if label == goal:
            return True
        new = set(edges.get(label, ())) - seen
        seen |= new
        stack.extend(new)
    return False


def snapshot(graph: Dag) -> object:
    tasks = [(each.label, each.index, each.order) for each in graph.tasks.values()]
    missing = {label: list(namers) for label, namers in graph.missing.items()}
    return tasks, missing


def check_orders(graph: Dag) -> None:
    for each in graph.tasks.values():
        for label in each.depends_on:
            if label in graph.tasks:
                assert graph.tasks[label].order < each.order


def random_graph(choose: random.Random) -> int:
    """Add random tasks in random order, compared with brute force; cycles met."""
    size = choose.choice((3, 5, 8, 12, 20, 40))
    noise = choose.choice((0, 0.02, 0.1, 0.5))  # of dependencies that ignore the order
    order = list(range(size))
    choose.shuffle(order)
    rank = {label: place for place, label in enumerate(order)}
    queue = sorted(order, key=lambda label: rank[label] * choose.choice((-1, 0, 1)))
    graph, edges, cycles = Dag(), {}, 0
    for label in queue:
        needed = {
            (
                choose.randrange(size)
                if choose.random() < noise
                else order[choose.randrange(max(1, rank[label]))]
            )
            for _ in range(choose.randrange(4))
        }
        needed.discard(label)
        before = snapshot(graph)
        if reaches(edges, list(needed), label):
            with pytest.raises(CircularDependencyError) as caught:
                graph.add(task(label, list(needed)))
            cycle = caught.value.cycle
            assert cycle[0] == cycle[-1] == label
            assert cycle[1] in needed
            for one, following in zip(cycle[1:], cycle[2:]):
                assert following in edges[one]
            assert len(set(cycle)) == len(cycle) - 1
            assert snapshot(graph) == before
            cycles += 1
            needed = set()
        graph.add(task(label, list(needed)))
        edges[label] = tuple(needed)
        check_orders(graph)
    return cycles


@pytest.mark.parametrize("step", [2.0**-20, 2.0**-3, 1.0], ids=["fine", "2**-3", "1"])
def test_random_graphs_against_brute_force(
    step: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the cycles are refused, with a true path, and nothing is changed then.

    A coarse step makes the gaps between the orders run out, as in huge graphs.
    """
    monkeypatch.setattr(dag, "_STEP", step)
    choose = random.Random(1)
    assert sum(random_graph(choose) for _ in range(400)) > 100


def layers(count: int, width: int) -> List[Task]:
    """Layers in which each task depends on two of the layer before."""
    choose = random.Random(2)
    tasks = []
    for index in range(count * width):
        first = index // width * width - width
        pair = {choose.randrange(first, first + width) for _ in range(2) if first >= 0}
        tasks.append(task(index, sorted(pair)))
    return tasks


def visits(tasks: Sequence[Task], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many tasks the searches visit while these are added."""
    count = 0
    step = dag._Search.step

    def counting(self: dag._Search) -> Task:
        nonlocal count
        count += 1
        return step(self)

    monkeypatch.setattr(dag._Search, "step", counting)
    graph = Dag()
    for each in tasks:
        graph.add(task(each.label, each.depends_on))
    check_orders(graph)
    monkeypatch.undo()
    return count


def test_adding_forwards_or_backwards_searches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A graph that is added in order, or in the opposite order, costs no search."""
    tasks = layers(40, 50)
    assert visits(tasks, monkeypatch) == 0
    assert visits(tasks[::-1], monkeypatch) == 0


def test_adding_in_random_order_stays_nearly_linear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ten times the tasks cost less than thirty times the search, not a hundred."""
    counts = []
    for size in (20, 200):
        tasks = layers(size, 50)
        random.Random(3).shuffle(tasks)
        counts.append(visits(tasks, monkeypatch))
    small, large = counts
    assert 0 < small and large < 30 * small


def test_a_long_cycle_is_refused_without_recursion() -> None:
    """A chain of 100,000 that would close to a ring names all of its tasks."""
    graph = Dag()
    size = 100_000
    for index in range(1, size):
        graph.add(task(index, [index - 1]))
    with pytest.raises(CircularDependencyError) as caught:
        graph.add(task(0, [size - 1]))
    assert caught.value.cycle == (0, *range(size - 1, -1, -1))
    assert 0 not in graph.tasks
