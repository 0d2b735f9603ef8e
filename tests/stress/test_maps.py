"""Random runs of maps: every item has its value, or is told of."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from .maps import Maps, seeds


@pytest.mark.hang_after(60)
@pytest.mark.parametrize(("seed", "mode"), seeds(0, 42))
def test_every_item_has_its_value(seed: int, mode: str, tmp_path: Path) -> None:
    """In the list, or in `partial`; what succeeded is called once."""
    maps = Maps(seed, mode, tmp_path)
    maps.check(maps.runner.run(verify=False))


@pytest.mark.hang_after(60)
@pytest.mark.parametrize(("seed", "mode"), seeds(1000, 14))
def test_an_abort_at_any_moment(seed: int, mode: str, tmp_path: Path) -> None:
    """The run ends, and what had a value has it in `partial`."""
    maps = Maps(seed, mode, tmp_path)
    maps.runner.execute_in_background()
    label = maps.draw.choice(list(maps.items))
    threading.Event().wait(maps.draw.random() * 0.05)
    maps.runner.cancel(label)
    threading.Event().wait(maps.draw.random() * 0.05)
    results = maps.runner.abort(verify=False)
    for label, items in maps.items.items():
        known = maps.runner.partial(label)
        assert all(place == value for place, value in known.items())
        if results[label]["status"] == "Successful":
            assert len(known) == len([each for each in items if not maps._fails(each)])
