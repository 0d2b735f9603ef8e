"""Every example runs and shows what it is there to show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from tests.helpers import run_script

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


class Entry(Protocol):
    """How an example is tested."""

    def check(self, name: str) -> None: ...


@dataclass(frozen=True)
class Runs:
    """It runs with these arguments; its output matches each of these patterns."""

    patterns: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    seconds: float = 30.0

    def check(self, name: str) -> None:
        """In an empty folder, to its end, in time, leaving no process behind."""
        done = run_script(
            EXAMPLES / name, *self.arguments, timeout=self.seconds, check=True
        )
        for pattern in self.patterns:
            assert re.search(pattern, done.stdout, re.MULTILINE), done.stdout


@dataclass(frozen=True)
class HasItsOwn:
    """It has a test file of its own, beside this one."""

    test_file: str

    def check(self, name: str) -> None:
        """The file is there and about this example."""
        text = (ROOT / "tests" / self.test_file).read_text("utf-8")
        assert Path(name).stem in text


TABLE: dict[str, Entry] = {
    "source_census.py": HasItsOwn("test_census.py"),
}


def test_every_example_has_an_entry_and_every_entry_an_example() -> None:
    """Nothing is shown to users that nobody has run."""
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("**/*.py")}
    assert files == set(TABLE)


@pytest.mark.hang_after(90)
@pytest.mark.parametrize("name", TABLE)
def test_an_example_does_what_it_should(name: str) -> None:
    """It runs and shows it, here or in its own test file."""
    TABLE[name].check(name)
