"""Stops at any moment; each function runs in an interpreter of its own."""

from __future__ import annotations

import itertools
import linecache
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from traceback import walk_stack
from types import FrameType
from typing import Any, Callable

import concurra
from tests.faults.stage import (
    LINGER,
    OVERDUE,
    PLANNED,
    Footprint,
    add,
    arrived,
    check_all,
    fail,
)
from tests.faults.stage import line, linger, make, quick, set_up, stubborn, value_of
from tests.helpers import wait_until

SKIPPED = "RuntimeError: Skipped: dependency ["
STOPPED = "RuntimeError: Execution terminated before completion"

#: Tasks take this long at the most.
LONGEST = 0.02


def _fill(runner: concurra.TaskRunner, mode: str, chance: random.Random) -> None:
    """Ready tasks, waiting tasks, a failing one, and two that it dooms."""

    def work(label: str, depends_on: tuple[str, ...] = ()) -> None:
        seconds = chance.choice((0.0, chance.uniform(0.0, LONGEST)))
        add(runner, mode, quick, label, seconds, label=label, depends_on=depends_on)

    for label in "abc":
        work(label)
    seconds = chance.uniform(0.0, LONGEST)
    add(runner, mode, fail, seconds, label="fails", depends_on=["a"])
    work("d", ("a", "b"))
    work("e", ("c", "d"))
    work("doomed", ("fails",))
    work("last", ("doomed", "e"))


def _check(runner: concurra.TaskRunner) -> None:
    for label, result in check_all(runner).items():
        status, error = result["status"], result["error"]
        if status == "Terminated":
            assert error.startswith((SKIPPED, STOPPED, OVERDUE)), error
        elif label == "fails":
            assert status == "Failed" and PLANNED in error, result
        else:
            assert status == "Successful" and value_of(result) == label, result
        if label in ("doomed", "last"):
            assert status == "Terminated", result


def _by_timeout(mode: str, chance: random.Random, whole: float) -> concurra.TaskRunner:
    timeout = chance.choice((1e-6, chance.uniform(0.0005, 1.2 * whole)))
    runner = make(mode, timeout=timeout)
    _fill(runner, mode, chance)
    runner.run(verify=False)
    return runner


def _by_fast_fail(
    mode: str, chance: random.Random, whole: float
) -> concurra.TaskRunner:
    runner = make(mode, fast_fail=True)
    _fill(runner, mode, chance)
    runner.run(verify=False)
    return runner


def _moment(chance: random.Random, whole: float) -> float:
    return chance.choice((0.0, *[chance.uniform(0.0, 1.2 * whole)] * 4))


def _by_abort(mode: str, chance: random.Random, whole: float) -> concurra.TaskRunner:
    runner = make(mode)
    _fill(runner, mode, chance)
    timer = threading.Timer(_moment(chance, whole), runner.abort)
    timer.start()
    runner.run(verify=False)
    timer.join()
    return runner


def _by_ctrl_c(mode: str, chance: random.Random, whole: float) -> concurra.TaskRunner:
    runner = make(mode)
    _fill(runner, mode, chance)
    with_ctrl_c(runner, _moment(chance, whole))
    return runner


WAYS = {
    "timeout": _by_timeout,
    "fast_fail": _by_fast_fail,
    "abort": _by_abort,
    "ctrl_c": _by_ctrl_c,
}


def with_ctrl_c(runner: concurra.TaskRunner, delay: float) -> bool:
    """Run, while Ctrl-C comes after a while; whether it came before the end."""
    running = [True]

    def interrupt(number: int, frame: FrameType | None) -> None:
        if running:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    interrupted = False
    try:
        timer.start()
        runner.run(verify=False)
        running.clear()
    except KeyboardInterrupt:
        interrupted = True
    timer.join()
    signal.signal(signal.SIGINT, before)
    return interrupted


def _finish_unstarted(runner: concurra.TaskRunner) -> None:
    """A stop may come before the run has begun: then nothing has happened at all."""
    if not any(runner.results_registry.values()):
        assert runner.get_active_runner_count() == 0, "the run goes on"
        runner.abort()


def random_moments(mode: str, way: str, seed: int, count: int) -> None:
    """Stop `count` runs, each at another moment."""
    set_up(mode)
    chance = random.Random(f"{mode} {way} {seed}")
    before = time.monotonic()
    runner = make(mode)
    _fill(runner, mode, chance)
    runner.run(verify=False)
    _check(runner)
    whole = time.monotonic() - before
    footprint = Footprint.take()
    for number in range(count):
        try:
            runner = WAYS[way](mode, chance, whole)
            _finish_unstarted(runner)
            _check(runner)
            footprint.assert_restored()
        except BaseException:
            print(f"seed {seed}: moment {number}", file=sys.stderr)
            raise


# Every line ---------------------------------------------------------------------------


def _press_ctrl_c(runner: concurra.TaskRunner) -> None:
    raise KeyboardInterrupt


def _abort(runner: concurra.TaskRunner) -> None:
    runner.abort()


#: What a signal handler may do.
HANDLERS = {"ctrl_c": _press_ctrl_c, "abort": _abort}


class _Interrupter:
    """Does something in the main thread, before the n-th line of a call."""

    def __init__(self, moment: int, inside: str, act: Callable[[], None]) -> None:
        self.moment = moment
        self.seen = 0
        self.where = ""
        self._inside = inside
        self._act = act

    def _call(self, frame: FrameType, event: str, arg: object) -> Any:
        return self._line if self._inside in frame.f_code.co_filename else None

    def _line(self, frame: FrameType, event: str, arg: object) -> Any:
        # The line of a `with` comes again when its block is left; an exception there
        # keeps a lock that no signal could keep.
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not text.lstrip().startswith("with "):
            self.seen += 1
            if self.seen == self.moment:
                self.where = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                self._act()
        return self._line

    def run(self, call: Callable[[], object]) -> bool:
        """Make the call; whether the moment came before its end."""
        sys.settrace(self._call)
        try:
            call()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        return bool(self.where)


def _one_line(
    mode: str, moment: int, inside: str, background: bool, handler: str
) -> bool:
    runner = make(mode)
    add(runner, mode, quick, "a", label="a")
    add(runner, mode, quick, "b", label="b", depends_on="a")
    add(runner, mode, quick, "c", label="c")
    if background:
        runner.execute_in_background()
    call = runner.get_background_results if background else runner.run
    interrupter = _Interrupter(moment, inside, lambda: HANDLERS[handler](runner))
    came = interrupter.run(lambda: call(verify=False))
    try:
        if background:  # it may have come before anybody waited for the run
            runner.abort()
        _finish_unstarted(runner)
        for label, result in check_all(runner).items():
            status = result["status"]
            assert status in ("Successful", "Terminated"), result
            assert status == "Terminated" or value_of(result) == label, result
        assert runner.get_active_runner_count() == 0
    except BaseException:
        print(f"interrupted at {interrupter.where}", file=sys.stderr)
        raise
    return came


def every_line(
    mode: str, background: bool = False, step: int = 1, handler: str = "ctrl_c"
) -> None:
    """Interrupt a run before each line of the library that the caller's thread runs."""
    set_up(mode)
    inside = os.path.dirname(concurra.__file__)
    _one_line(mode, 0, inside, background, handler)
    footprint = Footprint.take()
    moments = itertools.count(1, step)
    came = True
    while came:
        some = list(itertools.islice(moments, 10))  # what is left by one is left by all
        came = all(_one_line(mode, each, inside, background, handler) for each in some)
        try:
            footprint.assert_restored()
        except AssertionError:
            print(f"line events {some}", file=sys.stderr)
            raise
    assert some[0] > 10
    print(some[0])


# Ctrl-C twice -------------------------------------------------------------------------


def run_for_ever(
    mode: str, folder: str, grace: float, count: int = 2, block: bool = False
) -> None:
    """Run tasks that ignore SIGTERM; to be interrupted from outside.

    :param block: whether it waits in a ``with`` block, for something else.
    """
    runner = make(mode, count, terminate_timeout=grace)
    for _ in range(count):
        add(runner, mode, stubborn, folder)
    obey_ctrl_c()
    try:
        if block:
            with runner:
                runner.execute_in_background()
                time.sleep(60)
        else:
            runner.run(verify=False)
    except KeyboardInterrupt:
        results = check_all(runner)
        assert all(result["error"] == STOPPED for result in results.values())
        print("obeyed")


def run_lingerers(mode: str, folder: str, grace: float) -> None:
    """Run tasks that leave a thread: their workers do not end when all is done."""
    runner = make(mode, 2, terminate_timeout=grace)
    for _ in range(2):
        runner.add_task(_leave_a_thread, folder)
    threading.Thread(target=_tell_of_results, args=(runner,), daemon=True).start()
    obey_ctrl_c()
    try:
        runner.run(verify=False)
    except KeyboardInterrupt:
        for result in check_all(runner).values():
            assert result["status"] == "Successful", result
        print("obeyed")


def _leave_a_thread(folder: str) -> None:
    threading.Thread(target=linger, args=(folder,), daemon=False).start()
    arrived(folder, 2)  # who is quick could do the tasks of both


def _tell_of_results(runner: concurra.TaskRunner) -> None:
    wait_until(lambda: all(runner.results_registry.values()), LINGER)
    print("done")


def obey_ctrl_c() -> None:
    """Say so when a first Ctrl-C has had its effect, so that a second one is another.

    Two that come too close to each other are one: the second may even interrupt the
    handler of the first, which then raises nothing any more.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_tell_of_waiting, daemon=True).start()


def _tell_of_waiting() -> None:
    wait_until(_is_waiting_again, LINGER)
    print("interrupted")


def _is_waiting_again() -> bool:
    """Whether the main thread waits for the end of what it has stopped."""
    main = threading.main_thread().ident
    assert main is not None
    frames = walk_stack(sys._current_frames()[main])
    return {"_terminate", "wait"} <= {frame.f_code.co_name for frame, _ in frames}


def run_busy_threads() -> None:
    """Run threads that never end; to be interrupted from outside."""
    never = threading.Event()
    together = threading.Barrier(3, action=lambda: print("busy"))

    def busy() -> None:
        together.wait()
        never.wait()

    runner = make("thread", 3)
    for _ in range(3):
        runner.add_task(busy)
    try:
        runner.run(verify=False)
    except KeyboardInterrupt:
        results = check_all(runner)
        assert all(result["error"] == STOPPED for result in results.values())
        print("obeyed")


# Children -----------------------------------------------------------------------------


def copy_pid(runner: concurra.TaskRunner, folder: str) -> None:
    """Wait for the server's process id, and leave it in a file."""
    server = wait_until(lambda: runner.results_registry["server"])
    Path(folder, "pid").write_text(server["result"]["stdout"])


def leave_children(folder: str) -> None:
    """Start two children that ignore SIGTERM, by two means, and leave them there."""
    subprocess.Popen(["sh", "-c", line(stubborn, folder)], stdout=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        linger(folder)
        os._exit(0)
    arrived(folder, 2)
