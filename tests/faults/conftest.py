"""Workers of these tests start fast: they have no need of pytest."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def light_main(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep spawned workers from importing the main module, which is pytest's.

    What they run is in modules of its own.
    """
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.delattr(main, "__file__", raising=False)
