"""How long the ends of a pipe stay awake, on a clock that the test moves on."""

from __future__ import annotations

from typing import Optional

import pytest

from concurra.workers import spinning
from concurra.workers.spinning import MOMENT, give_way, wait


class Source:
    """Something comes at a moment, on a clock on which each look takes a while."""

    def __init__(self, comes: float, takes: float = MOMENT / 8) -> None:
        self.now = 0.0
        self.comes = comes
        self.takes = takes
        self.acts: list[str] = []

    def look(self) -> Optional[str]:
        self.acts.append("look")
        assert len(self.acts) < 10_000, "it looks for ever"
        self.now += self.takes
        return "it" if self.now > self.comes else None

    def sleep(self) -> str:
        self.acts.append("sleep")
        self.now = max(self.now, self.comes) + self.takes
        return "it"


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Source:
    source = Source(0.0)
    monkeypatch.setattr(spinning, "_now", lambda: source.now)
    return source


@pytest.mark.parametrize(
    "comes, spins", [(0.0, True), (MOMENT / 2, True), (MOMENT * 2, False)]
)
def test_it_sleeps_unless_the_last_one_came_soon(
    source: Source, comes: float, spins: bool
) -> None:
    """Then it looks the next time."""
    source.comes = comes
    assert wait(source.look, source.sleep, False) == ("it", spins)
    assert source.acts == ["sleep"]


def test_what_comes_within_a_moment_is_found_awake(source: Source) -> None:
    """By looking again and again; the next time, too."""
    source.comes = MOMENT / 2
    assert wait(source.look, source.sleep, True) == ("it", True)
    assert set(source.acts) == {"look"} and len(source.acts) > 1


def test_what_is_there_takes_one_look(source: Source) -> None:
    """And nothing else."""
    assert wait(source.look, source.sleep, True) == ("it", True)
    assert source.acts == ["look"]


def test_after_a_moment_it_sleeps_after_all(source: Source) -> None:
    """For as long as it takes, and does not look at first the next time."""
    source.comes = MOMENT * 1000
    assert wait(source.look, source.sleep, True) == ("it", False)
    assert source.acts.count("sleep") == 1 and source.acts[-1] == "sleep"
    assert 2 < len(source.acts) < 12


def test_where_the_clock_stands_still_it_sleeps_as_well(source: Source) -> None:
    """A test may have stopped it for the whole program."""
    source.comes, source.takes = MOMENT * 1000, 0.0
    assert wait(source.look, source.sleep, True)[0] == "it"
    assert source.acts.count("sleep") == 1 and source.acts[-1] == "sleep"


def test_between_looks_others_have_the_core(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would come later if who is to bring it waited for the core."""
    source.comes = MOMENT / 2
    ways: list[str] = []
    monkeypatch.setattr(spinning, "give_way", lambda: ways.append("given"))
    wait(source.look, source.sleep, True)
    assert len(ways) == len(source.acts) - 1


def test_what_either_raises_escapes(source: Source) -> None:
    """A pipe that ends, say."""

    def ended() -> None:
        raise EOFError

    for spins in (False, True):
        with pytest.raises(EOFError):
            wait(ended, ended, spins)


def test_giving_way_takes_no_time_of_its_own() -> None:
    """On systems without that call as well."""
    give_way()
    spinning._sleep_for_nothing()
