"""Where the nodes of a graph stand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from concurra.reports.page.layers import Layout, apart

Edges = list[tuple[int, int]]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, Edges]:
    """A number of nodes, and edges that close no cycle."""
    count = draw(st.integers(0, 14))
    pairs = st.tuples(st.integers(0, 13), st.integers(0, 13))
    drawn = draw(st.sets(pairs, max_size=30))
    return count, sorted((a, b) for a, b in drawn if a < b < count)


@given(graphs())
def test_every_edge_goes_to_a_later_layer(graph: tuple[int, Edges]) -> None:
    """And bends once in each layer between."""
    count, edges = graph
    layout = Layout(count, edges)
    assert len(layout.layer) == len(layout.position) == count
    assert set(layout.bends) == set(edges)
    for a, b in edges:
        assert len(layout.bends[a, b]) == layout.layer[b] - layout.layer[a] - 1


@given(graphs())
def test_no_two_nodes_of_a_layer_overlap(graph: tuple[int, Edges]) -> None:
    """They are one position apart, bends included; no position is below 0."""
    layout = Layout(*graph)
    rows: dict[int, set[float]] = {}
    for layer, position in zip(layout.layer, layout.position):
        assert position >= 0
        assert position not in rows.setdefault(layer, set())
        rows[layer].add(position)
    for (a, _), bends in layout.bends.items():
        for n, position in enumerate(bends):
            rows[layout.layer[a] + n + 1].add(position)
    for positions in rows.values():
        ordered = sorted(positions)
        assert all(b - a > 0.999 for a, b in zip(ordered, ordered[1:]))


def test_lines_do_not_cross_where_they_need_not() -> None:
    """Two chains that were added crosswise are drawn side by side."""
    layout = Layout(6, [(0, 3), (1, 2), (3, 4), (2, 5)])
    sides = [
        layout.position[a] < layout.position[b] for a, b in ((0, 1), (3, 2), (4, 5))
    ]
    assert len(set(sides)) == 1


def test_what_nothing_is_before_stands_near_what_comes_after() -> None:
    """A source that is needed late is no line across the whole picture."""
    layout = Layout(5, [(0, 1), (1, 2), (2, 3), (4, 3)])
    assert layout.layer == [0, 1, 2, 3, 2]


def test_a_chain_is_a_straight_line() -> None:
    """Whatever its length."""
    layout = Layout(50, [(n, n + 1) for n in range(49)])
    assert set(layout.position) == {0.0}


def test_edges_of_one_node_go_together() -> None:
    """As far as they can, so that a source of many has one line at first."""
    layout = Layout(5, [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (3, 4), (0, 4)])
    assert layout.bends[0, 4][:2] == layout.bends[0, 3]
    assert layout.bends[0, 3][:1] == layout.bends[0, 2]


@given(st.lists(st.floats(-100, 100), max_size=30))
def test_apart_keeps_order_and_distance(wishes: list[float]) -> None:
    """Whatever was wished for; what is far enough apart stays where it is."""
    positions = apart(wishes)
    assert all(b - a > 1 - 1e-9 for a, b in zip(positions, positions[1:]))
    again = apart(positions)
    assert all(abs(a - b) < 1e-6 for a, b in zip(positions, again))


def test_apart_moves_as_little_as_it_must() -> None:
    """Two that want the same position share the way."""
    assert apart([5.0, 5.0]) == [4.5, 5.5]
    assert apart([0.0, 5.0, 5.0, 9.0]) == [0.0, 4.5, 5.5, 9.0]
