"""What commands print, shown behind their labels as it comes."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, Any

import concurra

from .commands import program
from .rows import OURS, Faster, Row, System, expect, run, values

LABELS = "abcd"


@contextlib.contextmanager
def file() -> Iterator[IO[str]]:
    """Where lines are shown."""
    with tempfile.TemporaryFile("w+") as found:
        yield found


def lines(shown: IO[str]) -> list[str]:
    """What was shown."""
    shown.seek(0)
    return shown.read().splitlines()


def with_concurra(n: int) -> list[str]:
    """The work with concurra; it also captures the output."""
    runner = concurra.TaskRunner(len(LABELS), output="prefixed")
    for label in LABELS:
        runner.add_command([program("seq"), str(n // len(LABELS))], label=label)
    with file() as shown:
        with contextlib.redirect_stdout(shown):
            values(run(runner))
        return lines(shown)


def with_popen(n: int) -> list[str]:
    """A thread for each command, which reads line by line."""
    argv = [program("seq"), str(n // len(LABELS))]
    writing = threading.Lock()

    def show(label: str, shown: IO[str]) -> None:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                with writing:
                    shown.write(f"[{label}] {line}")
                    shown.flush()

    with file() as shown, ThreadPoolExecutor(len(LABELS)) as pool:
        list(pool.map(show, LABELS, [shown] * len(LABELS)))
        return lines(shown)


def with_xargs(n: int) -> list[str]:
    """Programs made for this."""
    tail = f"{program('seq')} {n // len(LABELS)} | {program('sed')} -u 's/^/[{{}}] /'"
    argv = [program("xargs"), f"-P{len(LABELS)}", "-I{}", program("sh"), "-c", tail]
    with file() as shown:
        text = "\n".join(LABELS)
        subprocess.run(argv, input=text, text=True, check=True, stdout=shown)
        return lines(shown)


def check(n: int, results: Any) -> None:
    """Each line is there, whole."""
    count = n // len(LABELS)
    expected = [f"[{each}] {k}" for each in LABELS for k in range(1, count + 1)]
    expect(sorted(results) == sorted(expected), "a line is missing, or mixed")


ROWS = [
    Row(
        "lines",
        "{n} lines of 4 commands, each behind its label",
        400_000,
        Faster(1),
        [
            System(
                OURS,
                with_concurra,
                needs=["concurra.workers.command", "concurra.display"],
            ),
            System("Popen line by line", with_popen),
            System("xargs -P4 + sed -u", with_xargs),
        ],
        check,
    ),
]
