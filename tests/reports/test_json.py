"""A record as JSON that every parser reads, and back."""

from __future__ import annotations

import io
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from concurra import reports
from concurra.reports import RunRecord, TaskRecord

from .support import HOSTILE, hostile_records, made_up, ran, varied


def written(run: Any) -> str:
    """What is written of a run."""
    file = io.StringIO()
    reports.write_json(run, file)
    return file.getvalue()


def refuse(constant: str) -> Any:
    """NaN and the like are none of JSON."""
    raise AssertionError(constant)


def parsed(text: str) -> Any:
    """As the strictest of parsers reads it."""
    text.encode("utf-8")
    found = json.loads(text, parse_constant=refuse)
    json.dumps(found, ensure_ascii=False).encode("utf-8")  # no lone surrogates
    return found


@pytest.mark.parametrize("make", [varied, ran, made_up])
def test_a_record_comes_back_as_it_was(make: Any, tmp_path: Path) -> None:
    """Before and after a run."""
    record = reports.record(make())
    reports.write_json(record, tmp_path / "run.json")
    assert reports.load(tmp_path / "run.json") == record
    assert reports.load(io.StringIO(written(record))) == record
    with open(tmp_path / "run.json", "rb") as file:
        assert reports.load(file) == record


def test_every_field_is_there() -> None:
    """With the format and its version first, and a line for each task."""
    text = written(ran())
    found = parsed(text)
    assert list(found)[:2] == ["format", "version"]
    assert (found["format"], found["version"]) == ("concurra run", 1)
    assert set(RunRecord.__slots__) <= set(found)
    for each in found["tasks"]:
        assert set(TaskRecord.__slots__) <= set(each)
    lines = [line for line in text.splitlines() if line.startswith('{"index"')]
    assert [json.loads(line.rstrip(","))["index"] for line in lines] == [*range(8)]


def test_times_are_for_people_as_well() -> None:
    """The same moment, in ISO 8601 with the offset from UTC."""
    found = parsed(written(ran()))
    flaky = found["tasks"][0]
    for fields in (found, flaky, *flaky["tries"]):
        for name in ("started", "ended"):
            moment = datetime.fromisoformat(fields[f"{name}_iso"])
            assert moment.utcoffset() is not None
            assert moment.timestamp() == pytest.approx(fields[name], abs=1e-5)
    assert parsed(written(varied()))["started_iso"] is None


def test_what_is_no_json_is_made_some() -> None:
    """A record that was not made of a runner may have anything in it."""
    record = made_up(1, result=[math.nan, {1: HOSTILE}, {2}], error=HOSTILE)
    record.tasks[0].started = 1e300
    [task] = parsed(written(record))["tasks"]
    shown = HOSTILE.replace("\udcff", "\\udcff")
    assert task["result"] == ["nan", {"1": shown}, "{2}"]
    assert task["error"] == shown
    assert task["started_iso"] is None


@settings(max_examples=50)
@given(hostile_records())
def test_hostile_texts_come_back(record: RunRecord) -> None:
    """Whatever a task has made; lone surrogates are escaped."""
    found = parsed(written(record))
    again = reports.load(io.StringIO(written(record)))
    assert written(again) == written(record)
    for task, fields, read in zip(record.tasks, found["tasks"], again.tasks):
        escaped = task.label.encode("utf-8", "backslashreplace").decode()
        assert fields["label"] == read.label == escaped


# Files that are none ------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "null", '{"format": "x"}', "[" * 99999, b"\xff", "<xml/>"],
    ids=range(9),
)
def test_what_is_no_record(text: Any, tmp_path: Path) -> None:
    """The error names the file, and says so."""
    path = tmp_path / "other.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=r"other.json' is not the record of a run"):
        reports.load(path)


@pytest.mark.parametrize("version", [2, 0, None, True, "1", 1.0])
def test_another_version(version: Any) -> None:
    """The error says which one it is, and which one can be read."""
    text = json.dumps({"format": "concurra run", "version": version})
    with pytest.raises(ValueError, match="concurra reads version 1"):
        reports.load(io.StringIO(text))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number(number: str) -> None:
    """Even where Python would read it."""
    text = written(made_up(1)).replace("1000.0", number, 1)
    with pytest.raises(ValueError, match="is no number of JSON"):
        reports.load(io.StringIO(text))


NAMES = [*RunRecord.__slots__, *(f"tasks.{name}" for name in TaskRecord.__slots__)]


@pytest.mark.parametrize("name", sorted({*NAMES} - {"counts"}))
def test_a_broken_field(name: str) -> None:
    """One that is missing, or is something else; the error names it."""
    holder, _, field = name.rpartition(".")
    for change in ("missing", "something else"):
        found = parsed(written(made_up(2)))
        fields = found["tasks"][1] if holder else found
        if change == "missing":
            del fields[field]
        elif field == "result":
            continue  # which may be anything
        else:
            fields[field] = {"some": "thing"}
        where = rf"'file' is broken: {'tasks.1..' if holder else ''}{field} "
        with pytest.raises(ValueError, match=where):
            reports.load(io.StringIO(json.dumps(found)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("index", 0),
        ("depends_on", [2]),
        ("depends_on", [-1]),
        ("depends_on", [True]),
        ("status", "Lost"),
        ("cause", "magic"),
        ("lane", -1),
        ("started", True),
        ("started", 10**400),
        ("tries", [{"started": None}]),
        ("tries", [[1, 2, None]]),
        ("retry_errors", [None]),
    ],
)
def test_a_value_that_cannot_be(name: str, value: Any) -> None:
    """Of the right type, and still none that is written."""
    found = parsed(written(made_up(2)))
    found["tasks"][1][name] = value
    with pytest.raises(ValueError, match=rf"is broken: tasks.1..{name} "):
        reports.load(io.StringIO(json.dumps(found)))


def test_a_task_that_is_none() -> None:
    """Nor can they be anything but a list."""
    found = parsed(written(made_up(1)))
    for tasks, told in ((None, "tasks is"), ([1], "tasks.0. is no object")):
        found["tasks"] = tasks
        with pytest.raises(ValueError, match=told):
            reports.load(io.StringIO(json.dumps(found)))


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    """The error is the operating system's."""
    with pytest.raises(FileNotFoundError):
        reports.load(tmp_path / "none.json")


def test_what_is_no_run() -> None:
    """Nothing is written."""
    file = io.StringIO()
    with pytest.raises(TypeError, match="a TaskRunner or a RunRecord"):
        reports.write_json("run", file)  # type: ignore[arg-type]
    assert file.getvalue() == ""
