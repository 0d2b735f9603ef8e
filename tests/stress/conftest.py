"""Workers of these tests start fast: they have no need of pytest."""

from __future__ import annotations

from tests.faults.conftest import light_main

__all__ = ["light_main"]
