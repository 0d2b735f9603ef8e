"""Multiprocessing: workers in processes of their own, and the fallback to a thread."""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import io
import logging
import multiprocessing
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest

import concurra
from tests.helpers import QUICKEST, START_METHODS, run_script

from .support import (
    BOUND,
    SAME_LIBRARY,
    check,
    meet,
    read,
    statuses,
    wait_for_end_of,
    write,
)

FORK = pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
MARKER = []


def process_runner(**options):
    options = {"max_concurrency": 1, "progress_stats": False, **options}
    return concurra.TaskRunner(use_multiprocessing=True, **options)


def results_of(runner, *tasks):
    """Run the tasks, all of them successful; return their results in order."""
    for task, *arguments in tasks:
        runner.add_task(task, *arguments)
    results = runner.run(verify=False)
    assert [result["error"] for result in results.values()] == [None] * len(tasks)
    return [result["result"] for result in results.values()]


# How many there are -----------------------------------------------------------


def test_there_are_as_many_as_needed(start_method, tmp_path):
    """Many more than cores, if tasks wait for one another."""
    count = 4 * os.cpu_count()
    runner = process_runner(max_concurrency=count, mp_context=start_method)
    meetings = [(meet_and_tell, tmp_path, number, count) for number in range(count)]
    assert len(set(results_of(runner, *meetings))) == count


def test_there_are_no_more_than_needed(monkeypatch, start_method):
    """Short tasks are done by as many as there are cores."""
    monkeypatch.setattr("concurra.engine.limit.MANY", -1)  # none is too few
    runner = process_runner(max_concurrency=64, mp_context=start_method)
    pids = {own for own, _ in results_of(runner, *[[who_am_i]] * 200)}
    assert len(pids) <= os.cpu_count()


# Where tasks run --------------------------------------------------------------


def marker():
    return list(MARKER)


def mark():
    MARKER.append("marked by a worker")


def who_am_i():
    return os.getpid(), os.getppid()


@pytest.mark.parametrize("as_context", [False, True], ids=["name", "context"])
def test_mp_context_chooses_the_start_method(monkeypatch, start_method, as_context):
    """By name or as a context: a fork has our memory, other workers import anew."""
    monkeypatch.setitem(globals(), "MARKER", ["set in the parent"])
    context = start_method
    if as_context:
        context = multiprocessing.get_context(start_method)
    runner = process_runner(mp_context=context)
    runner.add_task(marker, label="marker")
    runner.add_task(who_am_i, label="who")
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
        assert result["execution_mode"] == "process"
    expected = ["set in the parent"] if start_method == "fork" else []
    assert results["marker"]["result"] == expected
    pid, parent = results["who"]["result"]
    assert pid != os.getpid()
    assert (parent == os.getpid()) is (start_method != "forkserver")


def test_failures_come_home(start_method):
    """Error and trace of a failure, with every start method."""
    runner = process_runner(mp_context=start_method)
    runner.add_task(int, "x", label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    assert result["error"].startswith("ValueError: invalid literal")


def test_a_task_cannot_change_our_memory():
    """Processes are isolated from the program and its objects."""
    basket = []
    runner = process_runner()
    results_of(runner, (basket.append, "egg"), (mark,))
    assert basket == []
    assert MARKER == []


def echo(*args, **kwargs):
    return args, kwargs


def test_arguments_and_results_travel():
    """Values of all kinds and sizes, there and back."""
    large = bytes(range(256)) * 20_000
    nested = {"a": [1, (2.5, None)], "b": {"ü→"}}
    runner = process_runner()
    runner.add_task(echo, large, nested, label="a", x=True)
    assert runner.run()["a"]["result"] == ((large, nested), {"x": True})


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Point) and self.x == other.x

    def plus(self, dx):
        return Point(self.x + dx)

    @classmethod
    def origin(cls):
        return cls(0)


def test_methods_and_own_classes_travel():
    """Bound methods, classes, instances of the user's own classes."""
    assert results_of(
        process_runner(), (Point(1).plus, 2), (Point.origin,), (Point, 5)
    ) == [Point(3), Point(0), Point(5)]


# Workers are reused -----------------------------------------------------------


def test_a_worker_is_reused():
    """One process for all tasks of one worker."""
    pids = results_of(process_runner(), *[(os.getpid,)] * 5)
    assert len(set(pids)) == 1
    assert os.getpid() not in pids


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_max_tasks_per_child(limit):
    """So many tasks in a row, then a fresh process."""
    runner = process_runner(max_tasks_per_child=limit)
    pids = results_of(runner, *[(os.getpid,)] * 5)
    rows = [pids[index : index + limit] for index in range(0, 5, limit)]
    assert all(len(set(row)) == 1 for row in rows)
    assert len({row[0] for row in rows}) == len(rows)


def test_no_more_processes_than_max_concurrency(tmp_path):
    """Two workers, two processes, that really run at the same time."""
    runner = process_runner(max_concurrency=2)
    tasks = [(meet_and_tell, tmp_path, name) for name in "ab"]
    pids = results_of(runner, *tasks, *[(os.getpid,)] * 6)
    assert len(set(pids[:2])) == 2
    assert set(pids) == set(pids[:2])


def meet_and_tell(folder, name, count=2):
    meet(folder, name, count)
    return os.getpid()


def test_workers_end_with_the_run():
    """No process is left when the run is over."""
    (pid,) = results_of(process_runner(), (os.getpid,))
    wait_for_end_of(pid)


# A task does not disturb the next one -----------------------------------------


def disturb(folder):
    os.chdir(folder)
    os.environ["CONCURRA_ADDED"] = "added"
    os.environ["CONCURRA_CHANGED"] = "changed"
    del os.environ["CONCURRA_DELETED"]


def disturb_and_fail(folder):
    disturb(folder)
    raise ValueError("no")


def disturb_and_remove(folder):
    disturb(folder)
    os.rmdir(folder)


def surroundings():
    names = ("CONCURRA_ADDED", "CONCURRA_CHANGED", "CONCURRA_DELETED")
    return [os.getcwd(), *map(os.environ.get, names), os.getpid()]


@pytest.mark.parametrize("culprit", [disturb, disturb_and_fail, disturb_and_remove])
def test_working_directory_and_environment_are_restored(monkeypatch, tmp_path, culprit):
    """After each task, failed or not, in the same process."""
    if os.name != "posix" and culprit is disturb_and_remove:
        pytest.skip("a folder in use cannot be removed here")
    monkeypatch.setenv("CONCURRA_CHANGED", "original")
    monkeypatch.setenv("CONCURRA_DELETED", "original")
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    runner = process_runner(mp_context=QUICKEST)
    runner.add_task(surroundings, label="before")
    runner.add_task(culprit, folder, label="culprit")
    runner.add_task(surroundings, label="after")
    results = runner.run(verify=False)
    assert results["before"]["result"] == results["after"]["result"]
    assert results["after"]["result"][:4] == [
        os.getcwd(),
        None,
        "original",
        "original",
    ]


# Tasks that cannot be pickled -------------------------------------------------

UNPICKLABLE = [
    pytest.param(lambda: (lambda: "it ran"), (), id="lambda"),
    pytest.param(lambda: str, (threading.Lock(),), id="argument"),
]


@pytest.mark.parametrize(("make", "arguments"), UNPICKLABLE)
def test_an_unpicklable_task_fails_and_the_rest_runs(make, arguments):
    """A clear error; it was never attempted; a warning tells of the fallback."""
    runner = process_runner()
    runner.add_task(make(), *arguments, label="bad")
    runner.add_task(abs, -1, label="good")
    runner.add_task(abs, -1, label="dependent", depends_on=["bad"])
    results = runner.run(verify=False)
    check(results["bad"])
    assert results["bad"]["status"] == "Failed"
    assert re.search("pickle|local object", results["bad"]["error"])
    assert results["bad"]["warning"] == (
        "Task was not picklable and thread fallback is disabled"
    )
    assert results["bad"]["execution_mode"] is None
    assert results["bad"]["attempts"] == 0
    assert results["bad"]["retry_errors"] == []
    assert results["good"]["result"] == 1
    assert results["good"]["execution_mode"] == "process"
    assert results["good"]["warning"] is None
    assert results["dependent"]["status"] == "Terminated"


class Oneway:
    """Can be pickled, and not be unpickled where it goes to."""

    def __reduce__(self):
        return int, ("no number",)


def returns_a_lambda():
    return lambda: 1


def returns_one_that_is_oneway():
    return Oneway()


VALUES = [
    pytest.param(lambda: 1, (), id="function"),
    pytest.param(str, (threading.Lock(),), id="argument"),
    pytest.param(str, (Oneway(),), id="argument-there"),
    pytest.param(returns_a_lambda, (), id="value"),
    pytest.param(returns_one_that_is_oneway, (), id="value-here"),
]


def told_without_frames(result, error):
    """The trace is the error and a hint: all frames would be the library's.

    Python 3.14 has notes between them, of what was being pickled.
    """
    first, *lines = result["trace"].splitlines()
    told = [line for line in lines if not line.startswith("when serializing ")]
    assert first.endswith(error) and told[0].startswith("(What "), (first, lines)
    assert told == lines or sys.version_info >= (3, 14)
    assert "  File " not in result["trace"]
    assert "During handling" not in result["trace"]
    assert result["error"].endswith(error)


@pytest.mark.parametrize(("func", "arguments"), VALUES)
@pytest.mark.parametrize("mode", START_METHODS)
def test_the_trace_of_what_cannot_be_pickled(mode, func, arguments):
    """It has no frames of the library, and there are no others."""
    runner = process_runner(mp_context=mode)
    runner.add_task(func, *arguments, label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    told_without_frames(result, result["error"].split(": ")[-1])


@pytest.mark.parametrize(("func", "arguments"), VALUES)
def test_the_trace_of_what_cannot_go_to_an_executor(func, arguments):
    """The same; there may be frames of cloudpickle, which makes more picklable."""
    with concurrent.futures.ProcessPoolExecutor(1) as pool:
        runner = concurra.TaskRunner(1, executor=pool, progress_stats=False)
        runner.add_task(func, *arguments, label="a")
        result = runner.run(verify=False)["a"]
    library = os.path.dirname(concurra.__file__)
    assert result["status"] == "Successful" or library not in result["trace"]


@pytest.mark.parametrize("mode", [m for m in START_METHODS if m != "fork"])
def test_a_function_that_is_not_in_its_module_there(mode, monkeypatch):
    """As one of a prompt: the error is told alone, without the one before it."""
    made_here = lambda: 1  # noqa: E731
    made_here.__name__ = made_here.__qualname__ = "made_here"
    monkeypatch.setattr(sys.modules[__name__], "made_here", made_here, raising=False)
    runner = process_runner(mp_context=mode)
    runner.add_task(made_here, label="a")
    result = runner.run(verify=False)["a"]
    told_without_frames(result, result["error"])
    assert "made_here" in result["error"]


def test_a_nested_function_does_not_pickle():
    """Neither does one that is defined in another."""

    def nested():
        return 1

    runner = process_runner()
    runner.add_task(nested, label="a")
    result = runner.run(verify=False)["a"]
    assert "nested" in result["error"]
    assert result["status"] == "Failed"


def test_no_warning_is_logged_without_the_fallback(log):
    """The failure is in the result; it is logged like other failures, or not."""
    runner = process_runner()
    runner.add_task(lambda: 1, label="a")
    runner.run(verify=False)
    assert log.lines() == []


# The thread fallback ----------------------------------------------------------


def test_the_fallback_runs_in_our_own_process(log):
    """In a thread, with our memory, and a warning in result and log."""
    basket = []
    here = os.getpid()
    runner = process_runner(fallback_to_thread_on_pickle_error=True)
    runner.add_task(lambda: basket.append(os.getpid()), label="bad one")
    runner.add_task(os.getpid, label="good")
    results = runner.run(verify=False)
    check(results["bad one"])
    assert basket == [here]
    assert results["bad one"]["status"] == "Successful"
    assert results["bad one"]["execution_mode"] == "thread_fallback"
    assert results["bad one"]["warning"] == (
        "Task was not picklable; ran in thread fallback"
    )
    assert results["good"]["execution_mode"] == "process"
    assert results["good"]["warning"] is None
    assert results["good"]["result"] != here
    (warning,) = log.lines(logging.WARNING)
    assert "bad one" in warning


def test_the_fallback_is_not_used_without_need(log):
    """A task that can be pickled runs in a process."""
    runner = process_runner(fallback_to_thread_on_pickle_error=True)
    runner.add_task(abs, -1, label="a")
    result = runner.run(verify=False)["a"]
    assert result["execution_mode"] == "process"
    assert log.lines() == []


def test_the_fallback_means_nothing_to_threads():
    """Without multiprocessing nothing is pickled."""
    runner = concurra.TaskRunner(fallback_to_thread_on_pickle_error=True)
    runner.add_task(lambda: 1, label="a")
    result = runner.run(verify=False)["a"]
    assert result["execution_mode"] == "thread"
    assert result["warning"] is None


def test_a_failing_fallback_task_has_its_own_error():
    """Its error is that of the task, not that of pickling."""
    runner = process_runner(fallback_to_thread_on_pickle_error=True)
    runner.add_task(lambda: 1 / 0, label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    assert result["error"] == "ZeroDivisionError: division by zero"
    assert result["execution_mode"] == "thread_fallback"
    assert result["warning"] == "Task was not picklable; ran in thread fallback"


def test_fallback_tasks_count_as_workers(tmp_path):
    """A fallback task and a process run beside each other, within max_concurrency."""
    lock = threading.Lock()

    def fallback():
        with lock:
            write(tmp_path / "from_thread")
            return read(tmp_path / "from_process")

    runner = process_runner(max_concurrency=2, fallback_to_thread_on_pickle_error=True)
    runner.add_task(fallback, label="thread")
    runner.add_task(answer, tmp_path, label="process")
    results = runner.run(verify=False)
    assert statuses(results) == {"thread": "Successful", "process": "Successful"}
    assert results["thread"]["result"] == "answer"


def answer(folder):
    read(folder / "from_thread")
    write(folder / "from_process", "answer")


# Limits -----------------------------------------------------------------------


def run_inside():
    runner = concurra.TaskRunner(max_concurrency=2, progress_stats=False)
    runner.add_task(abs, -1, label="thread")
    runner.add_command([sys.executable, "-c", "print(2)"], label="command")
    results = runner.run(verify=False)
    return [results["thread"]["result"], results["command"]["result"]["stdout"]]


def test_a_runner_inside_a_worker():
    """A task may have a runner of its own, with threads and commands."""
    assert results_of(process_runner(), (run_inside,)) == [[1, "2\n"]]


def test_two_runners_at_once(tmp_path):
    """Runners do not know of each other, even when they run at the same time."""
    runners = [process_runner() for _ in range(2)]
    for name, runner in zip("ab", runners):
        runner.add_task(meet_and_tell, tmp_path, name, label=name)
        runner.execute_in_background()
    pids = [
        result["result"]
        for runner in runners
        for result in runner.get_background_results().values()
    ]
    assert len(set(pids)) == 2


UNGUARDED = """
import sys

import concurra

runner = concurra.TaskRunner(use_multiprocessing=True, mp_context=sys.argv[1])
runner.add_task(abs, -1)
runner.add_command(["echo"], label="command")
for result in runner.run(verify=False).values():
    print(result["status"], result["error"])
"""
GUARD = "`if __name__ == '__main__':`"


@pytest.mark.parametrize("start_method", [m for m in START_METHODS if m != "fork"])
def test_a_script_without_the_guard(start_method):
    """The worker that imports it starts no run, logs no report, and says what to do."""
    done = run_script(UNGUARDED, start_method, env=SAME_LIBRARY, check=True)
    first, second = done.stdout.splitlines()
    assert first in [  # from Python 3.14 on it is the fork server that imports it first
        f"Failed RuntimeError: {what} (does the script start its runner under {GUARD}?)"
        for what in (
            "Worker process exited with code 1 before it was ready",
            "The server that starts worker processes has ended",
        )
    ]
    assert second == "Successful None"
    assert "Execution Failed" not in done.stderr
    *_, last = done.stderr.splitlines()
    assert last == (
        "concurra.errors.LifeCycleError: A worker process that imports the script must "
        f"not start a run: start the runner under {GUARD}"
    )


MANY_UNGUARDED = """
import sys

import concurra

runner = concurra.TaskRunner(2, use_multiprocessing=True, mp_context=sys.argv[1])
for number in range(20):
    runner.add_task(abs, number)
runner.map(abs, range(20), label="map", chunksize=1)
for result in runner.run(verify=False).values():
    print(result["error"])
"""


@pytest.mark.parametrize("start_method", [m for m in START_METHODS if m != "fork"])
def test_where_no_worker_comes_to_be_ready_no_more_are_started(start_method):
    """After the first few: all other tasks have the same error, at once."""
    done = run_script(MANY_UNGUARDED, start_method, env=SAME_LIBRARY, check=True)
    *errors, last = done.stdout.splitlines()
    assert len(errors) == 20 and len(set(errors)) == 1
    # From Python 3.14 on the server imports the script, too, and ends by that.
    ends = "The server that starts worker processes has ended"
    assert "before it was ready" in errors[0] or ends in errors[0]
    assert last.startswith("MapError: 20 of 20 items failed, ")
    # Two may be on their way when the third one fails.
    assert 1 <= done.stderr.count("concurra.errors.LifeCycleError") <= 5


@pytest.mark.skipif("forkserver" not in START_METHODS, reason="needs a fork server")
def test_a_fork_server_that_ends_when_it_begins(tmp_path):
    """As that of a script without the guard does, where it imports the script, too."""
    (tmp_path / "ending.py").write_text("raise SystemExit(1)")
    path = os.pathsep.join([str(tmp_path), SAME_LIBRARY["PYTHONPATH"]])
    start = "import multiprocessing\nmultiprocessing.set_forkserver_preload(['ending'])"
    done = run_script(
        start + UNGUARDED, "forkserver", env={"PYTHONPATH": path}, check=True
    )
    assert done.stdout.splitlines() == [
        "Failed RuntimeError: The server that starts worker processes has ended "
        f"(does the script start its runner under {GUARD}?)",
        "Successful None",
    ]


@pytest.mark.skipif("forkserver" not in START_METHODS, reason="needs a fork server")
def test_a_script_from_standard_input():
    """No guard would help there; the error says what is wrong."""
    script = UNGUARDED.replace("sys.argv[1]", "'forkserver'")
    done = subprocess.run(
        [sys.executable, "-"],
        input=script,
        env={**os.environ, **SAME_LIBRARY},
        capture_output=True,
        text=True,
        timeout=BOUND,
    )
    first = done.stdout.splitlines()[0]
    assert first.endswith(
        "(workers cannot import this __main__, as '<stdin>' is no file: put the "
        "function into a module)"
    )


IMPORTED = """
    import sys
    import concurra
    import deeds

    READY = "so far"
    def here(): return 1

    runner = concurra.TaskRunner(use_multiprocessing=True, mp_context=sys.argv[1])
    runner.add_task(here if "here" in sys.argv else deeds.look, label="a")
    print(runner.run(verify=False)["a"]["result"])
"""
DEEDS = """
    def look():
        import job
        return job.READY
"""


def run_in_an_import(folder, *args):
    """Run a program that imports a module which makes a run when it is imported."""
    for name, text in {"job": IMPORTED, "deeds": DEEDS}.items():
        (folder / f"{name}.py").write_text(textwrap.dedent(text))
    path = os.pathsep.join([str(folder), SAME_LIBRARY["PYTHONPATH"]])
    return run_script("import job", *args, env={"PYTHONPATH": path})


@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_function_whose_module_waits_for_the_run(start_method, tmp_path):
    """Nobody could import it, neither here nor there, so the run refuses it."""
    done = run_in_an_import(tmp_path, start_method, "here")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "concurra.errors.LifeCycleError: Task 'a' is a function of the module 'job', "
        "whose import waits for the run: no process could import it. Start the run in "
        "a function that is called later"
    )


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
def test_a_module_that_waits_for_the_run_is_not_imported_anew(tmp_path):
    """A forked process has as much of it as there was, and does not start the run."""
    done = run_in_an_import(tmp_path, "fork")
    assert (done.stdout, done.stderr) == ("so far\n", "")


CHOICE = """
    import multiprocessing
    import sys
    import concurra

    if __name__ == "__main__":
        runner = concurra.TaskRunner(use_multiprocessing=True)
        multiprocessing.set_start_method(sys.argv[1])
        runner.add_task(multiprocessing.get_start_method, label="method")
        print(runner.run(verify=False)["method"]["result"])
"""


@pytest.mark.parametrize("start_method", START_METHODS)
def test_the_program_may_choose_until_the_run_starts(start_method):
    """To make a runner settles nothing."""
    done = run_script(CHOICE, start_method, env=SAME_LIBRARY, check=True)
    assert done.stdout == f"{start_method}\n"


TIDY = """
    import sys
    import concurra

    if __name__ == "__main__":
        runner = concurra.TaskRunner(use_multiprocessing=True, mp_context=sys.argv[1])
        runner.add_task(print, "done")
        runner.run(verify=False)
"""


class Full(io.StringIO):
    """What was printed goes to a disk that is full."""

    def flush(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_start_beside_output_that_nobody_can_have(start_method):
    """It costs what was printed, and no task."""
    runner = process_runner(mp_context=start_method, max_tasks_per_child=1)
    with contextlib.redirect_stdout(Full()):
        assert results_of(runner, (abs, -1), (abs, -2)) == [1, 2]


class Held(io.RawIOBase):
    """A file in which a thread waits until it is let go."""

    def __init__(self):
        self.entered, self.gate = threading.Event(), threading.Event()

    def readable(self):
        return True

    writable = readable

    def readinto(self, _):
        self.entered.set()
        assert self.gate.wait(BOUND)
        return 0

    def write(self, data):
        self.readinto(data)
        return len(data)


@contextlib.contextmanager
def at_work(function, held):
    """A thread that is in the midst of such a file."""
    thread = threading.Thread(target=function)
    thread.start()
    try:
        assert held.entered.wait(BOUND)
        yield
    finally:
        held.gate.set()
        thread.join(BOUND)


@FORK
def test_a_fork_while_a_thread_reads_the_input(monkeypatch):
    """The worker has a lock of its own: it would wait for that thread for ever."""
    held = Held()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(held)))
    runner = process_runner(mp_context="fork", timeout=BOUND)
    with at_work(sys.stdin.readline, held):
        assert results_of(runner, (abs, -1)) == [1]


@pytest.fixture
def printing(monkeypatch):
    """A stream in which another thread is at work whenever this process forks."""
    held, fork = Held(), os.fork
    stream = io.TextIOWrapper(io.BufferedWriter(held, 1), write_through=True)

    def fork_meanwhile():
        with at_work(lambda: print("x" * 100, file=stream), held):
            return fork()

    monkeypatch.setattr(os, "fork", fork_meanwhile)
    return stream


@FORK
def test_a_fork_while_a_thread_prints(printing, monkeypatch):
    """So has what the worker prints."""
    monkeypatch.setattr(sys, "stdout", printing)
    runner = process_runner(mp_context="fork", timeout=BOUND)
    assert results_of(runner, (abs, -1)) == [1]


@FORK
@pytest.mark.parametrize("mode", ["w", "w+"])
def test_what_a_thread_printed_just_before_a_fork_is_printed_once(
    mode, monkeypatch, tmp_path
):
    """By the program, and not by the worker as well."""
    fork = os.fork

    def fork_a_moment_later():
        print("by a thread")
        return fork()

    monkeypatch.setattr(os, "fork", fork_a_moment_later)
    path = tmp_path / "printed"
    with open(path, mode) as file, contextlib.redirect_stdout(file):
        runner = process_runner(mp_context="fork", max_concurrency=1)
        assert results_of(runner, (print, "by a task")) == [None]
    assert sorted(path.read_text().split("\n")) == ["", "by a task", "by a thread"]


def log_something():
    logging.getLogger("tests.log_something").warning("from a worker")


@FORK
def test_a_fork_while_a_thread_logs(printing):
    """And so have the handlers of the log."""
    handler = logging.StreamHandler(printing)
    logger = logging.getLogger("tests.log_something")
    logger.addHandler(handler)
    try:
        runner = process_runner(mp_context="fork", timeout=BOUND)
        assert results_of(runner, (log_something,)) == [None]
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("start_method", START_METHODS)
def test_a_program_in_development_mode_has_nothing_to_complain_of(start_method):
    """No process leaves anything open when it ends."""
    env = {
        **SAME_LIBRARY,
        "PYTHONDEVMODE": "1",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of forks beside threads
    }
    done = run_script(TIDY, start_method, env=env, check=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
