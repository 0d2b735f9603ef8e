"""`as_completed`: results as they come, and what is kept of them."""

from __future__ import annotations

import gc
import os
import signal
import threading
import weakref

import pytest

import concurra
from tests.helpers import start_script

from .modes import FAIL, MODES, STAYS, SUCCEED, runner_in
from .support import BOUND, SAME_LIBRARY, Gate, check, read, statuses, wait_for_end_of


def thread(function):
    started = threading.Thread(target=function)
    started.start()
    return started


@pytest.mark.parametrize("mode", MODES)
def test_each_result_once(mode):
    """It starts the run, and ends with the last task; the results stay."""
    runner = runner_in(mode, 2)
    for number in range(5):
        SUCCEED.add(runner, mode, label=number)
    FAIL.add(runner, mode, label="bad")
    SUCCEED.add(runner, mode, label="skipped", depends_on=["bad"])
    found = list(runner.as_completed())
    for _, result in found:
        check(result)
    assert sorted(map(str, dict(found))) == sorted(
        map(str, [*range(5), "bad", "skipped"])
    )
    assert len(found) == 7 and runner.done() and not runner.is_running()
    results = runner.get_background_results(verify=False)
    assert all(results[label] is result for label, result in found)


def test_in_the_order_of_ending():
    """Each as soon as it is there, while the others are at work."""
    gates = {label: Gate() for label in "abc"}
    runner = runner_in("thread", 3)
    for label, gate in gates.items():
        runner.add_task(gate.wait, label, label=label)
    found = runner.as_completed()
    for label in "bca":
        gates[label].open()
        assert next(found)[0] == label
    assert next(found, None) is None


def test_it_starts_the_run_at_once():
    """Whether or not somebody asks for the first result."""
    with Gate() as gate:
        runner = runner_in("thread")
        runner.add_task(gate.wait, label="a")
        found = runner.as_completed()
        gate.reached_by(1)
        assert runner.is_running()
        gate.open()
        assert [label for label, _ in found] == ["a"]


def test_a_run_that_has_been_started():
    """Also one that has ended: all its results come, at once."""
    runner = runner_in("thread")
    runner.add_task(str, label="a")
    runner.run(verify=False)
    for _ in range(2):
        assert [label for label, _ in runner.as_completed()] == ["a"]


def test_a_run_without_tasks():
    """Has nothing to show."""
    assert list(runner_in("thread").as_completed()) == []


def test_what_is_wrong_is_told_by_the_call():
    """Nothing has been started, and it can be mended."""
    runner = runner_in("thread")
    runner.add_task(str, label="a", depends_on=["b"])
    with pytest.raises(concurra.UnknownDependencyError):
        runner.as_completed()
    runner.add_task(str, label="b")
    assert [label for label, _ in runner.as_completed()] == ["b", "a"]


@pytest.mark.parametrize("mode", MODES)
def test_an_abort_in_the_midst(mode, tmp_path):
    """What was terminated comes, too; nothing is left."""
    runner = runner_in(mode, 2, terminate_timeout=0.2)
    SUCCEED.add(runner, mode, label="a")
    if mode in ("thread", "fallback"):
        gate = Gate()
        runner.add_task(lambda: gate.wait(), label="b")
    else:
        STAYS.add(runner, mode, tmp_path / "pid", label="b")
    SUCCEED.add(runner, mode, label="c", depends_on=["b"])
    found = {}
    for label, result in runner.as_completed():
        found[label] = result
        if label == "a":
            if mode not in ("thread", "fallback"):
                read(tmp_path / "pid")
            runner.abort(verify=False)
    if mode in ("thread", "fallback"):
        gate.open()
    else:
        wait_for_end_of(read(tmp_path / "pid"))
    assert statuses(found) == {"a": "Successful", "b": "Terminated", "c": "Terminated"}


def test_to_leave_it_leaves_the_run_at_work():
    """It can be fetched, followed once more, or aborted."""
    with Gate() as gate:
        runner = runner_in("thread", 2)
        runner.add_task(str, label="a")
        runner.add_task(gate.wait, label="b")
        for label, _ in runner.as_completed():
            assert label == "a"
            break
        assert runner.is_running() and not runner.done()
        gate.open()
        assert [label for label, _ in runner.as_completed()] == ["a", "b"]


def test_an_error_in_the_loop_ends_the_run_with_the_runner():
    """That is what ``with`` is for."""
    with Gate() as gate:
        with pytest.raises(LookupError):
            with runner_in("thread", 2) as runner:
                runner.add_task(str, label="a")
                runner.add_task(gate.wait, label="b")
                for _ in runner.as_completed():
                    raise LookupError
        assert runner.done()
        assert runner.results_registry["b"]["status"] == "Terminated"


def test_two_loops_at_once():
    """Each has all results."""
    runner = runner_in("thread", 4)
    for number in range(300):
        runner.add_task(abs, number, label=number)
    found = [[], []]
    barrier = threading.Barrier(2)

    def follow(mine):
        barrier.wait()
        mine.extend(label for label, _ in runner.as_completed())

    threads = [thread(lambda mine=mine: follow(mine)) for mine in found]
    for each in threads:
        each.join(BOUND)
    assert sorted(found[0]) == sorted(found[1]) == list(range(300))


def test_two_loops_share_what_is_not_kept():
    """Each result is handed out once, to one of them, and whole."""
    runner = runner_in("thread", 4, keep_results=False)
    for number in range(1000):
        runner.add_task(abs, number, label=number)
    found = [[], [], []]
    barrier = threading.Barrier(3)

    def follow(mine):
        barrier.wait()
        mine.extend((label, each["result"]) for label, each in runner.as_completed())

    threads = [thread(lambda mine=mine: follow(mine)) for mine in found]
    for each in threads:
        each.join(BOUND)
    assert sorted(sum(found, [])) == [(number, number) for number in range(1000)]


def test_a_loop_in_a_task():
    """Would wait for itself."""
    runner = runner_in("thread", 2)
    runner.add_task(lambda: list(runner.as_completed()), label="a")
    assert runner.run(verify=False)["a"]["error"] == (
        "LifeCycleError: A task cannot wait for the end of its own run"
    )


def test_a_loop_over_another_run_in_a_task():
    """Is what any code may do."""

    def inner():
        runner = runner_in("thread", 2)
        for number in range(10):
            runner.add_task(abs, number, label=number)
        return sorted(label for label, _ in runner.as_completed())

    runner = runner_in("thread", 2)
    runner.add_task(inner, label="a")
    assert runner.run(verify=False)["a"]["result"] == list(range(10))


def test_a_loop_under_load():
    """Nothing is lost or doubled, in the order of ending."""
    runner = runner_in("thread", 8)
    for number in range(3000):
        runner.add_task(abs, number, label=number)
    labels = [label for label, _ in runner.as_completed()]
    assert labels == [task.label for task in runner._plan.ended]
    assert sorted(labels) == list(range(3000))


# -- what is kept ------------------------------------------------------------------


class Big:
    """Something that can be watched."""


def test_results_are_let_go_of():
    """Once they were handed out, also as what the next task needs."""
    runner = runner_in("thread", 1, keep_results=False)
    last = runner.add_task(Big, label=0)
    for number in range(1, 20):
        last = runner.add_task(lambda big: Big(), last, label=number)
    alive = []
    for _, result in runner.as_completed():
        alive.append(weakref.ref(result["result"]))
        del result
    gc.collect()
    assert [big() for big in alive] == [None] * 20
    assert runner.get_background_results(verify=False) == {}
    assert dict(runner.results_registry) == {number: {} for number in range(20)}


def test_what_nobody_took_is_there():
    """In the results of the run, and in those of an abort."""
    with Gate() as gate:
        runner = runner_in("thread", 2, keep_results=False)
        runner.add_task(str, label="a")
        runner.add_task(gate.wait, 7, label="b")
        for label, _ in runner.as_completed():
            assert label == "a"
            break
        gate.open()
        results = runner.get_background_results(verify=False)
    assert {label: each["result"] for label, each in results.items()} == {"b": 7}
    assert list(runner.abort(verify=False)) == ["b"]
    assert [label for label, _ in runner.as_completed()] == ["b"]


def test_without_a_loop_everything_is_kept():
    """Nothing was handed out."""
    runner = runner_in("thread", keep_results=False)
    runner.add_task(abs, -1, label="a")
    assert runner.run(verify=False)["a"]["result"] == 1


def test_the_report_afterwards(log):
    """Has every task, and each error; tracebacks are gone with the results."""
    runner = runner_in("thread", 1, keep_results=False)
    runner.add_task(str, label="good")
    runner.add_task(lambda: 1 / 0, label="bad")
    assert len(list(runner.as_completed())) == 2
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.get_background_results(raise_exception=True)
    assert caught.value.results == {}
    failed = caught.value.failed
    assert failed["bad"]["error"] == "ZeroDivisionError: division by zero"
    assert "| good" in str(caught.value) and "| bad" in str(caught.value)
    assert isinstance(runner.exception("bad"), RuntimeError)
    assert runner.exit_code == 1


def test_errors_are_logged_whole(log):
    """As they happen, however fast somebody takes the results."""
    runner = runner_in("thread", 1, keep_results=False, log_errors=True)
    for number in range(50):
        runner.add_task(lambda: 1 / 0, label=number)
    assert len(list(runner.as_completed())) == 50
    assert log.text().count("1 / 0") == 50


def test_fast_fail_with_results_that_are_let_go():
    """The first failure ends everything, also if it was taken at once."""
    for _ in range(20):
        runner = runner_in("thread", 2, keep_results=False, fast_fail=True)
        runner.add_task(lambda: 1 / 0, label="bad")
        gate = Gate()
        with gate:
            runner.add_task(gate.wait, label="held")
            for number in range(10):
                runner.add_task(str, label=number, depends_on=["held"])
            found = dict(runner.as_completed())
        assert found["held"]["status"] == "Terminated"


def test_many_that_depend_on_one(gate):
    """To hand them out takes no longer for each the more there are."""
    runner = runner_in("thread", 2, keep_results=False)
    go = gate()

    def begin():
        go.wait()
        return Big()

    root = runner.add_task(begin, label="root")
    for number in range(5000):
        runner.add_task(lambda big: None, root, label=number)
    looks = 0

    class Watched(list):
        def __iter__(self):
            nonlocal looks
            looks += 1
            return super().__iter__()

    found = runner.as_completed()
    dependents = runner._plan.dependents
    dependents[0] = Watched(dependents[0])
    go.set()
    label, result = next(found)
    assert label == "root"
    big = weakref.ref(result["result"])
    del result
    assert sum(1 for _ in found) == 5000
    assert looks < 10
    assert big() is None


# -- what breaks it ----------------------------------------------------------------

SCRIPT = """
import logging, signal, sys, time
import concurra

logging.basicConfig(level=logging.INFO)
runner = concurra.TaskRunner(2, progress_stats=False)
runner.add_task(abs, -1, label="a")
command = "echo busy; exec sleep 60"
runner.add_shell_command(command, depends_on=["a"], label="b", capture_output=False)
try:
    for label, result in runner.as_completed():
        if sys.argv[1] == "body":
            print("in the body")
            time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", runner.counts()["terminated"], flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@pytest.mark.parametrize(("where", "ended"), [("wait", 1), ("body", 0)])
def test_ctrl_c(where, ended):
    """While it waits, everything is terminated; in the caller's own code, the run ends
    with the program."""
    with start_script(SCRIPT, where, env=SAME_LIBRARY) as script:
        script.wait_for("busy")
        if where == "body":
            script.wait_for("in the body")
        script.send_signal(signal.SIGINT)
        assert script.wait() == 0
        assert f"interrupted {ended}" in script.stdout()
        assert not script.survivors()
        assert ("was interrupted: 1 of 2" in script.stderr()) is bool(ended)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_copy_that_a_fork_has_made():
    """It can let go of a loop; nobody follows the run there."""
    with Gate() as gate:
        runner = runner_in("thread", 2)
        runner.add_task(str, label="a")
        runner.add_task(gate.wait, label="b")
        found = runner.as_completed()
        next(found)
        pid = os.fork()
        if not pid:
            code = 1
            try:
                found.close()
                try:
                    next(runner.as_completed())
                except RuntimeError:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(pid, 0)[1] == 0
        gate.open()
        assert [label for label, _ in found] == ["b"]
