"""More random runs of maps than the suite has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stress.maps import run_and_abort, run_to_the_end, seeds


@pytest.mark.parametrize(("seed", "mode"), seeds(21, 63))
def test_every_item_has_its_value(seed: int, mode: str, tmp_path: Path) -> None:
    """In the list, or in `partial`; what succeeded is called once."""
    run_to_the_end(seed, mode, tmp_path)


@pytest.mark.parametrize(("seed", "mode"), seeds(1007, 21))
def test_an_abort_at_any_moment(seed: int, mode: str, tmp_path: Path) -> None:
    """The run ends, and what had a value has it in `partial`."""
    run_and_abort(seed, mode, tmp_path)
