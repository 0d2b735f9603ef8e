"""The nightly job is killed in the midst, and goes on where it stopped."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import pytest

from concurra.digests import digest
from tests.behaviour.support import SAME_LIBRARY, recorded
from tests.helpers import run_script, start_script, wait_until

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "nightly_etl.py"
FILES = [f"shop{number:03}.json" for number in range(300)]
TABLE = "{'ale': 44850, 'tea': 1488}"


def fetched(folder: Path) -> list[str]:
    """The files that were fetched, as often as that was done."""
    journal = folder / "fetched.txt"
    return journal.read_text().split() if journal.exists() else []


@pytest.mark.hang_after(120)
@pytest.mark.parametrize("kills", [(100,), (40, 120)])
def test_nothing_that_was_recorded_is_fetched_again(
    kills: tuple[int, ...], tmp_path: Path
) -> None:
    """However often it was killed, all files are loaded, and each that was recorded
    before a kill was fetched once."""
    folder = tmp_path / "night"
    known: set[str] = set()
    often: dict[str, int] = {}  # how often those that are recorded were fetched
    for count in kills:
        with start_script(EXAMPLE, str(folder), env=SAME_LIBRARY) as script:
            wait_until(lambda: len(fetched(folder)) >= count, 60)
            script.send_signal(signal.SIGKILL)
            assert script.wait() == -signal.SIGKILL
        digests = recorded(folder / "night.sqlite")
        known = {name for name in FILES if digest(name) in digests}
        assert count - 20 <= len(known), "what has ended is recorded soon"
        now = Counter(fetched(folder))
        often = {name: often.get(name, now[name]) for name in known}
    done = run_script(EXAMPLE, str(folder), env=SAME_LIBRARY, timeout=60, check=True)
    first, second, last = done.stdout.splitlines()
    assert first.startswith(f"fetched: {300 - len(known)}, again: ")
    assert second == f"from an earlier run: {len(known)}"
    assert last == TABLE
    times = Counter(fetched(folder))
    assert set(times) == set(FILES)
    assert {name: times[name] for name in known} == often
    assert sum(times.values()) - 300 <= 20 * len(kills)


def test_a_night_after_which_nothing_is_to_be_done(tmp_path: Path) -> None:
    """It is over at once, with the same table."""
    for expected in (300, 0):
        done = run_script(EXAMPLE, str(tmp_path), env=SAME_LIBRARY, timeout=60)
        first, second, last = done.stdout.splitlines()
        assert first.startswith(f"fetched: {expected}, again: 8")
        assert second == f"from an earlier run: {300 - expected}"
        assert last == TABLE
    assert len(fetched(tmp_path)) == 300
