"""`initializer`: a function that each worker calls before its first task."""

from __future__ import annotations

import os
import threading

import pytest

import concurra

from .modes import FUNCTIONS, SUCCEED, as_in, lines, mode_of, runner_in
from .support import check, statuses

HERE = threading.local()

#: Two workers, each of which may be a process and a thread, and one to spare.
MOST = 5


def prepare(path, word):
    """Note who was prepared, and leave something for the tasks."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}-{threading.get_ident()}\n")
    HERE.word = word


def use():
    return HERE.word, f"{os.getpid()}-{threading.get_ident()}"


async def use_async():
    return use()


def refuse(path):
    with open(path, "a") as file:
        file.write("x\n")
    raise ConnectionError("no database")


def leave():
    raise SystemExit(3)


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_each_worker_is_prepared_once(mode, tmp_path):
    """Before its first task; what it has left is there for all of them."""
    path = tmp_path / "prepared"
    runner = runner_in(mode, 2, initializer=prepare, initargs=(path, "hello"))
    for number in range(10):
        work = use_async if number % 2 else use
        runner.add_task(as_in(mode, work), label=number)
    results = runner.run(raise_exception=True)
    assert {result["result"][0] for result in results.values()} == {"hello"}
    prepared = lines(path)
    assert len(prepared) == len(set(prepared)) <= MOST
    assert {result["result"][1] for result in results.values()} <= set(prepared)


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_one_that_raises_fails_the_tasks(mode, tmp_path):
    """With its error; it is not tried again and again."""
    path = tmp_path / "tried"
    runner = runner_in(mode, 2, initializer=refuse, initargs=[path])
    for number in range(20):
        SUCCEED.add(runner, mode, label=number)
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
        assert (result["status"], result["error"]) == (
            "Failed",
            "ConnectionError: no database (raised by the initializer)",
        )
        assert result["execution_mode"] == mode_of(mode)
        assert "in refuse" in result["trace"]
    assert len(lines(path)) <= MOST
    assert type(runner.exception(0)) is ConnectionError


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_one_that_exits(mode):
    """Fails the tasks as well, and ends no worker."""
    runner = runner_in(mode, 1, initializer=leave)
    for number in range(3):
        SUCCEED.add(runner, mode, label=number)
    results = runner.run(verify=False)
    assert {result["error"] for result in results.values()} == {
        "SystemExit: 3 (raised by the initializer)"
    }


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_its_error_is_final(mode, tmp_path):
    """The worker would be as it was, however often the task was tried again."""
    path = tmp_path / "tried"
    runner = runner_in(mode, 1, initializer=refuse, initargs=[path], task_retries=2)
    SUCCEED.add(runner, mode, label="a")
    result = runner.run(verify=False)["a"]
    assert (result["status"], result["attempts"]) == ("Failed", 1)
    assert len(lines(path)) <= 2


def test_commands_need_none(tmp_path):
    """It is for functions."""
    path = tmp_path / "tried"
    runner = concurra.TaskRunner(
        1, progress_stats=False, initializer=refuse, initargs=[path]
    )
    runner.add_command(["true"], label="a")
    assert statuses(runner.run()) == {"a": "Successful"}
    assert lines(path) == []


def test_a_new_process_is_prepared_again(tmp_path):
    """With `max_tasks_per_child`, and after one that was lost."""
    path = tmp_path / "prepared"
    runner = concurra.TaskRunner(
        1,
        use_multiprocessing=True,
        max_tasks_per_child=1,
        progress_stats=False,
        initializer=prepare,
        initargs=(path, "hello"),
    )
    for number in range(3):
        runner.add_task(use, label=number)
    results = runner.run(raise_exception=True)
    assert {result["result"][0] for result in results.values()} == {"hello"}
    assert len(set(lines(path))) >= 3


@pytest.mark.parametrize("fallback", [False, True])
def test_one_that_no_process_can_get(fallback):
    """No process can be had then, and each task says why."""
    runner = concurra.TaskRunner(
        1,
        use_multiprocessing=True,
        mp_context="spawn",
        progress_stats=False,
        fallback_to_thread_on_pickle_error=fallback,
        initializer=lambda: None,
    )
    SUCCEED.add(runner, "thread", label="a")
    SUCCEED.add(runner, "thread", label="b")
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
        assert result["status"] == "Failed"
        assert "lambda" in result["error"]
