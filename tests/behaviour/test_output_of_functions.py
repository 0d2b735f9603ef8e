"""What functions print, shown with their labels; and labels on what they log."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest

import concurra
from tests.helpers import START_METHODS, run_script, wait_until

from .modes import FUNCTIONS, as_in, runner_in
from .support import BOUND, SAME_LIBRARY, Gate, check, write

WAYS = ("prefixed", "grouped")


class Shown(io.StringIO):
    """What was shown, call by call."""

    encoding = "utf-8"

    def __init__(self):
        super().__init__()
        self.parts = []
        self.came = threading.Condition()

    def write(self, text):
        with self.came:
            self.parts.append(text)
            self.came.notify_all()
        return len(text)

    @property
    def text(self):
        return "".join(self.parts)

    def wait_for(self, text):
        with self.came:
            assert self.came.wait_for(lambda: text in self.text, BOUND), self.text


def shown_here(monkeypatch):
    """Both streams, by turns; pytest would replace those of a fixture."""
    stream = Shown()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def run(mode, output, function, *args, label="it", **options):
    runner = runner_in(mode, 1, output=output, **options)
    runner.add_task(as_in(mode, function), *args, label=label)
    result = runner.run(verify=False)[label]
    check(result)
    return result


def say():
    print("one")
    print("wrong", file=sys.stderr)
    print("a", "b", sep="-", end="\n\n")
    sys.stdout.write("no end")
    return "said"


def run_another(output):
    print("before")
    runner = concurra.TaskRunner(1, output=output, progress_stats=False)
    runner.add_task(print, "a function", label="leaf")
    runner.add_command([sys.executable, "-c", "print('a command')"], label="cmd")
    runner.run(verify=False)


@pytest.mark.parametrize("mode", START_METHODS)
@pytest.mark.parametrize("output", ["prefixed", "grouped", None])
def test_a_run_within_a_worker_process(mode, output, monkeypatch):
    """What it shows is what its task prints."""
    shown = shown_here(monkeypatch)
    run(mode, "prefixed", run_another, output)
    expected = {
        "prefixed": ["before", "[leaf] a function", "[cmd] a command"],
        "grouped": ["before", "== leaf ==", "a function", "== cmd ==", "a command"],
        None: ["before", "a function"],
    }
    assert shown.text.splitlines() == [f"[it] {line}" for line in expected[output]]


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_lines_behind_the_label(monkeypatch, mode):
    """Complete ones at once, what has no end at the end."""
    shown = shown_here(monkeypatch)
    assert run(mode, "prefixed", say)["result"] == "said"
    lines = ["[it] one", "[it] wrong", "[it] a-b", "[it] ", "[it] no end"]
    assert shown.text.splitlines() == lines
    assert sys.stdout is sys.stderr is shown


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_block_below_the_label(monkeypatch, mode):
    """In one piece, in the order in which it was printed."""
    shown = shown_here(monkeypatch)
    run(mode, "grouped", say)
    assert shown.parts == ["== it ==\none\nwrong\na-b\n\nno end\n"]


@pytest.mark.parametrize("mode", [each for each in FUNCTIONS if each != "forkserver"])
@pytest.mark.parametrize("output", [None, "captured"])
def test_without_it_they_are_as_they_were(capfd, mode, output):
    """Nothing stands before them, and nothing is taken.

    A fork server has the streams with which it was started, as ever.
    """
    before = sys.stdout
    run(mode, output, partial(print, "plain", flush=True))
    assert sys.stdout is before
    assert capfd.readouterr().out == "plain\n"


def flaky(path):
    print("try")
    if not os.path.exists(path):
        write(path)
        raise ConnectionError("once")


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_each_attempt_is_shown(monkeypatch, tmp_path, mode):
    """Also one that raises; the heading of a block says so."""
    shown = shown_here(monkeypatch)
    run(mode, "prefixed", flaky, str(tmp_path / "a"), task_retries=1)
    assert shown.text == "[it] try\n[it] try\n"
    shown = shown_here(monkeypatch)
    run(mode, "grouped", flaky, str(tmp_path / "b"), task_retries=1)
    assert shown.parts == [
        "== it: raised ConnectionError ==\ntry\n",
        "== it, attempt 2 ==\ntry\n",
    ]


def at_hand():
    """The worker has been started then, and has this module."""


def say_and_stay(path):
    print("first")
    sys.stdout.write("half a line")
    write(path)
    time.sleep(3 * BOUND)


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("how", ["timeout", "abort", "cancel"])
def test_what_a_process_has_printed_that_is_stopped(monkeypatch, tmp_path, method, how):
    """Its complete lines, before the run has ended."""
    for output, expected in zip(
        WAYS, ("[it] first\n", "== it: was stopped ==\nfirst\n")
    ):
        shown, path = shown_here(monkeypatch), tmp_path / output
        timeout = 0.7 if how == "timeout" else None
        runner = runner_in(method, 1, output=output)
        runner.add_task(at_hand, label="first")
        task = concurra.task(say_and_stay, timeout=timeout)
        runner.add_task(task, str(path), label="it", depends_on=["first"])
        runner.execute_in_background()
        wait_until(path.exists, timeout=3 * BOUND, what="the task at work")
        if how == "abort":
            runner.abort(verify=False)
        elif how == "cancel":
            runner.cancel("it")
        result = runner.get_background_results(verify=False)["it"]
        assert result["status"] == "Terminated"
        assert shown.text == expected


@pytest.mark.parametrize("how", ["timeout", "attempt", "abort", "cancel"])
def test_what_a_function_has_printed_that_is_stopped(monkeypatch, how):
    """Its block is shown then, though it goes on; nothing of what comes later is."""
    shown = shown_here(monkeypatch)
    printed, leave, late, over = [threading.Event() for _ in range(4)]

    def hang():
        print("step 1")
        print("step 2, which ", end="")
        printed.set()
        assert leave.wait(BOUND)
        print("is too late")
        late.set()

    seconds = 0.2 if how == "timeout" else None
    retry = concurra.Retry(0, attempt_timeout=0.2 if how == "attempt" else None)
    runner = runner_in("thread", 2, output="grouped")
    runner.add_task(
        concurra.task(hang, timeout=seconds, task_retries=retry), label="it"
    )
    runner.add_task(over.wait, BOUND, label="other")
    runner.execute_in_background()
    assert printed.wait(BOUND)
    if how == "cancel":
        assert runner.cancel("it")
    if how == "abort":
        runner.abort(verify=False)
    block = "== it: was stopped ==\nstep 1\nstep 2, which \n"
    shown.wait_for(block)
    leave.set()
    assert late.wait(BOUND)
    over.set()
    result = runner.get_background_results(verify=False)
    assert result["it"]["status"] != "Successful"
    # After the run it prints as it would alone.
    assert shown.text == (f"{block}is too late\n" if how == "abort" else block)


def test_what_a_coroutine_prints_that_is_cancelled(monkeypatch):
    """It comes to its end, and so does its block."""
    shown = shown_here(monkeypatch)
    begun = threading.Event()

    async def clean_up():
        try:
            print("begun")
            begun.set()
            await asyncio.sleep(BOUND)
        finally:
            await asyncio.sleep(0.02)
            print("cleaned up")

    runner = runner_in("thread", 1, output="grouped")
    runner.add_task(clean_up, label="it")
    runner.execute_in_background()
    assert begun.wait(BOUND)
    assert runner.cancel("it")
    runner.get_background_results(verify=False)
    assert shown.text == "== it: raised CancelledError ==\nbegun\ncleaned up\n"


def test_a_stream_that_is_stuck_holds_up_no_end(monkeypatch):
    """What is left of a function that was stopped is not waited for then."""
    stuck, leave = threading.Event(), threading.Event()

    class Stuck(Shown):
        def write(self, text):
            stuck.set()
            assert leave.wait(BOUND)
            return len(text)

    monkeypatch.setattr(sys, "stdout", Stuck())
    runner = runner_in("thread", 1, output="prefixed")
    runner.add_task(print, "x", label="it")
    runner.execute_in_background()
    assert stuck.wait(BOUND)
    assert runner.cancel("it")
    assert runner.get_background_results(verify=False)["it"]["status"] == "Terminated"
    leave.set()


def test_a_thread_that_is_left_behind(monkeypatch):
    """Goes on behind its label for as long as the run does; then as it would alone."""
    shown = shown_here(monkeypatch)
    with Gate() as gate, Gate() as end:
        printed = threading.Event()

        def stay():
            print("before")
            gate.wait()
            print("after")
            printed.set()
            end.wait()

        runner = runner_in("thread", 1, output="prefixed")
        runner.add_task(concurra.task(stay, timeout=0.1), label="it")
        assert runner.run(verify=False)["it"]["status"] == "Terminated"
        assert sys.stdout is shown
        gate.open()
        assert printed.wait(BOUND)
        assert shown.text == "[it] before\nafter\n"


def test_a_print_that_is_at_work_when_the_streams_are_put_back():
    """It goes on: what it has found there is there still, and is used again."""
    code = """
import gc, sys, threading
import concurra

entered, leave = threading.Event(), threading.Event()

class Slow:
    def __str__(self):
        entered.set()
        assert leave.wait(20)
        return "late"

def stay():
    found.append(id(sys.stdout))
    print(Slow(), "and more")

def run(function):
    runner = concurra.TaskRunner(1, output="prefixed", progress_stats=False)
    runner.add_task(function, label="it")
    runner.execute_in_background()
    return runner

found = []
runner = run(stay)
assert entered.wait(20)
runner.abort(verify=False)
gc.collect()
blank = [bytes(48) for _ in range(10_000)]  # in the place of what was freed
leave.set()
for thread in set(threading.enumerate()) - {threading.current_thread()}:
    thread.join(20)
run(lambda: found.append(id(sys.stdout))).get_background_results(verify=False)
assert len(found) == 2 and found[0] == found[1] != id(sys.stdout), found
"""
    done = run_script(code, env=SAME_LIBRARY)
    assert (done.returncode, done.stdout) == (0, "[it] late and more\n"), done.stderr


def test_streams_that_take_no_attributes(monkeypatch):
    """What stands in for one is the same in each run, too."""

    class Small:
        __slots__ = ("found",)

        def write(self, text):
            self.found.append(text)

        def flush(self):
            pass

    stream, seen = Small(), []
    stream.found = []
    monkeypatch.setattr(sys, "stdout", stream)
    for _ in range(2):
        run("thread", "prefixed", lambda: [print("x"), seen.append(sys.stdout)])
    assert "".join(stream.found) == "[it] x\n" * 2
    assert seen[0] is seen[1] is not stream


def test_a_task_that_was_ended_before_it_began(monkeypatch):
    """Goes on unheeded, and what it prints has no label."""
    from concurra.tasks import Call
    from concurra.workers.printing import Performer, Printing

    shown = shown_here(monkeypatch)
    assert Performer(Printing("grouped"), print)(Call(print, ("late",))) is None
    assert shown.text == "late\n"


def die():
    print("before")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("output", WAYS)
def test_what_a_process_has_printed_that_dies(monkeypatch, method, output):
    """Is shown, as it was sent before."""
    shown = shown_here(monkeypatch)
    assert run(method, output, die)["error"].startswith("RuntimeError: Worker process")
    assert (
        shown.text
        == {"prefixed": "[it] before\n", "grouped": "== it ==\nbefore\n"}[output]
    )


def print_many(label, count):
    for number in range(count):
        print(f"{label}{number:05}")
        print(f"{label}{number:05}", file=sys.stderr)


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_lines_of_several_never_mix(monkeypatch, mode):
    """Each is whole, and in order."""
    shown = shown_here(monkeypatch)
    runner = runner_in(mode, 4, output="prefixed")
    for label in "abcd":
        runner.add_task(as_in(mode, print_many), label, 200, label=label)
    runner.run(verify=False)
    lines = shown.text.splitlines()
    assert len(lines) == 1600
    for label in "abcd":
        mine = [line for line in lines if line.startswith(f"[{label}] {label}")]
        assert mine == [f"[{label}] {label}{n // 2:05}" for n in range(400)]


def print_in_thread():
    thread = threading.Thread(target=print, args=("of a thread",))
    thread.start()
    thread.join()
    print("of the task")


@pytest.mark.parametrize("method", START_METHODS)
def test_threads_of_a_task_in_a_process(monkeypatch, method):
    """Are the task's, as a process has one task at a time."""
    shown = shown_here(monkeypatch)
    run(method, "grouped", print_in_thread)
    assert shown.text == "== it ==\nof a thread\nof the task\n"


def test_threads_of_a_task_in_a_thread(monkeypatch):
    """Nobody knows whose they are: they print as ever."""
    shown = shown_here(monkeypatch)
    run("thread", "grouped", print_in_thread)
    assert shown.text == "of a thread\n== it ==\nof the task\n"


async def say_later():
    import asyncio

    print("one")
    await asyncio.sleep(0)
    print("two")


@pytest.mark.parametrize("mode", ("thread", START_METHODS[0]))
def test_a_task_that_is_awaited(monkeypatch, mode):
    """Prints as others do."""
    shown = shown_here(monkeypatch)
    run(mode, "prefixed", say_later)
    assert shown.text == "[it] one\n[it] two\n"


def redirect():
    print("before")
    with contextlib.redirect_stdout(io.StringIO()) as mine:
        print("for me")
    print("after")
    return mine.getvalue()


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_task_may_redirect_for_itself(monkeypatch, mode):
    """It gets what it has printed meanwhile."""
    shown = shown_here(monkeypatch)
    assert run(mode, "prefixed", redirect)["result"] == "for me\n"
    assert shown.text == "[it] before\n[it] after\n"


def forget_the_stream():
    print("before")
    sys.stdout = io.StringIO()
    print("lost")


@pytest.mark.parametrize("method", START_METHODS)
def test_a_task_that_leaves_another_stream(monkeypatch, method):
    """In a process it is put back for the next one."""
    shown = shown_here(monkeypatch)
    runner = runner_in(method, 1, output="prefixed")
    runner.add_task(forget_the_stream, label="a")
    runner.add_task(say, label="b", depends_on=["a"])
    runner.run(verify=False)
    assert shown.text.startswith("[a] before\n[b] one\n")


def print_beneath():
    print("python")
    os.write(1, b"beneath\n")
    subprocess.run([sys.executable, "-c", "print('a program')"])


@pytest.mark.parametrize("method", [m for m in START_METHODS if m != "forkserver"])
def test_what_is_written_to_descriptors_goes_through(monkeypatch, capfd, method):
    """As it is: neither shown by us nor lost; a fork server may be older than this."""
    shown = shown_here(monkeypatch)
    run(method, "prefixed", print_beneath)
    assert shown.text == "[it] python\n"
    assert capfd.readouterr().out == "beneath\na program\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("mode", ("thread", "fork", "spawn"))
def test_a_fork_within_a_task_prints_as_ever(mode, tmp_path):
    """It is no task of ours, and nothing of what it prints is lost."""
    code = f"""
import concurra, os, sys

def fork_and_print():
    print("parent", flush=True)
    pid = os.fork()
    if pid == 0:
        sys.stdout.write("child\\n")  # at once, as others may print meanwhile
        sys.stdout.flush()
        os._exit(0)
    os.waitpid(pid, 0)

if __name__ == "__main__":
    options = {{}} if {mode!r} == "thread" else dict(
        use_multiprocessing=True, mp_context={mode!r})
    runner = concurra.TaskRunner(1, output="prefixed", progress_stats=False, **options)
    runner.add_task(fork_and_print, label="it")
    runner.run(verify=False)
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script],
        env={**os.environ, **SAME_LIBRARY},
        capture_output=True,
        text=True,
        timeout=BOUND * 2,
    )
    assert sorted(done.stdout.splitlines()) == ["[it] parent", "child"], done


def test_two_runs_at_once(monkeypatch):
    """Each shows its own; the streams are put back by the last."""
    shown = shown_here(monkeypatch)
    with Gate() as first, Gate() as second:
        runners = []
        for name, gate in (("a", first), ("b", second)):
            runner = runner_in("thread", 1, output="prefixed")

            def task(gate=gate):
                print("begins")
                gate.wait()
                print("ends")

            runner.add_task(task, label=name)
            runner.execute_in_background()
            runners.append(runner)
            shown.wait_for(f"[{name}] begins\n")
        assert sys.stdout is not shown
        print("the program's own")
        first.open()
        runners[0].get_background_results(verify=False)
        assert sys.stdout is not shown
        second.open()
        runners[1].get_background_results(verify=False)
    assert sys.stdout is sys.stderr is shown
    for line in ("[a] ends\n", "[b] ends\n", "the program's own\n"):
        assert line in shown.text


def test_a_run_within_a_task(monkeypatch):
    """Its tasks have their own labels, and after it the outer one has its own again."""
    shown = shown_here(monkeypatch)

    def outer():
        print("before")
        run("thread", "prefixed", partial(print, "x"), label="inner")
        print("after")

    run("thread", "prefixed", outer, label="outer")
    assert shown.text == "[outer] before\n[inner] x\n[outer] after\n"


@pytest.mark.parametrize("ending", ["abort before", "wrong", "nothing"])
def test_the_streams_are_put_back(monkeypatch, ending):
    """However the run ends, and if it never began."""
    shown = shown_here(monkeypatch)
    runner = runner_in("thread", 1, output="prefixed")
    if ending == "wrong":
        runner.add_task(say, label="a", depends_on=["missing"])
        with pytest.raises(ValueError):
            runner.run()
    elif ending == "abort before":
        runner.add_task(say, label="a")
        runner.abort(verify=False)
    runner_in("thread", 1, output="prefixed").run(verify=False)
    assert sys.stdout is sys.stderr is shown


def test_what_an_initializer_prints(monkeypatch):
    """Belongs to no task."""
    shown = shown_here(monkeypatch)
    run("thread", "prefixed", say, initializer=print, initargs=("ready",))
    assert shown.text.startswith("ready\n[it] one\n")


def print_badly():
    print("\x1b[31mred\x1b[0m \x1b[2J\a", "\udcff", "\u202e")
    print("\r10 %\r20 %", end="")
    print("x" * 20_000)


@pytest.mark.parametrize("mode", ("thread", START_METHODS[0]))
def test_hostile_texts(monkeypatch, mode):
    """Have no effect, and an end."""
    shown = shown_here(monkeypatch)
    run(mode, "prefixed", print_badly)
    first, *others = shown.text.splitlines()
    assert first == "[it] red \\x07 \\udcff \\u202e"
    assert "".join(line[5:] for line in others) == "20 %" + "x" * 20_000
    assert max(map(len, others)) <= 8192 + 5


def test_the_choice_is_checked():
    """When the runner is made, and when it starts."""
    with pytest.raises(ValueError, match="^output must be one of 'captured', "):
        concurra.TaskRunner(output="yes")
    runner = concurra.TaskRunner()
    runner.output = 5
    runner.add_task(say)
    with pytest.raises(TypeError, match="^output must be one of"):
        runner.run()


def test_what_is_not_used_is_not_imported():
    """Neither by the program nor by a run, in a thread or of a command."""
    code = """
import concurra, sys
runner = concurra.TaskRunner(progress_stats=False)
runner.add_task(abs, -1)
runner.add_command([sys.executable, "-c", ""])
runner.run(verify=False)
names = "concurra.output", "concurra.workers.printing", "concurra.workers.max_output"
print([name for name in sys.modules if name.startswith(names)])
"""
    assert run_script(code, env=SAME_LIBRARY).stdout == "[]\n"


# Labels on what is logged -------------------------------------------------------------


def log_once(name="users.labels"):
    logging.getLogger(name).warning("logged")


@pytest.fixture
def handler():
    """Of the logger `users.labels`, with the filter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(concurra_label)s: %(message)s"))
    handler.addFilter(concurra.LabelFilter(outside="-"))
    logger = logging.getLogger("users.labels")
    logger.propagate, before = False, logger.propagate
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.propagate = before


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_records_have_the_label_of_the_task(handler, mode):
    """In threads by the filter; what comes from processes has it."""
    options = {} if mode in ("thread", "fallback") else {"forward_logs": True}
    runner = runner_in(mode, 2, **options)
    for label in ("a", "b"):
        runner.add_task(as_in(mode, log_once), label=label)
    runner.run(verify=False)
    log_once()
    *lines, last = handler.stream.getvalue().splitlines()
    assert sorted(lines) == ["a: logged", "b: logged"]
    assert last == "-: logged"


def test_the_label_is_the_tasks_own(handler):
    """In a thread it is no copy; and None, unless something else is chosen."""
    kept = []
    handler.emit = kept.append
    handler.addFilter(concurra.LabelFilter())
    label = ("a", frozenset([1]))
    runner = runner_in("thread", 1)
    runner.add_task(log_once, label=label)
    runner.run(verify=False)
    assert kept[0].concurra_label is label
    record = logging.makeLogRecord({"msg": "x"})
    assert concurra.LabelFilter().filter(record) is True
    assert record.concurra_label is None
