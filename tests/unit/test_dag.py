"""The graph accepts what has no cycle, refuses what closes one, and stays fast."""

from __future__ import annotations

import math
import random
import threading
from typing import Any, Callable, Dict, Hashable, List, Sequence, Tuple

import pytest

from concurra.errors import CircularDependencyError
from concurra.plan import dag, two_way_search
from concurra.plan.dag import Dag
from concurra.tasks import Call, Task
from tests.unit.replay import struck_at
from tests.unit.support import Planned, add

Edges = Dict[Hashable, Tuple[Hashable, ...]]


def task(label: Hashable, depends_on: Sequence[Hashable] = ()) -> Planned:
    return Planned(label, Call(print), tuple(depends_on))


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


def narrow(monkeypatch: pytest.MonkeyPatch, gap: int) -> None:
    """Have orders this far apart."""
    monkeypatch.setattr(dag, "GAP", gap)
    monkeypatch.setattr(two_way_search, "GAP", gap)


def snapshot(graph: Dag) -> object:
    """Everything that can be seen of a graph, got without asking the labels."""
    tasks = [(each.label, each.index) for each in values(graph)]
    missing = [(label, [*namers]) for label, namers in graph.missing.items()]
    return tasks, [(label, namers) for label, namers in missing if namers]


def values(graph: Dag) -> List[Task]:
    return list(graph.tasks.values())


def check_orders(graph: Dag) -> None:
    """If orders are in use: each is above those below, and nobody is lost at sea."""
    if not graph._ordered:
        return
    for each in values(graph):
        assert each.component == () or each in each.component
        for needed in graph.needs(each):
            assert needed.order < each.order
            assert needed.component is each.component
    for component in {
        id(each.component): each.component for each in values(graph)
    }.values():
        assert len(component) == len(set(component))


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
                add(graph, task(label, list(needed)))
            cycle = caught.value.cycle
            assert cycle[0] == cycle[-1] == label
            assert cycle[1] in needed
            for one, following in zip(cycle[1:], cycle[2:]):
                assert following in edges[one]
            assert len(set(cycle)) == len(cycle) - 1
            assert snapshot(graph) == before
            cycles += 1
            needed = set()
        add(graph, task(label, list(needed)))
        edges[label] = tuple(needed)
        check_orders(graph)
    graph.resolve()
    for label in edges:
        dependents = [each.label for each in graph.dependents[graph.tasks[label].index]]
        assert sorted(dependents) == sorted(
            each for each in edges if label in edges[each]
        )
    return cycles


@pytest.mark.parametrize("gap", [2**20, 8, 1])
def test_random_graphs_against_brute_force(
    gap: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the cycles are refused, with a true path, and nothing is changed then.

    With small gaps there is hardly ever room, as in huge graphs.
    """
    narrow(monkeypatch, gap)
    choose = random.Random(1)
    assert sum(random_graph(choose) for _ in range(400)) > 100


class Moody:
    """A label that answers so many times, and then raises."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.patience = 1_000_000

    def _answer(self) -> None:
        self.patience -= 1
        if self.patience < 0:
            raise OSError("no more questions")

    def __hash__(self) -> int:
        self._answer()
        return self.number % 2  # so that labels have to be compared as well

    def __eq__(self, other: object) -> bool:
        self._answer()
        return isinstance(other, Moody) and self.number == other.number


def awkward(ordered: bool, linked: bool) -> Tuple[Dag, Task, List[Moody]]:
    """A graph, a task for which others must move, and all labels that it meets.

    :param ordered: whether all have had an order from the beginning.
    :param linked: whether links were made before all were there that are named.
    """
    one, two, three, top, new, absent = labels = [Moody(n) for n in range(6)]
    graph = Dag()
    add(graph, task(one))
    if ordered:
        graph._place_all()
    add(graph, task(three, [one, two]))
    if linked:
        graph._link_all(values(graph))
    add(graph, task(two))
    add(graph, task(top, [new, one]))
    add(graph, task("left", [top]))
    add(graph, task("right", [top]))  # to make the search begin downwards
    return graph, task(new, [three, absent]), labels


def refusals(which: int, ordered: bool, linked: bool) -> int:
    """How many questions a label is asked: each, in turn, is one too many for it."""
    for patience in range(1_000):
        graph, new, labels = awkward(ordered, linked)
        before = snapshot(graph)
        labels[which].patience = patience
        try:
            add(graph, new)
            return patience
        except OSError:
            assert snapshot(graph) == before
        finally:
            labels[which].patience = 1_000_000
        check_orders(graph)
        add(graph, new)
        check_orders(graph)
        assert graph.tasks[new.label] is new
    raise AssertionError("there is no end of questions")


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_a_label_that_raises_leaves_no_trace(
    ordered: bool, linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever question it is that a label does not answer any more."""
    narrow(monkeypatch, 1)  # so that others have to move
    graph = awkward(ordered, linked)[0]
    assert (graph._ordered, bool(graph.dependents)) == (ordered, linked)
    asked = [refusals(which, ordered, linked) for which in range(6)]
    assert all(asked[which] for which in (1, 2, 4, 5)), "a search that goes down"


def test_what_is_resolved_can_be_interrupted_at_any_line() -> None:
    """It is resolved again then, and nothing is there twice."""
    line = 0
    struck = True
    while struck:
        line += 1
        graph = Dag()
        for label, needed in (("c", ["a", "b"]), ("a", []), ("b", ["a"]), ("d", ["a"])):
            add(graph, task(label, needed))
        struck = struck_at(line, graph.resolve)
        c, a, b, d = graph.resolve()
        assert graph.dependents == [(), [c, b, d], [c], ()]
        assert [list(each.needs) for each in (c, a, b, d)] == [[a, b], [], [a], [a]]
        assert [each.blockers for each in (c, a, b, d)] == [2, 0, 1, 1]
    assert line > 10


def whole(graph: Dag) -> List[Tuple[Hashable, List[Hashable], List[Hashable]]]:
    """What each task depends on, and what depends on it."""
    return [
        (
            each.label,
            [needed.label for needed in each.needs],
            [other.label for other in graph.dependents[each.index]],
        )
        for each in graph.resolve()
    ]


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_interrupted_at_any_line_can_be_added_to(
    linked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was the start of a run, or the adding of a task that is added again."""
    narrow(monkeypatch, 1)  # so that others have to move
    first = [("c", ["a", "b"]), ("a", []), ("b", ["a"])]
    then = [("1", []), ("3", ["1", "2"]), ("2", []), ("top", ["new", "1"])]
    last = [("left", ["top"]), ("right", ["top"]), ("new", ["3"])]

    def begun() -> Dag:
        graph = Dag()
        for label, needed in first:
            add(graph, task(label, needed))
        if linked:
            graph.resolve()
        return graph

    def add_all(graph: Dag) -> None:
        for label, needed in [*then, *last]:
            if label not in graph.tasks:
                add(graph, task(label, needed))

    expected = begun()
    add_all(expected)
    line, struck = 0, True
    while struck:
        line += 1
        graph = begun()
        struck = struck_at(line, graph.resolve)
        add_all(graph)
        assert whole(graph) == whole(expected)
    line, struck = 0, True
    while struck:
        line += 1
        graph = begun()
        struck = struck_at(line, lambda: add(graph, task("d", ["c", "b"])))
        if "d" not in graph.tasks:
            add(graph, task("d", ["c", "b"]))
        assert whole(graph)[:3] == [
            ("c", ["a", "b"], ["d"]),
            ("a", [], ["c", "b"]),
            ("b", ["a"], ["c", "d"]),
        ]


def layers(count: int, width: int) -> List[Planned]:
    """Layers in which each task depends on two of the layer before."""
    choose = random.Random(2)
    tasks = []
    for index in range(count * width):
        first = index // width * width - width
        pair = {choose.randrange(first, first + width) for _ in range(2) if first >= 0}
        tasks.append(task(index, sorted(pair)))
    return tasks


def chain(size: int, more: int = 0) -> List[Planned]:
    """Each task depends on the one before, and on some of all those before it."""
    choose = random.Random(4)
    tasks = [task(0)]
    for index in range(1, size):
        others = {choose.randrange(index) for _ in range(more)} - {index - 1}
        tasks.append(task(index, [index - 1, *sorted(others)]))
    return tasks


def rooted(size: int) -> List[Planned]:
    """A chain of which each task depends on one more, the same for all."""
    others = [task(each.label, [*each.planned, "root"]) for each in chain(size)]
    return [task("root"), *others]


def capped(size: int) -> List[Planned]:
    """A chain, and a task that depends on all of it."""
    return [*chain(size), task("cap", range(size))]


def ladder(size: int) -> List[Planned]:
    """Two chains; each task of one depends on one of the other, counted backwards."""
    half = size // 2
    tasks = []
    for n in range(half):
        tasks.append(task(("a", n), [("a", n - 1)] if n else []))
        below = [("b", n - 1)] if n else []
        tasks.append(task(("b", n), [*below, ("a", half - 1 - n)]))
    return tasks


def fan(size: int) -> List[Planned]:
    """One task, many that depend on it, and one that depends on all of these."""
    middle = range(1, size - 1)
    return [task(0), *[task(n, [0]) for n in middle], task(size, middle)]


def from_both_ends(count: int) -> List[int]:
    return [n // 2 if n % 2 else count - 1 - n // 2 for n in range(count)]


def bit_reversed(count: int) -> List[int]:
    width = count.bit_length()
    return sorted(range(count), key=lambda n: f"{n:0{width}b}"[::-1])


def shuffled(count: int) -> List[int]:
    return random.Random(3).sample(range(count), count)


GRAPHS: Dict[str, Callable[[int], List[Planned]]] = {
    "layers": lambda size: layers(size // 50, 50),
    "chain": chain,
    "chain and more": lambda size: chain(size, more=1),
    "chain and much more": lambda size: chain(size, more=3),
    "rooted chain": rooted,
    "capped chain": capped,
    "ladder": ladder,
    "fan": fan,
}

ORDERS: Dict[str, Callable[[int], Sequence[int]]] = {
    "forwards": range,
    "backwards": lambda count: range(count)[::-1],
    "shuffled": shuffled,
    "from both ends": from_both_ends,
    "from the middle": lambda count: from_both_ends(count)[::-1],
    "bit-reversed": bit_reversed,
    "every other": lambda count: [*range(0, count, 2), *range(1, count, 2)],
}


class Work:
    """What adding tasks in an order costs: tasks visited by searches, tasks shifted."""

    def __init__(
        self,
        tasks: Sequence[Planned],
        order: Sequence[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        self.visits = self.shifts = 0
        visit, shift = two_way_search.Search.visit, dag._shift

        def counting_visit(*args: Any) -> Any:
            self.visits += 1
            return visit(*args)

        def counting_shift(each: Task, *args: Any) -> None:
            self.shifts += len(each.component or [each])
            shift(each, *args)

        graph = Dag()
        with monkeypatch.context() as patch:
            patch.setattr(two_way_search.Search, "visit", counting_visit)
            patch.setattr(dag, "_shift", counting_shift)
            for n in order:
                add(graph, task(tasks[n].label, tasks[n].planned))
        assert not graph.missing
        check_orders(graph)


@pytest.mark.parametrize("graph", ["layers", "chain", "chain and more", "fan"])
@pytest.mark.parametrize("order", ["forwards", "backwards"])
def test_adding_forwards_or_backwards_costs_nothing(
    graph: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that is added in order, or in the opposite order, is not even watched."""
    tasks = GRAPHS[graph](2_000)
    work = Work(tasks, ORDERS[order](len(tasks)), monkeypatch)
    assert work.visits == work.shifts == 0


@pytest.mark.parametrize("graph", ["layers", "chain"])
@pytest.mark.parametrize("order", ORDERS)
def test_levels_that_agree_need_no_search(
    graph: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where all dependencies span one level, components fit together in any order."""
    tasks = GRAPHS[graph](2_000)
    assert Work(tasks, ORDERS[order](len(tasks)), monkeypatch).visits == 0


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("order", ORDERS)
def test_adding_in_any_order_stays_nearly_linear(
    graph: str, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What each task costs grows no faster than the logarithm of their number."""
    for size in (250, 1_000):
        tasks = GRAPHS[graph](size)
        work = Work(tasks, ORDERS[order](len(tasks)), monkeypatch)
        assert work.visits < size * math.log2(size)
        assert work.shifts <= size * math.log2(size) / 2


def test_a_long_cycle_is_refused_without_recursion() -> None:
    """A chain of 20,000 that would close to a ring names all of its tasks."""
    graph = Dag()
    size = 20_000
    for index in range(1, size):
        add(graph, task(index, [index - 1]))
    with pytest.raises(CircularDependencyError) as caught:
        add(graph, task(0, [size - 1]))
    assert caught.value.cycle == (0, *range(size - 1, -1, -1))
    assert 0 not in graph.tasks


# Several threads ----------------------------------------------------------------------


class Meddler(int):
    """A label in whose questions another thread adds tasks."""

    def __hash__(self) -> int:
        if self.deeds:
            thread = threading.Thread(target=self.deeds.pop(0))
            thread.start()
            thread.join(0.05)  # it may have to wait until this one has added its task
            self.threads.append(thread)
        return int.__hash__(self)

    def __init__(self, number: int) -> None:
        self.deeds: List[Callable[[], None]] = []
        self.threads: List[threading.Thread] = []


Additions = Sequence[Tuple[int, List[int]]]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize(
    "before, mine, theirs",
    [
        ([(1, [])], (5, [1]), [(6, [1])]),  # both forwards
        ([(1, [])], (5, [1]), [(6, [5]), (7, [1])]),  # theirs names mine
        ([(1, [])], (5, [1]), [(6, [5]), (7, [6]), (8, [])]),
        ([(1, [9])], (5, [1]), [(9, []), (6, [5])]),  # mine is among others that name
        ([(1, [])], (5, [6, 1]), [(6, [])]),  # mine names theirs
        ([(1, [5])], (5, []), [(6, [1])]),  # mine is what was missing
    ],
)
def test_what_another_thread_adds_meanwhile(
    before: Additions,
    mine: Tuple[int, List[int]],
    theirs: Additions,
    linked: bool,
    which: int,
) -> None:
    """Between any two questions that a label is asked; in the end all is right."""
    graph = Dag()
    for label, needed in before:
        add(graph, task(label, needed))
    if linked:
        graph._link_all(values(graph))
    label, needed = mine
    meddler = Meddler(label)
    new = task(meddler, needed)
    nothing: Callable[[], None] = int

    def meddle() -> None:
        for one, others in theirs:
            add(graph, task(one, others))

    meddler.deeds = [nothing] * which + [meddle]
    add(graph, new)
    for thread in meddler.threads:
        thread.join()
    meddler.deeds = []  # it may have been asked less often
    expected = {each: list(names) for each, names in (*before, mine, *theirs)}
    if len(graph.tasks) < len(expected):
        meddle()
    order = graph.resolve()
    assert [each.index for each in order] == list(range(len(order)))
    found = {each.label: [one.label for one in each.needs] for each in order}
    assert found == expected
    for each in order:
        assert each.blockers == len(expected[int(str(each.label))])
        users = [one.label for one in graph.dependents[each.index]]
        assert sorted(users) == sorted(
            k for k, v in expected.items() if each.label in v
        )


def test_a_cycle_that_two_threads_close() -> None:
    """It is found by the one or the other, or when the run is to start."""
    for which in range(6):
        graph = Dag()
        meddler = Meddler(5)
        nothing: Callable[[], None] = int
        refused: List[str] = []

        def meddle() -> None:
            try:
                add(graph, task(6, [5]))
            except CircularDependencyError as error:
                refused.append(str(error))

        new = task(meddler, [6])
        meddler.deeds = [nothing] * which + [meddle]
        try:
            add(graph, new)
            for thread in meddler.threads:
                thread.join()
            if meddler.deeds:
                meddler.deeds = []
                meddle()
            if not refused:
                graph.resolve()
        except CircularDependencyError as error:
            refused.append(str(error))
        assert refused and all("5" in each and "6" in each for each in refused)
