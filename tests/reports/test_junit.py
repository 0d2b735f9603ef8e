"""JUnit XML: what the schema asks for, and what its readers make of it."""

from __future__ import annotations

import io
import re
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import junitparser
import pytest
from hypothesis import given, settings

import concurra
from concurra import reports
from concurra.outcomes import STATUS
from concurra.reports import RunRecord, texts

from .support import HOSTILE, Boom, Flaky, hostile_records, made_up, ran

#: Each element with its attributes, those that are required first, and what is in it.
SCHEMA: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (
        set(),
        {"name", "time", "tests", "failures", "errors"},
        {"testsuite"},
    ),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"time", "skipped", "timestamp", "hostname", "id", "package"},
        {"testcase", "properties", "system-out", "system-err"},
    ),
    "testcase": (
        {"name"},
        {"time", "classname"},
        {
            *("skipped", "error", "failure", "rerunFailure", "flakyFailure"),
            *("system-out", "system-err"),
        },
    ),
    **dict.fromkeys(
        ("failure", "error", "skipped"), (set(), {"type", "message"}, set())
    ),
    **dict.fromkeys(
        ("rerunFailure", "flakyFailure"), ({"type"}, {"message"}, {"stackTrace"})
    ),
    **dict.fromkeys(("system-out", "system-err", "stackTrace"), (set(), set(), set())),
}


def check(element: ElementTree.Element) -> None:
    """What the schema of the plugin xUnit says, as far as it is used here."""
    required, optional, inside = SCHEMA[element.tag]
    assert required <= set(element.attrib) <= required | optional, element.tag
    assert {each.tag for each in element} <= inside, element.tag
    assert re.fullmatch(r"\d+\.\d{3}", element.get("time", "0.000"))
    for each in ("tests", "failures", "errors", "skipped"):
        assert element.get(each, "0").isdigit()
    for each in element:
        check(each)
    if element.tag == "testcase":
        tags = [each.tag for each in element]
        once = [each for each in tags if not each.endswith("Failure")]
        assert len(once) == len(set(once))
        assert len({"failure", "error", "skipped"} & set(tags)) <= 1


def written(run: Any, **options: Any) -> str:
    """What is written of a run."""
    file = io.StringIO()
    reports.write_junit_xml(run, file, **options)
    return file.getvalue()


def suite_of(run: Any, **options: Any) -> ElementTree.Element:
    """The suite of a run, which is as the schema says."""
    root = ElementTree.fromstring(written(run, **options).encode("utf-8"))
    check(root)
    [suite] = root
    for each in ("name", "time", "tests", "failures", "errors"):
        assert root.get(each) == suite.get(each)
    counts = {
        "tests": suite.findall("testcase"),
        "failures": suite.findall("testcase/failure"),
        "errors": suite.findall("testcase/error"),
        "skipped": suite.findall("testcase/skipped"),
    }
    assert {each: suite.get(each) for each in counts} == {
        each: str(len(found)) for each, found in counts.items()
    }
    return suite


def verdicts(run: Any) -> dict[str, str]:
    """What each test case is."""
    return {
        case.get("name", ""): next(
            (e.tag for e in case if e.tag in ("failure", "error", "skipped")), ""
        )
        for case in suite_of(run).findall("testcase")
    }


# What a task is -----------------------------------------------------------------


def test_each_end_has_its_element() -> None:
    """Failures are what the work says, errors what happened around it."""
    assert verdicts(ran()) == {
        "flaky": "",
        "boom": "failure",
        "skipped": "skipped",
        "fine": "",
        "command": "failure",
        "late": "error",
        "untriggered": "skipped",
        "cancelled": "skipped",
    }


#: The table of the module's docstring and of the reference.
ELEMENTS = {
    "success": "",
    "error": "failure",
    "exit": "failure",
    **dict.fromkeys(("timeout", "lost", "unpicklable", "unavailable"), "error"),
    **dict.fromkeys(("cancel", "skip", "untriggered"), "skipped"),
}


@pytest.mark.parametrize("cause", sorted({*STATUS} - {"abort"}))
def test_the_element_of_a_cause(cause: str) -> None:
    """Beside a failure; the causes that there are, are all in the table."""
    record = made_up(2)
    record.tasks[0].cause = "error"
    record.tasks[1].cause = cause
    assert verdicts(record)["task 1"] == ELEMENTS[cause]


def test_what_an_abort_has_ended() -> None:
    """What was at work is an error, what waited is skipped."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    begun, gate = threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        assert gate.wait(20)

    runner.add_task(hold, label="at work")
    runner.add_task(abs, -1, label="waits")
    runner.execute_in_background()
    try:
        assert begun.wait(20)
        assert verdicts(runner) == {"at work": "skipped", "waits": "skipped"}
        runner.abort(verify=False)
    finally:
        gate.set()
    assert verdicts(runner) == {"at work": "error", "waits": "skipped"}


@pytest.mark.parametrize("cause", ["abort", "cancel", "skip"])
def test_no_report_is_green_of_a_run_that_is_not(cause: str) -> None:
    """Where nothing failed by itself, what did not run is an error."""
    record = made_up(2)
    record.tasks[1].cause, record.tasks[1].attempts = cause, 0
    assert verdicts(record) == {"task 0": "", "task 1": "error"}


def test_an_abort_before_the_start_is_not_green() -> None:
    """Nothing has run, and that is no success."""
    runner = concurra.TaskRunner()
    runner.add_task(abs, -1, label="a")
    runner.abort(verify=False)
    assert runner.exit_code == 1
    assert verdicts(runner) == {"a": "error"}


def test_a_run_that_was_refused_is_not_green() -> None:
    """It is reported in a ``finally``, and nothing of it has run."""
    runner = concurra.TaskRunner()
    runner.add_task(abs, -1, label="a")
    runner.add_task(abs, -1, label="b", depends_on=["typo"])
    with pytest.raises(concurra.UnknownDependencyError):
        runner.run()
    assert runner.exit_code == 1
    assert verdicts(runner) == {"a": "error", "b": "error"}


def test_what_was_forgiven_has_passed() -> None:
    """As its user has left it."""
    runner = ran()
    runner.results_registry["boom"].update(has_failed=False)
    assert verdicts(runner)["boom"] == ""


# What is told of it -------------------------------------------------------------


def test_a_failure_tells_all() -> None:
    """Its type and message, and its trace in the text, which is what GitLab shows."""
    cases = {each.get("name"): each for each in suite_of(ran()).findall("testcase")}
    failure = cases["boom"].find("failure")
    assert failure is not None and failure.text is not None
    assert failure.attrib == {"type": "Boom", "message": "Boom: it is broken"}
    assert failure.text.startswith("Boom: it is broken\nTraceback")
    skipped = cases["skipped"].find("skipped")
    assert skipped is not None and skipped.get("message") == skipped.text
    assert skipped.text == (
        "RuntimeError: Skipped: dependency ['boom'] failed or was terminated"
    )


def test_a_command_shows_its_output() -> None:
    """Both streams, each in its element."""
    cases = {each.get("name"): each for each in suite_of(ran()).findall("testcase")}
    command = cases["command"]
    assert command.findtext("system-out") == "out\n"
    assert command.findtext("system-err") == "err\n"
    assert cases["boom"].find("system-out") is None


def test_the_heading_of_a_command_says_why() -> None:
    """The last line of what is quoted of its output: tools print the cause last."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_shell_command("echo '50%'; echo; echo FAILED test_a; exit 2", label="a")
    runner.add_command(["false"], label="b")
    a, b = suite_of(run(runner)).findall("testcase/failure")
    told = "CommandExecutionError: Command exited with return code"
    assert a.get("message") == f"{told} 2: FAILED test_a"
    assert str(b.get("message")).startswith(f"{told} 1")
    assert str(a.text).startswith(f"{told} 2: 50%\n")


def test_attempts_that_failed() -> None:
    """As Maven writes them: flaky if it succeeded in the end."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_function(Flaky(2), key="flaky", task_retries=2)
    runner.add_function(Flaky(3), key="lost", task_retries=2)
    flaky, lost = suite_of(RunRecord.of(run(runner))).findall("testcase")
    assert [each.get("message") for each in flaky.findall("flakyFailure")] == [
        *("Boom: 1 more", "Boom: 0 more")
    ]
    assert [each.findtext("stackTrace") for each in lost.findall("rerunFailure")] == [
        *("Boom: 2 more", "Boom: 1 more")
    ]
    failure = lost.find("failure")
    assert failure is not None and failure.get("message") == "Boom: 0 more"


def run(runner: concurra.TaskRunner) -> concurra.TaskRunner:
    """The runner, after its run."""
    runner.run(verify=False)
    return runner


def test_a_warning_is_told() -> None:
    """Among the errors, as concurra's own."""
    record = made_up(1, warning="ran in a thread", stderr="err")
    [case] = suite_of(record).findall("testcase")
    assert case.findtext("system-err") == "[concurra] ran in a thread\nerr"


def test_the_suite_has_times_and_names() -> None:
    """The runner's, or what was asked for; no host is told unless it is wanted."""
    suite = suite_of(made_up(2))
    assert suite.get("name") == "made up"
    assert (suite.get("time"), suite.get("hostname")) == ("2.000", None)
    assert re.match(r"1970-01-01T\d\d:16:40\.000000[+-]", suite.get("timestamp", ""))
    assert [each.get("time") for each in suite] == ["1.000", "1.000"]
    assert {each.get("classname") for each in suite} == {"made up"}
    suite = suite_of(made_up(2), suite="night", hostname="box")
    assert (suite.get("name"), suite.get("hostname")) == ("night", "box")
    assert {each.get("classname") for each in suite} == {"night"}


@pytest.mark.parametrize("parameter", ["suite", "hostname"])
def test_a_name_that_is_none(parameter: str) -> None:
    """The refusal names the parameter."""
    with pytest.raises(TypeError, match=f"{parameter} must be"):
        written(made_up(), **{parameter: 1})


def test_names_are_told_apart() -> None:
    """Labels whose texts are equal: readers take the first of a name only."""
    runner = concurra.TaskRunner()
    for label in (1, "1", "1 (2)", "x"):
        runner.add_task(abs, -1, label=label)
    names = [each.get("name") for each in suite_of(runner).findall("testcase")]
    assert names == ["1", "1 (3)", "1 (2)", "x"]


def test_an_empty_run() -> None:
    """It is a suite without cases."""
    assert len(suite_of(made_up(0))) == 0


# Readers, and hostile texts -----------------------------------------------------


def test_a_foreign_reader_finds_what_was_written(tmp_path: Path) -> None:
    """The package junitparser: counts, outputs and results."""
    path = tmp_path / "junit.xml"
    reports.write_junit_xml(ran(), path)
    [suite] = junitparser.JUnitXml.fromfile(str(path))
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (8, 2, 1, 3)
    cases = {case.name: case for case in suite}
    assert cases["command"].system_out == "out\n"
    assert [type(each) for each in cases["boom"].result] == [junitparser.Failure]
    assert cases["boom"].result[0].message == "Boom: it is broken"
    assert cases["flaky"].is_passed and cases["late"].is_error


def test_hostile_texts_are_text() -> None:
    """Colours are gone; what cannot be shown is escaped; nothing is an element."""

    def fail() -> None:
        raise Boom(HOSTILE)

    runner = concurra.TaskRunner(progress_stats=False, name=HOSTILE)
    runner.add_task(fail, label=HOSTILE)
    suite = suite_of(run(runner))
    shown = HOSTILE.replace("\x1b[31m", "")
    for each in ("\x00", "\x07", "\u202e", "\udcff", "\u2028"):
        shown = shown.replace(each, each.encode("unicode_escape").decode())
    [case] = suite
    assert case.get("name") == case.get("classname") == suite.get("name") == shown
    failure = case.find("failure")
    assert failure is not None and failure.get("message") == f"Boom: {shown}"


def test_output_is_shown_as_a_terminal_would() -> None:
    """Of a progress bar its last state, without colours and titles."""
    output = "\x1b]0;title\x07\x1b[1;32mgreen\x1b[0m\r\n10%\r20%\r\n\x1b(Bx\x1b[K"
    record = made_up(1, stdout=output)
    [case] = suite_of(record).findall("testcase")
    assert case.findtext("system-out") == "green\n20%\nx"


@settings(max_examples=100)
@given(hostile_records())
def test_every_reader_can_read_it(record: RunRecord) -> None:
    """Whatever tasks have made."""
    suite = suite_of(record)
    assert len(suite) == len(record.tasks)
    names = [each.get("name") for each in suite]
    assert len(set(names)) == len(names)
    read = junitparser.JUnitXml.fromstring(written(record).encode("utf-8"))
    assert sum(len(list(each)) for each in read) == len(record.tasks)


def test_names_that_look_numbered() -> None:
    """They are told apart as well, in the order in which they come."""
    given = ["a", "a", "a (2)", "a", "a (2)"]
    assert texts.unique(given) == ["a", "a (3)", "a (2)", "a (4)", "a (2) (2)"]


def test_the_first_line_of_an_error() -> None:
    """The first with something in it."""
    assert texts.first_line("\n  \n a\x1b[0m \nb") == "a"
    assert texts.first_line("") == ""
    assert len(texts.first_line("x" * 9999)) < 400
