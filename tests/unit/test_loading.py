"""What is loaded when."""

from __future__ import annotations

import pytest

from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import run_script

LOADED = """
import sys

import concurra

runner = concurra.TaskRunner(progress_stats=False)
loaded = set(sys.modules)
runner.add_task(abs, 1)
runner.run(verify=False)
print(sorted(name for name in set(sys.modules) - loaded if "concurra" in name))
"""

INTERVALS = """
import sys
import threading

import concurra

before, intervals, change = sys.getswitchinterval(), [], sys.setswitchinterval

def noted(interval):
    intervals.append(interval)
    change(interval)

sys.setswitchinterval = noted
end = threading.Event()
others = [threading.Thread(target=end.wait) for _ in range({others})]
for each in others:
    each.start()
assert "concurra.scheduler" not in sys.modules
for _ in range(2):
    concurra.TaskRunner()
    assert "concurra.scheduler" in sys.modules
end.set()
assert sys.getswitchinterval() == before
print([interval == before for interval in intervals])
"""


def test_a_run_in_threads_loads_nothing_of_ours() -> None:
    """A signal handler that aborts it would find half a module."""
    assert run_script(LOADED, check=True, env=SAME_LIBRARY).stdout.split() == ["[]"]


@pytest.mark.parametrize(("others", "changes"), [(0, []), (2, [False, True])])
def test_beside_other_threads_their_turns_are_short(
    others: int, changes: list[bool]
) -> None:
    """While the first runner loads what it needs, and never after that."""
    program = INTERVALS.format(others=others)
    done = run_script(program, check=True, env=SAME_LIBRARY)
    assert done.stdout == f"{changes}\n"
