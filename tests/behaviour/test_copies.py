"""Copies of a runner's registry, which know no result: they say so."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

import concurra
from tests.helpers import START_METHODS

forks = pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")

REFUSED = (
    "LifeCycleError: This is the copy of a runner that a fork has made: it knows no "
    "result of the run. Give a task what it needs as an argument, or let one task "
    "write it where another one reads it"
)

#: What forked workers find.
_runner: list[concurra.TaskRunner] = []


@pytest.fixture
def runner():
    made = concurra.TaskRunner(
        1, use_multiprocessing=True, mp_context="fork", progress_stats=False
    )
    _runner.append(made)
    yield made
    _runner.clear()


def one():
    return 1


def read(label):
    return _runner[-1].results_registry[label]["result"]


def read_all(_=None):
    return dict(_runner[-1].results_registry)


def labels():
    return list(_runner[-1].results_registry), len(_runner[-1])


def read_argument(registry):
    return registry["a"]["result"]


@forks
@pytest.mark.parametrize(
    "function, args", [(read, ["a"]), (read, ["c"]), (read_all, [])]
)
def test_a_result_is_not_read_in_a_forked_worker(runner, function, args):
    """Its copy is from before; the error says how values are passed."""
    runner.add_task(one, label="a")
    runner.add_task(function, *args, depends_on="a", label="b")
    runner.add_task(one, label="c")
    result = runner.run(verify=False)["b"]
    assert (result["status"], result["error"]) == ("Failed", REFUSED)


@forks
def test_labels_are_known_in_a_copy(runner):
    """They are from before the run."""
    runner.add_task(labels, label="a")
    assert runner.run(verify=False)["a"]["result"] == (["a"], 1)


@forks
def test_the_copy_of_a_run_that_has_ended_has_its_results(runner):
    """Another run may read them in its workers."""
    runner.add_task(one, label="a")
    runner.run(verify=False)
    later = concurra.TaskRunner(
        1, use_multiprocessing=True, mp_context="fork", progress_stats=False
    )
    later.add_task(read, "a", label="b")
    assert later.run(verify=False)["b"]["result"] == 1


@forks
def test_a_runner_may_be_made_before_a_fork_and_run_after_it():
    """Then the one that runs is the original."""
    made = concurra.TaskRunner(1, progress_stats=False)
    made.add_task(one, label="a")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            before = made.results_registry["a"]
            after = made.run(verify=False)["a"]["result"]
            code = 0 if (before, after) == ({}, 1) else 2
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("method", START_METHODS)
def test_the_registry_of_a_run_that_goes_on_is_no_argument(method):
    """It would take the whole plan along, and know nothing of the run."""
    runner = concurra.TaskRunner(
        1, use_multiprocessing=True, mp_context=method, progress_stats=False
    )
    runner.add_task(one, label="a")
    runner.add_task(read_argument, runner.results_registry, depends_on="a", label="b")
    result = runner.run(verify=False)["b"]
    assert result["status"] == "Failed"
    assert result["error"] == (
        "TypeError: The results_registry of a run that goes on cannot be copied, nor "
        "sent to a process: give a task what it needs as an argument"
    )


def test_the_registry_of_a_run_that_has_ended_can_be_sent():
    """As the plain dict of the results that it is."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(one, label="a")
    registry = runner.results_registry
    for make in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            make(registry)
    results = runner.run(verify=False)
    for found in (
        copy.copy(registry),
        copy.deepcopy(registry),
        pickle.loads(pickle.dumps(registry)),
    ):
        assert type(found) is dict and found == results


def test_in_a_thread_the_registry_can_be_read():
    """It is the original there, and an argument like any other."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(one, label="a")
    runner.add_task(read_argument, runner.results_registry, depends_on="a", label="b")
    assert runner.run(verify=False)["b"]["result"] == 1
