"""A pytest plugin: in a fresh clone, each of xdist's workers compiles its share.

All of them import all tests, and would compile each file at the same time, which takes
several times as long as all the rest of collecting them.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib
from collections.abc import Iterable
from pathlib import Path

import pytest

import concurra

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = Path(concurra.__file__).parent


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Not at the start of the session: who rewrites `assert` knows of none there."""
    config = collector.config
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    worker = getattr(config, "workerinput", None)
    if worker is None or not whole or not isinstance(collector, pytest.Session):
        return
    number, count = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
    for path in by_size(LIBRARY.rglob("*.py"))[number::count]:
        compileall.compile_file(path, quiet=2)
    tests = [path for each in config.args for path in tests_of(Path(each))]
    for path in by_size(tests)[number::count]:
        name = path.resolve().relative_to(ROOT).with_suffix("")
        # What is wrong with it is told when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(".".join(name.parts))


def tests_of(place: Path) -> Iterable[Path]:
    """The file, or those of a folder."""
    return place.rglob("test_*.py") if place.is_dir() else [place]


def by_size(files: Iterable[Path]) -> list[Path]:
    """The last ones take the least time, so that all shares take about as long."""
    return sorted(files, key=lambda path: path.stat().st_size, reverse=True)
