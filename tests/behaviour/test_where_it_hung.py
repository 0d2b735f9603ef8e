"""A function that is ended by force says in its trace where it was."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

import concurra
from concurra.tasks import Call
from concurra.workers.places import UNSEEN
from concurra.workers.process import ProcessWorker
from concurra.workers.stacks import Stack
from concurra.workers.thread import ThreadWorker
from tests.helpers import HAS_PROC, START_METHODS, wait_until

from .modes import runner_in
from .support import BOUND, SAME_LIBRARY, read, statuses, write

MODES = ["thread", *START_METHODS]
HEAD = "Stack (most recent call last):\n"
SILENT = "(Where it was is not known: its process did not tell.)\n"
HERE = os.path.abspath(__file__)


def wait_for_ever(ready):
    write(ready)
    wait_until(lambda: os.path.exists(f"{ready}.over"), BOUND)


def middle(ready, depth=0):
    return middle(ready, depth - 1) if depth else wait_for_ever(ready)


def hang(ready, depth=0):
    middle(ready, depth)


def end_when_ready(runner, *paths, how="abort", label="a", more=lambda: True):
    """Its results, ended as soon as these files are there, and ``more`` is true."""
    runner.execute_in_background()
    try:
        for path in paths:
            wait_until(lambda: os.path.exists(path), BOUND, path)
        wait_until(more, BOUND)
    finally:
        if how == "cancel":
            runner.cancel(label)
        elif how == "abort":
            runner.abort(verify=False)
        results = runner.get_background_results(verify=False)
        for path in paths:
            write(f"{path}.over")
    return results


def functions_of(trace):
    assert trace.startswith(HEAD)
    return re.findall(r"^  File \".*\", line \d+, in (\w+)$", trace, re.MULTILINE)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["abort", "cancel"])
def test_it_is_told_where_it_was(mode, how, tmp_path):
    """Without frames of ours, and with lines of source; the error stays."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    runner.add_task(hang, ready, label="a")
    result = end_when_ready(runner, ready, how=how)["a"]
    assert result["status"] == "Terminated"
    assert functions_of(result["trace"])[:3] == ["hang", "middle", "wait_for_ever"]
    assert f'File "{HERE}"' in result["trace"]
    assert "    middle(ready, depth)\n" in result["trace"]
    assert "concurra/workers" not in result["trace"]


def at_hand():
    """The worker has been started then, and has this module."""


@pytest.mark.parametrize("mode", MODES)
def test_a_timeout_is_told_in_the_log_at_once(mode, tmp_path, caplog):
    """With `log_errors`, and in the report; the documented text stands before it."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1, log_errors=True)
    runner.add_task(at_hand)
    runner.add_task(concurra.task(hang, timeout=1), ready, label="a")
    with caplog.at_level(logging.ERROR, "concurra.core"):
        runner.run()
    write(f"{ready}.over")
    at_once, report = [record.getMessage() for record in caplog.records]
    line = "Task 'a' failed with error: TimeoutError: Task exceeded timeout of 1 "
    for text in (at_once, report):
        before, stack, after = text.partition(HEAD)
        assert before.endswith(f"{line}seconds\n") and "in wait_for_ever" in after


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_of_a_deep_stack_the_end_is_shown(mode, tmp_path):
    """With the number of what was left out, as far as that is known."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    runner.add_task(hang, ready, 60, label="a")
    trace = end_when_ready(runner, ready)["a"]["trace"]
    assert re.search(r"^  \[\.\.\. 4\d frames left out \.\.\.\]$", trace, re.MULTILINE)
    assert len(trace.splitlines()) < 30 and "in wait_for_ever" in trace


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_the_last_attempt_is_told(mode, tmp_path):
    """An attempt that takes too long is a failure, with a trace as well."""
    ready = str(tmp_path / "ready")
    retry = concurra.Retry(0, attempt_timeout=1)
    runner = runner_in(mode, 1)
    runner.add_task(concurra.task(hang, task_retries=retry), ready, label="a")
    result = runner.run(verify=False)["a"]
    write(f"{ready}.over")
    assert result["status"] == "Failed"
    assert functions_of(result["trace"])[:2] == ["hang", "middle"]


async def innermost(ready):
    write(ready)
    deadline = time.monotonic() + BOUND
    while time.monotonic() < deadline and not os.path.exists(f"{ready}.over"):
        await asyncio.sleep(0.01)


async def outer(ready):
    await innermost(ready)


async def busy(ready):
    write(ready)
    while not os.path.exists(f"{ready}.over"):
        pass


@pytest.mark.parametrize(
    ("task", "told"), [(outer, ["outer", "innermost"]), (busy, ["busy"])]
)
def test_a_coroutine_in_a_thread_is_told_by_its_own_stack(tmp_path, task, told):
    """Whether it waits or computes: the event loop around it says nothing."""
    ready = str(tmp_path / "ready")
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(task, ready, label="a")
    trace = end_when_ready(runner, ready)["a"]["trace"]
    assert functions_of(trace)[: len(told)] == told
    assert "run_forever" not in trace


async def blocking(ready):
    await asyncio.sleep(0)
    wait_for_ever(ready)


def test_a_coroutine_that_blocks_its_loop_is_told_by_the_thread(tmp_path):
    """It is at work itself."""
    ready = str(tmp_path / "ready")
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(blocking, ready, label="a")
    trace = end_when_ready(runner, ready)["a"]["trace"]
    assert ["blocking", "wait_for_ever"] == [
        name for name in functions_of(trace) if name in ("blocking", "wait_for_ever")
    ]


def own_end(runner):
    runner.abort(verify=False)
    return "went on"


def test_a_task_that_aborts_its_own_run():
    """It is where it aborts."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(own_end, runner, label="a")
    results = runner.run(verify=False)
    assert functions_of(results["a"]["trace"]) == ["own_end"]


def ignoring(ready):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait_for_ever(ready)


def own_handler(ready):
    def note(*_):
        write(f"{ready}.told", "SIGTERM")
        os._exit(0)

    signal.signal(signal.SIGTERM, note)
    write(ready)
    # `os.kill` looks for signals. Python 3.13 does not by itself, in what a thread has
    # forked, if the signal comes between two calls that could be interrupted.
    wait_until(
        lambda: os.kill(os.getpid(), 0) or os.path.exists(f"{ready}.over"), BOUND
    )


@pytest.mark.parametrize("mode", START_METHODS)
@pytest.mark.parametrize("task", [ignoring, own_handler])
def test_who_handles_sigterm_itself_is_not_asked(mode, task, tmp_path):
    """The task's own handler is called, alone; the trace says that nothing is known."""
    ready = str(tmp_path / "ready")
    grace = BOUND if task is own_handler else 0.3
    runner = runner_in(mode, 1, terminate_timeout=grace)
    runner.add_task(task, ready, label="a")
    result = end_when_ready(runner, ready)["a"]
    assert result["trace"] == SILENT
    if task is own_handler:
        assert read(f"{ready}.told") == "SIGTERM"


def replace_handler():
    signal.signal(signal.SIGTERM, lambda *_: None)


@pytest.mark.parametrize("mode", START_METHODS)
def test_the_next_task_of_the_worker_is_told_again(mode, tmp_path):
    """A handler that a task leaves behind is taken away with the others."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    first = runner.add_task(replace_handler, label="first")
    runner.add_task(hang, ready, label="a", depends_on=[first])
    results = end_when_ready(runner, ready)
    assert results["first"]["status"] == "Successful"
    assert functions_of(results["a"]["trace"])[0] == "hang"


def fork_and_end(ready):
    child = os.fork()
    if not child:
        wait_for_ever(f"{ready}.child")
        os._exit(1)
    wait_until(lambda: os.path.exists(f"{ready}.child"), BOUND)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    hang(ready)


def test_a_child_of_a_task_tells_nothing(tmp_path):
    """It is ended by SIGTERM as well, and has the same file."""
    ready = str(tmp_path / "ready")
    runner = runner_in("fork", 1)
    runner.add_task(fork_and_end, ready, label="a")
    trace = end_when_ready(runner, ready)["a"]["trace"]
    assert functions_of(trace)[:2] == ["fork_and_end", "hang"]


def hold_the_lock(ready):
    write(ready, os.getpid())
    re.match(r"(a+)+$", "a" * 60 + "b")


@pytest.mark.parametrize("mode", START_METHODS)
def test_a_task_that_holds_the_interpreter_is_told(mode, tmp_path):
    """What hangs in C code runs no handler of Python's."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    runner.add_task(hold_the_lock, ready, label="a")

    def computes():
        """What it has done before is done in no time."""
        fields = Path("/proc", read(ready), "stat").read_text().rpartition(")")[2]
        ticks.append(int(fields.split()[11]))
        return ticks[-1] >= ticks[0] + 5

    ticks = []
    more = computes if HAS_PROC else (lambda: True)
    trace = end_when_ready(runner, ready, more=more)["a"]["trace"]
    first, within = functions_of(trace)[:2]
    assert first == "hold_the_lock" and within in ("match", "prefixmatch")


def nothing_at_all():
    """It returns."""


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_what_ended_by_itself_has_no_stack(mode):
    """Neither a success nor what was never begun."""
    runner = runner_in(mode, 1)
    runner.add_task(nothing_at_all, label="a")
    results = runner.run(verify=False)
    aborted = runner_in(mode, 1)
    aborted.add_task(nothing_at_all, label="b")
    results.update(aborted.abort(verify=False))
    assert statuses(results) == {"a": "Successful", "b": "Terminated"}
    assert results["a"]["trace"] is results["b"]["trace"] is None


def test_threads_are_not_looked_at_without_the_lock(tmp_path, monkeypatch):
    """To read frames that others change meanwhile may crash: the trace says so."""
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    monkeypatch.delattr(sys, "_current_frames")
    ready = str(tmp_path / "ready")
    runner = runner_in("thread", 1)
    runner.add_task(hang, ready, label="a")
    assert end_when_ready(runner, ready)["a"]["trace"] == UNSEEN


AUDITED = """
import sys, time
import concurra

def refuse(event, arguments):
    if event == "sys._current_frames":
        raise PermissionError("not here")

async def forever():
    time.sleep(60)

sys.addaudithook(refuse)
runner = concurra.TaskRunner(timeout=0.1, progress_stats=False)
runner.add_task(time.sleep, 60)
runner.add_task(forever)
for result in runner.run(verify=False).values():
    print(result["error"], result["trace"], sep="|", end="")
"""


def test_an_audit_hook_that_refuses_the_look_changes_nothing_else():
    """Its error came out of `run`."""
    done = subprocess.run(
        [sys.executable, "-c", AUDITED],
        env={**os.environ, **SAME_LIBRARY},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    expected = f"TimeoutError: Task exceeded timeout of 0.1 seconds|{UNSEEN}"
    assert (done.stdout, done.returncode) == (2 * expected, 0), done.stderr


class Big:
    """Something that can be watched."""


def test_no_variable_is_kept_alive(tmp_path):
    """A stack is code and numbers: what was in its frames goes with the function."""
    gone, ended = [], threading.Event()
    ready = str(tmp_path / "ready")

    def hold():
        big = Big()
        gone.append(weakref.ref(big))
        wait_for_ever(ready)
        del big
        ended.set()

    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(hold, label="a")
    results = end_when_ready(runner, ready)
    assert "in hold" in results["a"]["trace"]
    assert ended.wait(BOUND)
    gc.disable()
    try:
        wait_until(lambda: gone[0]() is None, BOUND, "the end of its variables")
    finally:
        gc.enable()


class SlowToPickle:
    """A result whose sending is user code that hangs."""

    def __init__(self, ready):
        self.ready = ready

    def __reduce__(self):
        wait_for_ever(self.ready)
        return int, ()


def slow_result(ready):
    return SlowToPickle(ready)


class SlowToTell(Exception):
    """An error whose message is user code that hangs."""

    def __str__(self):
        wait_for_ever(self.args[0])
        return "told"


def slow_error(ready):
    raise SlowToTell(ready)


def slow_to_arrive(ready):
    wait_for_ever(ready)
    return ()


class SlowToUnpickle:
    """An argument whose arrival is user code that hangs."""

    def __init__(self, ready):
        self.ready = ready

    def __reduce__(self):
        return slow_to_arrive, (self.ready,)


def take(_):
    """It is never called."""


def told_in_words(runner, *paths):
    """The words of a trace, and the functions of the stack behind them."""
    trace = end_when_ready(runner, *paths)["a"]["trace"]
    words, head, frames = trace.partition(HEAD)
    for ours in ("concurra/", "multiprocessing", "pickle", "importlib"):
        assert ours not in frames.replace(HERE, "")
    return words, functions_of(head + frames)


@pytest.mark.parametrize("mode", START_METHODS)
def test_a_result_that_is_being_sent(mode, tmp_path):
    """The function has returned; of the stack, what is the user's."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    runner.add_task(slow_result, ready, label="a")
    words, functions = told_in_words(runner, ready)
    assert words == "(It had returned: its result was being sent.)\n"
    assert functions[:2] == ["__reduce__", "wait_for_ever"]


@pytest.mark.parametrize("mode", MODES)
def test_an_error_that_is_being_described(mode, tmp_path):
    """The function has ended; of the stack, what is the user's."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    runner.add_task(slow_error, ready, label="a")
    words, functions = told_in_words(runner, ready)
    assert words == "(It had ended with an error, which was being described.)\n"
    assert functions[:2] == ["__str__", "wait_for_ever"]


def fail(ready):
    raise OSError(ready)


def slow_to_decide(error):
    wait_for_ever(error.args[0])
    return True


@pytest.mark.parametrize("mode", START_METHODS)
def test_a_rule_for_retries_that_is_asked(mode, tmp_path):
    """The function has ended; of the stack, what is the user's."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    again = concurra.Retry(1, on=slow_to_decide)
    runner.add_task(concurra.task(fail, task_retries=again), ready, label="a")
    words, functions = told_in_words(runner, ready)
    assert words == "(It had ended with an error: `on` was asked whether to retry.)\n"
    assert functions[:2] == ["slow_to_decide", "wait_for_ever"]


@pytest.mark.parametrize("mode", START_METHODS)
def test_arguments_that_are_being_unpickled(mode, tmp_path):
    """The function has not begun; of the stack, what is the user's."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1)
    runner.add_task(take, SlowToUnpickle(ready), label="a")
    words, functions = told_in_words(runner, ready)
    assert words == "(It had not begun: what was sent for it was being unpickled.)\n"
    assert functions[:2] == ["slow_to_arrive", "wait_for_ever"]


@pytest.mark.parametrize("mode", MODES)
def test_an_initializer_that_hangs(mode, tmp_path, monkeypatch):
    """It is not the function that hangs."""
    ready, given = str(tmp_path / "ready"), str(tmp_path / "given")
    run = ProcessWorker.run

    def give(*args):  # a process that is started early has no task yet
        write(given)
        return run(*args)

    monkeypatch.setattr(ProcessWorker, "run", give)
    if mode == "thread":
        write(given)
    runner = runner_in(mode, 1, initializer=hang, initargs=(ready,))
    runner.add_task(take, 1, label="a")
    words, functions = told_in_words(runner, ready, given)
    assert words == "(It had not begun: the initializer was at work.)\n"
    assert functions[:2] == ["hang", "middle"]


@pytest.mark.parametrize("mode", MODES)
def test_a_function_without_python_code(mode):
    """Says so: it has no stack, and its process did tell."""
    runner = runner_in(mode, 1)
    first = runner.add_task(at_hand)  # the process is ready then
    nap = concurra.task(time.sleep, timeout=0.5)
    runner.add_task(nap, 2, label="a", depends_on=[first])
    trace = runner.run(verify=False)["a"]["trace"]
    assert trace == "(It was in a function without Python code, which has no stack.)\n"


def printing(ready):
    write(ready)
    # A thread goes on when the run is over, and would print among other tests' output.
    alone = threading.current_thread() is threading.main_thread()
    while not os.path.exists(f"{ready}.over"):
        print("x\n" if alone else "", end="")


@pytest.mark.parametrize("mode", MODES)
def test_what_is_called_of_ours_is_not_shown(mode, tmp_path):
    """What prints within a run that shows it is in no code of concurra's."""
    ready = str(tmp_path / "ready")
    runner = runner_in(mode, 1, output="grouped")
    runner.add_task(printing, ready, label="a")
    words, functions = told_in_words(runner, ready)
    assert words == "" and functions[0] == "printing"


def open_files():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_no_file_is_left_open(tmp_path):
    """Each process has one, until it has been reaped."""
    ready = str(tmp_path / "ready")
    before = open_files()
    runner = runner_in("fork", 3)
    for number in range(3):
        runner.add_task(hang, f"{ready}{number}", label=number)
    end_when_ready(runner, *(f"{ready}{number}" for number in range(3)))
    wait_until(lambda: open_files() <= before, BOUND, "closed files")


def test_commands_keep_their_transcript(tmp_path):
    """What they have printed is worth more."""
    ready = str(tmp_path / "ready")
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_shell_command(f"echo so far; touch {ready}; sleep 20", label="a")
    result = end_when_ready(runner, ready)["a"]
    assert result["trace"] == "stdout:\nso far\n"


def test_the_collector_does_not_come_by_while_frames_are_looked_at():
    """It would let the other thread go on, and Python 3.11 crashes then."""
    came, kept = [], []
    worker = ThreadWorker()

    def come(phase, info):
        frame = sys._getframe(1)
        came.append(frame.f_code.co_name)

    def look():
        worker.stack = stack = Stack(ThreadWorker.begin.__code__)
        stack.thread = threading.get_ident()
        stack.capture()
        kept.append(stack)

    thresholds = gc.get_threshold()
    gc.callbacks.append(come)
    try:
        for number in range(200):
            gc.set_threshold(1 + number % 12)  # it comes by after so many objects
            assert worker.begin(Call(look)).ok
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(come)
    assert came
    assert not {"_find", "_frames", "_is_mine", "<listcomp>"} & set(came)
