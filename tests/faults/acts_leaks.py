"""Many runs, and large ones; each function runs in an interpreter of its own."""

from __future__ import annotations

import gc
import linecache
import threading
import tracemalloc
from typing import Any

from tests.faults.stage import BOUND, LINGER, MODES, PLANNED, Footprint, add, check_all
from tests.faults.stage import fail, make, quick, set_up, value_of
from tests.helpers import START_METHODS, wait_until

#: Bytes that may be left of hundreds of runs: some caches of Python's, nothing of ours.
SLACK = 150_000


def nothing() -> None:
    """Do it."""


def run_to_the_end(mode: str) -> None:
    """A run with a success, a failure, a retry and a skip."""
    runner = make(mode)
    add(runner, mode, quick, "good", label="good")
    add(runner, mode, fail, label="bad", task_retries=1)
    add(runner, mode, quick, "never", label="never", depends_on="bad")
    results = runner.run(verify=False)
    check_all(runner)
    assert value_of(results["good"]) == "good", results["good"]
    assert PLANNED in results["bad"]["error"] and results["bad"]["attempts"] == 2
    assert results["never"]["status"] == "Terminated"


def run_and_abort(mode: str) -> None:
    """A run that is aborted while one task is at work, and one waits."""
    over = threading.Event()
    runner = _make_endless(mode, over)
    runner.execute_in_background()
    wait_until(lambda: runner.get_active_runner_count(), BOUND, "the task")
    runner.abort()
    over.set()
    results = check_all(runner)
    assert {each["status"] for each in results.values()} == {"Terminated"}


def run_out_of_time(mode: str) -> None:
    """A run with a task that exceeds its timeout."""
    over = threading.Event()
    runner = _make_endless(mode, over, timeout=0.002)
    runner.run(verify=False)
    over.set()
    results = check_all(runner)
    assert {each["status"] for each in results.values()} == {"Terminated"}


def _make_endless(mode: str, over: threading.Event, **options: Any) -> Any:
    """A runner with a task that must be stopped, and one that waits for it."""
    runner = make(mode, **options)
    if mode in ("thread", "fallback"):
        add(runner, mode, over.wait, LINGER, label="late")
    else:
        add(runner, mode, quick, 1, LINGER, label="late")
    add(runner, mode, quick, 1, label="next", depends_on="late")
    return runner


def few_descriptors(mode: str, limit: int) -> None:
    """Run more than this program can have processes for."""
    import resource

    set_up(mode)
    runner = make(mode, 24)
    for number in range(48):
        add(runner, mode, quick, number, 0.05, label=number)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    runner.run(verify=False)
    for number, result in check_all(runner).items():
        assert value_of(result) == str(number), result
        assert result["attempts"] == 1, result


def many_runs(mode: str, count: int) -> None:
    """Run, abort and time out `count` times in all; then everything is as before."""
    set_up(mode)
    kinds = (run_to_the_end, run_and_abort, run_out_of_time)
    for kind in kinds * 2:
        kind(mode)
    footprint = Footprint.take()
    tracemalloc.start()
    before = _memory()
    for number in range(count):
        kinds[number % len(kinds)](mode)
    footprint.assert_restored()
    grown = _memory() - before
    assert grown < SLACK, f"{grown} bytes after {count} runs"
    print(f"{grown} bytes")


def _memory() -> int:
    linecache.clearcache()  # the sources of files in stacks that were looked at
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def side_by_side(count: int) -> None:
    """Run `count` runners in as many threads at once, in all modes."""
    set_up(*MODES)
    run_to_the_end("fork" if "fork" in START_METHODS else "spawn")
    footprint = Footprint.take()
    together = threading.Barrier(count)
    good: list[int] = []

    def act(number: int) -> None:
        together.wait(BOUND)
        run_to_the_end(MODES[number % len(MODES)])
        good.append(number)

    threads = [threading.Thread(target=act, args=(each,)) for each in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(2 * BOUND)
    assert sorted(good) == list(range(count)), sorted(good)
    footprint.assert_restored()


def many_tasks(count: int) -> None:
    """One runner with very many tasks."""
    set_up()
    runner = make("thread")
    for _ in range(count):
        runner.add_task(nothing)
    results = runner.run(verify=False)
    assert len(results) == count
    assert {each["status"] for each in results.values()} == {"Successful"}


def long_chain(count: int) -> None:
    """A chain of tasks whose first one fails."""
    set_up()
    runner = make("thread")
    runner.add_task(fail, label=0)
    for number in range(1, count):
        runner.add_task(nothing, label=number, depends_on=[number - 1])
    results = runner.run(verify=False)
    check_all(runner)
    assert results[0]["status"] == "Failed"
    for number in range(1, count):
        assert results[number]["error"] == (
            "RuntimeError: Skipped: "
            f"dependency [{number - 1}] failed or was terminated"
        )


def many_failures(mode: str, count: int) -> None:
    """Very many tasks of which each third fails, with retries."""
    set_up(mode)
    runner = make(mode, task_retries=2)
    for number in range(count):
        runner.add_task(nothing if number % 3 else fail)
    results = runner.run(verify=False)
    check_all(runner)
    for number, result in results.items():
        if number % 3:
            assert result["status"] == "Successful" and result["attempts"] == 1
        else:
            assert result["status"] == "Failed" and result["attempts"] == 3
            assert result["retry_errors"] == [f"ValueError: {PLANNED}"] * 3


def all_modes() -> None:
    """Each mode once."""
    set_up(*MODES)
    for mode in MODES:
        run_to_the_end(mode)
        run_and_abort(mode)
