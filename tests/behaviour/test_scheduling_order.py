"""What runs when: order of start, order of results, and how much runs at once."""

from __future__ import annotations

import os
import threading

import pytest

import concurra

from .support import BOUND, Gate, meet, read, statuses, write

NEEDS_SHELL = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


# Order ------------------------------------------------------------------------


def append(path, label):
    with open(path, "a") as file:
        file.write(label)


def add_step(runner, kind, path, label, needs=None):
    """Add a task that appends its label to the file, as a function or a command."""
    if kind == "shell":
        runner.add_shell_command(
            f"printf {label} >> {path}", label=label, depends_on=needs
        )
    else:
        runner.add_task(append, path, label, label=label, depends_on=needs)


KINDS = [
    "thread",
    "process",
    pytest.param("shell", marks=NEEDS_SHELL),
    pytest.param("mixed", marks=NEEDS_SHELL),
]


def order_on_one_worker(kind, path, *steps):
    runner = concurra.TaskRunner(
        max_concurrency=1, progress_stats=False, use_multiprocessing=kind == "process"
    )
    kinds = ["shell", "thread"] if kind == "mixed" else [kind]
    for index, (label, needs) in enumerate(steps):
        add_step(runner, kinds[index % len(kinds)], path, label, needs)
    results = runner.run(verify=False)
    assert set(statuses(results).values()) == {"Successful"}
    return path.read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_ready_task_that_was_added_first_starts_first(tmp_path, kind):
    """A, B (after A), C, D on one worker run A B C D."""
    steps = [("A", None), ("B", ["A"]), ("C", None), ("D", None)]
    assert order_on_one_worker(kind, tmp_path / "order", *steps) == "ABCD"


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_that_becomes_ready_takes_its_place_in_the_order(tmp_path, kind):
    """The order of adding decides among the ready, also if added before its needs."""
    steps = [("D", ["A"]), ("C", None), ("A", None), ("B", None)]
    assert order_on_one_worker(kind, tmp_path / "order", *steps) == "CADB"


def test_a_skip_does_not_disturb_the_order():
    """Tasks around a failed one and its dependents keep their order."""
    ran = []
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    runner.add_task(ran.append, "A", label="A")
    runner.add_task(int, "x", label="bad")
    runner.add_task(ran.append, "skipped", label="skipped", depends_on=["bad"])
    runner.add_task(ran.append, "B", label="B", depends_on=["A"])
    runner.add_task(ran.append, "C", label="C")
    results = runner.run(verify=False)
    assert ran == ["A", "B", "C"]
    assert list(results) == ["A", "bad", "skipped", "B", "C"]


def test_results_come_in_the_order_of_adding():
    """Whoever ends first: here the last one does, then the second."""
    done = {label: threading.Event() for label in "abc"}

    def after(label, event=None):
        assert event is None or event.wait(BOUND)
        done[label].set()

    runner = concurra.TaskRunner(max_concurrency=3, progress_stats=False)
    runner.add_task(after, "a", done["b"], label="a")
    runner.add_task(after, "b", done["c"], label="b")
    runner.add_task(after, "c", label="c")
    results = runner.run(verify=False)
    assert list(results) == ["a", "b", "c"]
    assert set(statuses(results).values()) == {"Successful"}


def test_a_dependent_starts_while_others_still_run():
    """There are no waves: it starts as soon as what it needs has ended."""
    b_runs = threading.Event()
    runner = concurra.TaskRunner(max_concurrency=2, progress_stats=False)
    runner.add_task(lambda: b_runs.wait(BOUND), label="long")
    runner.add_task(str, label="a")
    runner.add_task(b_runs.set, label="b", depends_on=["a"])
    assert runner.run()["long"]["result"] is True


def test_a_free_worker_takes_what_is_ready_past_what_is_not():
    """A task that waits for its needs does not hold up those behind it."""
    c_runs = threading.Event()
    runner = concurra.TaskRunner(max_concurrency=2, progress_stats=False)
    runner.add_task(lambda: c_runs.wait(BOUND), label="a")
    runner.add_task(str, label="b", depends_on=["a"])
    runner.add_task(c_runs.set, label="c")
    assert runner.run()["a"]["result"] is True


# How much runs at once --------------------------------------------------------


@pytest.mark.parametrize("count", [2, 7])
def test_threads_run_together(count):
    """`max_concurrency` tasks run at the same time: each waits for all the others."""
    barrier = threading.Barrier(count, timeout=BOUND)
    runner = concurra.TaskRunner(max_concurrency=count, progress_stats=False)
    for _ in range(2 * count):
        runner.add_task(barrier.wait)
    assert set(statuses(runner.run()).values()) == {"Successful"}


def test_processes_run_together(tmp_path):
    """The same with processes."""
    runner = concurra.TaskRunner(
        max_concurrency=3, use_multiprocessing=True, progress_stats=False
    )
    for name in "abc":
        runner.add_task(meet, tmp_path, name, 3, label=name)
    assert set(statuses(runner.run()).values()) == {"Successful"}


@NEEDS_SHELL
def test_commands_and_functions_run_together(tmp_path):
    """A function and a command that wait for each other, in one runner."""

    def meet_command():
        write(tmp_path / "function.here")
        return read(tmp_path / "command.here")

    runner = concurra.TaskRunner(max_concurrency=2, progress_stats=False)
    runner.add_shell_command(
        "printf hello > x; mv x command.here;"
        " n=0; while [ ! -e function.here ] && [ $n -lt 1000 ];"
        " do n=$((n + 1)); sleep 0.01; done; [ -e function.here ]",
        label="command",
        cwd=tmp_path,
    )
    runner.add_task(meet_command, label="function")
    results = runner.run()
    assert results["command"]["status"] == "Successful"
    assert results["function"]["result"] == "hello"


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_than_max_concurrency_run_at_once(limit):
    """With all workers held, the next task has not started."""
    with Gate() as gate:
        runner = concurra.TaskRunner(max_concurrency=limit, progress_stats=False)
        for index in range(limit):
            runner.add_task(gate.wait, label=index)
        runner.add_task(runner.get_active_runner_count, label="next")
        runner.execute_in_background()
        gate.reached_by(limit)
        assert runner.get_active_runner_count() == limit
        assert runner.results_registry["next"] == {}
        gate.open()
        results = runner.get_background_results()
    assert 1 <= results["next"]["result"] <= limit


def test_the_peak_never_exceeds_max_concurrency():
    """Over many short tasks, the number at work stays within the limit."""
    lock = threading.Lock()
    at_work, peak = 0, 0

    def work():
        nonlocal at_work, peak
        with lock:
            at_work += 1
            peak = max(peak, at_work)
        threading.Event().wait(0.0005)
        with lock:
            at_work -= 1

    runner = concurra.TaskRunner(max_concurrency=3, progress_stats=False)
    for _ in range(150):
        runner.add_task(work)
    runner.run()
    assert 1 <= peak <= 3


def test_more_workers_than_tasks():
    """A limit far above the number of tasks is no burden."""
    runner = concurra.TaskRunner(max_concurrency=100_000, progress_stats=False)
    runner.add_task(str, label="a")
    assert statuses(runner.run()) == {"a": "Successful"}


def test_thousands_of_tasks():
    """All of them run, each exactly once."""
    ran = []
    runner = concurra.TaskRunner(max_concurrency=4, progress_stats=False)
    for index in range(3000):
        runner.add_task(ran.append, index)
    results = runner.run(verify=False)
    assert sorted(ran) == list(results) == list(range(3000))


def test_functions_run_once():
    """A task is not run twice when a dependency is shared or named twice."""
    ran = []
    runner = concurra.TaskRunner(max_concurrency=4, progress_stats=False)
    runner.add_task(ran.append, "top", label="top")
    for index in range(20):
        runner.add_task(ran.append, index, label=index, depends_on=["top", "top"])
    runner.add_task(ran.append, "end", label="end", depends_on=list(range(20)))
    runner.run()
    assert sorted(ran[1:-1]) == list(range(20))
    assert (ran[0], ran[-1]) == ("top", "end")


# Nothing to do ----------------------------------------------------------------


@pytest.mark.parametrize("raise_exception", [True, False])
def test_an_empty_runner_returns_an_empty_dict(raise_exception):
    """Nothing to do is no error, in the foreground and in the background."""
    options = {"verify": True, "raise_exception": raise_exception}
    assert concurra.TaskRunner().run(**options) == {}
    assert concurra.TaskRunner().execute(**options) == {}
    assert concurra.TaskRunner(use_multiprocessing=True).run(**options) == {}
    runner = concurra.TaskRunner()
    runner.execute_in_background()
    assert runner.get_background_results(**options) == {}
    assert concurra.TaskRunner().abort() == {}
