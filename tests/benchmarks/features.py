"""Values, retries and reports, beside what does nothing else."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import concurra

from .measure import ROOT
from .rows import OURS, Faster, Measured, Row, System, Within, expect, run, values

WORKERS = 2


# -- values ----------------------------------------------------------------------------


def more(number: int) -> int:
    """The shortest step of a chain of values."""
    return number + 1


def passed_on(n: int) -> Any:
    """Each takes the result of the one before, with concurra."""
    runner = concurra.TaskRunner(WORKERS)
    value: Any = 0
    for _ in range(n):
        value = runner.add_task(more, value)
    return values(run(runner))[-1]


def passed_on_by_dask(n: int) -> Any:
    """The same with `dask.delayed`, in threads."""
    import dask

    dask.config.set({"optimization.fuse.active": False})
    value: Any = 0
    for _ in range(n):
        value = dask.delayed(more)(value)
    return value.compute(scheduler="threads", num_workers=WORKERS)


def check_last(n: int, value: Any) -> None:
    """The last one tells how many there were."""
    expect(value == n, "a step is missing")


# -- retries ---------------------------------------------------------------------------


class Flaky:
    """Fails at its first call."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError
        return self.calls


def retried(n: int) -> list[Any]:
    """Each fails once, with concurra."""
    runner = concurra.TaskRunner(WORKERS, task_retries=concurra.Retry(1))
    for _ in range(n):
        runner.add_task(Flaky())
    return values(run(runner))


def retried_by_tenacity(n: int) -> list[Any]:
    """The same with tenacity, one after the other."""
    import tenacity

    attempts = tenacity.Retrying(stop=tenacity.stop_after_attempt(2), reraise=True)
    return [attempts(Flaky()) for _ in range(n)]


def check_retried(n: int, counted: Any) -> None:
    """All were called twice."""
    expect(counted == [2] * n, "an attempt is missing")


# -- reports ---------------------------------------------------------------------------


def noop() -> None:
    """The shortest task."""


def junit(n: int) -> Measured:
    """Tasks and their JUnit report, with concurra."""
    from concurra import reports

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        runner = concurra.TaskRunner(WORKERS)
        for number in range(n):
            runner.add_task(noop, label=f"test_{number}")
        run(runner)
        path = Path(folder, "junit.xml")
        reports.write_junit_xml(runner, path)
        return Measured(time.perf_counter() - began, path.read_text("utf-8"))


def junit_by_pytest(n: int) -> Measured:
    """The same with pytest, and two workers of pytest-xdist."""
    tests = "\n".join(f"def test_{number}(): pass" for number in range(n))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_it.py").write_text(tests, "utf-8")
        path = Path(folder, "junit.xml")
        command += ["-n", str(WORKERS), f"--junitxml={path}", "test_it.py"]
        began = time.perf_counter()
        subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=True)
        return Measured(time.perf_counter() - began, path.read_text("utf-8"))


def check_junit(n: int, text: Any) -> None:
    """A case for each."""
    expect(text.count("<testcase") == n, "a case is missing")


REPORT = """
import logging
import time

import concurra


def work():
    time.sleep(0.5)
    return time.perf_counter()


logging.basicConfig(level="INFO", filename={log!r})
runner = concurra.TaskRunner(progress_stats=False)
runner.add_task(work, label="work")
results = runner.run()
print(time.perf_counter() - results["work"]["result"])
"""


def first_report(n: int) -> Measured:
    """How much later than the last task `run` returns, with its report, at first."""
    late = []
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder, "log"))
        command = [sys.executable, "-c", REPORT.format(log=log)]
        for _ in range(n):
            done = subprocess.run(command, cwd=ROOT, stdout=-1, text=True, check=True)
            late.append(float(done.stdout))
        reported = Path(log).read_text("utf-8").count("| Successful |")
    return Measured(sorted(late)[n // 2], reported)


def check_reported(n: int, reported: Any) -> None:
    """Each has logged its table."""
    expect(reported == n, "a report is missing")


# -- other threads ---------------------------------------------------------------------

#: Seconds between two looks of the thread that is not to be held up.
LOOK = 0.0005


class Watch:
    """A thread that notes how long it was held up."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        before = time.perf_counter()
        while not self._end.wait(LOOK):
            now = time.perf_counter()
            self.longest = max(self.longest, now - before)
            before = now


def pause(n: int) -> Measured:
    """How long another thread waits at the most, from the first adder to the results.

    Without the garbage collector, which is the program's, and stops all threads.
    """
    import gc

    gc.disable()
    logging.getLogger("concurra").setLevel("ERROR")
    runner = concurra.TaskRunner(WORKERS)
    with Watch() as watch:
        for _ in range(n):
            runner.add_task(noop)
        results = run(runner)
    return Measured(watch.longest, len(results))


def pause_of_dicts(n: int) -> Measured:
    """The same for two dicts of that size, which grow one by one."""
    import gc

    gc.disable()
    with Watch() as watch:
        first: dict[int, Any] = {}
        second: dict[int, Any] = {}
        for number in range(n):
            first[number] = second[number] = None
    return Measured(watch.longest, len(second))


def check_number(n: int, many: Any) -> None:
    """All are there."""
    expect(many == n, "a result is missing")


ROWS = [
    Row(
        "values",
        "chain of {n}, each with the result of the one before",
        5_000,
        Faster(2),
        [
            System(OURS, passed_on),
            System("dask.delayed", passed_on_by_dask, needs=["dask", "dask.threaded"]),
        ],
        check_last,
    ),
    Row(
        "retried",
        "{n} tasks that fail once, and are tried again",
        5_000,
        Faster(0.5),  # a traceback as text, and a result of 17 fields
        [
            System(OURS, retried),
            System("tenacity", retried_by_tenacity, needs=["tenacity"]),
        ],
        check_retried,
    ),
    Row(
        "junit",
        "{n} no-ops and their JUnit report",
        2_000,
        Faster(2),
        [
            System(OURS, junit, needs=["concurra.reports.junit"]),
            System("pytest -n 2 --junitxml", junit_by_pytest, needs=["xdist"]),
        ],
        check_junit,
        grows=False,
    ),
    Row(
        "report",
        "the first report: how late run() returns, median of {n}",
        9,
        Within(0.025),
        [System(OURS, first_report)],
        check_reported,
        grows=False,
    ),
    Row(
        "pause",
        "how long another thread waits at most, {n} tasks",
        1_000_000,
        Within(0.05),
        [System(OURS, pause), System("two dicts", pause_of_dicts, limit=True)],
        check_number,
        grows=False,
    ),
]
