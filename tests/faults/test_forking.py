"""Forks at bad moments: a busy host, a host that forks by itself, tasks that fork."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import acts_forking
from tests.faults.stage import MODES, in_script
from tests.helpers import START_METHODS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

#: Tasks that one process does, where starting one takes long.
PER_CHILD = {"fork": 2, "forkserver": 10, "spawn": 100}


@pytest.mark.hang_after(150)
@pytest.mark.parametrize("method", START_METHODS)
def test_host_is_busy(method: str) -> None:
    """500 process tasks end well while threads of the host log, print, import and
    allocate: no lock that one of them held at a fork stays locked in a worker."""
    act = {"method": method, "tasks": 500, "per_child": PER_CHILD[method]}
    in_script(acts_forking.host_is_busy, timeout=120.0, **act)


@pytest.mark.parametrize("mode", MODES)
def test_host_forks(mode: str) -> None:
    """A host that forks in other threads while runs start and stop: no deadlock, no
    pipe that a forked child keeps open, every result right, nothing left behind."""
    in_script(acts_forking.host_forks, mode=mode, runs=3 if mode == "spawn" else 8)


@pytest.mark.parametrize("mode", MODES)
def test_forked_children_of_the_host_live_on(mode: str) -> None:
    """Children that the host forked during a run, and that live longer, hold up
    neither its tasks nor its end."""
    in_script(acts_forking.host_keeps_forked_child, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_run_in_a_forked_child(mode: str) -> None:
    """A child forked in the midst of a run can have runs of its own, and its end does
    not touch its parent's."""
    in_script(acts_forking.run_in_forked_child, mode=mode)


@pytest.mark.parametrize("method", START_METHODS)
def test_tasks_start_processes(method: str) -> None:
    """A task may have runs, commands and forks of its own, in threads too."""
    in_script(acts_forking.tasks_start_processes, method=method)


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
@pytest.mark.parametrize("module", ["ast", "tokenize", "asyncio", "sched"])
def test_host_imports_what_workers_need(module: str) -> None:
    """What another thread is importing at the fork is imported anew by the worker:
    what it tells of a failure with, what coroutines need, what the task imports."""
    in_script(acts_forking.host_imports, module=module)


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
def test_host_has_imported_a_part_of_a_package(tmp_path: Path) -> None:
    """The worker imports all of it anew."""
    in_script(acts_forking.host_imports_a_part, path=str(tmp_path))
