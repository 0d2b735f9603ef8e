"""Results that the next run finds: a checkpoint, and what is the nearest to it.

joblib's ``Memory`` keeps the results of a function by its arguments, each in a folder
of its own. It knows of no tasks, so its calls are made one after the other.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any, Callable

import concurra

from .rows import OURS, Faster, Measured, Row, System, expect, run

WORKERS = 2


def double(number: int) -> int:
    """The shortest call that has an argument and a result."""
    return 2 * number


def clocked(job: Callable[[], Any], before: int) -> Measured:
    """Do a job that often before the clock starts, and then once."""
    for _ in range(before):
        job()
    began = time.perf_counter()
    value = job()
    return Measured(time.perf_counter() - began, value)


def checkpointed(before: int) -> Callable[[int], Measured]:
    """The work with concurra, after so many runs with the same file."""

    def concurra_run(n: int) -> Measured:
        with tempfile.TemporaryDirectory() as folder:

            def job() -> list[int]:
                runner = concurra.TaskRunner(WORKERS, checkpoint=f"{folder}/c.sqlite")
                for number in range(n):
                    runner.add_task(double, number)
                return [result["result"] for result in run(runner).values()]

            return clocked(job, before)

    return concurra_run


def memory(before: int) -> Callable[[int], Measured]:
    """The work with joblib, after so many rounds with the same folder."""

    def joblib_run(n: int) -> Measured:
        import joblib

        with tempfile.TemporaryDirectory() as folder:
            call = joblib.Memory(folder, verbose=0).cache(double)
            return clocked(lambda: [call(number) for number in range(n)], before)

    return joblib_run


def check_doubled(n: int, measured: Any) -> None:
    """Each has its result."""
    expect(measured == [2 * number for number in range(n)], "a result is wrong")


ROWS = [
    Row(
        name=name,
        work=work,
        tasks=1000,
        bar=Faster(2),
        systems=[
            System(OURS, checkpointed(before)),
            System("joblib.Memory", memory(before), needs=["joblib"]),
        ],
        check=check_doubled,
        grows=False,
    )
    for name, work, before in [
        ("recorded", "{n} short functions, whose results the next run finds", 0),
        ("restored", "the same once more: nothing is run", 1),
    ]
]
