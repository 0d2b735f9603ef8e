"""Random runs of maps: every item has its value, or is told of.

More of them are in the catalogue of faults.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .maps import run_and_abort, run_to_the_end, seeds


@pytest.mark.hang_after(60)
@pytest.mark.parametrize(("seed", "mode"), seeds(0, 14))
def test_every_item_has_its_value(seed: int, mode: str, tmp_path: Path) -> None:
    """In the list, or in `partial`; what succeeded is called once."""
    run_to_the_end(seed, mode, tmp_path)


@pytest.mark.hang_after(60)
@pytest.mark.parametrize(("seed", "mode"), seeds(1000, 7))
def test_an_abort_at_any_moment(seed: int, mode: str, tmp_path: Path) -> None:
    """The run ends, and what had a value has it in `partial`."""
    run_and_abort(seed, mode, tmp_path)
