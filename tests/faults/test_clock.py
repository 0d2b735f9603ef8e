"""Clocks that jump and processes that are suspended: durations and timeouts hold."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults import acts_clock
from tests.faults.stage import (
    BOUND,
    KILLABLE,
    MODES,
    add,
    ample,
    arrived,
    check_all,
    linger,
)
from tests.faults.stage import make, quick, started_script
from tests.helpers import HAS_PROC, START_METHODS, alive, process, wait_until

TERMINATED = "RuntimeError: Execution terminated before completion"

suspends = pytest.mark.skipif(
    not HAS_PROC, reason="needs /proc, to see that a process is suspended"
)


def suspend(pids: list[int]) -> None:
    """Stop these processes, as Ctrl-Z does, and wait until they are."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    for pid in pids:
        wait_until(lambda: (found := process(pid)) and found.state == "T", BOUND)


def resume(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


def gone(pids: list[int]) -> None:
    wait_until(lambda: not any(map(alive, pids)), what=f"the end of {pids}")


# The wall clock ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_clock_that_jumps(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock set a day forth and back over and over changes no duration, lets no
    task end before its start, and no timeout come early."""
    clock = acts_clock.JumpyClock()
    monkeypatch.setattr(time, "time", clock.time)
    runner = make(mode, timeout=BOUND, progress_stats=True)
    for number in range(6):
        add(runner, mode, quick, number, 0.01)
    runner.run()
    results = check_all(runner)
    assert clock.looks
    for result in results.values():
        assert result["status"] == "Successful"
        assert 0 <= result["duration_seconds"] < BOUND


@pytest.mark.parametrize("mode", KILLABLE)
def test_timeout_while_the_clock_jumps(
    mode: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nor does a timeout come late."""
    monkeypatch.setattr(time, "time", acts_clock.JumpyClock().time)
    runner = make(mode, timeout=0.7, terminate_timeout=0.2)
    add(runner, mode, linger, str(tmp_path))
    before = time.monotonic()
    runner.run(verify=False)
    assert time.monotonic() - before < BOUND
    (result,) = check_all(runner).values()
    assert result["error"] == "TimeoutError: Task exceeded timeout of 0.7 seconds"
    assert 0.7 <= result["duration_seconds"] < BOUND


# The program ------------------------------------------------------------------------


@suspends
@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fallback"])
def test_program_that_is_suspended(mode: str, tmp_path: Path) -> None:
    """A program that is suspended during a run goes on where it was."""
    act = {"mode": mode, "folder": str(tmp_path)}
    with started_script(acts_clock.run_suspended, **act) as script:
        arrived(tmp_path, 1)
        suspend([script.pid])
        (tmp_path / "go").touch()
        time.sleep(0.2)  # so that tasks end meanwhile; right without it as well
        resume([script.pid])
        assert script.wait(BOUND) == 0, str(script)
        assert "right" in script.stdout()
        assert not script.survivors()


@suspends
@pytest.mark.parametrize("mode", KILLABLE)
def test_timeout_that_goes_by_in_suspension(mode: str, tmp_path: Path) -> None:
    """A timeout that went by while the program was suspended is obeyed afterwards."""
    timeout = ample(mode)
    act: dict[str, Any] = {"mode": mode, "folder": str(tmp_path), "timeout": timeout}
    with started_script(acts_clock.overdue_when_it_wakes, **act) as script:
        pids = arrived(tmp_path, 1)
        suspend([script.pid])
        time.sleep(timeout)
        resume([script.pid])
        assert script.wait(BOUND) == 0, str(script)
        assert "overdue" in script.stdout()
        gone(pids)


# Workers ----------------------------------------------------------------------------


@suspends
@pytest.mark.parametrize("mode", KILLABLE)
def test_worker_that_is_suspended_goes_on(mode: str, tmp_path: Path) -> None:
    """A worker or command that is suspended and resumed loses nothing."""
    runner = make(mode)
    acts_clock.add_held(runner, mode, str(tmp_path), 1)
    add(runner, mode, quick, 2)
    runner.execute_in_background()
    pids = arrived(tmp_path, 1)
    suspend(pids)
    wait_until(lambda: runner.results_registry[1], BOUND, "the other task")
    (tmp_path / "go").touch()
    resume(pids)
    runner.get_background_results(verify=False)
    results = check_all(runner)
    assert [each["status"] for each in results.values()] == ["Successful"] * 2


@suspends
@pytest.mark.parametrize("way", ["timeout", "abort"])
@pytest.mark.parametrize("mode", KILLABLE)
def test_suspended_worker_can_be_killed(mode: str, way: str, tmp_path: Path) -> None:
    """A timeout or abort also ends a worker that is suspended, which SIGTERM cannot."""
    timeout = ample(mode) if way == "timeout" else None
    runner = make(mode, 1, timeout=timeout, terminate_timeout=0.2)
    add(runner, mode, linger, str(tmp_path), label="late")
    add(runner, mode, quick, 1, label="other")
    runner.execute_in_background()
    pids = arrived(tmp_path, 1)
    suspend(pids)
    if way == "timeout":
        runner.get_background_results(verify=False)
    else:
        runner.abort()
    gone(pids)
    results: dict[Any, Any] = check_all(runner)
    if way == "timeout":
        assert results["late"]["error"].startswith("TimeoutError: ")
        assert results["other"]["status"] == "Successful"
    else:
        assert {each["error"] for each in results.values()} == {TERMINATED}


@suspends
@pytest.mark.parametrize("mode", START_METHODS)
def test_idle_worker_that_is_suspended(mode: str, tmp_path: Path) -> None:
    """A worker that is suspended when it has nothing to do does not hold up the end."""
    runner = make(mode, 2, terminate_timeout=0.2)
    acts_clock.add_held(runner, mode, str(tmp_path), 1)
    folder = tmp_path / "idle"
    folder.mkdir()
    runner.add_task(acts_clock.own_pid, str(folder), label="idle")
    runner.execute_in_background()
    arrived(tmp_path, 1)
    result = wait_until(lambda: runner.results_registry["idle"], BOUND)
    suspend([result["result"]])
    (tmp_path / "go").touch()
    runner.get_background_results(verify=False)
    results = check_all(runner)
    assert [each["status"] for each in results.values()] == ["Successful"] * 2
    gone([result["result"]])


@suspends
@pytest.mark.parametrize("mode", KILLABLE)
def test_suspended_workers_end_with_the_program(mode: str, tmp_path: Path) -> None:
    """Workers that are suspended do not survive a SIGKILL of the program."""
    act = {"mode": mode, "folder": str(tmp_path)}
    with started_script(acts_clock.die_with_stopped_workers, **act) as script:
        pids = arrived(tmp_path, 2)
        suspend(pids)
        script.send_signal(signal.SIGKILL)
        assert script.wait(BOUND) == -signal.SIGKILL
        assert not script.survivors(2.0)
