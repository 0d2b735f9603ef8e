"""The facts of a line of the log, and loggers that can take them or cannot."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import concurra
from concurra.logs import messages
from concurra.logs.attributes import EVENTS, NAMES, write

FACTS = [f"concurra_{name}" for name in NAMES]


class Records(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record)

    def of(self, event: str) -> dict[str, Any]:
        """The facts of the only record of an event, without the event."""
        (record,) = (e for e in self.found if vars(e)["concurra_event"] == event)
        known = {name[9:]: vars(record)[name] for name in FACTS[1:]}
        return {name: value for name, value in known.items() if value is not None}


@pytest.fixture
def records() -> Iterator[Records]:
    """What the logger of a test has got."""
    log, kept = logging.getLogger("tests.attributes"), Records()
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(kept)
    yield kept
    log.removeHandler(kept)


LOG = logging.getLogger("tests.attributes")


def fail() -> None:
    raise ValueError("no")


def generate() -> Iterator[int]:
    yield 1


def test_each_line_of_a_run_has_its_facts(records: Records) -> None:
    """All of them, on each record; what is not known is None."""
    runner = concurra.TaskRunner(1, logger=LOG, log_errors=True, task_retries=1)
    runner.add_task(fail, label=("a", 1))
    runner.add_task(generate, label="generator")
    runner.run()
    assert all(set(FACTS) <= set(vars(record)) for record in records.found)
    found = [vars(record)["concurra_event"] for record in records.found]
    assert found == ["failure", "progress", "warning", "progress", "report"]
    failure = records.of("failure")
    assert 0 <= failure.pop("duration") < 20
    assert failure == {
        **{"label": ("a", 1), "status": "Failed", "attempt": 2},
        **{"ended": 1, "total": 2},
    }
    assert records.of("report") == {"status": "Failed", "ended": 2, "total": 2}
    warning = records.of("warning")
    assert (warning["label"], warning["status"]) == ("generator", "Successful")
    assert set(found) <= set(EVENTS)


def test_progress_has_the_seconds_of_the_run(records: Records) -> None:
    """And a report of successes says so."""
    runner = concurra.TaskRunner(1, logger=LOG)
    runner.add_task(int)
    runner.run()
    progress = records.of("progress")
    assert type(progress.pop("duration")) is float
    assert progress == {"ended": 1, "total": 1}
    assert records.of("report")["status"] == "Successful"


def test_fast_fail_and_interruptions(records: Records) -> None:
    """Each is an event of its own."""
    runner = concurra.TaskRunner(1, logger=LOG, fast_fail=True)
    runner.add_task(fail, label="bad")
    runner.run(verify=False)
    assert records.of("fast_fail")["label"] == "bad"
    messages.interrupted(LOG, "Nightly", KeyboardInterrupt(), 3, 7)
    assert records.of("interrupted") == {"ended": 3, "total": 7}


class Label:
    """No plain value."""

    def __str__(self) -> str:
        return "shown"


def test_a_label_is_fit_for_json(records: Records) -> None:
    """What is not plain is its text."""
    messages.warn(LOG, "note", label=Label())
    assert json.dumps(records.of("warning")) == '{"label": "shown"}'


def test_an_adapter_keeps_its_own_attributes(records: Records) -> None:
    """Beside the facts; whatever it makes of a text is made."""

    class Prefix(logging.LoggerAdapter):  # type: ignore[type-arg]
        def process(self, msg: Any, kwargs: Any) -> Any:
            return f"job 7: {msg}", kwargs

    adapter = logging.LoggerAdapter(Prefix(LOG, {}), {"host": "a"})
    messages.warn(adapter, "note", label="b")  # type: ignore[arg-type]
    (record,) = records.found
    assert record.getMessage() == "job 7: note"
    assert vars(record)["host"] == "a" and vars(record)["concurra_label"] == "b"


def test_an_adapter_without_attributes(records: Records) -> None:
    """None for them, as the default is."""
    write(logging.LoggerAdapter(LOG, None), "info", "note", {"event": "note"})
    assert records.of("note") == {}


def test_a_logger_of_another_kind_gets_the_text_alone() -> None:
    """Its methods may know no `extra`, or format it into the text."""
    told = []

    class Other:
        def info(self, text: str) -> None:
            told.append(text)

    class Own(logging.LoggerAdapter):  # type: ignore[type-arg]
        def info(self, msg: object, *args: object, **kwargs: object) -> None:
            told.append((msg, args, kwargs))

    write(Other(), "info", "{braces}", {"event": "note"})
    write(Own(LOG, {}), "info", "own", {"event": "note"})
    assert told == ["{braces}", ("own", (), {})]
