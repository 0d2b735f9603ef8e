"""`LiveBoard` in a real terminal, without one, and in a notebook."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

import concurra
from concurra.live.screen import Screen as BottomLines
from concurra.output import streams
from concurra.output.display import Display
from tests.helpers import START_METHODS
from tests.terminal import Screen, Terminal

from .modes import runner_in
from .support import BOUND, write

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a pty")

HEAD = """
import logging, os, sys, threading, time
import concurra

def until(path):
    deadline = time.monotonic() + 20
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.005)

def fail():
    raise ValueError("no such table")

board = concurra.LiveBoard()
"""


_programs = []


@pytest.fixture
def terminal():
    """A terminal of 80 columns; the programs that were started there end with it."""
    made = Terminal()
    yield made
    while _programs:
        program = _programs.pop()
        program.kill()
        program.wait()
    made.close()


def start(terminal, folder, program, arguments=(), **changes):
    """A program that has this terminal, and nothing else."""
    path = folder / "program.py"
    path.write_text(HEAD + program)
    root = str(Path(concurra.__file__).parent.parent)
    variables = {**os.environ, "PYTHONPATH": root, "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    variables.pop("CI", None)
    variables.pop("NO_COLOR", None)
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal.theirs)
    variables.update(changes)
    program = subprocess.Popen(
        [sys.executable, "program.py", *arguments],
        cwd=folder,
        env=variables,
        start_new_session=True,
        **streams,
    )
    _programs.append(program)
    return program


PLAIN = """
logging.basicConfig(format="%(name)s: %(message)s", level=logging.INFO)
runner = concurra.TaskRunner(2, "Nightly", observers=[board], progress_stats=False)
runner.add_task(fail, label="bad [red]")
runner.add_shell_command("echo one; echo two; until [ -e go ]; do sleep 0.01; done",
                         label="command")
runner.add_task(until, "go", label="long")
print("before")
runner.execute_in_background()
until("print")
print("printed", flush=True)
logging.getLogger("app").info("logged")
until("also")
runner.get_background_results(verify=False)
print("after")
"""


def test_what_is_at_work_is_seen(terminal, tmp_path):
    """In place; failures, prints and log records come above it, each once and whole."""
    program = start(terminal, tmp_path, PLAIN)
    shown = terminal.wait_to_see("no such table", "2 at work", "sec  two").lines
    assert shown[:2] == ["before", "✗ bad [red]: ValueError: no such table"]
    assert shown[2].startswith("Nightly ━━━────── 1/3, 1 failed, 2 at work, ")
    assert sorted(line.split()[0] for line in shown[3:5]) == ["command", "long"]
    assert any("sec  two" in line for line in shown[3:5])
    write(tmp_path / "print")
    terminal.wait_for("logged")
    write(tmp_path / "also")
    write(tmp_path / "go")
    assert program.wait(BOUND) == 0
    terminal.wait_for("after")
    lines = terminal.screen().lines
    assert lines[:4] == [*shown[:2], "printed", "app: logged"]
    assert lines[4].startswith("Nightly ━━━━━━━━━ 3/3, 1 failed, ")
    assert lines[5:] == ["after", ""]


def left_behind(terminal, before):
    """Nothing but what was printed: the cursor is there, no mode is changed."""
    seen = terminal.screen()
    assert seen.cursor and seen.wraps and "\x1b[?25l" not in terminal.text
    assert terminal.attributes() == before
    return seen


WAIT = """
runner = concurra.TaskRunner(2, observers=[board], progress_stats=False)
runner.add_shell_command("echo at it; sleep 20", label="long")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_signal_leaves_the_terminal_as_it_was(terminal, tmp_path, number):
    """Whatever the program makes of it: what comes next stands below the board."""
    before = terminal.attributes()
    program = start(terminal, tmp_path, WAIT + "runner.run()\n")
    terminal.wait_for("at it")
    program.send_signal(number)
    assert program.wait(BOUND) != 0
    os.write(terminal.theirs, b"$ ")
    terminal.wait_for("$ ")
    seen = left_behind(terminal, before)
    assert seen.lines[seen.row] == "$ "
    if number == signal.SIGINT:
        assert "Traceback" in terminal.text


def test_an_exception_leaves_the_terminal_as_it_was(terminal, tmp_path):
    """Of the program, with a run in the background that nobody waits for."""
    before = terminal.attributes()
    program = start(
        terminal,
        tmp_path,
        WAIT + 'runner.execute_in_background()\nuntil("go")\nraise SystemExit(3)\n',
    )
    terminal.wait_for("at it")
    write(tmp_path / "go")
    assert program.wait(BOUND) == 3
    os.write(terminal.theirs, b"$ ")
    terminal.wait_for("$ ")
    seen = left_behind(terminal, before)
    assert seen.lines[seen.row] == "$ "


TWO = """
runners = []
for name in ("First", "Second"):
    runner = concurra.TaskRunner(
        1, name, observers=[concurra.LiveBoard(plain_every=0.05)], progress_stats=False
    )
    runner.add_task(until, "go", label=name.lower())
    runner.execute_in_background()
    until(f"{name}.shown")
    runners.append(runner)
for runner in runners:
    runner.get_background_results(verify=False)
"""


def test_a_second_board_prints_plain_lines(terminal, tmp_path):
    """Above the first, which has the terminal."""
    program = start(terminal, tmp_path, TWO)
    terminal.wait_for("1 at work")
    write(tmp_path / "First.shown")
    terminal.wait_for("(longest: second")
    lines = terminal.wait_to_see("First ─").lines  # drawn again, below that
    board = [line.split()[:2] for line in lines].index(["First", "─" * 9])
    above = "".join(lines[:board])  # it may be wider than the terminal
    assert above.startswith("Second after ") and "First" not in above
    write(tmp_path / "Second.shown")
    write(tmp_path / "go")
    assert program.wait(BOUND) == 0


@pytest.mark.parametrize(
    "changes", [{"CI": "true"}, {"TERM": "dumb"}, {"TERM": "unknown"}]
)
def test_where_the_cursor_cannot_be_moved_there_are_plain_lines(
    terminal, tmp_path, changes
):
    """The last one always; each failure at once."""
    write(tmp_path / "print")
    write(tmp_path / "also")
    write(tmp_path / "go")
    program = start(terminal, tmp_path, PLAIN, **changes)
    assert program.wait(BOUND) == 0
    terminal.wait_for("after")
    assert "\x1b" not in terminal.text
    assert "✗ bad [red]: ValueError: no such table\n" in terminal.text
    assert "3 of 3 tasks have ended, 1 failed, 0 at work" in terminal.text


def test_without_a_terminal_there_are_plain_lines(capsys):
    """On stderr; and a board serves one runner after the other."""
    board = concurra.LiveBoard()
    for name in ("one", "two"):
        runner = concurra.TaskRunner(1, name, observers=[board], progress_stats=False)
        runner.add_task(int, "x", label="bad")
        runner.run(verify=False)
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and [line.split()[0] for line in lines] == ["✗", "one", "✗", "two"]
    assert lines[0].startswith("✗ bad: ValueError: invalid literal")


def follow_a_run_of_its_own():
    """With a board, at what looks like a terminal; what was written there."""
    sys.stderr = stream = Stream()
    written = []
    stream.write = lambda text: written.append(text) or len(text)
    os.environ.update(TERM="xterm", CI="")
    runner = concurra.TaskRunner(
        1, "inner", observers=[concurra.LiveBoard()], progress_stats=False
    )
    runner.add_task(str, label="a")
    runner.run(verify=False)
    return "".join(written)


@pytest.mark.parametrize("mode", START_METHODS)
def test_in_a_worker_process_there_are_plain_lines(mode):
    """The terminal may be that of a board of the program."""
    runner = runner_in(mode, 1)
    runner.add_task(follow_a_run_of_its_own, label="a")
    written = runner.run(verify=False)["a"]["result"]
    assert written.startswith("inner after ") and "\x1b" not in written


def test_closed_streams_break_nothing(monkeypatch):
    """Nor none at all."""
    for stream in (None, open(os.devnull, "w")):
        if stream is not None:
            stream.close()
        monkeypatch.setattr(sys, "stderr", stream)
        runner = concurra.TaskRunner(
            1, observers=[concurra.LiveBoard()], progress_stats=False
        )
        runner.add_task(int, "x", label="bad")
        assert runner.run(verify=False)["bad"]["status"] == "Failed"


SHOWN = """
logging.basicConfig(format="%(message)s", level=logging.INFO)

def say(name):
    until("go")
    print(f"{name} printed")
    logging.info("%s logged", name)
    until("end")

runner = concurra.TaskRunner(3, "Nightly", observers=[board], progress_stats=False,
    output=sys.argv[1], use_multiprocessing=sys.argv[2] == "process", mp_context="fork",
    forward_logs=True)
for name in "ab":
    runner.add_task(say, name, label=name)
runner.add_shell_command("until [ -e go ]; do sleep 0.01; done; echo c printed",
                         label="c")
runner.run(verify=False)
print("after")
"""


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize("output", ["prefixed", "grouped"])
def test_what_tasks_print_comes_above(terminal, tmp_path, output, mode):
    """Where that is shown as well: each line once and whole, and what they log."""
    program = start(terminal, tmp_path, SHOWN, arguments=[output, mode])
    terminal.wait_to_see("3 at work")
    write(tmp_path / "go")
    terminal.wait_to_see("a logged", "b logged", "c printed", "2 at work")
    write(tmp_path / "end")
    assert program.wait(BOUND) == 0
    terminal.wait_for("after")
    *above, last, after, nothing = terminal.screen().lines
    assert last.startswith("Nightly ━━━━━━━━━ 3/3, ")
    assert (after, nothing) == ("after", "")
    printed = {name: f"[{name}] {name} printed" for name in "abc"}
    if output == "grouped":
        printed = {name: f"{name} printed" for name in "abc"}
        for name in "abc":
            heading = above.index(f"== {name} ==")
            assert above[heading + 1] == printed[name]
            del above[heading]
    logged = [f"{name} logged" for name in "ab"]
    assert sorted(above) == sorted([*printed.values(), *logged])


class Stream:
    """A stream of a terminal."""

    def __init__(self):
        self.seen = Screen()

    def isatty(self):
        return True

    def write(self, text):
        self.seen.feed(text.replace("\n", "\r\n"))
        return len(text)

    def flush(self):
        pass


def test_lines_of_many_threads_come_whole(monkeypatch):
    """Though `print` writes each in two pieces; what has no end comes last."""
    stream = Stream()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    screen = BottomLines(stream)
    screen.open()
    screen.draw(["board", "row"])

    def talk(number):
        for _ in range(50):
            print(f"thread {number}")

    threads = [threading.Thread(target=talk, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("no end", end="", flush=True)
    assert stream.seen.lines[200:] == ["board", "row", ""]
    screen.draw(["board"])
    screen.close()
    assert sys.stdout is stream
    lines = stream.seen.lines
    assert sorted(lines[:200]) == [f"thread {n}" for n in range(4) for _ in range(50)]
    assert lines[200:] == ["board", "no end"]


@pytest.mark.parametrize("inner", [0, 1])
@pytest.mark.parametrize("first_out", [0, 1])
def test_a_board_and_shown_output_come_and_go_in_any_order(
    monkeypatch, inner, first_out
):
    """Twice, so that what is left of the first time would be seen."""
    stream = Stream()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, stream)
    for _ in range(2):
        screen = BottomLines(stream)
        begins = [screen.open, streams.install]
        begins[inner]()
        begins[not inner]()
        screen.draw(["board"])
        before = streams.exchange(Display("prefixed", "a").write)
        print("of a task")
        streams.exchange(before)
        print("of another thread")
        assert stream.seen.lines[-4:] == [
            *("[a] of a task", "of another thread", "board", "")
        ]
        ends = [screen.close, streams.uninstall]
        ends[first_out]()
        print("in between")
        ends[not first_out]()
        assert (sys.stdout, sys.stderr) == (stream, stream)


def test_a_board_where_both_streams_are_one(monkeypatch):
    """The same object stands in for both: its lines come above once."""
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    streams.install()
    upper = sys.stdout
    sys.stderr = upper
    screen = BottomLines(stream)
    screen.open()
    screen.draw(["board", "row"])
    print("above")
    screen.draw(["board"])
    assert stream.seen.lines == ["above", "board", ""]
    screen.close()
    assert upper.beneath is stream
    streams.uninstall()


def test_a_stream_that_prints_what_it_is_given(monkeypatch):
    """That is not the task's once more, which would have no end."""
    real = Stream()

    class Tee(Stream):
        def write(self, text):
            return beneath.write(text)

    monkeypatch.setattr(sys, "stdout", real)
    streams.install()
    beneath = sys.stdout
    monkeypatch.setattr(sys, "stdout", Tee())
    before = streams.exchange(Display("prefixed", "a").write)
    print("once")
    print("twice")
    streams.exchange(before)
    sys.stdout = beneath
    streams.uninstall()
    assert real.seen.lines == ["[a] once", "[a] twice", ""]
    assert sys.stdout is real


def test_what_stands_above_a_board_serves_the_next_one(monkeypatch):
    """It outlives the board, as another thread may print to it just then."""
    stream, other = Stream(), Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", other)
    first, second, third = BottomLines(stream), BottomLines(stream), BottomLines(stream)
    first.open()
    proxy = sys.stdout
    first.close()
    second.open()
    assert sys.stdout is proxy is not sys.stderr
    monkeypatch.setattr(sys, "stdout", stream)  # by somebody else, meanwhile
    third.open()
    assert sys.stdout is not proxy
    third.draw(["board"])
    second.close()
    print("above")
    assert stream.seen.lines == ["above", "board", ""]
    third.close()
    assert sys.stdout is stream


def test_in_a_notebook_a_table_is_changed_in_place(monkeypatch):
    """The output of the cell in which the run was started."""
    shown = []

    class Handle:
        def update(self, document):
            shown.append(document)

    def display(document, display_id):
        shown.append(document)
        return Handle()

    fake = types.ModuleType("IPython.display")
    fake.HTML, fake.display = str, display
    shell = types.ModuleType("IPython")
    shell.get_ipython = lambda: types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", shell)
    monkeypatch.setitem(sys.modules, "IPython.display", fake)
    runner = concurra.TaskRunner(
        1, "Nightly", observers=[concurra.LiveBoard()], progress_stats=False
    )
    runner.add_task(int, "<b>", label="<bad>")
    runner.run(verify=False)
    assert shown[0].startswith("<p><b>Nightly after ")
    assert "1 of 1 tasks have ended, 1 failed" in shown[-1]
    assert "✗ &lt;bad&gt;: ValueError" in shown[-1] and "<bad>" not in shown[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": -1}, "rows must be at least 0, not -1"),
        ({"rows": "15"}, "rows must be an integer"),
        ({"plain_every": 0}, "plain_every must be a number of seconds, more than 0"),
    ],
)
def test_wrong_options_are_refused(options, words):
    """At the construction."""
    with pytest.raises((TypeError, ValueError), match=f"^{words}"):
        concurra.LiveBoard(**options)


def test_nothing_is_imported_by_who_has_no_board():
    """It costs nothing where it is not used."""
    code = "import concurra, sys; r = concurra.TaskRunner(); r.add_task(int); r.run()\n"
    code += "print([m for m in sys.modules if 'board' in m or 'screen' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


# A runner itself ------------------------------------------------------------------


def test_a_runner_says_how_far_it_has_come():
    """Its name, state and counts."""
    started, gate = threading.Event(), threading.Event()

    def stay():
        started.set()
        return gate.wait(BOUND)

    runner = concurra.TaskRunner(2, "Nightly", progress_stats=False)
    runner.add_task(int, "x", label="bad")
    runner.add_task(stay, label="long")
    assert repr(runner) == "<TaskRunner 'Nightly' not started: 0 of 2 ended>"
    runner.execute_in_background()
    for label, _ in runner.as_completed():
        if label == "bad":
            assert started.wait(BOUND)
            running = "<TaskRunner 'Nightly' running: 1 of 2 ended, 1 failed>"
            assert repr(runner) == running
            assert "<td" in runner._repr_html_() and "at work" in runner._repr_html_()
            gate.set()
    assert repr(runner) == "<TaskRunner 'Nightly' ended: 2 of 2 ended, 1 failed>"


def test_a_run_that_was_terminated_does_not_look_well():
    """Its tasks have ended, and it is said how."""
    runner = concurra.TaskRunner(1, "Nightly", progress_stats=False)
    runner.add_task(int, "1")
    runner.abort(verify=False)
    assert repr(runner) == "<TaskRunner 'Nightly' ended: 1 of 1 ended, 1 terminated>"
