"""What a person reads: whatever tasks say, the log can be written, and has an end."""

from __future__ import annotations

import logging
import re
import sys
import threading

import pytest

import concurra
from tests.helpers import run_script

from .support import SAME_LIBRARY

MODES = ("thread", "process", "fallback", "command")

#: A label, and part of an error, that cannot be encoded and moves the cursor.
ODD = "\udcff\x1b[2J\a\u202e"
SHOWN = r"\udcff\x1b[2J\x07\u202e"


def refuse(text):
    raise ValueError(text)


def runner_of(mode, **options):
    return concurra.TaskRunner(
        progress_stats=False,
        use_multiprocessing=mode in ("process", "fallback"),
        fallback_to_thread_on_pickle_error=mode == "fallback",
        **options,
    )


def add_refusal(runner, mode, text, label):
    """A task that fails with that text."""
    if mode == "command":
        code = f"import sys; sys.stderr.buffer.write({text.encode()!r}); sys.exit(1)"
        runner.add_command([sys.executable, "-c", code], label=label)
    elif mode == "fallback":
        runner.add_task(lambda: refuse(text), label=label)
    else:
        runner.add_task(refuse, text, label=label)


# Encoding -----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("mode", MODES)
def test_one_odd_label_costs_no_report(mode, encoding, tmp_path):
    """The log has all of it, in any encoding; the results keep the label as it is."""
    log = logging.Logger("own", logging.INFO)
    handler = logging.FileHandler(tmp_path / "log", encoding=encoding)
    log.addHandler(handler)
    runner = runner_of(mode, logger=log, log_errors=True, name=f"Name {ODD}")
    add_refusal(runner, mode, "plain", label=ODD)
    add_refusal(runner, mode, "d\xe9j\xe0", label="other")
    results = runner.run(error_message=f"Message {ODD}")
    handler.close()
    assert list(results) == [ODD, "other"]
    text = (tmp_path / "log").read_text(encoding)
    assert f"Message {SHOWN}\n+-" in text
    assert f"| {SHOWN}" in text
    assert text.count(f"Task '{SHOWN}' failed with error: ") == 2
    assert text.count("Task 'other' failed with error: ") == 2
    assert ("d\xe9j\xe0" if encoding == "utf-8" else r"d\xe9j\xe0") in text
    assert text.replace("\n", "").isprintable()


def test_odd_texts_of_all_kinds_of_lines(log):
    """Progress, warnings, errors as they happen: none can move the cursor."""
    runner = concurra.TaskRunner(
        name=ODD,
        use_multiprocessing=True,
        fallback_to_thread_on_pickle_error=True,
        fast_fail=True,
    )
    runner.add_task(lambda: refuse(ODD), label=ODD)
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.run(raise_exception=True)
    assert f"Task '{SHOWN}' was not picklable" in log.text(logging.WARNING)
    assert any(line.startswith(f"{SHOWN} progress: ") for line in log.lines())
    for text in (*log.lines(), str(caught.value)):
        assert text.replace("\n", "").isprintable(), text
    assert caught.value.failed[ODD]["error"] == f"ValueError: {ODD}"


# Length -------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_long_error_is_short_in_the_log(mode, log):
    """It says how much is left out; the result has all of it."""
    runner = runner_of(mode, log_errors=True)
    text = "begin " + "x" * 100_000 + " end"
    add_refusal(runner, mode, text, label="a")
    result = runner.run()["a"]
    assert text in (result["trace"] if mode == "command" else result["error"])
    assert len(log.text()) < 50_000
    assert "characters left out ...]" in log.text()
    assert log.text().count(" end") >= 2


def test_a_command_that_printed_much(log):
    """The log has the last 50 lines of each stream, the trace all of them."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_shell_command("seq 300000; seq 400000 >&2; exit 1", label="a")
    result = runner.run()["a"]
    (report,) = log.lines()
    assert len(report.splitlines()) < 300
    assert "[... 299950 lines left out ...]\n299951\n" in report
    assert "[... 399950 lines left out ...]\n399951\n" in report
    assert result["trace"].count("\n") > 700_000


def test_a_progress_bar_is_one_line(log):
    """That of its last state; the result has what it was."""
    runner = concurra.TaskRunner(progress_stats=False)
    line = r"for i in $(seq 300); do printf '\r%d of 300' $i >&2; done; exit 1"
    runner.add_shell_command(line, label="a")
    result = runner.run()["a"]
    (report,) = log.lines()
    assert report.count(" of 300") == 2  # quoted by the error, and in the trace
    assert report.count("300 of 300") == 2
    assert result["result"]["stderr"].count("\n") == 300


def test_a_terminated_command_that_printed_much(log, tmp_path):
    """What it had printed is cut as well."""
    runner = concurra.TaskRunner(progress_stats=False, max_concurrency=2)
    ready = tmp_path / "ready"
    line = f"seq 1000; touch {ready}; exec sleep 60"
    runner.add_shell_command(line, label="a")
    code = f"while ! test -e {ready}; do sleep 0.01; done"
    runner.add_shell_command(code, label="b", depends_on=[])
    runner.add_task(runner.abort, label="c", depends_on=["b"])
    runner.run()
    assert "stdout:\n[... 950 lines left out ...]\n951\n" in log.lines()[-1]


# Many tasks ---------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["abort", "fast_fail"])
def test_the_culprit_comes_first(end, log):
    """Below the table is what failed by itself; what that cost is told by number."""
    gate = threading.Event()
    runner = concurra.TaskRunner(2, fast_fail=end == "fast_fail", progress_stats=False)
    runner.add_task(gate.wait, 20, label="busy")
    for number in range(500):
        runner.add_task(abs, number, label=f"early {number}", depends_on=["busy"])
    runner.add_task(refuse, "because", label="culprit")
    for number in range(500):
        runner.add_task(abs, number, label=f"late {number}", depends_on=["culprit"])
    runner.add_task(runner.abort if end == "abort" else abs, label="last")
    runner.run()
    gate.set()
    rows, _, below = log.lines(logging.ERROR)[-1].rpartition("-+\n")
    assert rows.count("\n| ") == 1004
    first, *trace, total = below.splitlines()
    assert first == "Task 'culprit' failed with error: ValueError: because"
    assert trace[0] == "Traceback (most recent call last):"
    assert re.match(r"1003 tasks in [\d.]+ sec: 1 failed, ", total)
    if end == "fast_fail":
        assert trace[-1] == "1002 terminated before completion"
    else:
        assert trace[-2:] == [
            "500 skipped because of 'culprit'",
            "502 terminated before completion",
        ]


# A log that was disabled --------------------------------------------------------------

DISABLED = """
import concurra
import logging.config

runner = concurra.TaskRunner(log_errors=True)
logging.config.dictConfig(
    {
        "version": 1,
        "handlers": {"c": {"class": "logging.StreamHandler"}},
        "root": {"handlers": ["c"], "level": "INFO"},
    }
)
runner.add_command(["false"], label="tests")
runner.run()
"""


def test_a_logger_that_was_disabled_hides_no_failure():
    """The report of failures is on stderr, with the reason, once."""
    done = run_script(DISABLED, check=True, env=SAME_LIBRARY)
    assert done.stderr.count("Task 'tests' failed with error: Command") == 1
    assert done.stderr.count("its logger is disabled") == 1
    assert done.stderr.startswith("concurra: ")
    assert "disable_existing_loggers=False" in done.stderr
    assert (done.stdout, done.stderr.count("progress")) == ("", 0)
    good = run_script(DISABLED.replace("false", "true"), env=SAME_LIBRARY)
    assert (good.stdout, good.stderr) == ("", "")


# Tracebacks ---------------------------------------------------------------------------

FAILING = """
import concurra
import pytest


@pytest.fixture
def runner():
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(int, "x", label="a")
    return runner
"""

CALLS = [
    "runner.run(raise_exception=True)",
    "runner.execute(raise_exception=True)",
    "runner.execute_in_background(); runner.get_background_results(True, True)",
    "runner.run(); runner.verify(raise_exception=True)",
    "runner.run(); runner.run()",
]


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What pytest shows of tests in which these calls fail, for each."""
    path = tmp_path_factory.mktemp("failing") / "test_it.py"
    tests = [f"def test_{n}(runner):\n    {call}\n" for n, call in enumerate(CALLS)]
    path.write_text("\n\n".join([FAILING, *tests]))
    code = f"import pytest; pytest.main(['-p', 'no:cacheprovider', {str(path)!r}])"
    output = run_script(code, env=SAME_LIBRARY).stdout.partition("short test summary")
    found = re.split(r"^_+ test_\d _+$", output[0], flags=re.MULTILINE)[1:]
    return dict(zip(CALLS, found))


@pytest.mark.parametrize("call", CALLS)
def test_pytest_shows_no_source_of_ours(call, shown):
    """Where an error of ours leaves a call: the test's own line, and the error."""
    text = shown[call]
    assert f">       {call.split('; ')[-1]}" in text or f">       {call}" in text
    assert re.search(r"^\S*test_it\.py:\d+: ", text, re.MULTILINE)
    assert "Task 'a' failed with error: " in text or "already been started" in text
    assert not re.search(r"^\S*(?<!test_)(core|logs|lifecycle)\.py:\d+", text, re.M)
    assert "def run(" not in text


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_the_trace_of_a_builtin_has_no_frames_of_ours(mode):
    """There are none of its own either."""
    runner = runner_of(mode)
    runner.add_task(int, "x", label="a")
    trace = runner.run(verify=False)["a"]["trace"]
    assert "concurra" not in trace
    assert trace.splitlines()[-1].startswith("ValueError: invalid literal for int()")
