"""External commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import concurra

from .rows import OURS, Faster, Missing, Results, Row, System, expect, run, values

AT_ONCE = 2


def program(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        raise Missing(f"no program {name!r}")
    return path


def with_concurra(n: int) -> Results:
    """The work with concurra: output captured, as it is by default."""
    argv = [program("true")]
    runner = concurra.TaskRunner(max_concurrency=AT_ONCE)
    for _ in range(n):
        runner.add_command(argv)
    return run(runner)


def with_executor(n: int) -> list[int]:
    """The same with the standard library."""
    argv = [program("true")]

    def call() -> int:
        done = subprocess.run(
            argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        return done.returncode

    with ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(call) for _ in range(n)]
        return [future.result() for future in futures]


def with_xargs(n: int) -> list[int]:
    """A program made for this, which captures nothing and reports nothing."""
    lines = "\n".join(map(str, range(n)))
    argv = [program("xargs"), f"-P{AT_ONCE}", "-n1", program("true")]
    subprocess.run(argv, input=lines, text=True, check=True)
    return [0] * n


def with_posix_spawn(n: int) -> list[int]:
    """The cheapest start that the system has, and nothing else."""
    argv = [program("true")]
    codes: list[int] = []
    started = 0
    while len(codes) < n:
        if started < n and started - len(codes) < AT_ONCE:
            os.posix_spawn(argv[0], argv, os.environ)
            started += 1
        else:
            codes.append(os.wait()[1])
    return codes


def check(n: int, results: Any) -> None:
    """All have ended well."""
    codes = [
        each["returncode"] if isinstance(each, dict) else each
        for each in values(results)
    ]
    expect(codes == [0] * n, "a command has failed")


ROWS = [
    Row(
        "commands",
        "{n} times true, 2 at a time",
        500,
        Faster(1),
        [
            System(OURS, with_concurra, needs=["concurra.workers.command"]),
            System("xargs -P2 -n1", with_xargs),
            System("ThreadPoolExecutor + subprocess.run", with_executor),
            System("os.posix_spawn", with_posix_spawn, limit=True),
        ],
        check,
    ),
]
