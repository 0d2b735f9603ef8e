"""The longest path, and what of a graph is drawn."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import concurra
from concurra import reports
from concurra.reports import RunRecord, TaskRecord
from concurra.reports.graph import Graph, caption, longest_path

from .support import made_up, ran, timed, varied


def graph(*tasks: tuple[float | None, list[int]], cause: str = "success") -> RunRecord:
    """A record of tasks with a duration, and what each depends on."""
    made = [
        TaskRecord(
            index=index,
            label=str(index),
            name="x",
            status="Waiting" if duration is None else "Successful",
            cause=None if duration is None else cause,
            duration=duration,
            depends_on=needs,
        )
        for index, (duration, needs) in enumerate(tasks)
    ]
    return RunRecord(name="x", state="ended", max_concurrency=1, moment=0.0, tasks=made)


def test_the_longest_path_took_longest() -> None:
    """By the durations of its tasks, not by their number."""
    record = graph((1, []), (5, []), (1, [0]), (1, [2]), (1, [1, 3]))
    assert longest_path(record) == (1, 4)


def test_before_the_run_it_has_most_tasks() -> None:
    """There is nothing else to go by."""
    record = graph((None, []), (None, []), (None, [0]), (None, [1, 2]))
    assert longest_path(record) == (0, 2, 3)
    assert [each for each in longest_path(reports.record(varied()))] == [0, 3, 5, 7]


def test_what_was_never_started_takes_no_time() -> None:
    """It ends no path; what took no time to speak of is part of one."""
    assert longest_path(timed()) == (0, 3, 5)
    assert longest_path(graph((0.0, []), (0.0, [0]), (0.0, [1]))) == (0, 1, 2)


def test_who_is_skipped_has_not_waited() -> None:
    """Only for the failure; so no path takes longer than the run."""
    record = graph((2, []), (1, []), (None, [0, 1]), (1.5, [2]))
    times = [(0.0, 2.0), (0.0, 1.0), (None, 1.0), (1.0, 2.5)]
    for each, (started, ended) in zip(record.tasks, times):
        each.started, each.ended = started, ended
    assert longest_path(record) == (1, 2, 3)


def test_dependencies_on_what_was_added_later() -> None:
    """The order of adding is not that of dependencies."""
    assert longest_path(graph((1, [2]), (1, []), (1, [1]))) == (1, 2, 0)


@pytest.mark.parametrize("record", [graph(), graph((1, [])), graph((1, []), (2, []))])
def test_without_dependencies_there_is_none(record: RunRecord) -> None:
    """A single task is no path."""
    assert longest_path(record) == ()


def test_a_cycle_has_no_end_and_no_path() -> None:
    """Only a file that was changed can have one."""
    assert longest_path(graph((1, [1]), (1, [0]), (1, []), (1, [2]))) == (2, 3)


@given(st.lists(st.tuples(st.integers(1, 9), st.sets(st.integers(0, 11))), max_size=12))
def test_no_path_is_longer(drawn: list[tuple[int, set[int]]]) -> None:
    """Compared with all paths that there are."""
    tasks = [
        (float(took), [each for each in needs if each < index])
        for index, (took, needs) in enumerate(drawn)
    ]

    def longest(index: int) -> float:
        took, needs = tasks[index]
        return took + max(map(longest, needs), default=0.0)

    path = longest_path(graph(*tasks))
    assert all(a in tasks[b][1] for a, b in zip(path, path[1:]))
    ends = [longest(index) for index in range(len(tasks)) if tasks[index][1]]
    alone = [took for took, _ in tasks]
    if path:
        assert sum(tasks[index][0] for index in path) == max(ends)
    else:
        assert max(ends, default=0) <= max(alone, default=0)


# What is drawn ------------------------------------------------------------------


def test_everything_is_drawn_if_there_is_room() -> None:
    """In the order of adding, with each dependency once."""
    drawing = Graph(graph((1, []), (1, [0, 0]))).drawing(2)
    assert ([each.index for each in drawing.tasks], drawing.left) == ([0, 1], 0)
    assert (drawing.edges, drawing.steps) == ([(0, 1)], {(0, 1)})


def test_what_matters_is_drawn_first() -> None:
    """The longest path, what went wrong with its neighbours, then the others."""
    needs: list[tuple[float | None, list[int]]] = [(1, []) for _ in range(100)]
    needs[70] = (5, [])
    needs[80] = (5, [70])
    needs[91] = (1, [90])
    needs[92] = (1, [91])
    record = graph(*needs)
    record.tasks[91].cause = "error"
    for most, indexes in (
        (2, [70, 80]),
        (3, [70, 80, 91]),
        (5, [70, 80, 90, 91, 92]),
        (7, [0, 1, 70, 80, 90, 91, 92]),
    ):
        drawing = Graph(record).drawing(most)
        assert [each.index for each in drawing.tasks] == indexes
        assert drawing.left == 100 - most
        assert {index for edge in drawing.edges for index in edge} <= set(indexes)


def test_what_stands_below_a_label() -> None:
    """The status, why if that says more, and the time it took."""
    said = {each.label: caption(each) for each in reports.record(ran()).tasks}
    assert said["skipped"] == "Terminated (skip)"
    assert said["untriggered"] == "Terminated (untriggered)"
    assert re.fullmatch(r"Failed, \d+\.\d+ s", said["boom"])
    assert re.fullmatch(r"Terminated \(timeout\), \d+\.\d+ s", said["late"])
    assert caption(reports.record(varied()).tasks[0]) == ""


def test_a_large_graph_takes_little_time() -> None:
    """Ten thousand tasks in a chain: nothing recurses."""
    assert len(longest_path(made_up(10_000))) == 10_000
    runner = concurra.TaskRunner()
    for index in range(2_000):
        runner.add_task(abs, -1, label=index, depends_on=[index - 1] if index else [])
    assert len(longest_path(reports.record(runner))) == 2_000
