"""What is loaded when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import START_METHODS, run_script

LOADED = """
import sys

import concurra

runner = concurra.TaskRunner(progress_stats=False)
loaded = set(sys.modules)
runner.add_task(abs, 1)
runner.run(verify=False)
print(sorted(name for name in set(sys.modules) - loaded if "concurra" in name))
"""

INTERVALS = """
import sys
import threading

import concurra

before, intervals, change = sys.getswitchinterval(), [], sys.setswitchinterval

def noted(interval):
    intervals.append(interval)
    change(interval)

sys.setswitchinterval = noted
end = threading.Event()
others = [threading.Thread(target=end.wait) for _ in range({others})]
for each in others:
    each.start()
assert "concurra.engine.scheduler" not in sys.modules
for _ in range(2):
    concurra.TaskRunner()
    assert "concurra.engine.scheduler" in sys.modules
end.set()
assert sys.getswitchinterval() == before
print([interval == before for interval in intervals])
"""


def test_a_run_in_threads_loads_nothing_of_ours() -> None:
    """A signal handler that aborts it would find half a module."""
    assert run_script(LOADED, check=True, env=SAME_LIBRARY).stdout.split() == ["[]"]


@pytest.mark.parametrize(("others", "changes"), [(0, []), (2, [False, True])])
def test_beside_other_threads_their_turns_are_short(
    others: int, changes: list[bool]
) -> None:
    """While the first runner loads what it needs, and never after that."""
    program = INTERVALS.format(others=others)
    done = run_script(program, check=True, env=SAME_LIBRARY)
    assert done.stdout == f"{changes}\n"


BESIDE = """
import logging
import sys
import time

import concurra


def waiting():
    until = time.monotonic() + {patience}
    while not hasattr(sys.modules.get("tabulate"), "tabulate"):
        if time.monotonic() > until:
            return False
        time.sleep(0.001)
    return True


if __name__ == "__main__":
    logger = logging.getLogger("mine")
    logger.addHandler(logging.NullHandler())
    logger.setLevel({level!r})
    runner = concurra.TaskRunner(
        progress_stats=False, logger=logger, {options}
    )
    runner.add_task(waiting, label="waiting")
    {run}
    print(runner.results_registry["waiting"]["result"], "tabulate" in sys.modules)
"""

BACKGROUND = "runner.execute_in_background(); runner.get_background_results()"


@pytest.mark.parametrize(
    ("run", "level", "options", "patience", "seen", "at_last"),
    [
        ("runner.run()", "INFO", "", 20, True, True),
        (BACKGROUND, "INFO", "", 20, True, True),
        ("runner.run(verify=False)", "INFO", "", 0.2, False, False),
        ("runner.run()", "ERROR", "", 0.2, False, False),
    ],
    ids=["run", "background", "no report", "no log"],
)
def test_what_a_report_needs_is_loaded_beside_the_tasks(
    run: str, level: str, options: str, patience: float, seen: bool, at_last: bool
) -> None:
    """If there is to be one, so nobody waits for that at the end."""
    program = BESIDE.format(run=run, level=level, options=options, patience=patience)
    done = run_script(program, check=True, env=SAME_LIBRARY)
    assert done.stdout.split() == [str(seen), str(at_last)]


@pytest.mark.skipif("fork" not in START_METHODS, reason="nothing is forked here")
def test_workers_that_are_forked_do_not_wait_for_that() -> None:
    """It is loaded with the report then."""
    program = BESIDE.format(
        run="concurra.preloading._load_report = None\n    runner.run()",
        level="INFO",
        options="use_multiprocessing=True, mp_context='fork'",
        patience=0,
    )
    done = run_script(program, check=True, env=SAME_LIBRARY)
    assert (done.stdout.split(), done.stderr) == (["False", "True"], "")


SLOW = """
import __main__

__main__.begun.set()
__main__.end.wait(20)
time = __import__("time")
time.sleep(0.1)  # the fork is waiting by now, or is not held up


def tabulate(*args, **options):
    return "a table"
"""

FORKING = """
import logging
import os
import signal
import sys
import threading

begun, end = threading.Event(), threading.Event()
sys.path.insert(0, {folder!r})

import concurra


def forking():
    assert begun.wait(20)
    os.register_at_fork(before=end.set)  # the last to be registered is the first
    pid = os.fork()
    if not pid:
        signal.alarm(10)
        import tabulate

        os._exit(7 if tabulate.tabulate() == "a table" else 8)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


logging.basicConfig(level="INFO")
runner = concurra.TaskRunner(progress_stats=False)
runner.add_task(forking, label="forking")
print(runner.run()["forking"]["result"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_waits_for_what_is_half_loaded(tmp_path: Path) -> None:
    """Its child, which has no other thread, could never load that."""
    (tmp_path / "tabulate.py").write_text(SLOW)
    program = FORKING.format(folder=str(tmp_path))
    done = run_script(program, check=True, env=SAME_LIBRARY)
    assert done.stdout.splitlines()[-1] == "7"
