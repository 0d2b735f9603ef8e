"""Every system of every row still runs, and does its work; nothing is timed."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.benchmarks.catalogue import PLOTS, ROWS
from tests.benchmarks.options import CASES, measured
from tests.benchmarks.measure import ROOT, Figures, Finding
from tests.benchmarks.rows import OURS, Faster, Row, System, Within
from tests.benchmarks.table import details, table

FEW = 3
PAIRS = [(row, system) for row in ROWS.values() for system in row.systems]


@functools.lru_cache(maxsize=None)
def samples(name: str) -> dict[str, dict[str, Any]]:
    """One measurement of each system of a row, with few tasks."""
    systems = [each.name for each in ROWS[name].systems if not each.published]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.worker"]
        + [name, ",".join(systems), str(FEW)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=50,
    )
    return dict(zip(systems, map(json.loads, done.stdout.splitlines())))


@pytest.mark.parametrize(
    ("row", "system"), PAIRS, ids=[f"{row.name}-{each.name}" for row, each in PAIRS]
)
def test_a_system_does_the_work_of_its_row(row: Row, system: System) -> None:
    """The row's own check sees to that, after each measurement."""
    if system.published:
        pytest.skip("it is in another interpreter: see --published")
    sample = samples(row.name)[system.name]
    if "missing" in sample:
        pytest.skip(sample["missing"])
    assert sample.keys() == {"seconds", "cpu", "rss"}


def test_rows_are_told_apart_and_begin_with_concurra() -> None:
    """A name finds one row, and a row has something to be held against."""
    for name, row in {**ROWS, **PLOTS}.items():
        assert row.name == name
        assert [each.name for each in row.systems].count(OURS) == 1
        assert row.systems[0].name == OURS


def finding(row: str, **seconds: float) -> Finding:
    """What a table is made of, with one round for each system that has a time."""
    systems = {each.name: Figures(missing="not here") for each in ROWS[row].systems}
    for name, each in seconds.items():
        systems[name] = Figures([each], [each])
    return Finding(ROWS[row], 1000, systems)


def test_the_best_peer_counts_and_a_limit_does_not() -> None:
    """The ratio is the best peer's time, divided by ours."""
    found = finding("threads", concurra=1.0, ThreadPoolExecutor=4.0)
    found.systems["bare loop"] = Figures([0.1], [0.1])
    assert isinstance(found.row.bar, Faster)
    assert (found.best, found.ratio, found.passed) == ("ThreadPoolExecutor", 4.0, True)
    slower = finding("threads", concurra=2.0, ThreadPoolExecutor=4.0)
    assert (slower.ratio, slower.passed) == (2.0, False)


def test_without_a_peer_there_is_no_verdict() -> None:
    """What is missing is said."""
    found = finding("add", concurra=1.0)
    assert (found.best, found.passed) == (None, None)
    assert "missing: not here" in table([found])
    assert "missing: not here" in details([found])


def test_a_bar_may_have_a_floor() -> None:
    """Only what is beyond it counts."""
    found = finding("import", concurra=0.05)
    found.systems["bare interpreter"] = Figures([0.04], [0.04])
    assert isinstance(found.row.bar, Within)
    assert found.excess == pytest.approx(0.01)
    assert found.passed


def test_growth_is_against_a_tenth_of_the_tasks() -> None:
    """Ten times the tasks may take eleven times as long."""
    found = finding("chain", concurra=12.0)
    found.tenth = Figures([1.0], [1.0])
    assert found.growth == 12
    assert "| **12.0** " in table([found])


def test_another_run_is_shown_beside() -> None:
    """Each row has the result of both, as far as the other has it."""
    chain, threads = finding("chain", concurra=1.0), finding("threads", concurra=1.0)
    chain.systems["ThreadPoolExecutor + graphlib"] = Figures([20.0], [20.0])
    there = finding("chain", concurra=4.0)
    there.systems["ThreadPoolExecutor + graphlib"] = Figures([20.0], [20.0])
    beside = {
        "surroundings": {"python": "3.13.0"},
        "rows": {"chain": json.loads(json.dumps(there.to_json()))},
    }
    head, _, first, second = table([chain, threads], beside).splitlines()
    assert [cell.strip() for cell in head.split("|")[5:8]] == [
        "result",
        "aim",
        "3.13.0",
    ]
    assert [cell.strip() for cell in first.split("|")[5:8]] == [
        "20.00 x",
        "10 x",
        "**5.00 x**",
    ]
    assert [cell.strip() for cell in second.split("|")[5:8]] == ["", "3 x", ""]


@pytest.mark.parametrize("name", CASES)
def test_each_option_still_does_its_work(name: str) -> None:
    """In a process of its own, as it is measured."""
    assert measured(name, FEW).keys() == {"seconds", "cpu", "bytes", "all"}
