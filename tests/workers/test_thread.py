"""What is special to functions in threads, and to `async def` everywhere."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from concurra.outcomes import FAILED
from concurra.wording import FALLBACK_WARNING
from concurra.workers.thread import FallbackWorker, ThreadWorker
from tests.workers.support import (
    FUNCTIONS,
    Backend,
    add,
    call,
    raising,
    run,
)


async def add_later(first: int, second: int = 0) -> int:
    await asyncio.sleep(0)
    return first + second


async def raise_later() -> None:
    await asyncio.sleep(0)
    raise ValueError("late")


class AddLater:
    """Not a function, but its call is `async def`."""

    async def __call__(self, first: int) -> int:
        return first


@pytest.mark.parametrize("kind", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_async_functions_are_awaited(kind: Backend, worker: Any) -> None:
    """In an event loop of their own: a coroutine is never a result."""
    assert run(worker, call(add_later, 1, second=2)).value == 3
    assert run(worker, call(AddLater(), 4)).value == 4
    outcome = run(worker, call(raise_later))
    assert (outcome.status, outcome.error) == (FAILED, "ValueError: late")
    assert outcome.retry
    assert "in raise_later" in str(outcome.trace)


def test_async_functions_can_run_in_many_threads() -> None:
    """Each has a loop of its own: they meet at a barrier that blocks their threads."""
    barrier = threading.Barrier(3)
    values: list[Any] = []

    async def meet() -> int:
        barrier.wait(20)
        return threading.get_ident()

    def work() -> None:
        values.append(run(ThreadWorker(), call(meet)).value)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(values)) == 3


def test_functions_run_in_the_calling_thread() -> None:
    """Nothing is handed over."""
    outcome = run(ThreadWorker(), call(threading.get_ident))
    assert outcome.value == threading.get_ident()


def test_the_very_object_is_the_result() -> None:
    """Nothing is copied."""
    value = object()
    assert run(ThreadWorker(), call(lambda: value)).value is value


def test_the_trace_begins_in_the_code_of_the_task() -> None:
    """Without the frames of the library."""
    trace = str(run(ThreadWorker(), call(raising, ValueError("x"))).trace)
    lines = trace.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1].endswith(", in raising")
    assert lines[-1] == "ValueError: x"


@pytest.mark.parametrize("worker", [ThreadWorker(), FallbackWorker()])
def test_a_stop_lasts(worker: ThreadWorker) -> None:
    """No job begins after it, however often it is tried."""
    assert worker.stop() is False
    begun: list[int] = []
    for _ in range(2):
        assert not run(worker, call(begun.append, 1)).ok
    assert begun == []


def test_the_fallback_warns() -> None:
    """Whatever comes of the job."""
    worker = FallbackWorker()
    for job, ok in ((call(add, 1), True), (call(raising, ValueError()), False)):
        outcome = run(worker, job)
        assert outcome.ok is ok
        assert (outcome.mode, outcome.warning) == ("thread_fallback", FALLBACK_WARNING)
