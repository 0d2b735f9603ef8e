"""The end of the program, by any means: nothing that a run started survives it."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults import acts_death
from tests.faults.stage import BOUND, KILLABLE, MODES, arrived, in_script, new_seed
from tests.faults.stage import started_script
from tests.helpers import HAS_PROC, START_METHODS, Script

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals"),
    pytest.mark.skipif(not HAS_PROC, reason="needs /proc, to see who survives"),
]

#: Seconds after the program's end until all that it started is dead.
PROMPT = 2.0

STATUS = {
    "end_of_script": 0,
    "sys_exit": 3,
    "exception": 1,
    "os_exit": 3,
    "exit_in_thread": 3,
    "SIGTERM": -signal.SIGTERM,
    "SIGKILL": -signal.SIGKILL,
    "SIGINT": 130,
}


def nobody_survives(script: Script) -> None:
    left = script.survivors(PROMPT)
    assert not left, f"alive {PROMPT:g} s later: {list(map(str, left))}\n{script}"


@pytest.mark.parametrize("how", [how for how in STATUS if how != "SIGINT"])
@pytest.mark.parametrize("mode", KILLABLE)
def test_nothing_survives_the_program(mode: str, how: str, tmp_path: Path) -> None:
    """However the program ends while a background run is at work, its workers, its
    commands and their children are dead within 2 s, even if they ignore SIGTERM; and
    the program's exit status is what it would be without a run."""
    folder = str(tmp_path)
    with started_script(acts_death.die, mode=mode, how=how, folder=folder) as script:
        script.wait_for("ready", BOUND)
        if how.startswith("SIG"):
            script.send_signal(getattr(signal, how))
        assert script.wait(BOUND) == STATUS[how], script
        nobody_survives(script)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("mode", KILLABLE)
def test_nothing_survives_a_program_that_waits(
    mode: str, how: str, tmp_path: Path
) -> None:
    """The same for a program that is ended while it waits in run()."""
    with started_script(
        acts_death.die_in_run, mode=mode, folder=str(tmp_path)
    ) as script:
        arrived(tmp_path, 4)
        script.send_signal(getattr(signal, how))
        assert script.wait(BOUND) == STATUS[how], script
        nobody_survives(script)


@pytest.mark.parametrize("mode", KILLABLE)
def test_nothing_survives_the_terminal(mode: str, tmp_path: Path) -> None:
    """The same when the terminal is closed in which the program runs."""
    act = {"mode": mode, "folder": str(tmp_path)}
    with started_script(acts_death.die_on_terminal, **act) as script:
        assert script.wait(BOUND) == 0, str(script)
        nobody_survives(script)


@pytest.mark.parametrize("mode", KILLABLE)
def test_nothing_survives_a_kill_at_random_moments(mode: str) -> None:
    """The same for SIGKILL at any moment, also while workers start and stop."""
    seed = new_seed()
    chance = random.Random(seed)
    for number in range(2 if mode == "spawn" else 5):
        act = {"mode": mode, "moment": chance.uniform(0.0, 0.3)}
        with started_script(acts_death.die_while_starting, **act) as script:
            assert script.wait(BOUND) == -signal.SIGKILL, script
            left = script.survivors(PROMPT)
            assert not left, f"seed {seed}, {number}: {list(map(str, left))}\n{script}"


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc, to find the newborn")
@pytest.mark.parametrize("captured", [True, False])
def test_nothing_survives_a_kill_right_after_a_birth(captured: bool) -> None:
    """The moment in which nobody knows the command's id but the command itself."""
    with started_script(acts_death.die_at_a_birth, captured=captured) as script:
        assert script.wait(BOUND) == -signal.SIGKILL, script
        left = script.survivors(PROMPT)
        assert not left, f"{list(map(str, left))}\n{script}"


@pytest.mark.parametrize("mode", KILLABLE)
def test_system_exit_of_a_handler_ends_the_run(mode: str, tmp_path: Path) -> None:
    """A host's handler that raises ends run(): complete results, the host's status."""
    act = {"mode": mode, "folder": str(tmp_path)}
    with started_script(acts_death.exit_on_sigterm, **act) as script:
        arrived(tmp_path, 4)
        script.send_signal(signal.SIGTERM)
        assert script.wait(BOUND) == 5, script
        assert "complete" in script.stdout()
        nobody_survives(script)


@pytest.mark.parametrize("how", ["end_of_script", "sys_exit", "exception", "os_exit"])
def test_busy_threads_do_not_hold_the_end(how: str) -> None:
    """Threads that a timeout has given up do not keep the program from ending."""
    with started_script(acts_death.end_with_busy_threads, how=how) as script:
        script.wait_for("ready", BOUND)
        before = time.monotonic()
        assert script.wait(BOUND) == STATUS[how], script
        assert time.monotonic() - before < BOUND / 2


def test_unfinished_threads_do_not_hold_the_end() -> None:
    """Nor does a background run whose tasks and waiters are threads."""
    in_script(acts_death.end_with_waiting_thread)


@pytest.mark.parametrize("mode", MODES)
def test_handlers_of_the_host_stay(mode: str) -> None:
    """Signal handlers, the signal mask and the wakeup descriptor of the host are the
    same before, during and after runs, aborted ones too."""
    in_script(acts_death.keep_handlers, mode=mode)


@pytest.mark.parametrize("mode", KILLABLE)
def test_host_that_ignores_sigterm(mode: str) -> None:
    """Tasks of a host that ignores or blocks SIGTERM can be stopped all the same."""
    in_script(acts_death.workers_have_defaults, mode=mode)


@pytest.mark.parametrize("how", ["ignore", "handler"])
@pytest.mark.parametrize("mode", KILLABLE)
def test_host_that_takes_exit_statuses(mode: str, how: str) -> None:
    """A host that ignores SIGCHLD, or reaps all children itself, gets right results
    (what failed is never a success), and no descriptor or process stays behind."""
    in_script(acts_death.reap_ourselves, mode=mode, how=how)


@pytest.mark.parametrize("mode", START_METHODS)
def test_runs_within_tasks_end_with_them(mode: str) -> None:
    """Workers and commands of a run within a process task end with that task."""
    in_script(acts_death.nested_runs, mode=mode)
