"""What a person reads of a run: the report, and the line of progress."""

from __future__ import annotations

import importlib
from collections.abc import Hashable
from types import SimpleNamespace
from typing import Any
from unicodedata import east_asian_width

import pytest

from concurra.outcomes import EXIT, LOST, NOTHING, SUCCESS, Outcome
from concurra.plan.plan import Plan
from concurra.results import Entry, Recorder, Registry
from concurra.summary import MANY, failure as told_failure
from concurra.summary import interrupted, progress, report, table
from concurra.tasks import Command, Task

from tests.unit.support import Planned, failure, labels, make, opened, success

ESC = "\x1b"

tabulate: Any = importlib.import_module("tabulate")


def told(plan: Plan, **changes: dict[str, Any]) -> list[Entry]:
    """What a report is made of; with what users have changed, by label."""
    registry = Registry(plan.tasks, Recorder(0.0).record)
    for label, change in changes.items():
        registry[label].update(change)
    return registry.ended()


def failed(*tasks: Task, error: str = "ValueError: bad") -> Plan:
    """A plan whose tasks have failed, one after the other, as far as they could."""
    plan = opened(*tasks)
    while plan.remaining:
        task = plan.take(0.0)
        assert task is not None
        plan.settle(task, failure(error), 1.0)
    return plan


def lines_of(plan: Plan, **changes: dict[str, Any]) -> list[str]:
    """The report without its message and table."""
    text = report(told(plan, **changes), "message")
    return text[text.rindex("-+\n") + 3 :].splitlines() if "-+\n" in text else []


def line_of(label: Hashable, error: str = "ValueError: bad", trace: Any = None) -> str:
    """What is said of a failure."""
    (entry,) = told(failed(make(label), error=error))
    entry.result["trace"] = trace
    return told_failure(entry)


# The report ---------------------------------------------------------------------------


def test_the_report_of_a_success() -> None:
    """The message and the table."""
    plan = opened(make("a"), make(2))
    for task in plan.tasks.values():
        plan.take(0.0)
        plan.settle(task, success(), 1.5)
    assert report(told(plan), "") == "\n".join(
        [
            "",
            "+---------+---------+------------+------------+",
            "| label   | task    | status     | duration   |",
            "|---------+---------+------------+------------|",
            "| a       | nothing | Successful | 1.5 sec    |",
            "| 2       | nothing | Successful | 1.5 sec    |",
            "+---------+---------+------------+------------+",
        ]
    )


def test_the_report_of_failures() -> None:
    """After the table, each failed task with its error, and its trace if it has one."""
    plan = opened(make("bad"), make("after", "bad"), make("good"))
    bad, _, good = plan.tasks.values()
    plan.take(0.0)
    plan.settle(bad, failure(), 1.0)
    plan.take(1.0)
    plan.settle(good, success(), 2.0)
    text = report(told(plan), "My message")
    first, *lines = text.splitlines()
    assert first == "My message"
    assert lines[:3][-1].startswith("|---")
    assert [line.split()[1] for line in lines[3:6]] == ["bad", "after", "good"]
    skipped = "Skipped: dependency ['bad'] failed or was terminated"
    assert lines[7:] == [
        "Task 'bad' failed with error: ValueError: bad",
        "trace",
        f"Task 'after' failed with error: RuntimeError: {skipped}",
    ]


def test_labels_that_look_like_numbers_stay_as_they_are() -> None:
    """The table does not format them."""
    names = ["1.50", "007", "1e5", "0x10", "None"]
    tasks = [make(name) for name in names]
    plan = opened(*tasks)
    plan.terminate({}, 0.0)
    rows = report(told(plan), "").splitlines()[4:9]
    assert [row.split()[1] for row in rows] == names == labels(tasks)


def test_an_unprintable_label_breaks_no_report() -> None:
    """It is shown by its type."""

    class Mute:
        def __str__(self) -> str:
            raise ValueError("no")

        __repr__ = __str__

    plan = failed(make(Mute()))
    assert report(told(plan), "").count("<unprintable Mute>") == 2


def test_an_empty_report() -> None:
    """A table of nothing."""
    text = report([], "")
    assert "label" in text
    assert len(text.splitlines()) == 5


def test_result_and_report_tell_the_same_duration() -> None:
    """Also where the rounding decides."""
    plan = opened(make("a"))
    task = plan.take(0.0)
    assert task is not None
    plan.settle(task, success(), 60.003)
    (entry,) = told(plan)
    assert entry.result["duration"] in report([entry], "")


def test_a_trace_of_any_kind() -> None:
    """A list of lines, say: it is the users' to change."""
    assert line_of("a", trace=["one", "two"]).endswith("\n['one', 'two']")


def test_a_trace_that_says_no_more_than_the_error() -> None:
    """It is that of a call with wrong arguments, which never came to the function."""
    error = "TypeError: f() missing 1 required positional argument: 'x'"
    told = line_of("a", error=error, trace=f"{error}\n")
    assert told == f"Task 'a' failed with error: {error}"


def test_whatever_users_make_of_a_result() -> None:
    """It breaks no report, and neither moves a cursor nor fails to be encoded."""
    odd = f"{ESC}[2J\udcff"
    plan = failed(make("a"))
    entry = {
        name: odd for name in ("task_name", "status", "duration", "error", "trace")
    }
    entry["trace"] += "."
    text = report(told(plan, a=entry), f"{odd}\nsecond line")
    assert text.startswith(r"\x1b[2J\udcff" + "\nsecond line\n+-")
    assert text.count(r"\x1b[2J\udcff") == 6
    assert text.replace("\n", "").isprintable()


# Labels -------------------------------------------------------------------------------


def test_the_table_cuts_a_long_label() -> None:
    """At 60 characters, with an ellipsis; the line of the error has it whole."""
    long, fits = "x" * 5000, "y" * 60
    plan = failed(make(long), make(fits))
    rows = table(told(plan)).splitlines()
    assert rows[3].startswith(f"| {'x' * 57}... | nothing")
    assert rows[4].startswith(f"| {fits} | nothing")
    assert {len(row) for row in rows} == {len(rows[0])} and len(rows[0]) < 120
    assert f"Task '{long}' failed with error: " in report(told(plan), "")


def test_a_label_stays_in_its_line() -> None:
    """In its row, too, which is as wide as the others."""
    odd = f"a\r\nTask 'b' succeeded\t{ESC}[1A\u202e\udcff"
    shown = r"a\r\nTask 'b' succeeded\t\x1b[1A\u202e\udcff"
    assert line_of(odd) == f"Task '{shown}' failed with error: ValueError: bad"
    rows = table(told(failed(make(odd)))).splitlines()
    assert rows[3].startswith(f"| {shown} |")
    assert {len(row) for row in rows} == {len(rows[0])}


def columns(text: str) -> int:
    """As `wcwidth.wcswidth` tells it: -1 for what has effects."""
    if not text.isprintable():
        return -1
    return sum(1 + (east_asian_width(each) in "WF") for each in text)


def test_wide_characters_align(monkeypatch: pytest.MonkeyPatch) -> None:
    """If there is `wcwidth`, which tabulate uses."""
    monkeypatch.setattr(tabulate, "wcwidth", SimpleNamespace(wcswidth=columns))
    monkeypatch.setattr(tabulate, "WIDE_CHARS_MODE", True)
    labels = ["\u65e5\u672c\u8a9e", "plain", "\u65e5" * 100, f"\u65e5{ESC}\n"]
    rows = table(told(failed(*map(make, labels)))).splitlines()
    assert {columns(row) for row in rows} == {columns(rows[0])}


# What fails, and how much of it is shown ----------------------------------------------


def test_long_errors_and_traces() -> None:
    """Their beginnings and ends."""
    text = line_of("a", "ValueError: " + "x" * 2_000_000 + "!", "y" * 2_000_000)
    assert text.startswith("Task 'a' failed with error: ValueError: xxx")
    assert text.count(" characters left out ...] ") == 2
    assert len(text) < 17_000


def test_an_error_of_several_lines() -> None:
    """Stays in its lines; nothing in it writes over what is before."""
    error = "E: one\n\ttwo\rthree\r\nfour"
    assert line_of("a", error).endswith("error: E: one\n\ttwo\\rthree\nfour")


def exited(out: str, errors: str, trace: str) -> str:
    """What is said of a command that has printed this."""
    value: Any = {"returncode": 1, "stdout": out, "stderr": errors}
    plan = opened(Planned("c", Command("x")))
    task = plan.take(0.0)
    assert task is not None
    plan.settle(task, Outcome.exited("subprocess", value, trace), 1.0)
    return told_failure(told(plan)[0])


def test_a_progress_bar_is_shown_as_it_was_left() -> None:
    """Also where the error quotes it; the result keeps all of it."""
    bar = "\r".join(f"{n}%" for n in range(100))
    lines = bar.replace("\r", "\n")
    start = "Task 'c' failed with error: CommandExecutionError: Command exited with"
    assert exited("", f"{lines}\nfull\n", f"stderr:\n{bar}\nfull\n") == (
        f"{start} return code 1: 99%\nfull\nstderr:\n99%\nfull\n"
    )
    assert exited(lines, "", f"stdout:\n{bar}") == (
        f"{start} return code 1: 99%\nstdout:\n99%"
    )
    assert "50%\n51%" in exited(lines, "", f"stdout:\n{lines}")


def command(*argv: str, label: Hashable = 0) -> str:
    """The first line about a command that failed; ``argv`` of one is for the shell."""
    job = Command(argv[0] if len(argv) == 1 else list(argv))
    plan = failed(Planned(label, job))
    return told_failure(told(plan)[0]).splitlines()[0]


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (("test", "-f", "secret"), "test"),
        (("/usr/bin/te st", "secret"), "te st"),
        (("a\x1bb", "secret"), r"a\x1bb"),
        (("curl -u secret",), "curl"),
        (("  ./configure.sh && secret",), "configure.sh"),
        (("A=1 B=x/y make secret",), "make"),
    ],
)
def test_a_command_without_a_label_is_told_by_its_program(
    argv: tuple[str, ...], program: str
) -> None:
    """Not by its arguments, which may be secret."""
    start = f"Task '0' ({program}) failed with error: "
    assert command(*argv).startswith(start)
    assert command(*argv, label="a").startswith("Task 'a' failed with error: ")


@pytest.mark.parametrize(
    "line",
    ["A='secret' make", "A=$(cat secret) x", "(cd x)", '"$secret"', "A=secret", "x;y"],
)
def test_a_line_that_does_not_plainly_begin_with_a_program(line: str) -> None:
    """Is not taken apart any further."""
    assert command(line).startswith("Task '0' failed with error: ")


def test_a_function_without_a_label_has_no_program() -> None:
    """Its line is as it is documented."""
    assert line_of(0) == "Task '0' failed with error: ValueError: bad"


# Many of a kind -----------------------------------------------------------------------


def family(count: int) -> list[Task]:
    """One that others depend on, before and behind it."""
    after = [make(f"after {n}", "root") for n in range(count)]
    return [*after[: count // 2], make("root"), *after[count // 2 :]]


def test_few_of_a_kind_are_told_one_by_one() -> None:
    """In the order of adding, without any more."""
    lines = lines_of(failed(*family(MANY - 1)))
    assert len(lines) == MANY + 1  # there is one trace
    assert [line.split("'")[1] for line in lines if "Task" in line] == [
        *(f"after {n}" for n in range(9)),
        "root",
        *(f"after {n}" for n in range(9, MANY - 1)),
    ]


def test_many_that_were_skipped() -> None:
    """Are told by their number and what they were skipped for; that comes first."""
    assert lines_of(failed(*family(312))) == [
        "Task 'root' failed with error: ValueError: bad",
        "trace",
        "312 skipped because of 'root'",
        "313 tasks in 1.0 sec: 1 failed, 312 skipped",
    ]


def test_skips_through_levels() -> None:
    """Have the cause with which it began, each the first that befell it."""
    tasks = [make("a"), make("b"), make("a0", "a"), make("b0", "b", "a0")]
    tasks += [make(f"a{n}", f"a{n - 1}", "b") for n in range(1, 15)]
    tasks += [make(f"b{n}", f"b{n - 1}") for n in range(1, 10)]
    assert lines_of(failed(*tasks))[4:] == [
        "25 skipped because of 'a'",
        "27 tasks in 1.0 sec: 2 failed, 25 skipped",
    ]
    tasks = [make("a"), make("b")]
    tasks += [make(f"a{n}", "a") for n in range(12)]
    tasks += [make(f"b{n}", "b") for n in range(8)]
    assert lines_of(failed(*tasks))[4:] == [
        "12 skipped because of 'a'",
        "8 skipped because of 'b'",
        "22 tasks in 1.0 sec: 2 failed, 20 skipped",
    ]


def test_many_that_were_terminated() -> None:
    """What ended before that is counted, too."""
    plan = opened(*(make(n) for n in range(2000)))
    for outcome in (success(), failure(), Outcome.timed_out(1, NOTHING)):
        task = plan.take(0.0)
        assert task is not None
        plan.settle(task, outcome, 61.0)
    plan.terminate({}, 90.0)
    assert lines_of(plan) == [
        "Task '1' failed with error: ValueError: bad",
        "trace",
        "Task '2' failed with error: TimeoutError: Task exceeded timeout of 1 seconds",
        "1997 terminated before completion",
        "2000 tasks in 1.5 min: 1 successful, 1 failed, 1 timed out, 1997 terminated",
    ]


def test_many_failures() -> None:
    """Each is told whole, before all else."""
    tasks = [make("bad", "first"), *(make(n) for n in range(MANY)), make("first")]
    lines = lines_of(failed(*tasks))
    assert lines[: 2 * MANY : 2] == [
        f"Task '{n}' failed with error: ValueError: bad" for n in range(MANY)
    ]
    assert lines[2 * MANY + 2 :] == [
        "1 skipped because of 'first'",
        f"{MANY + 2} tasks in 1.0 sec: {MANY + 1} failed, 1 skipped",
    ]


def test_all_that_went_wrong_is_failed() -> None:
    """Lost workers and exit codes as well."""
    plan = opened(*(make(n) for n in range(MANY)))
    for number in range(MANY):
        task = plan.take(0.0)
        assert task is not None
        plan.settle(task, Outcome((EXIT, LOST)[number % 2], "process", error="E"), 1.0)
    assert lines_of(plan)[-1] == f"{MANY} tasks in 1.0 sec: {MANY} failed"


def test_what_users_have_changed_is_not_told_by_number() -> None:
    """Their own words are told whole, and what they forgave is a success."""
    plan = failed(*family(40))
    changes = {"after 1": {"error": "known"}, "after 2": {"has_failed": False}}
    lines = lines_of(plan, **changes)
    assert lines[0] == "Task 'after 1' failed with error: known"
    assert lines[-2:] == [
        "38 skipped because of 'root'",
        "41 tasks in 1.0 sec: 1 successful, 2 failed, 38 skipped",
    ]


def test_the_label_of_a_cause() -> None:
    """Is whole, and in its line."""
    root = "x" * 100 + "\n" + ESC
    tasks = [make(root), *(make(n, root) for n in range(MANY))]
    shown = "x" * 100 + r"\n\x1b"
    assert f"20 skipped because of '{shown}'" in lines_of(failed(*tasks))


def test_successes_are_not_counted() -> None:
    """Their report is the table, however long it is."""
    plan = opened(*(make(n) for n in range(100)))
    for task in plan.tasks.values():
        plan.take(0.0)
        plan.settle(task, success(), 1.0)
    assert report(told(plan), "").endswith("-+")
    assert {each.cause for each in told(plan)} == {SUCCESS}


# Interrupts ---------------------------------------------------------------------------


def test_the_word_about_an_interrupt() -> None:
    """Who was interrupted, by what, and how far it had come."""
    assert interrupted("Nightly", 3, 8, "") == (
        "Nightly was interrupted: 3 of 8 tasks had ended"
    )
    assert interrupted("Nightly", 3, 8, "SystemExit: 1") == (
        "Nightly was ended by SystemExit: 1: 3 of 8 tasks had ended"
    )
    assert interrupted("Nightly", 8, 8, "E: x") == "Nightly was ended by E: x"


# Progress -----------------------------------------------------------------------------

BAR = {
    (0, 1): 0,
    (1, 3): 8,
    (2, 3): 17,
    (3, 3): 25,
    (1, 2): 12,
    (1, 10): 2,
    (2, 10): 5,
    (3, 10): 8,
    (5, 10): 12,
    (7, 10): 18,
    (9, 10): 22,
    (1, 6): 4,
    (5, 6): 21,
    (49, 50): 24,
    (99, 100): 25,
    (1, 1000): 0,
    (0, 0): 25,
}


def test_the_bar_of_the_progress_line() -> None:
    """25 columns, rounded, half to even."""
    for (ended, total), filled in BAR.items():
        bar = "#" * filled + "." * (25 - filled)
        line = progress("Name", ended, total, 0.0)
        assert line.startswith(f"Name progress: [{bar}] {ended}/{total} [")


@pytest.mark.parametrize(
    ("ended", "total", "seconds", "line"),
    [
        (1, 3, 0.0, "1/3 [33.33%] in 0 min 0.0 sec"),
        (2, 3, 1.04, "2/3 [66.67%] in 0 min 1.04 sec"),
        (3, 3, 1.04, "3/3 [100.0%] in 0 min 1.04 sec"),
        (1, 2, 59.996, "1/2 [50.0%] in 1 min 0.0 sec"),
        (1, 8, 60.0, "1/8 [12.5%] in 1 min 0.0 sec"),
        (1, 7, 3725.678, "1/7 [14.29%] in 62 min 5.68 sec"),
    ],
)
def test_the_numbers_of_the_progress_line(
    ended: int, total: int, seconds: float, line: str
) -> None:
    """Count, percent, and minutes and seconds since the start."""
    assert progress("Name", ended, total, seconds).endswith(f"] {line}")


def test_the_documented_progress_line() -> None:
    """As a whole."""
    assert progress("TaskRunner", 1, 3, 0.0) == (
        "TaskRunner progress: [########.................] 1/3 [33.33%] "
        "in 0 min 0.0 sec"
    )
