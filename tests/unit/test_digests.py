"""Digests: equal values have equal ones, in every process."""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from concurra.adders.references import ref
from concurra.digests import digest
from concurra.tasks import Call, Task
from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import run_script


class Point:
    """Something with a state."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def move(self) -> None:
        """A method."""


class Names(set):  # type: ignore[type-arg]
    """A set of the user's own kind, which may have more than its members."""

    def __init__(self, names: Any = (), of: str = "") -> None:
        super().__init__(names)
        self.of = of


def other() -> None:
    """A function."""


def text(*parts: str) -> str:
    """A string that is an object of its own."""
    return "".join(parts)


EVERYTHING = """
import pathlib
from functools import partial
from tests.unit.test_digests import Names, Point, digest, other, ref, text
names = {f"name {n}" for n in range(50)}
print(digest((
    other, Point.move, Point(names).move, partial(other, names, more=[names]),
    (1, 2.5, None, b"x", "y", names, {"deep": [[[{("t", frozenset(names))}]]]}),
    {pathlib.Path("a"): Point({Point: names})}, Names(names),
    ref(("label", frozenset(names))),
)).hex())
"""


def test_it_is_the_same_in_every_process() -> None:
    """Whatever order sets have there, at any depth."""
    root = str(Path(__file__).resolve().parents[2])
    path = {"PYTHONPATH": f"{SAME_LIBRARY['PYTHONPATH']}:{root}"}
    found = {
        run_script(EVERYTHING, env={**path, "PYTHONHASHSEED": seed}, check=True).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1
    assert len(found.pop().strip()) == 64


SHARED = [1, 2]


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (["abc", "abc"], [text("a", "bc"), text("ab", "c")]),
        ([SHARED, SHARED], [[1, 2], [1, 2]]),
        (Point(SHARED), Point([1, 2])),
        ({1, 2, 30000}, {30000, 2, 1}),
        (Point({"a", "b"}), Point({"b", "a"})),
        (ref("a"), Task("a", Call(other))),
        ([ref("a")], [Task("a", Call(other))]),
    ],
)
def test_equal_values_have_equal_ones(one: Any, same: Any) -> None:
    """Also if parts are one object in one of them, and two in the other."""
    assert digest(one) == digest(same)


@pytest.mark.parametrize(
    ("one", "different"),
    [
        ((1, 2), [1, 2]),
        ((1, 2), (2, 1)),
        (1, 1.0),
        (1, True),
        ("1", b"1"),
        ({1}, frozenset([1])),
        ({1}, [digest(1)]),
        ({"a"}, Names("a")),
        (Names("a"), Names("b")),
        (Names("a", of="x"), Names("a", of="y")),
        ({"a": 1}, {"a": 2}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, OrderedDict(a=1)),
        (Point(1), Point(2)),
        (Point(1).move, Point(2).move),
        (Point, other),
        (partial(other, 1), partial(other, 2)),
        (ref("a"), ref("b")),
        (ref("a"), "a"),
        (ref(1), ref("1")),
    ],
)
def test_other_values_have_others(one: Any, different: Any) -> None:
    """A type, an order or a state is enough."""
    assert digest(one) != digest(different)


def test_a_value_that_has_itself_as_a_part() -> None:
    """It has one, and the same one each time."""

    def rings() -> Any:
        ring: list[Any] = [1]
        ring.append(ring)
        point = Point(ring)
        point.me = point  # type: ignore[attr-defined]
        return ring, point

    assert digest(rings()) == digest(rings())


def test_what_is_shared_over_and_over_ends_soon() -> None:
    """Written out it would be longer than any disk."""

    def nest() -> Any:
        value: Any = [1]
        for _ in range(80):
            value = [value, value]
        return value

    began = time.perf_counter()
    assert digest(nest()) == digest(nest())
    assert time.perf_counter() - began < 20


def test_sets_of_members_that_share_sets_end_soon() -> None:
    """Each set counts once, however many ways lead to it."""

    def nest() -> Any:
        value: Any = frozenset("a")
        for _ in range(40):
            value = frozenset([(value, 1), (value, 2)])
        return value

    began = time.perf_counter()
    assert digest(nest()) == digest(nest()) != digest(frozenset([nest()]))
    assert time.perf_counter() - began < 20


def test_a_set_that_is_a_part_of_its_members() -> None:
    """As the neighbours of the nodes of a graph are. It has a digest, and that soon."""

    def graph(nodes: int) -> list[Point]:
        points = [Point(number) for number in range(nodes)]
        for point in points:
            point.near = set(points) - {point}  # type: ignore[attr-defined]
        return points

    began = time.perf_counter()
    for points in (graph(2), graph(30)):
        assert digest(points) == digest(points)
    assert digest(graph(2)) != digest(graph(3))
    assert time.perf_counter() - began < 20


def test_sets_too_deep_within_each_other() -> None:
    """It has a digest if it can be pickled, and that soon."""
    value: Any = Point("a")
    for _ in range(120):
        value = Point({value})
    began = time.perf_counter()
    assert digest(value) == digest(value)
    for _ in range(100_000):
        value = Point({value})
    with pytest.raises(RecursionError):
        digest(value)
    assert time.perf_counter() - began < 20
    while isinstance(value.x, set):  # or the interpreter goes as deep
        value = value.x.pop()


def test_large_values() -> None:
    """They are not cut."""
    large = b"x" * 3_000_000
    assert digest(large) == digest(bytes(bytearray(large)))
    assert digest(large) != digest(large[:-1] + b"y")


@pytest.mark.parametrize("value", [lambda: None, (i for i in ())])
def test_what_cannot_be_pickled_is_refused(value: Any) -> None:
    """With what pickle says of it."""
    with pytest.raises(Exception, match="pickle"):
        digest(value)
