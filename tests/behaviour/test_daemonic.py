"""Runs within a process that Python lets have no children, such as a pool's worker."""

from __future__ import annotations

import multiprocessing

import pytest

import concurra
from concurra.workers.pool import Pool
from tests.helpers import START_METHODS

from .support import BOUND, check


def double(number):
    return 2 * number


def run_inside(kinds, processes):
    """What comes of a run: the statuses, or what `run` raises and whether it began."""
    runner = concurra.TaskRunner(2, use_multiprocessing=processes, progress_stats=False)
    if "function" in kinds:
        runner.add_task(double, 2, label="function")
    if "command" in kinds:
        runner.add_command(["echo", "hi"], label="command")
    try:
        results = runner.run()
    except concurra.ConcurraError as error:
        runner.use_multiprocessing = False  # nothing has begun: it can be mended
        results = runner.run()
        return f"{type(error).__name__}: {error}", len(results)
    for result in results.values():
        check(result)
    return [result["status"] for result in results.values()], len(results)


def answer(pipe, function, args):
    with pipe:
        pipe.send(function(*args))


@pytest.fixture(params=START_METHODS)
def daemonic(request):
    """Calls a function in a daemonic process."""
    context = multiprocessing.get_context(request.param)

    def call(function, args):
        ours, theirs = context.Pipe(duplex=False)
        with ours:
            process = context.Process(
                target=answer, args=(theirs, function, args), daemon=True
            )
            process.start()
            theirs.close()
            assert ours.poll(BOUND), "no answer"
            found = ours.recv()
            process.join()
            process.close()
            return found

    return call


def test_threads_and_commands_work_there(daemonic):
    """Also in a run whose functions would be for processes, if it had any."""
    for kinds, processes in (
        (["function", "command"], False),
        (["command"], True),
    ):
        statuses, count = daemonic(run_inside, (kinds, processes))
        assert statuses == ["Successful"] * count


def test_processes_are_refused_there(daemonic):
    """Before anything has begun, and with what can be done."""
    for kinds in (["function"], ["function", "command"]):
        error, count = daemonic(run_inside, (kinds, True))
        assert error.startswith("LifeCycleError: A daemonic process")
        assert "use_multiprocessing=False" in error
        assert "ProcessPoolExecutor" in error and "--pool=threads" in error
        assert "dask" in error and "distributed.worker.daemon: False" in error
        assert count == len(kinds)


def test_a_report_of_a_run_that_broke_says_why(monkeypatch, log):
    """What broke the engine is raised; the report does not look like an abort's."""

    def prepare(pool, stopped):
        raise MemoryError("no room")

    monkeypatch.setattr(Pool, "prepare", prepare)
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(double, 1, label="a")
    with pytest.raises(MemoryError):
        runner.run()
    assert log.text().startswith("TaskRunner was ended by MemoryError: no room")
