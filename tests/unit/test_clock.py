"""One clock, and threads that are all made in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import concurra
from concurra.threads import NAME, daemon

PACKAGE = Path(concurra.__file__).resolve().parent


@pytest.mark.parametrize(
    ("call", "home"),
    [
        pytest.param(r"\btime\.monotonic\b(?!`)", "clock.py", id="monotonic"),
        pytest.param(r"\bThread\(", "threads.py", id="Thread"),
    ],
)
def test_a_call_that_is_made_in_one_file_alone(call: str, home: str) -> None:
    """A frozen time is to stop no wait, and each thread is to have the name."""
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(call, path.read_text("utf-8"))
    }
    assert found == {home}


def test_threads_of_this_library() -> None:
    """Are daemons with its name."""
    called: list[int] = []
    thread = daemon(called.append, 3)
    thread.start()
    thread.join()
    assert (thread.daemon, thread.name, called) == (True, NAME, [3])
