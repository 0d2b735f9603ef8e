"""What the import costs."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Callable

from .rows import OURS, Measured, Row, System, Within, expect


def starts(code: str) -> Callable[[int], Measured]:
    """An interpreter that runs ``code``: the median of ``n`` starts."""

    def start(n: int) -> Measured:
        took = []
        for _ in range(n):
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            took.append(time.perf_counter() - begin)
        return Measured(statistics.median(took), n)

    return start


def check(n: int, ended: object) -> None:
    """All have ended well."""
    expect(ended == n, "an interpreter has failed")


ROWS = [
    Row(
        "import",
        "import concurra, beyond a bare interpreter",
        20,
        Within(0.012, floor="bare interpreter"),
        [
            System(OURS, starts("import concurra")),
            System("bare interpreter", starts("pass"), limit=True),
            System(
                "import concurrent.futures.thread",
                starts("import concurrent.futures.thread"),
                limit=True,
            ),
        ],
        check,
        grows=False,
    ),
]
