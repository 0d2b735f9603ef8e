"""Ctrl-C: everything is terminated, the report is logged, the caller is interrupted."""

from __future__ import annotations

import _thread
import json
import os
import re
import signal
import threading

import pytest

import concurra
from concurra.lifecycle import LifeCycle
from tests.helpers import HAS_PROC, start_script

from .support import SAME_LIBRARY, TERMINATED, check, statuses

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not HAS_PROC, reason="needs POSIX signals and /proc"
)

SCRIPT = """
import json
import logging
import sys
import time

import concurra


def linger():
    print("busy", flush=True)
    time.sleep(60)


def main(kind, way, catch):
    logging.basicConfig(level=logging.INFO)
    runner = concurra.TaskRunner(
        max_concurrency=2, use_multiprocessing=kind == "process"
    )
    runner.add_task(abs, -1, label="done")
    if kind == "command":
        runner.add_shell_command(
            "sleep 60 & echo busy; sleep 60",
            label="busy",
            depends_on=["done"],
            capture_output=False,
        )
    else:
        runner.add_task(linger, label="busy", depends_on=["done"])
    runner.add_task(abs, -2, label="pending", depends_on=["busy"])
    try:
        if way == "run":
            runner.run()
        elif way == "with":
            with runner:
                runner.execute_in_background()
                time.sleep(60)
        else:
            runner.execute_in_background()
            runner.get_background_results()
    except KeyboardInterrupt:
        if catch == "do not catch":
            raise
        print("interrupted")
        print("--- interrupted ---", file=sys.stderr)
        registry = dict(runner.results_registry)
        print(json.dumps([registry, runner.abort(), runner.is_running()]))


if __name__ == "__main__":
    main(*sys.argv[1:])
"""


def interrupt(kind, way, catch="catch", whole_group=False):
    """Run the script, send SIGINT when its task is busy, return it ended."""
    with start_script(SCRIPT, kind, way, catch, env=SAME_LIBRARY) as script:
        script.wait_for("busy")
        if whole_group:
            os.killpg(script.pid, signal.SIGINT)
        else:
            script.send_signal(signal.SIGINT)
        status = script.wait()
        assert script.survivors() == []
        return status, script.stdout(), script.stderr()


@pytest.mark.parametrize("kind", ["thread", "process", "command"])
@pytest.mark.parametrize("way", ["run", "get_background_results", "with"])
def test_an_interrupt_ends_everything(kind, way):
    """KeyboardInterrupt comes through, all results are there, nothing survives."""
    status, out, err = interrupt(kind, way)
    assert status == 0, err
    busy, interrupted, results = out.splitlines()
    registry, again, is_running = json.loads(results)
    assert interrupted == "interrupted"
    assert statuses(registry) == {
        "done": "Successful",
        "busy": "Terminated",
        "pending": "Terminated",
    }
    for result in registry.values():
        check(result)
    assert registry["busy"]["error"] == registry["pending"]["error"] == TERMINATED
    assert registry["busy"]["attempts"] == 1
    assert again == registry
    assert is_running is False
    report = err.partition("--- interrupted ---")[0]
    assert "ERROR:concurra.core:Execution Failed" in report
    assert "| busy    |" in report
    assert f"Task 'pending' failed with error: {TERMINATED}" in report


@pytest.mark.parametrize("kind", ["process", "command"])
def test_an_interrupt_of_the_whole_process_group(kind):
    """As a terminal sends it: the workers get SIGINT as well."""
    status, out, err = interrupt(kind, "run", whole_group=True)
    assert status == 0, err
    registry, again, is_running = json.loads(out.splitlines()[-1])
    assert registry["done"]["status"] == "Successful"
    assert registry["pending"]["status"] == "Terminated"
    assert registry["busy"]["has_failed"] is True
    assert "ERROR:concurra.core:Execution Failed" in err


@pytest.mark.parametrize("error", [concurra.ConcurraError, concurra.LifeCycleError])
def test_an_error_of_ours_from_a_signal_handler(error):
    """It ends the run as any other, although such errors may mean that none began."""

    def refuse(number, frame):
        raise error("raised by a handler")

    gate = threading.Event()

    def send():
        os.kill(os.getpid(), signal.SIGUSR1)
        gate.wait(20)

    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(send, label="busy")
    runner.add_task(abs, -1, label="pending", depends_on=["busy"])
    before = signal.signal(signal.SIGUSR1, refuse)
    try:
        with pytest.raises(error, match="^raised by a handler$"):
            runner.run()
        for result in runner.results_registry.values():
            assert result["error"] == TERMINATED
    finally:
        signal.signal(signal.SIGUSR1, before)
        gate.set()


BUSY = """
import logging
import threading

import concurra

logging.basicConfig(level=logging.INFO)
gate = threading.Event()


def busy():
    print("busy", flush=True)
    gate.wait(60)


runner = concurra.TaskRunner(1, name="Nightly")
for number in range(30):
    runner.add_task(abs, number)
runner.add_task(busy)
for number in range(969):
    runner.add_task(abs, number)
try:
    runner.run()
except KeyboardInterrupt:
    gate.set()
"""


def test_an_interrupt_is_told_in_one_line():
    """How far the run had come; no progress after that, and then the report."""
    with start_script(BUSY, env=SAME_LIBRARY) as script:
        script.wait_for("busy")
        script.send_signal(signal.SIGINT)
        assert script.wait() == 0, str(script)
        interrupt, failed, *report = script.stderr().splitlines()
    assert interrupt == (
        "WARNING:concurra.core:Nightly was interrupted: 30 of 1000 tasks had ended"
    )
    assert failed == "ERROR:concurra.core:Execution Failed"
    assert len(report) == 1000 + 4 + 2
    assert report[-2] == "970 terminated before completion"
    assert re.fullmatch(
        r"1000 tasks in .* sec: 30 successful, 970 terminated", report[-1]
    )


def test_what_ends_a_run_is_named(log):
    """If it is no Ctrl-C."""

    def stop(number, frame):
        raise SystemExit(143)

    gate = threading.Event()

    def send():
        os.kill(os.getpid(), signal.SIGUSR1)
        gate.wait(20)

    runner = concurra.TaskRunner()
    runner.add_task(send, label="busy")
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with pytest.raises(SystemExit):
            runner.run()
    finally:
        signal.signal(signal.SIGUSR1, before)
        gate.set()
    first, report = log.lines()
    assert first == ("TaskRunner was ended by SystemExit: 143: 0 of 1 tasks had ended")
    assert report.startswith("Execution Failed")


TOOL = """
import os, signal, sys, time

def say(what):
    print(what, flush=True)

signal.signal(signal.SIGTERM, lambda *args: say("SIGTERM"))
open("ready.part", "w").close()
os.rename("ready.part", "ready")
try:
    time.sleep(60)
except KeyboardInterrupt:
    say("KeyboardInterrupt")
    if sys.argv[1] == "stubborn":
        time.sleep(60)
finally:
    say("tidied up")
"""

STOPPED = """
import os, signal, sys, threading, time
import concurra

how, tool, manner = sys.argv[1:]
runner = concurra.TaskRunner(progress_stats=False, terminate_timeout=1)
runner.add_command([sys.executable, "-c", tool, manner], label="tool")

def stop():
    while not os.path.exists("ready"):
        time.sleep(0.01)
    if how == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        runner.abort()

thread = threading.Thread(target=stop)
thread.start()
began = time.monotonic()
try:
    runner.run(verify=False)
except KeyboardInterrupt:
    pass
thread.join()
print(" ".join(str(runner.results_registry["tool"]["trace"]).split()))
"""


@pytest.mark.parametrize(
    ("how", "manner", "said"),
    [
        ("interrupt", "", "KeyboardInterrupt tidied up"),
        ("interrupt", "stubborn", "KeyboardInterrupt SIGTERM"),
        ("abort", "stubborn", "SIGTERM"),
    ],
)
def test_an_interrupt_reaches_commands_as_in_a_terminal(how, manner, said):
    """SIGINT, so that a tool tidies up; then SIGTERM, which is all that others send."""
    with start_script(STOPPED, how, TOOL, manner, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == f"stdout: {said}\n"
        assert script.survivors() == []


SILENT = """
import _thread
import threading

import concurra


def interrupt():
    started.wait(20)
    _thread.interrupt_main()
    threading.Event().wait(60)


started = threading.Event()
runner = concurra.TaskRunner(max_concurrency=1)
runner.add_task(interrupt)
runner.execute_in_background()
threading.Timer(0.2, started.set).start()
try:
    runner.get_background_results()
except KeyboardInterrupt:
    print(runner.results_registry[0]["error"])
"""


def test_an_interrupt_that_wakes_nobody_up():
    """A simulated one, or one that comes just before the wait, is seen all the same."""
    with start_script(SILENT, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == f"{TERMINATED}\n"


def test_two_interrupts_at_once(monkeypatch):
    """The second comes before the first has had any effect; both are obeyed."""
    terminate = LifeCycle._terminate
    interrupts = iter([KeyboardInterrupt])
    gate = threading.Event()

    def interrupted(life, broken, first):
        for interrupt in interrupts:
            raise interrupt
        terminate(life, broken, first)

    monkeypatch.setattr(LifeCycle, "_terminate", interrupted)
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(_thread.interrupt_main, label="interrupt")
    runner.add_task(gate.wait, 20, label="busy")
    try:
        with pytest.raises(KeyboardInterrupt):
            runner.run()
        assert runner.results_registry["busy"]["error"] == TERMINATED
    finally:
        gate.set()


def test_an_interrupt_that_nobody_catches():
    """The program ends as it does by Ctrl-C anywhere else."""
    status, out, err = interrupt("thread", "run", catch="do not catch")
    assert status == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
