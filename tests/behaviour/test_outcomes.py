"""Whatever a task does, in whichever mode, ends in a documented result.

Nothing that a task does is taken for a success that it is not, hangs the run, or hides
the result of another task.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import sys
import threading

import pytest

import concurra

from .support import check, statuses

MODES = ["thread", "process", "thread_fallback"]


def call(function, _lock=None):
    return function()


def outcome(mode, function):
    """The result of `function` in that mode, between two neighbours that succeed."""
    runner = concurra.TaskRunner(
        max_concurrency=1,
        progress_stats=False,
        use_multiprocessing=mode != "thread",
        fallback_to_thread_on_pickle_error=mode == "thread_fallback",
    )
    unpicklable = [threading.Lock()] if mode == "thread_fallback" else []
    runner.add_task(abs, -1, label="before")
    runner.add_task(call, function, *unpicklable, label="it")
    runner.add_task(abs, -2, label="after")
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
    assert results["before"]["result"] == 1
    assert results["after"]["result"] == 2
    assert list(results) == ["before", "it", "after"]
    assert results["it"]["execution_mode"] == mode
    assert results["it"]["attempts"] == 1
    return results["it"]


class Ultimate(BaseException):
    pass


class Picky(Exception):
    """Cannot be made again from its `args`, as unpickling does."""

    def __init__(self, code, *, reason):
        super().__init__(f"{code}: {reason}")


class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class Unloadable:
    """Pickles, but cannot be unpickled."""

    def __reduce__(self):
        return explode, ()


def explode():
    raise RuntimeError("cannot be loaded")


def leave_quietly():
    sys.exit()


def leave_with_zero():
    sys.exit(0)


def leave_with_message():
    sys.exit("out of paper")


def raise_ultimate():
    raise Ultimate("the end")


def raise_interrupt():
    raise KeyboardInterrupt


def raise_generator_exit():
    raise GeneratorExit("closing")


def raise_stop_iteration():
    next(iter([]))


def raise_picky():
    raise Picky(7, reason="picky")


def raise_local_class():
    class Local(Exception):
        pass

    raise Local("from inside")


def raise_with_unpicklable_args():
    raise ValueError("lock inside", threading.Lock())


def raise_mute():
    raise Mute


def recurse():
    return recurse()


RAISERS = {
    leave_quietly: r"SystemExit: ",
    leave_with_zero: r"SystemExit: 0",
    leave_with_message: r"SystemExit: out of paper",
    raise_ultimate: r"Ultimate: the end",
    raise_interrupt: r"KeyboardInterrupt: ",
    raise_generator_exit: r"GeneratorExit: closing",
    raise_stop_iteration: r"StopIteration: ",
    raise_picky: r"Picky: 7: picky",
    raise_local_class: r"Local: from inside",
    raise_with_unpicklable_args: r"ValueError: \('lock inside', <unlocked .*>\)",
    raise_mute: r"Mute: ",
    recurse: r"RecursionError: maximum recursion depth exceeded",
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("function", RAISERS, ids=lambda function: function.__name__)
def test_whatever_a_task_raises_is_a_failure(mode, function):
    """Any BaseException is recorded as `"ExcType: message"`, in every mode."""
    result = outcome(mode, function)
    assert result["status"] == "Failed"
    error = result["error"]
    assert re.match(RAISERS[function], error), error
    assert result["retry_errors"] == [error]
    assert "Traceback (most recent call last)" in result["trace"]
    assert function.__name__ in result["trace"]


def nothing():
    return None


def many_bytes():
    return bytes(5_000_000)


def an_exception():
    return ValueError("just a value")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "expected"),
    [(nothing, "None"), (many_bytes, repr(bytes(5_000_000))), (an_exception, None)],
    ids=["None", "bytes", "exception"],
)
def test_whatever_a_task_returns_is_its_result(mode, function, expected):
    """Small, large and odd values come back, in every mode."""
    result = outcome(mode, function)
    assert result["status"] == "Successful"
    assert repr(result["result"]) == (expected or "ValueError('just a value')")


# Processes that cannot give their result --------------------------------------


def return_lambda():
    return lambda: 1


def return_lock():
    return threading.Lock()


def return_unloadable():
    return Unloadable()


@pytest.mark.parametrize("function", [return_lambda, return_lock, return_unloadable])
def test_a_result_that_cannot_come_home_is_a_failure(function):
    """Neither a value that cannot be pickled nor one that cannot be unpickled."""
    result = outcome("process", function)
    assert result["status"] == "Failed"
    assert result["result"] is None
    assert result["error"]


def test_a_result_that_cannot_be_pickled_says_so():
    """The error names what went wrong."""
    result = outcome("process", return_lock)
    assert "pickle" in result["error"].lower()
    assert "lock" in result["error"]


def test_a_result_that_cannot_be_unpickled_says_so():
    """The error has the reason."""
    result = outcome("process", return_unloadable)
    assert "cannot be loaded" in result["error"]


def test_an_argument_that_cannot_be_unpickled_is_a_failure():
    """It pickles, so it is sent; it does not load in the worker, so the task fails."""
    runner = concurra.TaskRunner(
        max_concurrency=1, use_multiprocessing=True, progress_stats=False
    )
    runner.add_task(str, Unloadable(), label="it")
    runner.add_task(abs, -2, label="after")
    results = runner.run(verify=False)
    assert statuses(results) == {"it": "Failed", "after": "Successful"}
    assert "cannot be loaded" in results["it"]["error"]


# Processes that die -----------------------------------------------------------


def exit_hard_with_3():
    os._exit(3)


def exit_hard_with_0():
    os._exit(0)


def be_killed():
    os.kill(os.getpid(), signal.SIGKILL)


def crash():
    faulthandler.disable()  # lest it print to our terminal
    os.kill(os.getpid(), signal.SIGSEGV)


def be_terminated():
    os.kill(os.getpid(), signal.SIGTERM)


DEATHS = [
    (exit_hard_with_3, r"\b3\b"),
    (exit_hard_with_0, r"\b0\b"),
    pytest.param(
        be_killed,
        r"(SIGKILL|signal 9\b).*memory",
        marks=pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals"),
    ),
    pytest.param(
        crash,
        r"SIGSEGV|signal 11\b",
        marks=pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals"),
    ),
    pytest.param(
        be_terminated,
        r"SIGTERM|signal 15\b",
        marks=pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals"),
    ),
]


@pytest.mark.parametrize(("function", "cause"), DEATHS)
def test_a_lost_worker_is_a_failure_that_names_the_cause(function, cause):
    """Exit code or signal, and for SIGKILL the likely reason: no memory left."""
    result = outcome("process", function)
    assert result["status"] == "Failed"
    assert re.search(cause, result["error"]), result["error"]
    assert result["retry_errors"] == [result["error"]]
    assert result["result"] is None


@pytest.mark.parametrize("function", [exit_hard_with_3, return_lock, raise_ultimate])
def test_a_lost_worker_hides_no_other_result(function):
    """Tasks that run beside it, before it and after it all have their results."""
    runner = concurra.TaskRunner(
        max_concurrency=3, use_multiprocessing=True, progress_stats=False
    )
    for index in range(4):
        runner.add_task(abs, -index, label=index)
        runner.add_task(function, label=f"bad {index}")
    results = runner.run(verify=False)
    assert [results[index]["result"] for index in range(4)] == [0, 1, 2, 3]
    assert {results[f"bad {index}"]["status"] for index in range(4)} == {"Failed"}
