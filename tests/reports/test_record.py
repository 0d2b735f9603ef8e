"""The record of a run: made at any time, with all that reports need."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import concurra
from concurra import reports
from concurra.reports import RunRecord, TaskRecord, values
from concurra.reports.lanes import lanes
from tests.helpers import START_METHODS

from .support import HOSTILE, Boom, Flaky, boom, made_up, ran, varied


@pytest.fixture(scope="module")
def after() -> RunRecord:
    """The record of a run in which tasks came to all kinds of ends."""
    return reports.record(ran())


def task_of(record: RunRecord, label: str) -> TaskRecord:
    """The only task with this label."""
    [task] = [each for each in record.tasks if each.label == label]
    return task


# When it is made ----------------------------------------------------------------


def test_before_the_run_it_is_the_plan() -> None:
    """Everything waits; what it depends on is known."""
    record = reports.record(varied())
    assert (record.name, record.state, record.max_concurrency) == (
        "varied",
        "not started",
        2,
    )
    assert record.started is record.ended is None
    assert record.counts["Waiting"] == len(record.tasks) == 8
    assert [each.index for each in record.tasks] == list(range(8))
    assert task_of(record, "skipped").depends_on == (1,)
    for each in record.tasks:
        assert (each.status, each.cause, each.started, each.ready) == (
            *("Waiting", None),
            *(None, None),
        )


def test_what_was_never_added_is_no_dependency() -> None:
    """Before the run it may be added yet."""
    runner = concurra.TaskRunner()
    runner.add_task(abs, -1, label="a", depends_on=["later"])
    assert reports.record(runner).tasks[0].depends_on == ()
    runner.add_task(abs, -1, label="later")
    assert reports.record(runner).tasks[0].depends_on == (1,)


def test_during_the_run() -> None:
    """Some tasks have ended, one is at work, and one waits for it."""
    runner = concurra.TaskRunner(2, progress_stats=False)
    begun, gate = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert gate.wait(20)

    runner.add_task(abs, -1, label="first")
    runner.add_task(hold, label="held", depends_on=["first"])
    runner.add_task(abs, -2, label="next", depends_on=["held"])
    runner.execute_in_background()
    try:
        assert begun.wait(20)
        record = reports.record(runner)
    finally:
        gate.set()
        runner.get_background_results(verify=False)
    assert record.state == "running" and record.ended is None
    assert record.started is not None and record.started <= record.moment
    assert [each.status for each in record.tasks] == [
        *("Successful", "Running", "Waiting")
    ]
    first, held, waiting = record.tasks
    assert held.ready == first.ended and held.lane is not None
    assert held.ended is None and held.tries == ((held.started, None, None),)
    assert held.duration == pytest.approx(record.moment - held.started, abs=1e-5)
    assert waiting.ready is waiting.lane is waiting.duration is None


def test_while_tasks_end() -> None:
    """Each record is right in itself, whatever happens while it is made."""
    runner = concurra.TaskRunner(4, progress_stats=False, task_retries=1)
    for index in range(400):
        needs = [index - 9] if index > 9 else []
        runner.add_function(Flaky(index % 2), key=index, depends_on=needs)
    runner.execute_in_background()
    made = [reports.record(runner)]
    while not runner.done():
        made.append(reports.record(runner))
    runner.get_background_results(verify=False)
    for record in (*made, reports.record(runner)):
        for task in record.tasks:
            over = task.status not in ("Waiting", "Running")
            assert (task.ended is not None) == (task.cause is not None) == over
            assert len(task.tries) == task.attempts
            assert (task.lane is not None) == (task.started is not None)
            if over:
                assert task.tries[-1][1] == task.ended
    assert record.counts["Successful"] == 400


def test_after_an_abort_without_a_start() -> None:
    """It has ended, and never started."""
    runner = varied()
    runner.abort(verify=False)
    record = reports.record(runner)
    assert (record.state, record.started) == ("ended", None)
    assert record.counts == {**dict.fromkeys(record.counts, 0), "Terminated": 8}
    assert {each.cause for each in record.tasks} == {"abort"}
    assert {each.started for each in record.tasks} == {None}


def test_of_an_empty_run() -> None:
    """Nothing is a run as well."""
    runner = concurra.TaskRunner()
    assert reports.record(runner).state == "not started"
    runner.run()
    record = reports.record(runner)
    assert record.state == "ended" and record.ended == record.started is not None


def test_of_a_record_it_is_the_record(after: RunRecord) -> None:
    """So whoever takes a runner takes a record as well."""
    assert reports.record(after) is after


@pytest.mark.parametrize("wrong", [None, {}, "run.json", concurra.TaskRunner])
def test_of_anything_else_there_is_none(wrong: Any) -> None:
    """The refusal says what is wanted."""
    with pytest.raises(TypeError, match="runner must be a TaskRunner or a RunRecord"):
        reports.record(wrong)


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
def test_a_copy_has_no_record() -> None:
    """In a process of the run, where no result comes; the error says what to do."""
    runner = concurra.TaskRunner(
        1, use_multiprocessing=True, mp_context="fork", progress_stats=False
    )

    runner.add_task(look_at, id(runner), label="look")
    RUNNERS[id(runner)] = runner
    try:
        error = runner.run(verify=False)["look"]["error"]
    finally:
        RUNNERS.clear()
    assert error is not None and "This is the copy of a runner" in error


RUNNERS: dict[int, concurra.TaskRunner] = {}


def look_at(key: int) -> None:
    """Ask for the record of a runner, in a task."""
    reports.record(RUNNERS[key])


# What it says -------------------------------------------------------------------


def test_every_end_has_its_cause(after: RunRecord) -> None:
    """And its status, and the counts."""
    assert after.state == "ended"
    assert {each.label: each.cause for each in after.tasks} == {
        "flaky": "success",
        "boom": "error",
        "skipped": "skip",
        "fine": "success",
        "command": "exit",
        "late": "timeout",
        "untriggered": "untriggered",
        "cancelled": "cancel",
    }
    assert after.counts == {
        "Waiting": 0,
        "Running": 0,
        "Successful": 2,
        "Failed": 2,
        "Terminated": 4,
    }
    assert after.concurra_version == concurra.__version__


def test_times_are_of_the_wall_clock(after: RunRecord) -> None:
    """In seconds since the epoch, and in order."""
    assert after.started is not None and after.ended is not None
    assert after.started <= after.ended <= after.moment <= time.time() + 1
    assert after.moment > time.time() - 600
    for each in after.tasks:
        assert each.ended is not None and each.ended <= after.ended
        if each.started is not None:
            assert each.ready is not None
            assert after.started <= each.ready <= each.started <= each.ended
            assert each.duration == pytest.approx(each.ended - each.started, abs=1e-5)
    assert task_of(after, "fine").ready == task_of(after, "flaky").ended


def test_each_attempt_has_its_times(after: RunRecord) -> None:
    """Begin, end and error, with the delay between them."""
    flaky = task_of(after, "flaky")
    assert flaky.attempts == len(flaky.tries) == 3
    errors = [error for _, _, error in flaky.tries]
    assert errors == ["Boom: 1 more", "Boom: 0 more", None]
    assert flaky.retry_errors == tuple(errors[:2])
    moments = [moment for begin, end, _ in flaky.tries for moment in (begin, end)]
    assert moments == sorted(moments)  # type: ignore[type-var]
    assert (moments[0], moments[-1]) == (flaky.started, flaky.ended)
    for (_, end, _), (begin, _, _) in zip(flaky.tries, flaky.tries[1:]):
        assert end is not None and begin - end >= 0.009
    boom = task_of(after, "boom")
    assert boom.tries == ((boom.started, boom.ended, "Boom: it is broken"),)


def test_what_never_began_has_no_times_of_it(after: RunRecord) -> None:
    """Skipped, cancelled before, not triggered."""
    for label in ("skipped", "cancelled", "untriggered"):
        task = task_of(after, label)
        assert (task.attempts, task.tries, task.started, task.lane, task.duration) == (
            *(0, (), None),
            *(None, None),
        )
        assert task.ended is not None
    assert task_of(after, "skipped").skipped_because_of == "boom"
    assert task_of(after, "boom").skipped_because_of is None


def test_lanes_are_as_many_as_were_at_work(after: RunRecord) -> None:
    """From 0; no two tasks in one lane at a time."""
    spans: dict[int, list[tuple[float, float]]] = {}
    for each in after.tasks:
        if each.lane is not None and each.started is not None:
            assert each.ended is not None
            spans.setdefault(each.lane, []).append((each.started, each.ended))
    assert set(spans) == set(range(len(spans)))
    for lane in spans.values():
        lane.sort()
        assert all(end <= start for (_, end), (start, _) in zip(lane, lane[1:]))


def test_of_a_command_neither_arguments_nor_environment(after: RunRecord) -> None:
    """They may be secret: its program, return code and output are there."""
    task = task_of(after, "command")
    assert (task.kind, task.program, task.mode) == ("command", "sh", "subprocess")
    assert task.result == {"returncode": 3}
    assert (task.stdout, task.stderr) == ("out\n", "err\n")
    for each in task.__slots__:
        assert "secret" not in repr(getattr(task, each))


def test_what_a_terminated_command_had_printed() -> None:
    """It is in the trace alone; bytes are text here."""
    runner = concurra.TaskRunner(2, timeout=0.5, progress_stats=False)
    runner.add_shell_command("echo so far; exec sleep 20", label="late")
    runner.add_shell_command("printf '\\377x'", label="bytes", text=False)
    runner.add_shell_command("true", label="silent", capture_output=False)
    runner.run(verify=False)
    late, data, silent = reports.record(runner).tasks
    assert (late.stdout, late.stderr, late.result) == ("so far\n", None, None)
    assert (data.stdout, data.stderr) == ("\\xffx", "")
    assert (silent.stdout, silent.stderr) == (None, None)


def test_what_a_user_has_forgiven() -> None:
    """It counts as the user has left it, with the user's own words beside it."""
    runner = ran()
    results = runner.results_registry
    results["boom"].update(has_failed=False, status="Known: ticket 123")
    results["fine"].update(has_failed=True, status="Wrong", error="no good")
    record = reports.record(runner)
    boom, fine = task_of(record, "boom"), task_of(record, "fine")
    assert (boom.status, boom.cause) == ("Successful", "success")
    assert boom.status_text == "Known: ticket 123"
    assert (fine.status, fine.cause, fine.error) == ("Failed", "error", "no good")
    assert record.counts["Successful"] == record.counts["Failed"] == 2


def test_what_a_checkpoint_has_restored(tmp_path: Any) -> None:
    """It was not run: no attempt, no lane, and its result is there."""
    for _ in range(2):
        runner = concurra.TaskRunner(
            progress_stats=False, checkpoint=tmp_path / "run.sqlite"
        )
        runner.add_task(abs, -1, label="a")
        runner.run(verify=False)
    [task] = reports.record(runner).tasks
    assert task.restored and (task.status, task.result) == ("Successful", 1)
    assert (task.attempts, task.lane, task.started, task.tries) == (0, None, None, ())


def test_what_was_let_go_of() -> None:
    """With keep_results=False the values are gone, and all the rest is there."""
    runner = concurra.TaskRunner(1, progress_stats=False, keep_results=False)
    runner.add_task(str, "x", label="a")
    runner.add_task(boom, label="b")
    assert len(list(runner.as_completed())) == 2
    a, b = reports.record(runner).tasks
    assert (a.status, a.result, a.attempts) == ("Successful", None, 1)
    assert (b.status, b.error) == ("Failed", "Boom: it is broken")


def test_what_was_restored_and_let_go_of(tmp_path: Any) -> None:
    """Without its value, it is still what an earlier run has done."""
    for _ in range(2):
        options = {"checkpoint": tmp_path / "run.sqlite", "keep_results": False}
        runner = concurra.TaskRunner(progress_stats=False, **options)
        runner.add_function(Flaky(1), key="a", task_retries=1)
        runner.add_command(["echo", "out"], label="b")
        assert len(list(runner.as_completed())) == 2
    a, b = reports.record(runner).tasks
    assert a.restored and (a.status, a.result) == ("Successful", None)
    assert (a.attempts, a.lane, a.started, a.tries) == (0, None, None, ())
    assert a.retry_errors == ("Boom: 0 more",)
    assert b.restored and (b.mode, b.result, b.stdout) == ("subprocess", None, None)
    assert (a.warning or "").startswith("Restored from checkpoint")


def test_texts_can_be_encoded() -> None:
    """Whatever labels, names and errors have in them; nothing else is changed."""
    runner = concurra.TaskRunner(progress_stats=False, name=HOSTILE)

    def fail() -> None:
        raise Boom(HOSTILE)

    runner.add_task(concurra.task(fail, name=HOSTILE), label=HOSTILE)
    runner.run(verify=False)
    record = reports.record(runner)
    [task] = record.tasks
    shown = HOSTILE.replace("\udcff", "\\udcff")
    assert task.label == task.name == record.name == shown
    assert task.error == f"Boom: {shown}"
    for each in task.__slots__:
        str(getattr(task, each)).encode("utf-8")


def test_long_texts_are_cut() -> None:
    """In the middle, with a note; labels are whole."""
    long = "x" * 300_000

    def fail() -> None:
        raise Boom(long)

    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(fail, label=long)
    runner.run(verify=False)
    [task] = reports.record(runner).tasks
    assert task.label == long
    assert task.error is not None and "characters left out" in task.error
    assert len(task.error) < values.TEXT + 100


# Retries, in every engine -------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"priority": 1}, {"resources": {"db": 1}}])
def test_attempts_of_each_kind_of_order(options: Any) -> None:
    """Whether tasks have priorities and resources, or none."""
    runner = concurra.TaskRunner(2, progress_stats=False, resources={"db": 1})
    for label in "abc":
        flaky = concurra.task(Flaky(1), task_retries=2, **options)
        runner.add_task(flaky, label=label)
    runner.run(verify=False)
    for task in reports.record(runner).tasks:
        (begin, end, error), (again, over, none) = task.tries
        assert (begin, over, none) == (task.started, task.ended, None)
        assert end is not None and begin <= end <= again <= over  # type: ignore
        assert error == "Boom: 0 more"


def test_an_attempt_that_an_abort_ends() -> None:
    """It has the end and the error of its task."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    begun, gate = threading.Event(), threading.Event()
    times = iter((True, False))

    def hold() -> None:
        if next(times):
            raise Boom("once")
        begun.set()
        assert gate.wait(20)

    runner.add_task(hold, label="a", task_retries=1)
    runner.execute_in_background()
    try:
        assert begun.wait(20)
        runner.abort(verify=False)
    finally:
        gate.set()
    [task] = reports.record(runner).tasks
    error = "RuntimeError: Execution terminated before completion"
    assert [error for _, _, error in task.tries] == ["Boom: once", error]
    assert task.tries[-1][1] == task.ended


# Values -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (None, None),
        (True, True),
        (2**63, 2**63),
        (1.5, 1.5),
        ("é\x00", "é\x00"),
        ("\udcff", "\\udcff"),
        ((1, [2, {"a": None}]), [1, [2, {"a": None}]]),
    ],
)
def test_what_json_has_a_form_of(value: Any, form: Any) -> None:
    """It is a copy in that form."""
    assert values.result(value) == (form, False)


class Unprintable:
    def __repr__(self) -> str:
        raise Boom("no")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (math.nan, "nan"),
        ([1, math.inf], "[1, inf]"),
        (2**64, str(2**64)),
        ({1: 2}, "{1: 2}"),
        ({"a": {1, 2}}, "{'a': {1, 2}}"),
        (b"x", "b'x'"),
        (Unprintable(), "<unprintable Unprintable>"),
        ([Unprintable()], "[<unprintable Unprintable>]"),
    ],
)
def test_what_json_has_no_form_of(value: Any, shown: str) -> None:
    """Its repr is there, and said to be that."""
    assert values.result(value) == (shown, True)


@pytest.mark.parametrize(
    "value", [[0] * 10**6, "x" * 10**6, b"x" * 10**6, [["y" * 9999] * 999]]
)
def test_what_is_large(value: Any) -> None:
    """Its repr is cut, and not made first."""
    shown, is_repr = values.result(value)
    assert is_repr and len(shown) < values.RESULT + 100


@pytest.mark.parametrize("kind", [list, dict])
def test_what_is_large_at_each_level(kind: type) -> None:
    """The same: a hundred parts, each with a hundred, and so on."""
    value: Any = math.nan
    for _ in range(6):
        numbers = map(str, range(100))
        value = [value] * 100 if kind is list else dict.fromkeys(numbers, value)
    began = time.perf_counter()
    shown, is_repr = values.result(value)
    assert is_repr and "nan" in shown and len(shown) < values.RESULT + 100
    assert shown.count("...") < 20
    assert time.perf_counter() - began < 20


def test_what_has_no_end() -> None:
    """A value within itself, one that is nested deeply, and a very large number."""
    ring: list[Any] = []
    ring.append(ring)
    deep: Any = 0
    for _ in range(900):
        deep = [deep]
    for value in (ring, deep, 10**5000):
        assert values.result(value)[1]


# Lanes --------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9)), max_size=30))
def test_lanes_are_as_few_as_they_can_be(drawn: list[tuple[int, int]]) -> None:
    """As many as spans are there at one moment; none overlaps another in its lane."""
    spans = [(key, start, start + long) for key, (start, long) in enumerate(drawn)]
    found = lanes(spans)
    assert set(found) == {key for key, _, _ in spans}
    longer = [each for each in spans if each[1] < each[2]]
    for key, start, end in longer:
        for other, begin, over in longer:
            if key < other and found[key] == found[other]:
                assert end <= begin or over <= start
    together = [
        sum(begin <= moment < max(end, begin + 1) for _, begin, end in spans)
        for moment in range(30)
    ]
    assert max(found.values(), default=-1) < max(together)


# What it is ---------------------------------------------------------------------


def test_equal_records_are_equal() -> None:
    """By all that they have; they cannot be keys, and show what they are."""
    assert made_up() == made_up()
    assert made_up() != made_up(2)
    assert made_up() != made_up(error="x")
    assert made_up() != 1
    with pytest.raises(TypeError):
        hash(made_up())
    assert repr(made_up()) == "<RunRecord 'made up': ended, 3 tasks>"
    assert repr(made_up().tasks[0]) == "<TaskRecord 'task 0': Successful>"


def test_nobody_pays_for_reports_who_uses_none() -> None:
    """They are imported when they are asked for."""
    code = (
        "import sys, concurra; r = concurra.TaskRunner(progress_stats=False);"
        "r.add_task(abs, -1, label=0); r.run(verify=False);"
        "assert not any('reports' in each or each.endswith('engine_values') "
        "for each in sys.modules if each.startswith('concurra'));"
        "assert concurra.reports.record"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
