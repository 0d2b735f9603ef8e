"""Context variables: each task has those of the place where it was added."""

from __future__ import annotations

import asyncio
import decimal
import signal
import threading
import weakref
from contextvars import ContextVar, copy_context

import pytest

import concurra
from tests.helpers import START_METHODS

request: ContextVar[object] = ContextVar("request", default=None)
other: ContextVar[object] = ContextVar("other", default=None)

MODES = ["thread", "thread_fallback", *START_METHODS]


@pytest.fixture(autouse=True)
def own_context():
    """A test leaves nothing set to the next one."""
    token, another = request.set(None), other.set(None)
    yield
    request.reset(token)
    other.reset(another)


def runner_of(mode, **options):
    return concurra.TaskRunner(
        1,
        use_multiprocessing=mode != "thread",
        mp_context=mode if mode in START_METHODS else None,
        fallback_to_thread_on_pickle_error=mode == "thread_fallback",
        progress_stats=False,
        **options,
    )


def see_and_set(value, _lock=None):
    seen = request.get()
    request.set(value)
    return seen


async def see_and_set_async(value, _lock=None):
    seen = request.get()
    request.set(value)
    await asyncio.sleep(0)
    assert request.get() == value
    return seen


def lock_of(mode):
    return [threading.Lock()] if mode == "thread_fallback" else []


def results_of(runner):
    results = runner.run(verify=False).values()
    assert {result["error"] for result in results} == {None}
    return [result["result"] for result in results]


@pytest.mark.parametrize("mode", ["thread", "thread_fallback"])
@pytest.mark.parametrize("function", [see_and_set, see_and_set_async])
def test_a_thread_task_has_the_context_in_which_it_was_added(mode, function):
    """However many are added in between, and whatever is set until the run."""
    runner = runner_of(mode)
    for value in ("a", "a", "b", None, "a"):
        request.set(value)
        runner.add_task(function, "from a task", *lock_of(mode))
    request.set("later")
    assert results_of(runner) == ["a", "a", "b", None, "a"]
    assert request.get() == "later"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", [see_and_set, see_and_set_async])
def test_a_task_leaves_nothing_to_the_next_one(mode, function):
    """On the same worker, in every mode."""
    runner = runner_of(mode)
    for number in range(4):
        runner.add_task(function, number, *lock_of(mode))
    assert results_of(runner) == [None] * 4


@pytest.mark.parametrize("mode", START_METHODS)
def test_a_process_task_begins_without_any(mode):
    """A context cannot be sent to a process, so it is the same by each method."""
    request.set("here")
    runner = runner_of(mode)
    runner.add_task(see_and_set, 1)
    runner.add_task(see_and_set, 2)
    assert results_of(runner) == [None, None]


def test_each_attempt_has_a_fresh_copy():
    """What an attempt has set is not there in the next one."""
    seen = []

    def fail():
        seen.append(see_and_set("attempt"))
        raise ValueError

    request.set("added")
    runner = runner_of("thread", task_retries=2)
    runner.add_task(fail)
    runner.run(verify=False)
    assert seen == ["added"] * 3


@pytest.mark.parametrize("adder", ["add_task", "add_func", "add_function", "add_work"])
def test_every_way_to_add_a_function(adder):
    """They all take the context of the call."""
    runner = runner_of("thread")
    for value in ("a", "b"):
        request.set(value)
        if adder == "add_work":
            runner.add_work([(request.get,)])
        else:
            getattr(runner, adder)(request.get)
    assert results_of(runner) == ["a", "b"]


def test_it_is_the_value_itself_that_counts():
    """Not one that is equal to it, and whatever comparing them does."""

    class Odd:
        def __eq__(self, other):
            raise AssertionError("nobody is to compare it")

        __hash__ = None

    values = [Odd(), Odd(), [], []]
    runner = runner_of("thread")
    for value in values:
        request.set(value)
        runner.add_task(request.get)
    for found, value in zip(results_of(runner), values):
        assert found is value


def test_variables_that_are_set_in_another_context():
    """As many, but others; one more; one less."""

    def pair():
        return request.get(), other.get()

    runner = runner_of("thread")
    empty = copy_context()
    for var, value in ((request, 1), (other, 1), (request, 2)):
        context = empty.copy()
        context.run(var.set, value)
        context.run(runner.add_task, pair)
    assert results_of(runner) == [(1, None), (None, 1), (2, None)]


def test_a_decimal_context_is_a_task_s_own():
    """It is kept in the context, as that of other libraries is."""

    def third(precision):
        found = decimal.getcontext().prec
        decimal.getcontext().prec = precision
        return found, str(decimal.Decimal(1) / 3)

    runner = runner_of("thread")
    with decimal.localcontext() as context:
        context.prec = 4
        runner.add_task(decimal.getcontext().copy)
        runner.add_task(lambda: decimal.getcontext().prec)
    runner.add_task(lambda: third(2))
    found = results_of(runner)
    assert found[1] == 4
    assert found[2] == (28, "0.33")


def test_a_context_is_let_go_of():
    """With the last task that was added in it."""

    class Request:
        pass

    value = Request()
    ref = weakref.ref(value)
    token = request.set(value)
    runner = runner_of("thread")
    runner.add_task(lambda: type(request.get()).__name__)
    request.reset(token)
    del value, token
    assert results_of(runner) == ["Request"]
    assert ref() is None


def test_data_of_a_thread_may_be_left_by_an_earlier_task():
    """Threads are used again; only the context is a task's own."""
    local = threading.local()

    def leave():
        found = getattr(local, "left", None)
        local.left = threading.get_ident()
        return found, threading.get_ident()

    runner = runner_of("thread")
    runner.add_task(leave)
    runner.add_task(leave)
    (_, first), (found, second) = results_of(runner)
    assert found == first == second


def test_a_thread_has_the_signal_mask_of_the_one_that_started_the_run():
    """As every thread has that of its maker; handlers are called in the main thread."""

    def blocked():
        return signal.pthread_sigmask(signal.SIG_BLOCK, ())

    runner = runner_of("thread")
    runner.add_task(blocked)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        (found,) = results_of(runner)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert found == before | {signal.SIGUSR1}
