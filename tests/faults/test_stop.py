"""Stops: whoever asks for one, at whatever moment, everything ends soon."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from shlex import quote
from typing import Any, Callable

import pytest

from tests.faults import acts_stop
from tests.faults.stage import (
    BOUND,
    KILLABLE,
    LINGER,
    MODES,
    add,
    ample,
    arrived,
    breed,
)
from tests.faults.stage import (
    OVERDUE,
    check_all,
    in_script,
    linger,
    make,
    new_seed,
    quick,
)
from tests.faults.stage import started_script, stubborn
from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import HAS_PROC, START_METHODS, alive, run_script, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")

TERMINATED = "RuntimeError: Execution terminated before completion"


def gone(pids: list[int]) -> None:
    """Wait until none of these processes is alive."""
    wait_until(lambda: not any(map(alive, pids)), what=f"the end of {pids}")


def abort_when_arrived(runner: Any, folder: Path, count: int) -> tuple[float, Any]:
    """Run, abort when all have arrived; the seconds that this took, and the results."""
    runner.execute_in_background()
    pids = arrived(folder, count)
    before = time.monotonic()
    results = runner.abort()
    seconds = time.monotonic() - before
    gone(pids)
    return seconds, results


# Those who do not want to end ---------------------------------------------------------


@pytest.mark.parametrize("mode", KILLABLE)
@pytest.mark.parametrize("task", [stubborn, breed], ids=["deaf", "deaf_with_child"])
def test_abort_ends_those_who_ignore_sigterm(
    mode: str, task: Any, tmp_path: Path
) -> None:
    """An abort kills what ignores SIGTERM, its children included, soon after."""
    runner = make(mode, terminate_timeout=0.2)
    add(runner, mode, task, str(tmp_path), label="deaf")
    add(runner, mode, quick, 1, label="next", depends_on="deaf")
    processes = 2 if task is breed else 1
    seconds, results = abort_when_arrived(runner, tmp_path, processes)
    assert seconds < BOUND
    assert results is not None
    check_all(runner)
    assert results["deaf"]["error"] == results["next"]["error"] == TERMINATED
    assert [results[each]["attempts"] for each in ("deaf", "next")] == [1, 0]


@pytest.mark.parametrize("mode", KILLABLE)
def test_timeout_ends_those_who_ignore_sigterm(mode: str, tmp_path: Path) -> None:
    """A timeout kills what ignores SIGTERM, with its children, and no other task."""
    timeout = ample(mode)
    runner = make(mode, timeout=timeout, terminate_timeout=0.2)
    add(runner, mode, breed, str(tmp_path), label="deaf")
    for number in range(4):
        add(runner, mode, quick, number, label=number)
    results = runner.run(verify=False)
    check_all(runner)
    assert results["deaf"]["error"] == f"{OVERDUE}{timeout} seconds"
    assert [results[each]["status"] for each in range(4)] == ["Successful"] * 4
    gone(arrived(tmp_path, 2))


@pytest.mark.parametrize("mode", KILLABLE)
def test_fast_fail_ends_those_who_ignore_sigterm(mode: str, tmp_path: Path) -> None:
    """A fast-fail kills what ignores SIGTERM, its children included."""
    runner = make(mode, fast_fail=True, terminate_timeout=0.2)
    add(runner, mode, breed, str(tmp_path), label="deaf")
    met = f"while [ $(ls {tmp_path} | grep -c pid$) -lt 2 ]; do sleep 0.01; done"
    runner.add_shell_command(f"{met}; exit 3", label="fails")
    results = runner.run(verify=False)
    check_all(runner)
    assert results["fails"]["status"] == "Failed"
    assert results["deaf"]["error"] == TERMINATED
    gone(arrived(tmp_path, 2))


@pytest.mark.parametrize("mode", ["fork", "command"])
def test_all_share_one_grace_period(mode: str, tmp_path: Path) -> None:
    """Stopping 64 tasks that ignore SIGTERM takes about as long as stopping one."""
    if mode != "command" and mode not in START_METHODS:
        pytest.skip("needs fork")
    seconds = {}
    for count in (1, 64):
        folder = tmp_path / str(count)
        folder.mkdir()
        runner = make(mode, count, terminate_timeout=1.0)
        for _ in range(count):
            add(runner, mode, stubborn, str(folder))
        seconds[count], results = abort_when_arrived(runner, folder, count)
        check_all(runner)
        assert {each["error"] for each in results.values()} == {TERMINATED}
    assert seconds[64] < 8 * seconds[1]


def test_no_grace_is_an_immediate_kill(tmp_path: Path) -> None:
    """``terminate_timeout=0`` is allowed, and ends what ignores SIGTERM."""
    runner = make("command", terminate_timeout=0)
    add(runner, "command", breed, str(tmp_path))
    _, results = abort_when_arrived(runner, tmp_path, 2)
    assert results[0]["error"] == TERMINATED


def test_sigterm_comes_before_sigkill(tmp_path: Path) -> None:
    """Who heeds SIGTERM has time to clean up: the grace is not cut short."""
    runner = make("command", terminate_timeout=BOUND)
    line = (
        f"trap 'echo cleaned; touch {tmp_path}/cleaned; exit 0' TERM; cd {tmp_path}; "
        f"sleep {LINGER:g} & echo $$ > $$.tmp; mv $$.tmp $$.pid; wait"
    )
    runner.add_shell_command(line)
    _, results = abort_when_arrived(runner, tmp_path, 1)
    assert (tmp_path / "cleaned").exists()
    assert results[0]["status"] == "Terminated"
    assert "cleaned" in results[0]["trace"]


# Pipelines ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["timeout", "abort"])
def test_pipeline_whose_child_holds_the_pipe(way: str, tmp_path: Path) -> None:
    """A child that keeps a shell's output open ends with the stop; so does run()."""
    timeout = 1.0 if way == "timeout" else None
    runner = make("command", timeout=timeout, terminate_timeout=0.2)
    child = f"trap '' TERM; echo $$ > $$.tmp; mv $$.tmp $$.pid; sleep {LINGER:g}"
    runner.add_shell_command(f"cd {tmp_path}; sh -c {quote(child)} | cat & wait")
    if way == "timeout":
        results = runner.run(verify=False)
    else:
        _, results = abort_when_arrived(runner, tmp_path, 1)
    assert results[0]["status"] == "Terminated"
    gone(arrived(tmp_path, 1))


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc, to see it")
@pytest.mark.parametrize("way", ["timeout", "abort"])
@pytest.mark.parametrize("own", ["timeout {0} {1}", "set -m; {1} & wait"])
def test_a_group_of_its_own_within_a_line(way: str, own: str, tmp_path: Path) -> None:
    """It belongs to the command's session, and ends with the command."""
    timeout = 1.0 if way == "timeout" else None
    runner = make("command", timeout=timeout, terminate_timeout=0.2)
    child = f"echo $$ > $$.tmp; mv $$.tmp $$.pid; sleep {LINGER:g}"
    inner = own.format(int(LINGER) + 1, f"sh -c {quote(child)}")
    runner.add_shell_command(f"cd {tmp_path}; {inner}; echo done")
    if way == "timeout":
        results = runner.run(verify=False)
    else:
        _, results = abort_when_arrived(runner, tmp_path, 1)
    assert results[0]["status"] == "Terminated"
    gone(arrived(tmp_path, 1))


def test_pipeline_that_holds_the_pipe_of_a_shell_that_has_ended(tmp_path: Path) -> None:
    """The result is taken all the same, and who holds the pipe ends with the run."""
    runner = make("command", timeout=LINGER / 2, terminate_timeout=0.2)
    child = f"echo $$ > $$.tmp; mv $$.tmp $$.pid; sleep {LINGER:g}"
    line = f"cd {tmp_path}; sh -c {quote(child)} | cat & echo ready"
    runner.add_shell_command(line)
    result = runner.run(verify=False)[0]
    assert result["result"]["stdout"] == "ready\n"
    assert "cat (pid " in result["warning"]
    gone(arrived(tmp_path, 1))


def test_child_that_outlives_the_shell_ends_with_the_run(tmp_path: Path) -> None:
    """What a shell left in the background is there for later tasks, not after run()."""
    runner = make("command", terminate_timeout=0.2)
    line = f"(trap '' TERM; sleep {LINGER:g}) > /dev/null 2>&1 & echo $!"
    runner.add_shell_command(line, label="server")
    test = "kill -0 $(cat pid) && echo alive"
    runner.add_function(acts_stop.copy_pid, (runner, str(tmp_path)), key="between")
    runner.add_shell_command(test, label="client", cwd=tmp_path, depends_on="between")
    results = runner.run(verify=False)
    assert results["client"]["status"] == "Successful", results["client"]["error"]
    gone([int(results["server"]["result"]["stdout"])])


@pytest.mark.parametrize("mode", START_METHODS)
def test_child_that_outlives_a_process_task_ends_with_the_run(
    mode: str, tmp_path: Path
) -> None:
    """What a process task started and left running does not outlive the run."""
    runner = make(mode, terminate_timeout=0.2)
    runner.add_task(acts_stop.leave_children, str(tmp_path), label="parent")
    results = runner.run(verify=False)
    assert results["parent"]["status"] == "Successful", results["parent"]["error"]
    gone(arrived(tmp_path, 2))


def test_pipe_held_from_outside_the_group_does_not_hold_the_stop(
    tmp_path: Path,
) -> None:
    """A daemon in a session of its own that keeps the output open cannot hold run()."""
    runner = make("command", timeout=1.0, terminate_timeout=0.2)
    daemon = f"echo $$ > $$.tmp; mv $$.tmp $$.pid; exec sleep {LINGER:g}"
    runner.add_shell_command(f"cd {tmp_path}; setsid sh -c '{daemon}' & wait")
    try:
        results = runner.run(verify=False)
        assert results[0]["error"] == f"{OVERDUE}1.0 seconds"
    finally:
        for pid in arrived(tmp_path, 1):
            os.kill(pid, signal.SIGKILL)
    gone(arrived(tmp_path, 1))


# Any moment ---------------------------------------------------------------------------

#: 200 moments in all, fewer where processes take long to start.
MOMENTS = {"fork": 10, "forkserver": 6, "spawn": 2}
REST = (50 - sum(MOMENTS.get(method, 0) for method in START_METHODS)) // 3 + 1


@pytest.mark.parametrize("way", acts_stop.WAYS)
@pytest.mark.parametrize("mode", MODES)
def test_stop_at_random_moments(mode: str, way: str) -> None:
    """Each moment is as good as another to stop a run: before the first task, while a
    worker starts, a result arrives or tasks are skipped, or at the end."""
    count = MOMENTS.get(mode, REST)
    in_script(
        acts_stop.random_moments, mode=mode, way=way, seed=new_seed(), count=count
    )


@pytest.mark.parametrize("mode, step", [("thread", 1), ("command", 3), ("fork", 5)])
def test_ctrl_c_before_any_line_of_run(mode: str, step: int) -> None:
    """Ctrl-C ends the run wherever the caller's thread is in the library: never does
    the run go on without anybody who waits for it."""
    in_script(acts_stop.every_line, mode=mode, step=step)


@pytest.mark.parametrize("mode, step", [("thread", 1), ("command", 5)])
def test_ctrl_c_before_any_line_of_get_background_results(mode: str, step: int) -> None:
    """The same for whoever waits for a background run; abort() is always possible."""
    in_script(acts_stop.every_line, mode=mode, background=True, step=step)


@pytest.mark.parametrize("mode, step", [("thread", 1), ("command", 3), ("fork", 5)])
def test_abort_by_a_signal_handler_before_any_line_of_run(mode: str, step: int) -> None:
    """A handler that aborts the run finds nothing locked, wherever it interrupts."""
    in_script(acts_stop.every_line, mode=mode, step=step, handler="abort")


# Ctrl-C again -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", KILLABLE)
def test_ctrl_c_ends_those_who_ignore_sigterm(mode: str, tmp_path: Path) -> None:
    """One Ctrl-C: SIGTERM, the grace period, SIGKILL, then KeyboardInterrupt."""
    act: dict[str, Any] = {"mode": mode, "folder": str(tmp_path), "grace": 0.2}
    with started_script(acts_stop.run_for_ever, **act) as script:
        pids = arrived(tmp_path, 2)
        script.send_signal(signal.SIGINT)
        assert script.wait(BOUND) == 0, str(script)
        assert "obeyed" in script.stdout()
        gone(pids)
        assert not script.survivors()


def interrupt_twice(
    run: Callable[..., object], mode: str, folder: Path, after: str = "", **more: Any
) -> None:
    """Let it run with a long grace period, which a second Ctrl-C is to end.

    The first comes when all are at work, and ``after`` has been printed.
    """
    act = {"mode": mode, "folder": str(folder), "grace": LINGER, **more}
    with started_script(run, **act) as script:
        pids = arrived(folder, 2)
        script.wait_for(after)
        script.send_signal(signal.SIGINT)
        script.wait_for("interrupted")
        script.send_signal(signal.SIGINT)
        assert script.wait(BOUND) == 0, str(script)
        assert "obeyed" in script.stdout()
        gone(pids)
        assert not script.survivors()


@pytest.mark.parametrize("mode", START_METHODS)
def test_second_ctrl_c_kills_workers_that_do_not_end(mode: str, tmp_path: Path) -> None:
    """When all tasks are done, too: nobody waits for what these have left behind."""
    interrupt_twice(acts_stop.run_lingerers, mode, tmp_path, after="done")


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("mode", KILLABLE)
def test_second_ctrl_c_kills_at_once(mode: str, block: bool, tmp_path: Path) -> None:
    """Who presses Ctrl-C again does not wait for the end of the grace period."""
    interrupt_twice(acts_stop.run_for_ever, mode, tmp_path, block=block)


def test_ctrl_c_leaves_busy_threads_alone() -> None:
    """Threads cannot be killed, and do not hold up Ctrl-C or the end of the program."""
    with started_script(acts_stop.run_busy_threads) as script:
        script.wait_for("busy")
        script.send_signal(signal.SIGINT)
        assert script.wait(BOUND) == 0, str(script)
        assert "obeyed" in script.stdout()


# Each other ---------------------------------------------------------------------------


COPIES = """
import os

import concurra


def abort_copy():
    runner.abort()


def leave():
    return os.read(source, 1)


source, sink = os.pipe()
runner = concurra.TaskRunner(
    2, use_multiprocessing=True, mp_context="fork", progress_stats=False
)
runner.add_task(abort_copy, label="copy")
runner.add_command(["true"], label="original", depends_on=["wait"])
runner.add_task(leave, label="wait")
runner.execute_in_background()
while not runner.results_registry["copy"]:
    pass
print(runner.results_registry["copy"]["error"], flush=True)
child = os.fork()
if not child:
    for method in runner.get_background_results, runner.abort:
        try:
            method()
        except concurra.LifeCycleError as error:
            print(f"LifeCycleError: {error}", flush=True)
    os._exit(0)
os.waitpid(child, 0)
os.write(sink, b".")
results = runner.get_background_results(verify=False)
print("original", results["original"]["status"])
"""


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork, which copies")
def test_abort_from_a_copy_of_the_runner() -> None:
    """What a fork has copied says that it is a copy, and stops nobody."""
    done = run_script(COPIES, env=SAME_LIBRARY, check=True)
    copy = "LifeCycleError: This is the copy of a runner that a fork has made: "
    *lines, last = done.stdout.splitlines()
    assert len(lines) == 3
    assert all(line.startswith(copy) for line in lines)
    assert last == "original Successful"


@pytest.mark.parametrize("mode", MODES)
def test_many_aborts_at_once(mode: str) -> None:
    """Eight threads that abort one run together all get its complete results."""
    runner = make(mode, workers=2)
    for number in range(12):
        add(runner, mode, quick, number, 0.01)
    runner.execute_in_background()
    together = threading.Barrier(8)
    answers: list[Any] = []

    def abort() -> None:
        together.wait(BOUND)
        answers.append(runner.abort())

    threads = [threading.Thread(target=abort) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)
    results = check_all(runner)
    assert answers == [results] * 8


@pytest.mark.parametrize("mode", KILLABLE)
def test_timeout_while_stopped_by_abort(mode: str, tmp_path: Path) -> None:
    """A timeout, an abort and a fast-fail that meet give each task one outcome."""
    runner = make(mode, 3, timeout=0.5, fast_fail=True, terminate_timeout=0.2)
    for _ in range(3):
        add(runner, mode, linger, str(tmp_path))
    timer = threading.Timer(0.5, runner.abort)
    timer.start()
    results = runner.run(verify=False)
    timer.join()
    check_all(runner)
    assert {each["status"] for each in results.values()} == {"Terminated"}
