"""What commands print: shown as it comes, cut, or written to a file."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
from pathlib import Path

import pytest

import concurra
from tests.helpers import run_script

from .support import BOUND, SAME_LIBRARY, check, wait_for_end_of, read

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


class Watched(io.StringIO):
    """A stream that can be waited for."""

    encoding = "utf-8"

    def __init__(self):
        super().__init__()
        self.seen = {}
        self.parts = []

    def write(self, text):
        self.parts.append(text)
        for line in text.splitlines():
            self.seen.setdefault(line, threading.Event()).set()
        return len(text)

    def wait_for(self, line):
        assert self.seen.setdefault(line, threading.Event()).wait(BOUND), self.parts

    @property
    def text(self):
        return "".join(self.parts)


def shown_here(monkeypatch):
    """Stdout and stderr, by turns, as one text; pytest would replace a fixture's."""
    stream = Watched()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def runner_with(output, *args, **options):
    options.setdefault("progress_stats", False)
    return concurra.TaskRunner(*args, output=output, **options)


# Shown --------------------------------------------------------------------------------


def test_lines_are_shown_as_they_come(monkeypatch, tmp_path):
    """While the command is at work; its result is whole."""
    shown = shown_here(monkeypatch)
    runner = runner_with("prefixed")
    go = tmp_path / "go"
    line = f"echo one; until test -e {go}; do sleep 0.01; done; printf two"
    runner.add_shell_command(line, label="it")
    runner.execute_in_background()
    shown.wait_for("[it] one")
    assert "two" not in shown.text
    go.touch()
    result = runner.get_background_results(verify=False)["it"]
    assert shown.text == "[it] one\n[it] two\n"
    assert result["result"]["stdout"] == "one\ntwo"
    check(result)


def test_a_block_is_shown_at_the_end(monkeypatch):
    """With both streams, and how it ended, if that was not well."""
    shown = shown_here(monkeypatch)
    runner = runner_with("grouped", 1)
    runner.add_shell_command("echo one; sleep 0.1; echo two >&2", label="well")
    runner.add_shell_command("echo three; exit 7", label="not well")
    runner.add_command(["true"], label="silent")
    runner.run(verify=False)
    assert shown.parts == [
        "== well ==\none\ntwo\n",
        "== not well: exited with code 7 ==\nthree\n",
    ]


def test_streams_are_kept_apart(capsys):
    """Lines go where they would have gone."""
    runner = runner_with("prefixed")
    runner.add_shell_command("echo out; echo err >&2", label=1)
    runner.run(verify=False)
    assert capsys.readouterr() == ("[1] out\n", "[1] err\n")


def test_each_attempt_is_shown(monkeypatch, tmp_path):
    """In both ways."""
    shown = shown_here(monkeypatch)
    for output in ("prefixed", "grouped"):
        runner = runner_with(output, task_retries=1)
        flag = tmp_path / output
        line = f"echo try; test -e {flag} || {{ touch {flag}; exit 3; }}"
        runner.add_shell_command(line, label="it")
        assert runner.run(verify=False)["it"]["attempts"] == 2
    assert shown.text == (
        "[it] try\n[it] try\n"
        "== it: exited with code 3 ==\ntry\n"
        "== it, attempt 2 ==\ntry\n"
    )


@pytest.mark.parametrize("how", ["timeout", "abort", "cancel"])
@pytest.mark.parametrize("output", ["prefixed", "grouped"])
def test_last_words_of_a_command_that_is_stopped(monkeypatch, tmp_path, output, how):
    """They are shown, and in the trace; what the shell says of its jobs is neither."""
    shown = shown_here(monkeypatch)
    options = {"timeout": 1} if how == "timeout" else {}
    runner = runner_with(output, terminate_timeout=5, **options)
    pid = tmp_path / "pid"
    line = "exec 2>/dev/null; trap 'echo last; exit' TERM; echo first; "
    line += f"echo $$ > {pid}.tmp; mv {pid}.tmp {pid}; sleep 60 & wait"
    runner.add_shell_command(line, label="it")
    runner.execute_in_background()
    read(pid)
    if how == "abort":
        runner.abort(verify=False)
    elif how == "cancel":
        runner.cancel("it")
    result = runner.get_background_results(verify=False)["it"]
    assert result["trace"] == "stdout:\nfirst\nlast\n"
    if output == "prefixed":
        assert shown.text == "[it] first\n[it] last\n"
    else:
        assert shown.text == "== it: was stopped ==\nfirst\nlast\n"


def test_what_is_skipped_shows_nothing(monkeypatch):
    """There is nothing to show."""
    shown = shown_here(monkeypatch)
    runner = runner_with("grouped")
    runner.add_command(["false"], label="a")
    runner.add_command(["echo", "b"], label="b", depends_on=["a"])
    runner.run(verify=False)
    assert shown.text == ""


def test_a_command_chooses_for_itself(monkeypatch):
    """Before the runner's choice; both ways, or not at all."""
    shown = shown_here(monkeypatch)
    runner = runner_with("prefixed", 1)
    runner.add_command(["echo", "x"], label="a")
    runner.add_command(["echo", "x"], label="b", output="grouped")
    runner.add_shell_command("echo x", label="c", output="captured")
    runner.run(verify=False)
    assert shown.text == "[a] x\n== b ==\nx\n"
    runner = runner_with(None)
    runner.add_command(["echo", "x"], label="d", output="prefixed")
    runner.run(verify=False)
    assert shown.text.endswith("[d] x\n")


def test_what_is_not_captured_goes_where_it_went(capfd):
    """To the program's own descriptors; to ask for both is refused."""
    runner = runner_with("prefixed")
    runner.add_command(["echo", "x"], label="a", capture_output=False)
    with pytest.raises(ValueError, match="^output must be None with capture_output=F"):
        runner.add_command(["true"], capture_output=False, output="prefixed")
    with pytest.raises(ValueError, match="^max_output must be None with"):
        runner.add_command(["true"], capture_output=False, max_output=5)
    assert len(runner) == 1
    runner.run(verify=False)
    assert capfd.readouterr() == ("x\n", "")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"output": "loud"}, "output must be one of 'captured', 'prefixed', 'grouped'"),
        ({"output": 1}, "output must be one of"),
        ({"max_output": 0}, "max_output must be at least 1, not 0"),
        ({"max_output": "9"}, "max_output must be an integer, not '9'"),
        ({"stdout": 1}, "stdout must be a path"),
        ({"stdout": ""}, "stdout must be the path of a file, not ''"),
    ],
)
def test_wrong_choices_are_refused(options, error):
    """At the call, with the value."""
    runner = concurra.TaskRunner()
    for add, command in (
        (runner.add_command, ["true"]),
        (runner.add_shell_command, "true"),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{error}"):
            add(command, **options)
    assert len(runner) == 0


def test_a_flood_of_two_does_not_mix(capfd):
    """Every line is whole, on the real streams."""
    runner = runner_with("prefixed", 2)
    for label in "ab":
        runner.add_shell_command(
            f"seq -f '{label}%06.0f' 20000; seq -f '{label}%06.0f' 20000 >&2",
            label=label,
        )
    results = runner.run(verify=False)
    for text in capfd.readouterr():
        lines = text.splitlines()
        assert len(lines) == 40_000
        for label in "ab":
            mine = [line for line in lines if line.startswith(f"[{label}] {label}")]
            assert mine == [f"[{label}] {label}{n:06}" for n in range(1, 20001)]
            assert len(results[label]["result"]["stdout"].splitlines()) == 20_000


# A stream that is in trouble ----------------------------------------------------------

CHILD = """
import concurra, sys
runner = concurra.TaskRunner(2, output="{output}", progress_stats=False{options})
runner.add_shell_command("seq 50000; exec >&-; {more}", label="a")
runner.add_shell_command("echo b", label="b")
results = runner.run(verify=False)
print(len(results["a"]["result"]["stdout"] if results["a"]["result"] else ""),
      results["a"]["status"], results["b"]["status"], file=sys.stderr, flush=True)
"""


@pytest.mark.parametrize("output", ["prefixed", "grouped"])
def test_a_reader_that_has_gone(tmp_path, output):
    """``| head -1`` costs what it does not read; results are whole."""
    script = tmp_path / "script.py"
    script.write_text(CHILD.format(output=output, more="true", options=""))
    environment = {**os.environ, **SAME_LIBRARY}
    line = f"{sys.executable} {script} 2>{tmp_path}/told | head -1"
    import subprocess

    done = subprocess.run(
        line, shell=True, env=environment, capture_output=True, timeout=BOUND
    )
    assert done.stdout in (b"[a] 1\n", b"[b] b\n", b"== a ==\n", b"== b ==\n")
    told = Path(tmp_path, "told").read_text()
    assert told.startswith("288894 Successful Successful")


def test_a_stream_that_is_blocked_holds_up_no_stop(tmp_path):
    """The outcome comes in time, and the run ends, though nobody reads."""
    code = CHILD.format(
        output="prefixed",
        more="sleep 60",
        options=", timeout=0.5, terminate_timeout=0.2",
    )
    code = code.replace("results = runner.run(verify=False)", WHILE_BLOCKED)
    done = run_script(code, env=SAME_LIBRARY)
    assert done.returncode == 0, done.stderr
    assert "in time: Terminated " in done.stderr


WHILE_BLOCKED = """
import os, time
read_end, write_end = os.pipe()
sys.stdout = open(write_end, "w")
began = time.monotonic()
results = runner.run(verify=False)
assert time.monotonic() - began < 10
print("in time:", *(each["status"] for each in results.values()), file=sys.stderr)
sys.stderr.flush()
os._exit(0)
"""


def test_streams_that_are_closed(tmp_path):
    """As in a daemon: nothing is shown, nothing is lost."""
    code = """
import concurra, os, sys
sys.stdout.close(); sys.stderr = None
runner = concurra.TaskRunner(output="prefixed", progress_stats=False)
runner.add_shell_command("echo out; echo err >&2", label="a")
found = runner.run(verify=False)["a"]["result"]
os.write(2, repr((found["stdout"], found["stderr"])).encode())
os._exit(0)
"""
    done = run_script(code, env=SAME_LIBRARY)
    assert done.stderr == "('out\\n', 'err\\n')"


# How much is kept ---------------------------------------------------------------------


def test_the_beginning_and_the_end_are_kept():
    """Of each stream, with a note between; the runner's choice, or the command's."""
    runner = concurra.TaskRunner(max_output=10, progress_stats=False)
    runner.add_shell_command("seq 100; seq 100 >&2", label="a")
    runner.add_shell_command("seq 100", label="b", max_output=4)
    runner.add_shell_command("seq 100", label="c", max_output=float("inf"))
    runner.add_shell_command("printf 12345", label="d", max_output=4, text=False)
    results = runner.run(verify=False)
    whole = "".join(f"{n}\n" for n in range(1, 101))
    cut = f"1\n2\n3\n... {len(whole) - 10} bytes left out ...\n\n100\n"
    assert results["a"]["result"]["stdout"] == results["a"]["result"]["stderr"] == cut
    assert re.match(r"1\n\.\.\. \d+ bytes left out", results["b"]["result"]["stdout"])
    assert results["c"]["result"]["stdout"] == whole
    assert results["d"]["result"]["stdout"] == b"12\n... 1 bytes left out ...\n45"


def test_what_failed_is_cut_as_well():
    """The error quotes the end, and so does the trace."""
    runner = concurra.TaskRunner(max_output=20, progress_stats=False)
    runner.add_shell_command("seq 1000 >&2; echo no space >&2; exit 3", label="a")
    result = runner.run(verify=False)["a"]
    assert result["error"].endswith("\nno space")
    assert "bytes left out" in result["trace"]
    check(result)


# A file instead -----------------------------------------------------------------------


def test_a_file_gets_what_it_prints(tmp_path, monkeypatch):
    """From this program's directory; errors are read, and shown, all the same."""
    shown = shown_here(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Path("there").mkdir()
    runner = runner_with("prefixed")
    line = "echo out; echo err >&2"
    runner.add_shell_command(line, label="a", cwd="there", stdout="a.txt")
    file = tmp_path / "b.txt"
    runner.add_shell_command(line, label="b", stdout=file, stderr="stdout")
    runner.add_shell_command(
        "echo out", label="c", stdout=tmp_path / "c.txt", capture_output=False
    )
    results = runner.run(verify=False)
    assert Path("a.txt").read_text() == Path("c.txt").read_text() == "out\n"
    assert file.read_text() == "out\nerr\n"
    found = {label: each["result"] for label, each in results.items()}
    assert (found["a"]["stdout"], found["a"]["stderr"]) == (None, "err\n")
    assert (found["b"]["stdout"], found["b"]["stderr"]) == (None, "")
    assert (found["c"]["stdout"], found["c"]["stderr"]) == (None, None)
    assert shown.text == "[a] err\n"


def test_each_attempt_begins_an_empty_file(tmp_path):
    """What the last one printed is what is there."""
    file = tmp_path / "out"
    runner = concurra.TaskRunner(task_retries=1, progress_stats=False)
    line = f"echo long first; test -e {tmp_path}/x || {{ touch {tmp_path}/x; exit 1; }}"
    runner.add_shell_command(f"{line}; echo second", label="a", stdout=file)
    assert runner.run(verify=False)["a"]["attempts"] == 2
    assert file.read_text() == "long first\nsecond\n"


@pytest.mark.parametrize("merged", [None, "stdout"])
def test_a_file_that_cannot_be_opened(tmp_path, merged):
    """Fails the task, which has not begun, with the words for that."""
    runner = concurra.TaskRunner(progress_stats=False)
    sign = tmp_path / "sign"
    options = {"stdout": tmp_path / "no" / "out", "stderr": merged}
    runner.add_shell_command(f"touch {sign}", label="a", **options)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    runner.add_shell_command(f"touch {sign}", label="b", stdout=pipe)
    results = runner.run(verify=False)
    assert results["a"]["error"].startswith("FileNotFoundError: [Errno 2] ")
    for result in results.values():
        assert result["status"] == "Failed"
        assert "(the file for what it prints cannot be opened)" in result["error"]
        check(result)
    assert not sign.exists()


def test_a_command_that_has_no_pipe_is_watched_all_the_same(tmp_path):
    """It is stopped, and nobody is left of it."""
    runner = concurra.TaskRunner(timeout=1, progress_stats=False)
    line = (
        f"echo $$ > {tmp_path}/pid.tmp; mv {tmp_path}/pid.tmp {tmp_path}/pid; sleep 60"
    )
    file = tmp_path / "out"
    runner.add_shell_command(line, label="a", stdout=file, stderr="stdout")
    result = runner.run(verify=False)["a"]
    assert result["error"].startswith("TimeoutError: ")
    wait_for_end_of(read(tmp_path / "pid"))


def test_a_file_is_no_text_for_others(tmp_path):
    """What refers to it is told so."""
    runner = concurra.TaskRunner(progress_stats=False)
    a = runner.add_command(["echo", "x"], label="a", stdout=tmp_path / "out")
    runner.add_command(["echo", a], label="b")
    result = runner.run(verify=False)["b"]
    assert result["error"].endswith("has no text: its output was not captured")
