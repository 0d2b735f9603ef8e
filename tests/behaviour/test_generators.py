"""A generator function is a success that never ran, and everybody is told so."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import concurra
from tests.helpers import START_METHODS

from .support import check

NOTE = "returned a generator: nothing of its body has run"
FALLBACK = "Task was not picklable; ran in thread fallback"


def numbers(*_):
    yield 1


async def later(*_):
    yield 1


def expression(*_):
    return (number for number in [1])


def begun(*_):
    generator = numbers()
    next(generator)
    return generator


def closed(*_):
    generator = numbers()
    generator.close()
    return generator


class Callable:
    def __call__(self, *_):
        yield 1


def run(function, *args, **options):
    runner = concurra.TaskRunner(progress_stats=False, **options)
    runner.add_task(function, *args, label="it")
    runner.add_task(abs, -1, label="after", depends_on="it")
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
    return results


@pytest.mark.parametrize("function", [numbers, later, expression, Callable()])
def test_a_generator_that_has_not_begun_is_noted(log, function):
    """It is the task's value, and what depends on it goes on."""
    results = run(function)
    assert results["it"]["status"] == "Successful"
    assert results["it"]["warning"] == NOTE
    assert type(results["it"]["result"]).__name__ in ("generator", "async_generator")
    assert results["after"]["status"] == "Successful"
    assert results["after"]["warning"] is None
    assert log.lines(logging.WARNING) == [f"Task 'it' {NOTE}"]


def task_of(function, *args, **options):
    return run(function, *args, **options)["it"]


def map_of(function, **options):
    runner = concurra.TaskRunner(2, progress_stats=False, **options)
    runner.map(function, range(3), label="it", chunksize=1)
    return runner.run(verify=False)["it"]


def unpicklable_task(**options):
    return task_of(numbers, threading.Lock(), **options)


def unpicklable_map(**options):
    return map_of(lambda item: numbers(item), **options)


@pytest.mark.parametrize("made", [task_of, map_of])
@pytest.mark.parametrize("function", [begun, closed])
def test_another_generator_is_a_value_like_any_other(log, function, made):
    """Something of its body has run, or will never."""
    assert made(function)["warning"] is None
    assert not log.lines(logging.WARNING)


@pytest.mark.parametrize("made", [unpicklable_task, unpicklable_map])
def test_in_the_thread_fallback_both_are_noted(log, made):
    """That it was not picklable comes first, in the documented words."""
    result = made(use_multiprocessing=True, fallback_to_thread_on_pickle_error=True)
    assert result["status"] == "Successful"
    assert result["warning"] == f"{FALLBACK}; {NOTE}"
    assert log.lines(logging.WARNING) == [
        "Task 'it' was not picklable; ran in thread fallback",
        f"Task 'it' {NOTE}",
    ]


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("function", [numbers, later])
def test_in_a_process_the_error_says_it(method, function):
    """A generator cannot be sent from process to process."""
    results = run(function, use_multiprocessing=True, mp_context=method)
    assert results["it"]["status"] == "Failed"
    assert results["it"]["error"].startswith("TypeError: Could not record task result:")
    assert results["it"]["error"].endswith(f"({NOTE})")


@pytest.mark.parametrize("method", START_METHODS)
@pytest.mark.parametrize("function", [numbers, later])
def test_a_map_in_processes_says_it_in_the_error(method, function):
    """It is told as for any other task, and how many items are concerned."""
    result = map_of(function, use_multiprocessing=True, mp_context=method)
    assert result["status"] == "Failed"
    assert result["error"].startswith("MapError: 3 of 3 items failed")
    assert result["error"].endswith(f"({NOTE})")


def test_a_map_in_an_executor_says_it_in_the_error():
    """What cannot be sent there fails with the same words."""
    with ThreadPoolExecutor(1) as pool:
        result = map_of(numbers, executor=pool)
    assert result["status"] == "Failed"
    assert result["error"].endswith(f"({NOTE})")
