"""What has ended is let go: arguments with the outcome, a runner with its last name.

The garbage collector is off in these tests. What goes, goes because nobody holds it.
"""

from __future__ import annotations

import gc
import signal
import threading
import tracemalloc
import weakref

import pytest

import concurra
from tests.helpers import START_METHODS, wait_until

from .support import BOUND, Gate

MODES = ["thread", "thread_fallback", *START_METHODS]

#: In a worker: what the tasks before had.
_seen = []


class Big:
    """An argument."""


class Unpicklable(Big):
    """An argument that can be sent nowhere."""

    def __reduce__(self):
        raise TypeError("not to be sent")


def runner_of(mode, **options):
    if mode == "thread_fallback":
        options["fallback_to_thread_on_pickle_error"] = True
    if mode in START_METHODS:
        options["mp_context"] = mode
    return concurra.TaskRunner(
        options.pop("max_concurrency", 1),
        use_multiprocessing=mode != "thread",
        **options,
    )


@pytest.fixture(autouse=True)
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def arguments(mode, count):
    """So many arguments, and whether each is still there."""
    bigs = [Unpicklable() if mode == "thread_fallback" else Big() for _ in range(count)]
    return bigs, [weakref.ref(big) for big in bigs]


def gone(refs):
    return [ref() is None for ref in refs]


def let_go(refs):
    """Waits: a thread that has handed over a job may still be on its way back."""
    wait_until(lambda: all(gone(refs)), BOUND, "the arguments")
    return gone(refs)


def use(big):
    return type(big).__name__


def give(big):
    return big


async def give_async(big):
    return big


def fail(big):
    raise ValueError("no")


def nothing():
    pass


@pytest.mark.parametrize("mode", MODES)
def test_arguments_go_with_the_outcome(mode):
    """While the run goes on, and while the runner and its results are there."""
    (big,), refs = arguments(mode, 1)
    runner = runner_of(mode, progress_stats=False)
    runner.add_task(use, big, label="a")
    del big
    runner.add_task(nothing, depends_on="a", label="b")
    runner.add_task(lambda: let_go(refs), depends_on="b", label="c")
    if mode in START_METHODS:
        runner.fallback_to_thread_on_pickle_error = True
    results = runner.run(verify=False)
    assert results["a"]["status"] == "Successful", results["a"]
    assert results["c"]["result"] == [True]


@pytest.mark.parametrize("mode", MODES)
def test_a_task_that_is_tried_again_has_its_arguments(mode):
    """They go with the outcome, not with the first attempt."""
    (big,), refs = arguments(mode, 1)
    runner = runner_of(mode, task_retries=2, progress_stats=False)
    runner.add_task(fail, big, label="a")
    del big
    results = runner.run(verify=False)
    assert results["a"]["attempts"] == 3
    assert results["a"]["retry_errors"] == ["ValueError: no"] * 3
    assert gone(refs) == [True]


@pytest.mark.parametrize("way", ["positional", "keyword", "closure", "method"])
def test_it_does_not_matter_how_a_function_came_to_it(way):
    """Its name stays for the results."""
    (big,), refs = arguments("thread", 1)
    runner = runner_of("thread")
    if way == "positional":
        runner.add_task(use, big)
    elif way == "keyword":
        runner.add_task(use, big=big)
    elif way == "closure":
        runner.add_task(lambda big=big: use(big))
    else:
        runner.add_task(big.__reduce_ex__, 2)
    del big
    results = runner.run(verify=False)
    assert results[0]["status"] == "Successful"
    assert results[0]["task_name"] in ("use", "<lambda>", "__reduce_ex__")
    assert gone(refs) == [True]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("end", ["skip", "fast_fail"])
def test_tasks_that_never_start_let_go_as_well(mode, end):
    """Whether they are skipped or terminated."""
    bigs, refs = arguments(mode, 5)
    runner = runner_of(mode, fast_fail=end == "fast_fail")
    runner.add_task(fail, None, label="root")
    while bigs:
        runner.add_task(use, bigs.pop(), depends_on=["root"] if end == "skip" else [])
    results = runner.run(verify=False)
    assert [result["attempts"] for result in results.values()] == [1, 0, 0, 0, 0, 0]
    assert gone(refs) == [True] * 5


@pytest.mark.parametrize("mode", [*START_METHODS])
def test_a_terminated_process_task_lets_go(mode):
    """A timeout comes from another thread than an outcome."""
    (big,), refs = arguments(mode, 1)
    runner = runner_of(mode, timeout=0.2, terminate_timeout=0)
    runner.add_task(wait, big, label="a")
    del big
    results = runner.run(verify=False)
    assert results["a"]["error"].startswith("TimeoutError")
    assert gone(refs) == [True]


def wait(big):
    signal.pause()


def test_a_terminated_thread_lets_go_when_its_function_returns():
    """Until then the function has them."""
    (big,), refs = arguments("thread", 1)
    with Gate() as gate:
        runner = runner_of("thread", timeout=0.2)
        runner.add_task(lambda big: gate.wait(), big, label="a")
        del big
        assert runner.run(verify=False)["a"]["status"] == "Terminated"
        assert gone(refs) == [False]
    wait_until(lambda: gone(refs) == [True], BOUND, "the end of the function")


def test_an_abort_before_the_start_lets_go():
    """Nothing has been done with any of them."""
    bigs, refs = arguments("thread", 3)
    runner = runner_of("thread")
    while bigs:
        runner.add_task(use, bigs.pop())
    runner.abort()
    assert gone(refs) == [True] * 3


@pytest.mark.parametrize("function", [give, give_async])
@pytest.mark.parametrize("mode", MODES)
def test_a_value_goes_with_the_results_and_the_runner(mode, function):
    """Nothing else holds it, and no cycle holds the runner."""
    runner = runner_of(mode)
    runner.add_task(function, Unpicklable() if mode == "thread_fallback" else Big())
    results = runner.run()
    refs = [weakref.ref(results[0]["result"]), weakref.ref(runner)]
    del results, runner
    # The thread that has ended the run may be about to return.
    wait_until(lambda: gone(refs) == [True, True], BOUND, "the value and the runner")


def interrupt():
    signal.raise_signal(signal.SIGINT)


class Loud(concurra.TaskRunner):
    """A runner whose progress is its own affair."""

    def show_progress(self):
        super().show_progress()


def test_no_cycle_holds_a_runner_that_ended_in_another_way():
    """Failed, raised, aborted, timed out, never started, started in vain."""
    runners = []

    def runner(kind=concurra.TaskRunner, **options):
        made = kind(2, timeout=options.pop("timeout", None), **options)
        runners.append(weakref.ref(made))
        made.add_task(fail, 1, label="a")
        made.add_task(nothing, label="b", depends_on="a")
        made.add_command(["true"], label="c")
        return made

    runner().run()
    runner(log_errors=True).run()
    runner(fast_fail=True).run()
    runner(Loud).run()
    runner(use_multiprocessing=True).run()
    runner().abort()
    runner()
    with pytest.raises(concurra.ExecutionError):
        runner().run(raise_exception=True)
    late = runner(timeout=0.1)
    late.add_command(["sleep", "60"])
    late.run()
    del late
    wrong = runner()
    wrong.add_task(nothing, depends_on="never added")
    with pytest.raises(ValueError):
        wrong.run()
    del wrong
    back = runner()
    back.execute_in_background()
    back.get_background_results()
    del back
    again = runner()
    again.run()
    with pytest.raises(RuntimeError):
        again.run()
    del again
    wait_until(lambda: all(gone(runners)), BOUND, f"{len(runners)} runners")


def remember(big):
    _seen.append(weakref.ref(big))
    result = Big()
    _seen.append(weakref.ref(result))
    return result


async def remember_async(big):
    return remember(big)


async def remember_and_fail(big):
    remember(big)
    raise ValueError("no")


def what_is_left():
    gc.disable()
    return gone(_seen)


@pytest.mark.parametrize(
    "function", [remember, remember_async, remember_and_fail], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("mode", START_METHODS)
def test_a_worker_keeps_nothing_of_its_last_task(mode, function):
    """Neither the arguments nor the value, nor the frames of what has failed."""
    runner = runner_of(mode)
    runner.add_task(what_is_left, label="before")
    runner.add_task(function, Big(), label="it")
    runner.add_task(what_is_left, label="after")
    results = runner.run(verify=False)
    assert results["after"]["result"] == [True, True]


def test_a_finalizer_runs_outside_of_the_lock():
    """It may wait for another thread that needs the lock."""
    found = []

    class Final:
        def __del__(self):
            scheduler = runner._life._schedulers[0]
            stopping = threading.Thread(target=scheduler.stop)
            stopping.start()
            stopping.join(BOUND)
            found.append(stopping.is_alive())

    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(use, Final(), label="a")
    runner.add_task(nothing, label="b")
    results = runner.run(verify=False)
    assert results["a"]["status"] == "Successful"
    wait_until(lambda: found == [False], BOUND, "the finalizer, which needed no lock")


@pytest.mark.parametrize("mode", ["thread", *START_METHODS])
def test_a_run_frees_memory_as_it_goes_on(mode):
    """What is left at the end is a small part of what the arguments had."""
    count, size = 30, 1 << 20
    runner = runner_of(mode, max_concurrency=2)
    tracemalloc.start()
    try:
        for _ in range(count):
            runner.add_task(len, bytearray(size))
        tracemalloc.reset_peak()
        results = runner.run(verify=False)
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [result["result"] for result in results.values()] == [size] * count
    assert left < 3 * size
    assert peak < (count + 5) * size


def test_values_go_of_tasks_that_depend_on_each_other():
    """In both directions such tasks know each other, as long as the run goes on."""
    refs = []

    def make():
        value = Big()
        refs.append(weakref.ref(value))
        return value

    runner = concurra.TaskRunner(2, progress_stats=False)
    runner.add_task(make, label="a", depends_on="b")
    runner.add_task(make, label="b")
    runner.add_task(make, label="c", depends_on=["a", "b"])
    results = runner.run(verify=False)
    assert gone(refs) == [False] * 3
    del results, runner
    wait_until(lambda: gone(refs) == [True] * 3, BOUND, "the values")
