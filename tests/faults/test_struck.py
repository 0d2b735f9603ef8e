"""A late exception strikes every line of the run's own code, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Callable

import pytest

from tests.unit.test_struck import STRIDES, Strike, check_strikes, striking

#: The first lines of rows that leave none out.
FIRST = [(kind, n) for kind in STRIDES for n in range(2, STRIDES[kind] + 1)]


@pytest.fixture
def struck(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Strike]]:
    """Makes a strike for the threads that are started next."""
    yield from striking(monkeypatch)


@pytest.mark.hang_after(280)
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(("kind", "first"), FIRST)
def test_a_strike_at_any_line_costs_its_own_task_at_most(
    struck: Callable[[int], Strike], workers: int, kind: str, first: int
) -> None:
    """What the unit test shows of the first lines of so many holds for the others."""
    check_strikes(struck, workers, kind, first)
