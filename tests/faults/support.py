"""How these tests run a fault: between innocent tasks, in every mode.

Scripts import this as well, so pytest is imported only where it is needed.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any, Callable

import concurra
from tests.behaviour.support import check
from tests.helpers import START_METHODS

from . import deeds

if TYPE_CHECKING:
    import pytest

#: All ways in which a function can be run.
MODES = ("thread", "fallback", *START_METHODS)

EXECUTION_MODES = {"thread": "thread", "fallback": "thread_fallback"}

Result = dict[str, Any]


def make_runner(mode: str, workers: int = 1, **options: Any) -> concurra.TaskRunner:
    """A runner for one of `MODES`."""
    if mode == "fallback":
        options["fallback_to_thread_on_pickle_error"] = True
    if mode not in ("thread", "fallback"):
        options["mp_context"] = mode
    return concurra.TaskRunner(
        workers,
        progress_stats=False,
        use_multiprocessing=mode != "thread",
        **options,
    )


def execution_mode(mode: str) -> str:
    """What the results of that mode say."""
    return EXECUTION_MODES.get(mode, "process")


def add(
    runner: concurra.TaskRunner,
    mode: str,
    function: Callable[..., Any],
    *args: Any,
    **options: Any,
) -> None:
    """Add a task; for the fallback, in a form that cannot be pickled."""
    if mode == "fallback":
        function, args = deeds.call, (function, args, threading.Lock())
    runner.add_function(function, args, **options)


def run_between(
    mode: str,
    function: Callable[..., Any],
    *args: Any,
    workers: int = 1,
    task_retries: int = 0,
    **options: Any,
) -> Result:
    """Run a task that may go wrong among others that do not; its result.

    All results are complete; what comes before and after it, and runs beside it, is
    right; what depends on it is skipped if it did not succeed.
    """
    runner = make_runner(mode, workers, **options)
    add(runner, mode, abs, -1, key="before")
    add(runner, mode, function, *args, key="it", task_retries=task_retries)
    add(runner, mode, abs, -2, key="child", depends_on="it")
    add(runner, mode, abs, -3, key="grandchild", depends_on=["child", "before"])
    runner.add_command(["echo", "beside"], label="command")
    for number in range(4, 8):
        add(runner, mode, abs, -number, key=f"after {number}")
    results = runner.run(verify=False)
    check_all(results)
    assert list(results)[:4] == ["before", "it", "child", "grandchild"]
    assert results["before"]["result"] == 1
    assert results["command"]["result"]["stdout"] == "beside\n"
    for number in range(4, 8):
        result = results[f"after {number}"]
        assert (result["result"], result["error"]) == (number, None)
    it: Result = results["it"]
    if it["status"] == "Successful":
        assert (results["child"]["result"], results["grandchild"]["result"]) == (2, 3)
    else:
        assert_skipped(results["child"], "it")
        assert_skipped(results["grandchild"], "child")
    return it


def check_all(results: dict[Any, Result]) -> None:
    """Every result has the documented form."""
    for result in results.values():
        check(result)


def assert_skipped(result: Result, *guilty: str) -> None:
    """The task never began, because of these."""
    names = ", ".join(map(repr, guilty))
    assert result["status"] == "Terminated"
    assert result["error"] == (
        f"RuntimeError: Skipped: dependency [{names}] failed or was terminated"
    )


def assert_failed(result: Result, pattern: str) -> None:
    """The task failed, with an error that matches from its beginning."""
    assert result["status"] == "Failed", result
    assert re.match(pattern, result["error"]), result["error"][:500]
    assert result["result"] is None
    assert all(isinstance(error, str) for error in result["retry_errors"])


def by_modes(*modes: str) -> pytest.MarkDecorator:
    """Run a test once for each of these modes that there are here."""
    import pytest

    return pytest.mark.parametrize("mode", [each for each in modes if each in MODES])
