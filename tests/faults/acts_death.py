"""Ends of the program while runs are going on, and hosts with signals of their own.

Each function runs in an interpreter of its own, and most of them end it.
"""

from __future__ import annotations

import logging
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Any, NoReturn

import concurra
from concurra.workers import command_start
from tests.faults.stage import BOUND, LINGER, Footprint, add, arrived, breed, check_all
from tests.faults.stage import fail, make, quick, set_up, value_of
from tests.helpers import wait_until


def _die(how: str) -> None:
    if how == "sys_exit":
        sys.exit(3)
    if how == "os_exit":
        os._exit(3)
    if how == "exception":
        raise LookupError("not handled")
    if how == "exit_in_thread":
        threading.Thread(target=os._exit, args=(3,)).start()
        time.sleep(LINGER)
    if how.startswith("SIG"):
        time.sleep(LINGER)  # the signal comes from outside
    assert how == "end_of_script"


def die(mode: str, how: str, folder: str) -> None:
    """End while two tasks are at work that ignore SIGTERM and have children."""
    runner = make(mode)
    for _ in range(2):
        add(runner, mode, breed, folder)
    add(runner, mode, quick, 1)  # which waits for a worker
    runner.execute_in_background()
    arrived(folder, 4)
    print("ready")
    _die(how)


def die_in_run(mode: str, folder: str) -> None:
    """The same, with the main thread waiting in `run`; a signal ends it."""
    runner = make(mode)
    for _ in range(2):
        add(runner, mode, breed, folder)
    runner.run()


def die_on_terminal(mode: str, folder: str) -> None:
    """Hang up on a program that runs in a terminal."""
    pid, terminal = pty.fork()
    if not pid:
        die(mode, "SIGHUP", folder)
        os._exit(9)
    arrived(folder, 4)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGHUP, status


def die_while_starting(mode: str, moment: float) -> None:
    """Start runs over and over, and be killed in the midst of it by a timer."""
    set_up(mode)
    logging.disable()
    threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
    while True:
        runner = make(mode)
        for number in range(4):
            add(runner, mode, quick, number, LINGER if number % 2 else 0.0)
        runner.execute_in_background()
        wait_until(lambda: any(runner.results_registry.values()))
        runner.abort()


def die_at_a_birth(captured: bool) -> None:
    """Be killed when a command has been started, and its id is not yet recorded."""
    set_up()
    command_start.watch = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    runner = make("command")
    deaf = "trap '' TERM; sleep 60 & sleep 60"
    runner.add_shell_command(deaf, capture_output=captured)
    runner.run()


def end_with_busy_threads(how: str) -> None:
    """End while threads are busy that a timeout has given up."""
    never = threading.Event()
    runner = make("thread", 3, timeout=0.05)
    for _ in range(3):
        runner.add_task(never.wait)
    results = runner.run(verify=False)
    assert {each["status"] for each in results.values()} == {"Terminated"}
    print("ready")
    _die(how)


def end_with_waiting_thread() -> None:
    """End while another thread waits for a run that would never end."""
    never = threading.Event()
    runner = make("thread")
    runner.add_task(never.wait)
    runner.execute_in_background()
    wait_until(lambda: runner.get_active_runner_count() == 1)
    waiter = threading.Thread(target=runner.get_background_results, daemon=True)
    waiter.start()


def exit_on_sigterm(mode: str, folder: str) -> None:
    """A host whose own handler ends it by SystemExit, as many services do."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(5)

    signal.signal(signal.SIGTERM, leave)
    runner = make(mode, terminate_timeout=0.2)
    for _ in range(2):
        add(runner, mode, breed, folder)
    try:
        runner.run(verify=False)
    finally:
        results = check_all(runner)
        assert {each["status"] for each in results.values()} == {"Terminated"}
        print("complete")


# Handlers -----------------------------------------------------------------------------


def _mine(number: int, frame: FrameType | None) -> None:
    """A handler of the host."""


def _all_handlers() -> dict[int, Any]:
    known = sorted(signal.valid_signals())
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return {**{each: signal.getsignal(each) for each in known}, -1: wakeup}


def keep_handlers(mode: str) -> None:
    """Check the host's handlers, its mask and its wakeup fd around and during a run."""
    set_up(mode)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, _mine)
    for number in (signal.SIGUSR2, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])
    before = _all_handlers()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])

    def check(*_: object) -> None:
        assert _all_handlers() == before
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask

    for timeout, expected in ((None, ["Successful", "Failed"]), (0.3, ["Terminated"])):
        runner = make(mode, timeout=timeout, terminate_timeout=0.2)
        if timeout is None:
            add(runner, mode, quick, 1, label="good")
            add(runner, mode, fail, label="bad")
        else:
            add(runner, mode, quick, 1, BOUND / 10, label="late")
        runner.execute_in_background()
        while any(not result for result in runner.results_registry.values()):
            check()
            time.sleep(0.01)
        runner.get_background_results(verify=False)
        check()
        statuses = [each["status"] for each in check_all(runner).values()]
        assert statuses == expected, statuses
    aborted = make(mode)
    add(aborted, mode, quick, 1, BOUND)
    aborted.execute_in_background()
    check()
    aborted.abort()
    check()


def workers_have_defaults(mode: str) -> None:
    """A host's handlers, its ignored SIGTERM and its mask do not reach its tasks."""
    set_up(mode)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _mine)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGUSR1])
    runner = make(mode, timeout=0.5, terminate_timeout=0.2)
    add(runner, mode, quick, 1, BOUND, label="late")
    results = runner.run(verify=False)
    check_all(runner)
    assert results["late"]["status"] == "Terminated"


# Somebody else reaps ------------------------------------------------------------------


def reap_ourselves(mode: str, how: str) -> None:
    """A host that takes the exit statuses of all children away."""
    set_up(mode)
    if how == "ignore":
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGCHLD, _reap_all)
    _a_run(mode)
    footprint = Footprint.take()
    for _ in range(3):
        _a_run(mode)
    footprint.assert_restored()


def _reap_all(number: int, frame: FrameType | None) -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _a_run(mode: str) -> None:
    runner = make(mode, timeout=BOUND, terminate_timeout=0.2)
    add(runner, mode, quick, "good", label="good")
    add(runner, mode, fail, label="bad")
    add(runner, mode, quick, "next", label="next", depends_on="good")
    add(runner, mode, quick, "never", label="never", depends_on="bad")
    if mode != "command":
        runner.add_task(_be_lost, label="lost")
    results = runner.run(verify=False)
    check_all(runner)
    for label in ("bad", "never", "lost"):
        # Never a success: whoever cannot know how it ended must not claim that.
        assert label not in results or results[label]["has_failed"], results[label]
    for label in ("good", "next"):
        result = results[label]
        if mode == "command" and result["status"] != "Successful":
            continue  # its exit status was taken before anybody could see it
        assert value_of(result) == label, result


def _be_lost() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def nested_runs(mode: str) -> None:
    """Runs within process tasks end with the program, their commands included."""
    set_up(mode)
    runner = make(mode, timeout=1.5, terminate_timeout=0.2)
    runner.add_task(_inner_run, mode, label="inner")
    results = runner.run(verify=False)
    assert results["inner"]["status"] == "Terminated"


def _inner_run(mode: str) -> None:
    runner = concurra.TaskRunner(2, use_multiprocessing=True, mp_context=mode)
    runner.add_shell_command(f"trap '' TERM; sleep {LINGER:g}")
    runner.add_task(quick, 1, LINGER)
    runner.run()


def orphan_maker(folder: str) -> None:
    """A task that starts children in many ways, and waits for its end."""
    subprocess.Popen(["sleep", f"{LINGER:g}"])
    arrived(folder, 1)
