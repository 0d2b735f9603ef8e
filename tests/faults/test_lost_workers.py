"""A worker process that is lost costs its task and nothing else.

However it goes, the task fails with the cause in its error, what depends on it is
skipped, its slot is filled again, every other result is right, and nothing is left.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from pathlib import Path
from typing import Any, Callable

import pytest

from tests.behaviour.support import SAME_LIBRARY, statuses
from tests.helpers import START_METHODS, alive, descendants, run_script, wait_until

from . import deeds
from .stage import OVERDUE, ample
from .support import assert_failed, by_modes, check_all, make_runner, run_between

pytestmark = pytest.mark.skipif(
    os.name != "posix", reason="needs POSIX signals, fork and /proc"
)

processes = by_modes(*START_METHODS)

DEATHS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], str]] = {
    "SIGKILL": (
        deeds.die_by,
        (signal.SIGKILL,),
        r"RuntimeError: Worker process was killed by SIGKILL .*out of memory",
    ),
    "SIGSEGV": (deeds.read_address_zero, (), r"RuntimeError: .*\bSIGSEGV\b"),
    "SIGABRT": (deeds.abort, (), r"RuntimeError: .*\bSIGABRT\b"),
    "SIGTERM": (deeds.die_by, (signal.SIGTERM,), r"RuntimeError: .*\bSIGTERM\b"),
    "_exit(3)": (deeds.exit_at_once, (3,), r"RuntimeError: .*exited with code 3 "),
    "_exit(0)": (deeds.exit_at_once, (0,), r"RuntimeError: .*exited with code 0 "),
    "own group": (deeds.kill_own_group, (), r"RuntimeError: .*\bSIGKILL\b"),
    "while pickling": (
        deeds.give_saving,
        (os._exit, 4),
        r"RuntimeError: .*exited with code 4 ",
    ),
    "while unpickling": (
        deeds.same,
        (deeds.Loading(os._exit, 5),),
        r"RuntimeError: .*exited with code 5 ",
    ),
}


def leads_a_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def workers() -> list[int]:
    """The worker processes that are alive now: not the run's guardian, a shell."""
    return [
        child.pid
        for child in descendants(os.getpid())
        if alive(child.pid)
        and leads_a_session(child.pid)
        and not child.command.startswith("/bin/sh")
    ]


def kill(pid: int) -> None:
    """Kill a process, and wait until it is dead."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), what=f"the end of {pid}")


@processes
@pytest.mark.parametrize("death", DEATHS)
def test_the_error_names_how_the_worker_ended(mode: str, death: str) -> None:
    """The exit code or the signal, for SIGKILL with the likely cause."""
    function, args, pattern = DEATHS[death]
    result = run_between(mode, function, *args)
    assert_failed(result, pattern)
    assert " during the task" in result["error"]
    assert result["execution_mode"] == "process"
    assert result["retry_errors"] == [result["error"]]


@processes
def test_a_worker_killed_while_idle_is_replaced(mode: str) -> None:
    """No task is lost with it, time and again."""
    runner = make_runner(mode, fallback_to_thread_on_pickle_error=True)
    pids: list[int] = []

    def kill_idle() -> None:  # which cannot be pickled, so it runs in a thread
        (pid,) = workers()
        pids.append(pid)
        kill(pid)

    rounds = range(4)
    for number in rounds:
        runner.add_task(os.getpid, label=f"pid {number}")
        runner.add_task(kill_idle, label=f"kill {number}")
    runner.add_task(os.getpid, label="last")
    results = runner.run(verify=False)
    check_all(results)
    assert set(statuses(results).values()) == {"Successful"}, results
    assert [results[f"pid {number}"]["result"] for number in rounds] == pids
    assert len({*pids, results["last"]["result"]}) == len(pids) + 1


@processes
def test_workers_killed_before_their_first_task_are_replaced(mode: str) -> None:
    """Nobody was at work yet, so no task is lost."""
    runner = make_runner(mode, 2, fallback_to_thread_on_pickle_error=True)
    killed: list[int] = []

    def kill_all() -> None:  # which cannot be pickled, so it runs in a thread
        killed.extend(wait_until(workers, what="workers"))
        for pid in killed:
            kill(pid)

    runner.add_task(kill_all, label="kill")
    for number in range(4):
        runner.add_task(deeds.same, number, label=number, depends_on="kill")
    results = runner.run(verify=False)
    check_all(results)
    assert killed
    assert [results[number]["result"] for number in range(4)] == [0, 1, 2, 3]


DYING_AT_IMPORT = """
    import os, signal, sys, time
    import concurra

    if __name__ == "__mp_main__":  # the import in a spawned worker
        if {times} is None or len(os.listdir({folder!r})) < {times}:
            open(os.path.join({folder!r}, str(os.getpid())), "w").close()
            {death}

    if __name__ == "__main__":
        runner = concurra.TaskRunner(
            1, use_multiprocessing=True, mp_context="spawn", progress_stats=False
        )
        runner.add_task(abs, -1, label="first")
        runner.add_task(abs, -2, label="second")
        for result in runner.run(verify=False).values():
            print(result["status"], result["result"], result["error"])
"""

needs_spawn = pytest.mark.skipif("spawn" not in START_METHODS, reason="needs spawn")


def run_dying_at_import(folder: Path, times: int | None, death: str) -> list[str]:
    """What becomes of two tasks whose workers die before they are ready."""
    code = DYING_AT_IMPORT.format(times=times, folder=str(folder), death=death)
    return run_script(code, env=SAME_LIBRARY, check=True).stdout.splitlines()


@needs_spawn
def test_a_worker_killed_before_it_is_ready_costs_no_task(tmp_path: Path) -> None:
    """Its task has not begun, so another worker does it."""
    death = "os.kill(os.getpid(), signal.SIGKILL)"
    lines = run_dying_at_import(tmp_path, 1, death)
    assert lines == ["Successful 1 None", "Successful 2 None"]


@needs_spawn
@pytest.mark.parametrize(
    ("death", "cause"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("sys.exit(3)", "exited with code 3"),
        ("raise ImportError('broken')", "exited with code 1"),
    ],
    ids=["SIGKILL", "exit", "ImportError"],
)
def test_tasks_whose_workers_never_get_ready_fail(
    tmp_path: Path, death: str, cause: str
) -> None:
    """The run does not start one process after the other for ever; it says why."""
    lines = run_dying_at_import(tmp_path, None, death)
    assert len(lines) == 2
    for line in lines:
        assert line.startswith("Failed None RuntimeError: ")
        assert cause in line
        assert "before it was ready" in line


@processes
def test_a_worker_killed_while_it_sends_its_result(mode: str) -> None:
    """Half a result is none: the task failed, and the next one is not disturbed."""
    result = run_between(mode, deeds.die_while_sending, 64 << 20, signal.SIGKILL)
    assert_failed(result, r"RuntimeError: .*\bSIGKILL\b")


MANY_LOSSES = """
    import os, signal, sys
    import concurra

    def die(number):
        os.kill(os.getpid(), signal.SIGKILL) if number % 4 else os._exit(number % 7)

    if __name__ == "__main__":
        runner = concurra.TaskRunner(
            2, use_multiprocessing=True, mp_context=sys.argv[1], progress_stats=False
        )
        losses = int(sys.argv[2])
        for number in range(losses):
            runner.add_task(pow, number, 2, label=("good", number))
            runner.add_task(die, number, label=("bad", number))
            bad = [("bad", number)]
            runner.add_task(abs, 0, label=("skip", number), depends_on=bad)
        results = runner.run(verify=False)
        for (kind, number), result in results.items():
            if kind == "good":
                assert result["result"] == number**2, result
            elif kind == "bad":
                cause = "SIGKILL" if number % 4 else f"code {number % 7} "
                assert result["status"] == "Failed", result
                assert cause in result["error"], result
            else:
                assert result["status"] == "Terminated", result
                assert "Skipped" in result["error"], result
        print(len(results), len(os.listdir("/proc/self/fd")))
"""


@processes
def test_many_losses_in_one_run(mode: str) -> None:
    """Every other result is right, and no file descriptor is left of any of them.

    20 losses where processes do not start by fork, which takes longer.
    """
    losses = 50 if mode == "fork" else 20
    few = run_script(MANY_LOSSES, mode, "1", env=SAME_LIBRARY, check=True)
    many = run_script(MANY_LOSSES, mode, str(losses), env=SAME_LIBRARY, check=True)
    assert few.stdout.split()[0] == "3"
    assert many.stdout.split() == [str(3 * losses), few.stdout.split()[1]]


@processes
@pytest.mark.parametrize("then_stay", [False, True], ids=["returns", "stays"])
def test_a_task_that_closes_every_file_descriptor(mode: str, then_stay: bool) -> None:
    """Nobody can hear from its worker any more, so it is lost, and is ended."""
    result = run_between(mode, deeds.close_everything, then_stay)
    assert_failed(
        result,
        r"RuntimeError: Worker process was ended because it had closed its connection$",
    )


@processes
@pytest.mark.parametrize("by_c", [False, True], ids=["os.fork", "fork in C"])
def test_a_worker_lost_while_a_forked_child_lives_on(
    mode: str, by_c: bool, tmp_path: Path
) -> None:
    """The loss is seen although the child holds the pipe, and the child is killed."""
    pid_file = tmp_path / "pid"
    result = run_between(
        mode, deeds.die_beside_a_child, by_c, str(pid_file), timeout=20
    )
    assert_failed(result, r"RuntimeError: Worker process exited with code 3 ")
    pid = int(pid_file.read_text())
    wait_until(lambda: not alive(pid), what="the end of the child")


@processes
def test_a_task_whose_worker_is_lost_is_not_tried_again(
    mode: str, tmp_path: Path
) -> None:
    """Retries are for exceptions: what was half done may have had its effects."""
    tries = tmp_path / "tries"
    result = run_between(mode, deeds.die_until, str(tries), 2, task_retries=3)
    assert_failed(result, r"RuntimeError: .*\bSIGKILL\b")
    assert (result["attempts"], result["retried"]) == (1, False)
    assert result["retry_errors"] == [result["error"]]
    assert tries.stat().st_size == 1


@processes
def test_a_lost_worker_is_a_reason_for_fast_fail(mode: str, tmp_path: Path) -> None:
    """Everything else is terminated, a task in another worker too."""
    runner = make_runner(mode, 2, fast_fail=True)
    sign = str(tmp_path / "sign")
    runner.add_task(deeds.linger, sign, label="lingers")
    runner.add_command(["test", "1"], label="command")
    runner.add_task(die_after, sign, label="bad")
    runner.add_task(abs, -1, label="waits", depends_on="bad")
    results = runner.run(verify=False)
    check_all(results)
    assert_failed(results["bad"], r"RuntimeError: .*\bSIGKILL\b")
    assert results["lingers"]["status"] == "Terminated"
    assert results["waits"]["status"] == "Terminated"


def die_after(sign: str) -> None:
    """Die as soon as the other task is at work."""
    deeds.wait_for(sign)
    os.kill(os.getpid(), signal.SIGKILL)


@processes
def test_a_worker_that_is_stopped_by_sigstop_is_killed_in_time(
    mode: str,
) -> None:
    """It can neither answer nor obey SIGTERM; a timeout ends it all the same."""
    timeout = ample(mode)
    runner = make_runner(mode, 1, timeout=timeout, terminate_timeout=0.1)
    runner.add_task(deeds.die_by, signal.SIGSTOP, label="it")
    runner.add_task(abs, -1, label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["status"] == "Terminated"
    assert results["it"]["error"] == f"{OVERDUE}{timeout} seconds"
    assert results["after"]["result"] == 1


@processes
def test_losses_beside_somebody_who_reaps_our_children(mode: str) -> None:
    """A thread of the program that waits for all children of `multiprocessing`."""
    done = threading.Event()

    def reap() -> None:
        while not done.wait(0.0001):
            multiprocessing.active_children()

    reaper = threading.Thread(target=reap)
    reaper.start()
    try:
        runner = make_runner(mode, 2)
        for number in range(6):
            runner.add_task(deeds.exit_at_once, number, label=f"bad {number}")
            runner.add_task(deeds.same, number, label=f"good {number}")
        results = runner.run(verify=False)
    finally:
        done.set()
        reaper.join()
    check_all(results)
    for number in range(6):
        assert results[f"good {number}"]["result"] == number
        assert_failed(results[f"bad {number}"], "RuntimeError: Worker process ")


IGNORED_CHILDREN = """
    import os, signal, sys
    import concurra

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    if __name__ == "__main__":
        mode, how = sys.argv[1:]
        if how == "ignore":
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        else:
            def reap(*args):
                try:
                    while os.waitpid(-1, os.WNOHANG)[0]:
                        pass
                except ChildProcessError:
                    pass
            signal.signal(signal.SIGCHLD, reap)
        runner = concurra.TaskRunner(
            1, use_multiprocessing=True, mp_context=mode, progress_stats=False
        )
        for number in range(3):
            runner.add_task(abs, -number, label=f"good {number}")
            runner.add_task(die, label=f"bad {number}")
        runner.add_command(["true"], label="last")
        for label, result in runner.run(verify=False).items():
            print(label, result["status"], result["result"], result["error"])
"""


@processes
@pytest.mark.parametrize("how", ["ignore", "reap"])
def test_losses_in_a_program_that_lets_nobody_wait_for_children(
    mode: str, how: str
) -> None:
    """With SIGCHLD ignored, or a handler that reaps all, a loss is still a loss.

    The exit code may be out of reach then.
    """
    done = run_script(IGNORED_CHILDREN, mode, how, env=SAME_LIBRARY, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 7
    for number in range(3):
        assert lines[2 * number] == f"good {number} Successful {number} None"
        assert lines[2 * number + 1].startswith(
            f"bad {number} Failed None RuntimeError: Worker process "
        )


def test_deaths_at_random_moments() -> None:
    """Workers that are killed at any moment, idle or busy, spoil no other result."""
    mode, deaths = START_METHODS[0], 20
    runner = make_runner(mode, 2)
    for number in range(300):
        runner.add_task(deeds.same, number, label=number)
    runner.execute_in_background()
    for _ in range(deaths):
        wait_until(lambda: workers() or not runner.get_active_runner_count())
        for pid in itertools.islice(workers(), 1):
            with contextlib.suppress(ProcessLookupError):  # it has ended by itself
                os.kill(pid, signal.SIGKILL)
    results = runner.get_background_results(verify=False)
    check_all(results)
    lost = 0
    for number, result in results.items():
        if result["has_failed"]:
            assert_failed(result, r"RuntimeError: Worker process was killed by SIGKILL")
            lost += 1
        else:
            assert result["result"] == number
    assert lost <= deaths
