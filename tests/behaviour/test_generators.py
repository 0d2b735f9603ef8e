"""A generator function is a success that never ran, and everybody is told so."""

from __future__ import annotations

import logging
import threading

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


@pytest.mark.parametrize("function", [begun, closed])
def test_another_generator_is_a_value_like_any_other(log, function):
    """Something of its body has run, or will never."""
    assert run(function)["it"]["warning"] is None
    assert not log.lines(logging.WARNING)


def test_in_the_thread_fallback_both_are_noted(log):
    """That it was not picklable comes first, in the documented words."""
    results = run(
        numbers,
        threading.Lock(),
        use_multiprocessing=True,
        fallback_to_thread_on_pickle_error=True,
    )
    assert results["it"]["status"] == "Successful"
    assert results["it"]["warning"] == f"{FALLBACK}; {NOTE}"
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
