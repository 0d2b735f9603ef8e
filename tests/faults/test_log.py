"""Logs that raise, block or call back: the run goes on, and its results are right."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults import acts_log
from tests.faults.stage import (
    BOUND,
    LINGER,
    MODES,
    PLANNED,
    add,
    ample,
    check_all,
    fail,
    in_script,
)
from tests.faults.stage import make, quick
from tests.helpers import START_METHODS, wait_until


@pytest.fixture
def logger(request: pytest.FixtureRequest) -> Iterator[logging.Logger]:
    """A logger that nobody else has."""
    logger = logging.Logger(request.node.name, logging.DEBUG)
    yield logger
    for handler in logger.handlers:
        handler.close()


def fill(runner: Any, mode: str) -> None:
    for number in range(10):
        add(runner, mode, quick, number, label=number)
    add(runner, mode, fail, label="bad")
    add(runner, mode, quick, "never", label="never", depends_on="bad")


def check_results(runner: Any) -> None:
    results = check_all(runner)
    assert PLANNED in results["bad"]["error"]
    assert results["never"]["error"].startswith("RuntimeError: Skipped")
    for number in range(10):
        assert results[number]["status"] == "Successful"


def noisy(mode: str, logger: Any, **options: Any) -> Any:
    """A runner that logs as much as it can."""
    options = {"progress_stats": True, "log_errors": True, **options}
    runner = make(mode, logger=logger, **options)
    fill(runner, mode)
    return runner


@pytest.mark.parametrize("mode", MODES)
def test_handler_raises(
    mode: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler that raises does not disturb the run; its error is shown."""
    handler = acts_log.Handler(acts_log.raise_error)
    logger.addHandler(handler)
    runner = noisy(mode, logger)
    runner.run()
    check_results(runner)
    assert handler.calls >= 12
    assert "no space left" in capsys.readouterr().err


@pytest.mark.parametrize("mode", MODES)
def test_logger_raises(mode: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor does a logger of whatever kind that raises."""
    runner = noisy(mode, acts_log.Broken())
    runner.run()
    check_results(runner)
    assert "which level?" in capsys.readouterr().err


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_handler_raises_system_exit(
    mode: str, logger: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A handler that raises what is no Exception cannot hang the run either, and each
    task has a complete result."""
    logger.addHandler(acts_log.Handler(acts_log.raise_exit))
    runner = noisy(mode, logger)
    with pytest.raises(SystemExit):
        runner.run()
        raise SystemExit  # the report did not
    check_all(runner)


@pytest.mark.parametrize("mode", MODES)
def test_handler_blocks(mode: str, logger: logging.Logger) -> None:
    """While a handler blocks, other tasks go on; then the run ends, nothing lost."""
    go_on = threading.Event()
    handler = acts_log.Handler(lambda: acts_log.wait_for(go_on))
    logger.addHandler(handler)
    runner = noisy(mode, logger)
    runner.execute_in_background()
    try:
        wait_until(lambda: handler.calls, BOUND, "the first record")
        ended = runner.results_registry
        wait_until(lambda: sum(map(bool, ended.values())) >= 2, BOUND)
    finally:
        go_on.set()
    runner.get_background_results()
    check_results(runner)


@pytest.mark.parametrize("mode", ["command", *START_METHODS[:1]])
def test_timeouts_strike_while_a_handler_blocks(
    mode: str, logger: logging.Logger
) -> None:
    """A handler that sends mail, say, holds up no deadline."""
    go_on = threading.Event()
    handler = acts_log.Handler(lambda: acts_log.wait_for(go_on))
    logger.addHandler(handler)
    timeout = ample(mode)
    runner = make(mode, 2, timeout=timeout, logger=logger, log_errors=True)
    add(runner, mode, fail, label="bad")
    add(runner, mode, quick, "late", LINGER, label="late")
    runner.execute_in_background()
    try:
        wait_until(lambda: handler.calls, BOUND, "the first record")
        wait_until(lambda: runner.results_registry["late"], BOUND, "the timeout")
        error = f"TimeoutError: Task exceeded timeout of {timeout} seconds"
        assert runner.results_registry["late"]["error"] == error
        assert handler.calls == 1
    finally:
        go_on.set()
    check_all(runner)


@pytest.mark.parametrize("mode", MODES)
def test_abort_while_handler_blocks(mode: str, logger: logging.Logger) -> None:
    """An abort that comes while a handler blocks ends when the handler has."""
    go_on = threading.Event()
    handler = acts_log.Handler(lambda: acts_log.wait_for(go_on))
    logger.addHandler(handler)
    runner = noisy(mode, logger)
    runner.execute_in_background()
    wait_until(lambda: handler.calls, BOUND, "the first record")
    aborting = threading.Thread(target=runner.abort)
    aborting.start()
    wait_until(lambda: all(runner.results_registry.values()), BOUND, "the abort")
    go_on.set()
    aborting.join(BOUND)
    assert not aborting.is_alive()
    check_all(runner)


@pytest.mark.parametrize("call", acts_log.CALLS)
@pytest.mark.parametrize("mode", ["thread", "command", *START_METHODS[:1]])
def test_handler_calls_back(mode: str, call: str, logger: logging.Logger) -> None:
    """A handler may call anything of the runner whose records it handles."""
    act = acts_log.CALLS[call]
    handler = acts_log.Handler(lambda: act(runner))
    logger.addHandler(handler)
    runner = noisy(mode, logger)
    runner.run()
    assert handler.calls
    if call == "abort":
        check_all(runner)
    else:
        check_results(runner)
    if call in ("verify", "get_background_results"):  # not while the run goes on
        assert {type(each).__name__ for each in handler.errors} <= {"LifeCycleError"}
    else:
        assert not handler.errors


@pytest.mark.parametrize("call", acts_log.CALLS)
def test_logger_calls_back(call: str) -> None:
    """The same for a logger of the user's own, which does not come from logging."""
    act = acts_log.CALLS[call]
    inside = threading.local()

    def once() -> None:
        if not getattr(inside, "now", False):
            inside.now = True
            try:
                act(runner)
            finally:
                inside.now = False

    logger = acts_log.Logger(once)
    runner = noisy("thread", logger)
    runner.run()
    assert logger.calls
    check_all(runner)


@pytest.mark.parametrize("mode", ["thread", *START_METHODS])
def test_tasks_log(mode: str, tmp_path: Path) -> None:
    """Tasks may log as much as they like, into the runner's own log as well."""
    log = logging.getLogger("users.tasks")
    handler = logging.FileHandler(tmp_path / "log")
    log.addHandler(handler)
    log.propagate = False
    try:
        runner = make(mode, 4, progress_stats=True, logger=log)
        for number in range(20):
            runner.add_task(acts_log.log_from_task, number)
        results = runner.run()
    finally:
        log.handlers.clear()
        handler.close()
        log.propagate = True
    assert [each["result"] for each in results.values()] == list(range(20))
    check_all(runner)
    if mode == "thread":
        text = (tmp_path / "log").read_text()
        assert text.count(": line ") == 20 * 50


@pytest.mark.parametrize("broken", ["closed", "pipe"])
def test_nothing_can_be_shown(broken: str) -> None:
    """Neither a record nor the error about it can be written: the run goes on."""
    in_script(acts_log.run_without_stderr, broken=broken)
