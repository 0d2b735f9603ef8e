"""Coroutine functions are tasks: they are awaited, each in an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
import logging
import threading

import pytest

import concurra

from .support import BOUND, check, statuses


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


async def fail_in_loop():
    await asyncio.sleep(0)
    raise ValueError("no")


class AsyncCallable:
    async def __call__(self, x):
        return await double(x)

    async def method(self, x):
        return await double(x)


MODES = {
    "thread": {},
    "process": {"use_multiprocessing": True},
    "thread_fallback": {
        "use_multiprocessing": True,
        "fallback_to_thread_on_pickle_error": True,
    },
}


def one(task, *args, **options):
    runner = concurra.TaskRunner(progress_stats=False, **options)
    runner.add_task(task, *args, label="a")
    result = runner.run(verify=False)["a"]
    check(result)
    return result


@pytest.mark.parametrize("mode", ["thread", "process"])
@pytest.mark.parametrize(
    "task",
    [double, AsyncCallable(), AsyncCallable().method, functools.partial(double)],
    ids=["function", "callable", "method", "partial"],
)
def test_a_coroutine_is_awaited(mode, task):
    """The result is what it returns, never the coroutine."""
    result = one(task, 21, **MODES[mode])
    assert result["result"] == 42
    assert result["status"] == "Successful"
    assert result["execution_mode"] == mode


def test_a_function_that_returns_a_coroutine():
    """A lambda around an async function: its coroutine is awaited as well."""
    assert one(lambda: double(21))["result"] == 42


def test_a_coroutine_in_the_thread_fallback():
    """The fallback awaits, too."""
    result = one(lambda: double(21), **MODES["thread_fallback"])
    assert (result["result"], result["execution_mode"]) == (42, "thread_fallback")


@pytest.mark.parametrize("mode", ["thread", "process"])
def test_a_coroutine_that_raises(mode):
    """Its exception is the task's."""
    result = one(fail_in_loop, **MODES[mode])
    assert result["error"] == "ValueError: no"
    assert "in fail_in_loop" in result["trace"]
    assert result["task_name"] == "fail_in_loop"


def test_a_cancelled_coroutine_is_a_failure():
    """CancelledError is an exception like another."""

    async def cancelled():
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    result = one(cancelled)
    assert result["status"] == "Failed"
    assert result["error"].startswith("CancelledError: ")


def test_coroutines_run_side_by_side_in_loops_of_their_own():
    """Three that block their loops until all three are there."""
    barrier = threading.Barrier(3, timeout=BOUND)
    loops = []

    async def meet():
        loops.append(asyncio.get_running_loop())
        barrier.wait()

    runner = concurra.TaskRunner(max_concurrency=3, progress_stats=False)
    for _ in range(3):
        runner.add_task(meet)
    assert set(statuses(runner.run()).values()) == {"Successful"}
    assert len({id(loop) for loop in loops}) == 3


def test_loops_are_closed_and_left_tasks_cancelled():
    """What a coroutine leaves behind in its loop is cancelled, as by `asyncio.run`."""
    loops, cancelled = [], []

    async def forever():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def careless():
        loops.append(asyncio.get_running_loop())
        careless.left = asyncio.ensure_future(forever())
        await asyncio.sleep(0)

    assert one(careless)["status"] == "Successful"
    assert cancelled == [True]
    assert loops[0].is_closed()


@pytest.mark.parametrize("max_concurrency", [1, 2])
def test_a_run_inside_a_running_loop(max_concurrency):
    """`run()` may be called where an event loop already runs; it blocks that loop."""

    async def main():
        runner = concurra.TaskRunner(
            max_concurrency=max_concurrency, progress_stats=False
        )
        runner.add_task(double, 1, label="a")
        runner.add_task(double, 2, label="b", depends_on=["a"])
        return runner.run(verify=False)

    results = asyncio.run(main())
    assert [result["result"] for result in results.values()] == [2, 4]


def test_coroutines_mix_with_other_tasks():
    """Functions, coroutines and commands in one graph."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(abs, -1, label="function")
    runner.add_task(double, 1, label="coroutine", depends_on=["function"])
    runner.add_command(["echo", "x"], label="command", depends_on=["coroutine"])
    assert set(statuses(runner.run()).values()) == {"Successful"}


def test_arguments_are_forwarded_by_every_adder():
    """Coroutine functions are added like others."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(double, x=1)
    runner.add_func(double, 2)
    runner.add_function(double, (3,))
    runner.add_work([(double, (), {"x": 4})])
    assert [result["result"] for result in runner.run().values()] == [2, 4, 6, 8]


def test_a_failing_coroutine_is_logged(log):
    """Like any failure, with `log_errors`."""
    one(fail_in_loop, log_errors=True)
    assert "ValueError: no" in log.text(logging.ERROR)
