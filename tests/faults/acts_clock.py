"""Clocks that are set, and processes that are suspended."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.faults.stage import BOUND, add, arrive, check_all, linger, make, quick
from tests.faults.stage import set_up
from tests.helpers import wait_until

_time, _localtime = time.time, time.localtime


class JumpyClock:
    """A wall clock that is a day late, then a day early, and so on."""

    DAY = 86_400.0

    def __init__(self) -> None:
        self.looks = 0

    def time(self) -> float:
        self.looks += 1
        return _time() + (self.DAY if self.looks % 2 else -self.DAY)


def hold(folder: str, value: int) -> int:
    """Arrive, and go on when there is a file called ``go``."""
    arrive(folder)
    wait_until(lambda: Path(folder, "go").exists(), BOUND, "go")
    return value


HOLD = (
    "cd {0}; echo $$ > $$.tmp; mv $$.tmp $$.pid; "
    "while [ ! -e go ]; do sleep 0.01; done; echo {1}"
)


def add_held(runner: object, mode: str, folder: str, value: int) -> None:
    """Add a task that waits for ``go``."""
    if mode == "command":
        runner.add_shell_command(HOLD.format(folder, value))  # type: ignore
    else:
        add(runner, mode, hold, folder, value)  # type: ignore


def run_suspended(mode: str, folder: str) -> None:
    """Run; the whole program is suspended meanwhile, from outside."""
    set_up(mode)
    runner = make(mode)
    add_held(runner, mode, folder, 1)
    add(runner, mode, quick, 2, 0.01)
    add(runner, mode, quick, 3, 0.01)
    runner.run(verify=False)
    results = check_all(runner)
    assert {each["status"] for each in results.values()} == {"Successful"}
    print("right")


def overdue_when_it_wakes(mode: str, folder: str, timeout: float) -> None:
    """Run with a timeout that goes by while the program is suspended."""
    set_up(mode)
    runner = make(mode, timeout=timeout, terminate_timeout=0.2)
    add(runner, mode, linger, folder)
    runner.run(verify=False)
    results = check_all(runner)
    assert (
        results[0]["error"]
        == f"TimeoutError: Task exceeded timeout of {timeout} seconds"
    )
    print("overdue")


def die_with_stopped_workers(mode: str, folder: str) -> None:
    """Be killed, while the workers are suspended from outside."""
    runner = make(mode)
    for _ in range(2):
        add(runner, mode, linger, folder)
    runner.run()


def own_pid(folder: str) -> int:
    """Arrive, and end at once."""
    arrive(folder)
    return os.getpid()
