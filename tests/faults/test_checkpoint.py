"""The program is killed in the midst of a run with a checkpoint: the next goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import acts_checkpoint
from tests.faults.stage import in_script, new_seed
from tests.helpers import START_METHODS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")

#: For more: python -m tests.faults.acts_checkpoint SEED KILLS MODE ...
KILLS = {"thread": 20, "fork": 10, "command": 10}


@pytest.mark.hang_after(300)
@pytest.mark.parametrize("mode", ["thread", *START_METHODS, "command"])
def test_a_run_that_is_killed_goes_on_where_it_stopped(
    mode: str, tmp_path: Path
) -> None:
    """Whenever that is: the file can be opened, what was recorded is still there and
    does not begin again, and the results are those of a run that nobody disturbed."""
    seed = new_seed()
    print(f"CONCURRA_TEST_SEED={seed}")
    in_script(
        acts_checkpoint.kill_and_go_on,
        timeout=240,
        mode=mode,
        seed=seed,
        kills=KILLS.get(mode, 4),
        folder=str(tmp_path),
    )
