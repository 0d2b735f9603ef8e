"""A bounded number of random runs, and proof that the oracle would notice.

The long run is `python -m tests.stress`.
"""

from __future__ import annotations

import copy
from typing import Any, Callable

import pytest

from .check import failure
from .conduct import Record, bounded, conduct
from .oracle import problems
from .scenario import MODES, Scenario, generate

# How many runs of each mode; a fresh interpreter for each worker costs the most.
COUNTS = {
    "thread": 24,
    "fork": 8,
    "fallback-fork": 4,
    "forkserver": 4,
    "fallback-forkserver": 2,
    "spawn": 3,
    "fallback-spawn": 1,
}
AT_ONCE = 4


@pytest.mark.parametrize(
    ("mode", "first"),
    [(mode, seed) for mode in MODES for seed in range(0, COUNTS[mode], AT_ONCE)],
)
def test_random_runs(mode: str, first: int) -> None:
    """Whatever the graph, the faults and the moment: every promise is kept."""
    for seed in range(first, min(first + AT_ONCE, COUNTS[mode])):
        wrong = failure(seed, mode)
        assert not wrong, wrong


def test_a_scenario_is_the_same_for_the_same_seed() -> None:
    """A seed and a mode are enough to replay a run, and differ from any other."""
    for mode in MODES:
        assert generate(3, mode) == generate(3, mode)
        assert generate(3, mode) != generate(4, mode)


def test_scenarios_have_everything_in_them() -> None:
    """The generator draws each fault, way to add, way to run and way to end."""
    scenarios = [generate(seed, "fork") for seed in range(300)]
    specs = [spec for scenario in scenarios for spec in scenario.specs]
    acts = {act for spec in specs for act in spec.acts}
    assert {"kill", "hard exit", "exit", "unpicklable", "hang", "stubborn"} <= acts
    assert {"raise", "orphan", "leftover", "terminate", "garbage", "fork"} <= acts
    assert len({spec.adder for spec in specs}) == 6
    assert len({scenario.ending for scenario in scenarios}) == 4
    assert any(scenario.aborts for scenario in scenarios)
    assert any(scenario.fast_fail for scenario in scenarios)
    assert any(len(scenario.aborts) > 1 for scenario in scenarios)


# The oracle ---------------------------------------------------------------------


def _plain(seed: int) -> Scenario:
    """The next run of one thread, undisturbed, with a failure, a skip, a retry."""
    while True:
        scenario = generate(seed, "thread")
        disturbed = scenario.aborts or scenario.abort_inside or scenario.timeout
        if not (disturbed or scenario.fast_fail) and scenario.max_concurrency == 1:
            return scenario
        seed += 1


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Scenario, Record]:
    """A good run with a failure that was retried, and a task skipped for it."""
    for seed in range(1000):
        scenario = _plain(seed * 50)
        record = conduct(scenario, tmp_path_factory.mktemp("run"))
        assert problems(scenario, record) == []
        results = record.results.values()
        if {"Successful", "Failed", "Terminated"} == {r["status"] for r in results}:
            if any(r["retry_errors"] and r["status"] == "Failed" for r in results):
                return scenario, record
    raise AssertionError("no such run")


def _first(record: Record, status: str) -> dict[str, Any]:
    for result in record.results.values():
        if result["status"] == status and (status != "Failed" or result["attempts"]):
            return result
    raise AssertionError(status)


def _lose_a_label(record: Record) -> None:
    record.results.pop(next(iter(record.results)))


def _swap_labels(record: Record) -> None:
    label = next(iter(record.results))
    record.results[label] = record.results.pop(label)


def _drop_a_field(record: Record) -> None:
    del _first(record, "Successful")["warning"]


def _start_early(record: Record) -> None:
    last = next(e for e in reversed(record.events) if e[0] == "start")
    record.events.remove(last)
    record.events.insert(0, last)


def _start_twice(record: Record) -> None:
    record.events.append(next(e for e in record.events if e[0] == "start"))


def _other_outcome_later(record: Record) -> None:
    record.late = copy.deepcopy(record.late)
    record.late[next(iter(record.late))]["status"] = "Terminated"


def _change(status: str, field: str, value: Any) -> Callable[[Record], None]:
    def change(record: Record) -> None:
        result = _first(record, status)
        assert result[field] != value
        result[field] = value

    return change


TAMPERINGS: dict[str, Callable[[Record], None]] = {
    "a lost label": _lose_a_label,
    "labels out of order": _swap_labels,
    "a lost field": _drop_a_field,
    "an attempt out of order": _start_early,
    "an attempt too many": _start_twice,
    "an outcome that changed": _other_outcome_later,
    "a lost line of progress or report": lambda record: record.log.clear(),
    "a process left behind": lambda record: setattr(record, "left", "process 1"),
    "too many at work": lambda record: setattr(record, "busiest", 2),
    "a wrong success": _change("Failed", "status", "Successful"),
    "a wrong failure": _change("Successful", "status", "Failed"),
    "a wrong result": _change("Successful", "result", 5),
    "a wrong flag": _change("Failed", "has_failed", False),
    "a lost error": _change("Failed", "error", None),
    "another error": _change("Failed", "error", "ValueError: of another task"),
    "a forgotten attempt": _change("Failed", "retry_errors", []),
    "a wrong count": _change("Successful", "attempts", 7),
    "a wrong mode": _change("Successful", "execution_mode", "process"),
    "a warning": _change("Successful", "warning", "beware"),
    "a wrong duration": _change("Successful", "duration", "1 min"),
    "a wrong time": _change("Successful", "end_time", "1999-12-31 23:59:59"),
    "nobody to blame": _change(
        "Terminated",
        "error",
        "RuntimeError: Skipped: dependency [] failed or was terminated",
    ),
    "the wrong one to blame": _change(
        "Terminated",
        "error",
        "RuntimeError: Skipped: dependency ['nobody'] failed or was terminated",
    ),
    "a skip that began": _change("Terminated", "execution_mode", "thread"),
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_the_oracle_notices(run: tuple[Scenario, Record], tampering: str) -> None:
    """Each of these untruths, in a record that is otherwise good, is a problem."""
    scenario, record = run
    record = copy.deepcopy(record)
    TAMPERINGS[tampering](record)
    assert problems(scenario, record)


def test_a_hang_is_a_failure_with_all_stacks(gate: Callable[[], Any]) -> None:
    """What does not end is told by name, with what every thread was at."""
    event = gate()

    def hang_here() -> None:
        event.wait(30)

    with pytest.raises(AssertionError, match="(?s)a nap did not end.*hang_here"):
        bounded(hang_here, "a nap", seconds=0.05)


def test_a_failure_says_how_to_see_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The seed, the mode and a command line are in the message."""
    monkeypatch.setattr("tests.stress.check.problems", lambda *run: ["it is wrong"])
    wrong = failure(4, "thread")
    assert "it is wrong" in wrong
    assert "python -m tests.stress --seed 4 --modes thread --count 1" in wrong
