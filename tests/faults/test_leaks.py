"""Many runs and large runs: nothing is left of them, and nothing of them is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import acts_leaks
from tests.faults.stage import KILLABLE, MODES, in_script
from tests.helpers import HAS_PROC

#: Fewer where a worker process starts slowly; what leaks with each shows all the same.
RUNS = {"forkserver": 30, "spawn": 9}


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc, to see children and open files")
@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_left_of_many_runs(mode: str) -> None:
    """After 300 runs, a third of them aborted and a third out of time, there is no
    thread, child, open file or memory that was not there before."""
    in_script(acts_leaks.many_runs, mode=mode, count=RUNS.get(mode, 300))


def test_runners_side_by_side() -> None:
    """20 runners in 20 threads do not disturb each other."""
    in_script(acts_leaks.side_by_side, timeout=50.0, count=20)


def test_no_temporary_file_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a program has ended, none of its runs has left a temporary file."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    in_script(acts_leaks.all_modes)
    assert not list(tmp_path.glob("*mp*"))


@pytest.mark.hang_after(330)
def test_a_million_tasks() -> None:
    """One runner takes a million tasks, and each has its own result."""
    in_script(acts_leaks.many_tasks, timeout=300.0, count=1_000_000)


def test_chain_of_100_000_whose_first_task_fails() -> None:
    """A failure goes through 100,000 levels, without recursion or repetition."""
    in_script(acts_leaks.long_chain, timeout=55.0, count=100_000)


@pytest.mark.skipif(not HAS_PROC, reason="needs /proc, and a limit of open files")
@pytest.mark.parametrize("limit", [20, 24, 40])
@pytest.mark.parametrize("mode", KILLABLE)
def test_more_work_than_there_are_descriptors(mode: str, limit: int) -> None:
    """As many work as can; nothing fails for want of what others have."""
    in_script(acts_leaks.few_descriptors, mode=mode, limit=limit)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_10_000_tasks_of_which_each_third_fails(mode: str) -> None:
    """Retries of thousands of tasks are all counted, and other results are right."""
    if mode not in MODES:
        pytest.skip("needs fork")
    in_script(acts_leaks.many_failures, timeout=55.0, mode=mode, count=10_000)
