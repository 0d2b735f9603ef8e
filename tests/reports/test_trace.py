"""The Trace Event Format, as its viewers read it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings

import concurra
from concurra import reports
from concurra.reports import RunRecord, TaskRecord

from .support import Flaky, hostile_records, made_up, ran


def refuse(constant: str) -> Any:
    """NaN and the like are none of JSON."""
    raise AssertionError(constant)


def events_of(run: Any) -> list[dict[str, Any]]:
    """The events of a run, which are as the format wants them."""
    file = io.StringIO()
    reports.write_chrome_trace(run, file)
    file.getvalue().encode("ascii")
    found = json.loads(file.getvalue(), parse_constant=refuse)
    events: list[dict[str, Any]] = found["traceEvents"]
    for each in events:
        assert isinstance(each["name"], str)
        assert isinstance(each["pid"], int) and isinstance(each["tid"], int)
        assert isinstance(each["ts"], (int, float)) and each["ts"] >= 0
        if each["ph"] == "X":
            assert each["dur"] >= 0 and isinstance(each["cat"], str)
        assert each["ph"] in "XMCbesfi"
    check_slices(events)
    check_arrows(events)
    check_queue(events)
    return events


def check_slices(events: list[dict[str, Any]]) -> None:
    """Those of one track do not overlap."""
    tracks: dict[int, list[tuple[float, float]]] = {}
    for each in events:
        if each["ph"] == "X":
            span = each["ts"], each["ts"] + each["dur"]
            tracks.setdefault(each["tid"], []).append(span)
    for spans in tracks.values():
        spans.sort()
        assert all(a[1] <= b[0] + 0.01 for a, b in zip(spans, spans[1:]))


def check_arrows(events: list[dict[str, Any]]) -> None:
    """Each has a start and an end, which are in slices of their tracks."""
    starts = {each["id"]: each for each in events if each["ph"] == "s"}
    ends = {each["id"]: each for each in events if each["ph"] == "f"}
    assert set(starts) == set(ends)
    slices = [each for each in events if each["ph"] == "X"]
    for each in (*starts.values(), *ends.values()):
        assert any(
            it["tid"] == each["tid"] and it["ts"] <= each["ts"] <= it["ts"] + it["dur"]
            for it in slices
        )


def check_queue(events: list[dict[str, Any]]) -> None:
    """What begins ends, later."""
    began = {e["id2"]["local"]: e["ts"] for e in events if e["ph"] == "b"}
    ended = {e["id2"]["local"]: e["ts"] for e in events if e["ph"] == "e"}
    assert set(began) == set(ended)
    assert all(began[each] < ended[each] for each in began)


def slices(events: list[dict[str, Any]]) -> list[str]:
    """The names of all slices."""
    return [each["name"] for each in events if each["ph"] == "X"]


def test_each_attempt_is_a_slice() -> None:
    """With the time between attempts, and what is known of the task."""
    events = events_of(ran())
    assert slices(events)[:5] == [
        "flaky, attempt 1",
        "waits for its next attempt",
        "flaky, attempt 2",
        "waits for its next attempt",
        "flaky, attempt 3",
    ]
    [boom] = [e for e in events if e["ph"] == "X" and e["name"] == "boom"]
    assert boom["args"]["error"] == "Boom: it is broken"
    assert (boom["args"]["status"], boom["args"]["cause"]) == ("Failed", "error")
    [command] = [e for e in events if e["ph"] == "X" and e["name"] == "command"]
    assert (command["cat"], command["args"]["program"]) == ("command", "sh")


def test_each_lane_is_a_track() -> None:
    """It has a name; times are microseconds from the start of the run."""
    events = events_of(made_up(4))
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert names == ["lane 1", "lane 2", "not run"]
    found = [e for e in events if e["ph"] == "X"]
    assert [each["tid"] for each in found] == [1, 2, 1, 2]
    assert [each["ts"] for each in found] == [0, 1e6, 2e6, 3e6]
    assert {each["dur"] for each in found} == {1e6}


def test_dependencies_are_arrows() -> None:
    """From the last attempt of one to the first of the other."""
    events = events_of(made_up(3))
    assert [(e["tid"], e["ts"]) for e in events if e["ph"] == "f"] == [
        *((2, 1e6), (1, 2e6))
    ]
    assert [e["tid"] for e in events if e["ph"] == "s"] == [1, 2]


def test_the_time_in_the_queue_is_shown() -> None:
    """Of tasks that could have been at work, and the counters with it."""
    record = made_up(2)
    for each in record.tasks:
        each.ready = 1000.0
    events = events_of(record)
    [begin] = [each for each in events if each["ph"] == "b"]
    [end] = [each for each in events if each["ph"] == "e"]
    assert (begin["name"], begin["ts"], end["ts"]) == ("task 1", 0, 1e6)
    counters: dict[str, list[Any]] = {"running": [], "waiting": []}
    for each in events:
        if each["ph"] == "C":
            counters[each["name"]].append((each["ts"], each["args"]["tasks"]))
    assert counters["running"] == [(0, 1), (1e6, 1), (2e6, 0)]
    assert counters["waiting"] == [(0, 1), (1e6, 0), (2e6, 0)]


def test_a_task_that_waits_for_its_next_attempt_is_not_at_work() -> None:
    """The counter is of attempts, not of tasks that have begun."""
    record = made_up(1)
    [task] = record.tasks
    task.tries = ((1000.0, 1000.25, "no"), (1000.75, 1001.0, None))
    running = [
        (each["ts"], each["args"]["tasks"])
        for each in events_of(record)
        if each["ph"] == "C" and each["name"] == "running"
    ]
    assert running == [(0, 1), (0.25e6, 0), (0.75e6, 1), (1e6, 0)]


def test_what_was_not_run_is_a_mark() -> None:
    """On a track of its own, when that was decided."""
    marks = [each for each in events_of(ran()) if each["ph"] == "i"]
    assert {each["name"] for each in marks} == {"skipped", "untriggered", "cancelled"}
    assert {each["args"]["cause"] for each in marks} == {
        "skip",
        "untriggered",
        "cancel",
    }


def test_what_was_aborted_before_the_start() -> None:
    """Nothing is earlier than the first that is known, whenever one asks."""
    task = TaskRecord(
        index=0, label="a", name="a", status="Terminated", cause="abort", ended=5.0
    )
    record = RunRecord(
        name="x", state="ended", max_concurrency=1, moment=9.0, tasks=[task]
    )
    (mark,) = [event for event in events_of(record) if event["ph"] == "i"]
    assert mark["ts"] == 0


def test_during_a_run_slices_end_now() -> None:
    """What is at work goes on until the record was made."""
    task = TaskRecord(
        **{"index": 0, "label": "a", "name": "a", "status": "Running", "lane": 0},
        started=1000.0,
        tries=[(1000.0, None, None)],
    )
    run = RunRecord(
        **{"name": "x", "state": "running", "max_concurrency": 1},
        started=999.0,
        moment=1003.0,
        tasks=[task],
    )
    [found] = [each for each in events_of(run) if each["ph"] == "X"]
    assert (found["ts"], found["dur"]) == (1e6, 3e6)


@pytest.mark.parametrize("make", [concurra.TaskRunner, lambda: made_up(0)])
def test_without_a_run_there_are_no_slices(make: Any) -> None:
    """The tracks have names, and that is all."""
    assert {each["ph"] for each in events_of(make())} == {"M"}


def test_a_task_between_two_attempts() -> None:
    """It was stopped while it waited for the next one."""
    runner = concurra.TaskRunner(1, progress_stats=False, timeout=0.1)
    runner.add_function(Flaky(9), key="a", task_retries=concurra.Retry(5, delay=60))
    runner.run(verify=False)
    attempt, wait = [each for each in events_of(runner) if each["ph"] == "X"]
    assert (attempt["name"], attempt["args"]["status"]) == ("a", "Failed")
    assert wait["name"] == "waits for its next attempt"
    assert (wait["args"]["status"], wait["args"]["cause"]) == ("Terminated", "timeout")
    assert wait["ts"] == pytest.approx(attempt["ts"] + attempt["dur"], abs=1)
    assert wait["dur"] > 50_000


def test_an_arrow_from_a_task_that_waited_for_its_next_attempt() -> None:
    """It begins within a slice, or viewers would not draw it."""
    record = made_up(2)
    first, second = record.tasks
    first.tries = ((1000.0, 1000.25, "no"),)
    events = events_of(record)
    [arrow] = [each for each in events if each["ph"] == "s"]
    assert any(
        each["ts"] <= arrow["ts"] <= each["ts"] + each["dur"]
        for each in events
        if each["ph"] == "X" and each["tid"] == arrow["tid"]
    )


@settings(max_examples=100)
@given(hostile_records())
def test_hostile_texts_are_text(record: RunRecord) -> None:
    """Whatever tasks have made, it is read again, in plain ASCII."""
    for each in events_of(record):
        each["name"].encode("utf-8")
