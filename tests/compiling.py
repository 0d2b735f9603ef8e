"""A pytest plugin: in a fresh clone, each of xdist's workers compiles its share.

All of them import all tests, and would compile each file at the same time, which takes
several times as long as all the rest of collecting them.
"""

from __future__ import annotations

import compileall
import contextlib
import importlib
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
    for path in by_size(LIBRARY)[number::count]:
        compileall.compile_file(path, quiet=2)
    for argument in config.args:
        for path in by_size(Path(argument))[number::count]:
            name = path.resolve().relative_to(ROOT).with_suffix("")
            # What is wrong with it is told when it is collected.
            with contextlib.suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(name.parts))


def by_size(place: Path) -> list[Path]:
    """The file, or all of a folder; the last ones take the least time."""
    files = place.rglob("*.py") if place.is_dir() else [place]
    return sorted(files, key=lambda path: path.stat().st_size, reverse=True)
