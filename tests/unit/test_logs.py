"""The log of a run: who says what, at which event; and logs that are broken."""

from __future__ import annotations

import io
import logging
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from concurra.errors import ExecutionError
from concurra.events import END, Event
from concurra.logs import messages
from concurra.logs.readers import ErrorReader, ProgressReader
from concurra.outcomes import ABORT, NOTHING, SUCCESS, AtHand, Outcome, Remark
from concurra.results import Recorder, Registry
from concurra.run_options import RunOptions
from concurra.tasks import Call, Errors, Task

from tests.unit.support import nothing
from tests.unit.test_options import chosen

BOUND = 20.0
FALLBACK = "Task was not picklable; ran in thread fallback"


class Log:
    """Remembers what it is told, if it is told to listen."""

    def __init__(self, level: int = logging.INFO) -> None:
        self.level = level
        self.lines: list[tuple[str, str]] = []

    def isEnabledFor(self, level: int) -> bool:
        return level >= self.level

    def info(self, text: str) -> None:
        self.lines.append(("info", text))

    def warning(self, text: str) -> None:
        self.lines.append(("warning", text))

    def error(self, text: str) -> None:
        self.lines.append(("error", text))


def ended(label: object, outcome: Outcome) -> Task:
    """A task with an outcome."""
    task = Task(label, Call(nothing))
    task.started, task.ended, task.outcome = 0.0, 1.0, outcome
    return task


def good(label: object) -> Task:
    return ended(label, Outcome(SUCCESS, "thread", 1))


def bad(label: object) -> Task:
    return ended(label, Outcome.raised("thread", ValueError("no")))


def registry_of(*tasks: Task) -> Registry:
    return Registry({task.label: task for task in tasks}, Recorder(0.0).record)


def event(task: Task, number: int = 1) -> Event:
    return Event(END, 0.0, task, number, 1, task.outcome)


def told(task: Task, **options: Any) -> list[tuple[str, str]]:
    """What the log is told when this task has ended."""
    log: Any = Log()
    reader = ErrorReader(RunOptions(chosen(log=log, **options)), registry_of(task))
    reader.read(event(task))
    lines: list[tuple[str, str]] = log.lines
    return lines


# Writing ------------------------------------------------------------------------------


def test_emit() -> None:
    """The text goes to the method that is named."""
    log: Any = Log()
    messages.emit(log, "info", lambda: "a")
    messages.warn(log, "b")
    messages.emit(log, "error", lambda: "c")
    assert log.lines == [("info", "a"), ("warning", "b"), ("error", "c")]


def test_a_text_that_nobody_wants_is_not_made() -> None:
    """Reports can be long."""
    log: Any = Log(logging.ERROR)
    made: list[int] = []

    def make() -> str:
        made.append(1)
        return "a"

    messages.emit(log, "info", make)
    assert (made, log.lines) == ([], [])


def test_a_logger_that_cannot_tell_what_it_wants() -> None:
    """It gets everything: `isEnabledFor` is not asked for."""
    lines: list[str] = []
    bare: Any = SimpleNamespace(info=lines.append)
    messages.emit(bare, "info", lambda: "a")
    assert lines == ["a"]


def test_what_is_logged_can_be_encoded_and_has_no_effect() -> None:
    """Whoever it came from; lines stay lines."""
    log: Any = Log()
    messages.warn(log, "one\n\x1b[2J\u202e\udcff\rtwo")
    assert log.lines == [("warning", "one\n" + r"\x1b[2J\u202e\udcff\rtwo")]


@pytest.mark.parametrize("fails", ["text", "method", "level"])
def test_a_broken_log_breaks_nothing(
    fails: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is shown on stderr, and goes no further."""

    def fail(*args: object) -> Any:
        raise OSError("disk full")

    log: Any = Log()
    if fails == "method":
        log.info = fail
    if fails == "level":
        log.isEnabledFor = fail
    messages.emit(log, "info", fail if fails == "text" else str)
    assert log.lines == []
    assert "OSError: disk full" in capsys.readouterr().err


def test_a_broken_log_of_a_program_that_does_not_care(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`logging.raiseExceptions` silences these errors as well."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    messages.guard(lambda: 1 / 0)
    assert capsys.readouterr().err == ""


def leave() -> None:
    raise SystemExit(3)


def test_the_program_may_be_ended_by_its_main_thread() -> None:
    """What is no Exception is for the caller there."""
    with pytest.raises(SystemExit):
        messages.guard(leave)


def test_no_other_thread_is_ended(capsys: pytest.CaptureFixture[str]) -> None:
    """A thread of the run goes on."""
    went_on = []

    def act() -> None:
        messages.guard(leave)
        went_on.append(True)

    thread = threading.Thread(target=act)
    thread.start()
    thread.join(BOUND)
    assert went_on == [True]
    assert "SystemExit: 3" in capsys.readouterr().err


# The report ---------------------------------------------------------------------------


def test_a_report_of_successes() -> None:
    """At INFO, beginning with an empty line; the message is for failures."""
    log: Any = Log()
    messages.report(log, registry_of(good("a")), "message")
    ((level, text),) = log.lines
    assert level == "info"
    assert text.startswith("\n+-")
    assert "message" not in text


@pytest.mark.parametrize("message", [None, "", "It broke"])
def test_a_report_of_failures(message: str | None) -> None:
    """At ERROR, below the message."""
    log: Any = Log()
    messages.report(log, registry_of(good("a"), bad("b")), message)
    ((level, text),) = log.lines
    assert level == "error"
    assert text.startswith((message or "Execution Failed") + "\n+-")
    assert "Task 'b' failed with error: ValueError: no" in text


def test_a_report_that_is_raised() -> None:
    """Instead of being logged; with the results that the user has."""
    log: Any = Log()
    registry = registry_of(good("a"), bad("b"))
    with pytest.raises(ExecutionError, match="^It broke\n") as caught:
        messages.report(log, registry, "It broke", raises=True)
    assert caught.value.failed == {"b": registry["b"]}
    assert caught.value.results["a"] is registry["a"]
    assert log.lines == []
    messages.report(log, registry_of(good("a")), raises=True)
    assert [level for level, _ in log.lines] == ["info"]


class Disabled(Log):
    """As `logging.config` leaves those that it was not told of."""

    disabled = True

    def isEnabledFor(self, level: int) -> bool:
        return False


def test_a_disabled_log_does_not_hide_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their report is on stderr, with the reason, and nothing else is."""
    log: Any = Disabled()
    messages.report(log, registry_of(good("a"), bad("b"), bad("\udcff")), "It broke")
    reason, text = capsys.readouterr().err.split("\n", 1)
    assert "its logger is disabled" in reason
    assert "disable_existing_loggers=False" in reason
    assert text.startswith("It broke\n+-")
    assert "Task 'b' failed with error: ValueError: no" in text
    assert r"Task '\udcff' failed" in text
    messages.report(log, registry_of(good("a")))
    messages.warn(log, "a warning")
    assert capsys.readouterr().err == ""


def test_a_level_hides_what_it_was_set_to_hide(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """That was a choice."""
    log: Any = Log(logging.CRITICAL)
    messages.report(log, registry_of(bad("b")))
    assert (log.lines, capsys.readouterr().err) == ([], "")


@pytest.mark.parametrize("broken", [None, "closed", "ascii"])
def test_where_stderr_is_no_place_to_write(
    broken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It breaks nothing, and what can be written is."""
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii") if broken else None
    monkeypatch.setattr(sys, "stderr", stream)
    if broken == "closed":
        raw.close()
    log: Any = Disabled()
    messages.report(log, registry_of(bad("d\xe9j\xe0")))
    if broken == "ascii":
        assert rb"Task 'd\xe9j\xe0' failed" in raw.getvalue()


def test_an_interrupt() -> None:
    """Is a warning, which names what is no Ctrl-C."""
    log: Any = Log()
    messages.interrupted(log, "Nightly", KeyboardInterrupt(), 3, 8)
    messages.interrupted(log, "Nightly", SystemExit(143), 3, 8)
    assert log.lines == [
        ("warning", "Nightly was interrupted: 3 of 8 tasks had ended"),
        ("warning", "Nightly was ended by SystemExit: 143: 3 of 8 tasks had ended"),
    ]


# Errors as they happen ----------------------------------------------------------------


def test_a_success_is_no_error() -> None:
    """Nor does it end anything."""
    assert told(good("a"), log_errors=True, fast_fail=True) == []


def test_an_error_that_nobody_asked_for() -> None:
    """It is in the report only."""
    assert told(bad("a"), log_errors=False) == []


def test_an_error() -> None:
    """With its trace."""
    task = bad("a")
    assert task.outcome is not None
    task.outcome.trace = "trace"
    text = "Task 'a' failed with error: ValueError: no\ntrace"
    assert told(task, log_errors=True) == [("error", text)]


def test_an_error_that_ends_everything() -> None:
    """Is told whether asked for or not, and so is what follows from it."""
    first, second = told(bad("a"), log_errors=False, fast_fail=True)
    assert first[1].startswith("Task 'a' failed")
    assert second == ("error", "terminating execution!")


def test_what_befell_a_task_is_no_error_of_its_own() -> None:
    """It was aborted, or skipped."""
    for outcome in (Outcome.stopped(NOTHING), Outcome.skipped(["b"])):
        assert told(ended("a", outcome), log_errors=True, fast_fail=True) == []


FELL_BACK = ("warning", "Task 'a' was not picklable; ran in thread fallback")


def test_the_thread_fallback() -> None:
    """Is warned of, before the error if there is one."""
    task = ended("a", Outcome(SUCCESS, "thread_fallback", 1, warning=FALLBACK))
    assert told(task, log_errors=False) == [FELL_BACK]
    task = ended("a", Outcome.raised("thread_fallback", ValueError("no")))
    assert [level for level, _ in told(task)] == ["warning", "error"]


def test_the_thread_fallback_of_an_earlier_attempt() -> None:
    """Counts if a later attempt failed before it began."""
    task = ended("a", Outcome.lost(None, "ended"))
    task.errors = Errors(["ValueError: no"], "thread_fallback")
    assert FELL_BACK in told(task)


def test_an_event_that_is_for_others() -> None:
    """An abort between two attempts is not told of, whoever else wants to know."""
    task = ended("a", Outcome(ABORT, None, error="RuntimeError: x"))
    task.errors = Errors(["ValueError: no"], "thread_fallback")
    assert told(task) == []


def test_a_warning_is_told() -> None:
    """With the task's name; but not that of a task that could not be pickled."""
    task = ended("a", Outcome(SUCCESS, "subprocess", 1, warning="left something"))
    assert told(task, log_errors=False) == [("warning", "Task 'a': left something")]
    assert told(ended("a", Outcome.unpicklable("x", "y")), log_errors=False) == []


@pytest.mark.parametrize("text", ["", "Still running"])
def test_a_warning_that_may_come_later(text: str) -> None:
    """Is told when all is over, if it has come by then; once."""
    remark = Remark()
    task = ended("a", Outcome.stopped(AtHand("subprocess", None, remark)))
    log: Any = Log()
    reader = ErrorReader(RunOptions(chosen(log=log)), registry_of(task))
    reader.read(event(task))
    assert log.lines == []
    remark.text = text
    reader.close()
    reader.close()
    assert log.lines == ([("warning", f"Task 'a': {text}")] if text else [])


def test_a_label_that_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    """It costs its line."""

    class Label:
        broken = False

        def __hash__(self) -> int:
            if self.broken:
                raise RuntimeError("no hash today")
            return 1

    label = Label()
    task = bad(label)
    log: Any = Log()
    options = RunOptions(chosen(log=log, log_errors=True))
    reader = ErrorReader(options, registry_of(task))
    label.broken = True
    reader.read(event(task))
    assert log.lines == []
    assert "no hash today" in capsys.readouterr().err


# Progress -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("total", "shown"),
    [(1, [1]), (3, [1, 2, 3]), (25, [*range(2, 25, 2), 25]), (20, range(2, 21, 2))],
)
def test_every_tenth_is_shown(total: int, shown: list[int]) -> None:
    """And the last; it wants no other, and is told of some."""
    numbers: list[int] = []
    reader = ProgressReader(lambda: numbers.append(reader.told(-1)), total)
    for number in range(1, total + 1):
        reader.read(event(good("a"), number))
    assert reader.step == max(1, total // 10)
    assert numbers == list(shown)


def test_progress_is_quick_if_nobody_sees_it() -> None:
    """With the log off at INFO; if more than a log line comes of it, it never is."""
    log = logging.getLogger("silent")  # which knows who is to hear of a new level
    log.setLevel(logging.WARNING)
    silent, more = ProgressReader(nothing, 20, log), ProgressReader(nothing, 20)
    wanted, another = event(good("a"), 2), event(good("a"), 3)
    assert (silent.quick(wanted), silent.quick(another)) == (True, True)
    assert (more.quick(wanted), more.quick(another)) == (False, True)
    log.setLevel(logging.INFO)
    assert (silent.quick(wanted), silent.quick(another)) == (False, True)


def test_progress_of_a_log_that_cannot_tell_its_level() -> None:
    """Is not quick: what it raises is shown where the line is logged."""

    class Broken(Log):
        def isEnabledFor(self, level: int) -> bool:
            raise ValueError("which level?")

    log: Any = Broken()
    reader = ProgressReader(nothing, 20, log)
    assert not reader.quick(event(good("a"), 2))


def test_the_number_is_that_of_the_event() -> None:
    """But for this thread alone, and only while it reads."""
    asked: list[int] = []

    def show() -> None:
        other = threading.Thread(target=lambda: asked.append(reader.told(9)))
        other.start()
        other.join(BOUND)
        asked.append(reader.told(9))

    reader = ProgressReader(show, 10)
    asked.append(reader.told(9))
    reader.read(event(good("a"), 3))
    asked.append(reader.told(9))
    assert asked == [9, 9, 3, 9]


def test_what_is_broken_is_shown_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A subclass whose method raises loses that line, and its number is past."""
    reader = ProgressReader(lambda: 1 / 0, 2)
    reader.read(event(good("a"), 1))
    assert "ZeroDivisionError" in capsys.readouterr().err
    assert reader.told(7) == 7


def test_no_progress_after_an_interrupt() -> None:
    """Not even the last line; and nothing is held."""
    calls: list[int] = []
    reader = ProgressReader(lambda: calls.append(1), 3)
    reader.read(event(good("a"), 1))
    reader.mute()
    for number in (2, 3):
        reader.read(event(good("a"), number))
    assert calls == [1]


def test_nothing_is_held_after_the_last() -> None:
    """What it calls holds the runner."""
    calls: list[int] = []
    reader = ProgressReader(lambda: calls.append(1), 2)
    for number in (1, 2, 2):
        reader.read(event(good("a"), number))
    assert calls == [1, 1]


def test_the_word_at_the_programs_end() -> None:
    """How many are left, of how many, of which runner."""
    text = messages.unfinished("Nightly", 2, 5)
    assert text.startswith("The program ends before 2 of the 5 tasks of Nightly ")
