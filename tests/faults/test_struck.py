"""A late exception strikes every line of the run's own code, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

import pytest

from tests.unit.test_struck import KINDS, STRIDE, Strike, check_strikes, striking


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Strike]]:
    """Makes a strike for the threads that are started next."""
    yield from striking(monkeypatch)


@pytest.mark.hang_after(280)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("first", range(2, STRIDE + 1))
def test_a_strike_at_any_line_costs_its_own_task_at_most(
    struck: Callable[[int], Strike], workers: int, kind: str, first: int
) -> None:
    """What the unit test shows of the first lines of so many holds for the others."""
    check_strikes(struck, workers, kind, range(first, 10_000, STRIDE))
