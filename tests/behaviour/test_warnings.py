"""Python has nothing to warn of, wherever it has not for a pool of its own."""

from __future__ import annotations

import multiprocessing

import pytest

from tests.helpers import run_script

from .support import SAME_LIBRARY

MODES = ("thread", "command", *multiprocessing.get_all_start_methods())

FUNCTIONS = """
import asyncio
import os
import time


def fail():
    raise ValueError("no")


def end():
    os._exit(3)


def linger():
    time.sleep(60)


async def wait():
    # That the machine was held up for a moment is no news of ours.
    asyncio.get_running_loop().slow_callback_duration = 60
    await asyncio.sleep(0)


def large(text):
    return text * 1000
"""

PROGRAM = (
    FUNCTIONS
    + """
import gc
import logging
import sys
import threading
import warnings

import concurra

log = logging.Logger("own", logging.CRITICAL)


def make(mode, **options):
    if mode not in ("thread", "command"):
        options.update(use_multiprocessing=True, mp_context=mode)
    return concurra.TaskRunner(3, logger=log, terminate_timeout=30, **options)


def fill(runner, mode):
    if mode == "command":
        runner.add_command(["echo", "x"])
        runner.add_command(["true"], text=False, capture_output=False)
        runner.add_shell_command("echo x >&2; exit 3", label="fails")
        runner.add_command(["no such program"], label="fails, too")
        return
    for number in range(3):
        runner.add_task(abs, number)
    for function in (fail, end) if mode != "thread" else [fail]:
        runner.add_task(function, label=f"fails: {function.__name__}")
    runner.add_task(wait)
    runner.add_task(large, b"x" * 10_000)
    runner.add_task(lambda: None, label="fails" if mode != "thread" else "does not")


def fill_with_long_ones(runner, mode):
    for number in range(3):
        if mode == "command":
            runner.add_command(["sleep", "60"], label=f"fails {number}")
        elif mode == "thread":
            runner.add_task(gate.wait, 60, label=f"fails {number}")
        else:
            runner.add_task(linger, label=f"fails {number}")


def check(results):
    for label, result in results.items():
        assert result["has_failed"] is ("fails" in str(label)), (label, result)


gate = threading.Event()


def main(mode):
    filters = list(warnings.filters)
    for options in ({}, {"task_retries": 1, "max_tasks_per_child": 2}):
        runner = make(mode, **options)
        fill(runner, mode)
        check(runner.run())
    runner = make(mode, timeout=0.2)
    fill_with_long_ones(runner, mode)
    check(runner.run())
    runner = make(mode)
    fill_with_long_ones(runner, mode)
    runner.execute_in_background()
    check(runner.abort())
    fill(make(mode), mode)
    gate.set()
    del runner
    gc.collect()
    assert warnings.filters == filters
    # Python 3.9 itself can crash if a program ends beside daemon threads, and so can
    # 3.13.0 (gh-124878).
    if sys.version_info >= (3, 10) and sys.version_info[:3] != (3, 13, 0):
        runner = make(mode)
        fill(runner, mode)
        runner.execute_in_background()  # and nobody waits for it


if __name__ == "__main__":
    main(*sys.argv[1:])
"""
)


@pytest.mark.parametrize("action", ["always", "error"])
@pytest.mark.parametrize("mode", MODES)
def test_no_warning_because_of_us(mode, action):
    """Nor, where warnings are errors, a task that fails with one."""
    env = {**SAME_LIBRARY, "PYTHONWARNINGS": action, "PYTHONDEVMODE": "1"}
    done = run_script(PROGRAM, mode, env=env, check=True)
    # What Python 3.15 says itself of each traceback from a script that was imported.
    own = "Module globals is missing a __spec__.loader"
    told = [line for line in done.stderr.splitlines() if own not in line]
    assert (done.stdout, told) == ("", [])


BESIDE_A_THREAD = """
import threading
import warnings

import concurra

gate = threading.Event()
thread = threading.Thread(target=gate.wait)
thread.start()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    runner = concurra.TaskRunner(1, use_multiprocessing=True, mp_context="fork")
    runner.add_task(abs, -1)
    runner.run()
gate.set()
print(any("multi-threaded" in str(each.message) for each in caught))
"""


@pytest.mark.skipif("fork" not in MODES, reason="needs fork")
def test_a_warning_because_of_the_program():
    """A fork beside threads of the program's own is warned of, by Pythons that do."""
    import sys

    done = run_script(BESIDE_A_THREAD, env=SAME_LIBRARY, check=True)
    assert done.stdout == f"{sys.version_info >= (3, 12)}\n"


AT_THE_END = """
import multiprocessing
import threading
import time
from multiprocessing import reduction

import concurra

begun = threading.Event()
send = reduction.sendfds


def slowly(*args):
    begun.set()
    time.sleep(0.3)
    send(*args)


def make():
    runner = concurra.TaskRunner(1, use_multiprocessing=True, mp_context="forkserver")
    runner.add_task(abs, -1)
    return runner


def main():
    make().run(raise_exception=True)  # the server is ready
    reduction.sendfds = slowly
    runner = make()
    runner.execute_in_background()
    begun.wait(20)


if __name__ == "__main__":
    main()
"""


@pytest.mark.skipif("forkserver" not in MODES, reason="needs a fork server")
def test_a_program_that_ends_while_a_worker_is_being_started():
    """The start is over first: the fork server would tell of one that breaks off."""
    done = run_script(AT_THE_END, env=SAME_LIBRARY, check=True)
    assert "EOFError" not in done.stderr
    assert "The program ends before 1 of the 1 tasks" in done.stderr
