"""Alternating rounds: each system once, then each again, each in a fresh process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Optional

import concurra

from .rows import OURS, Faster, Row, System, Within

#: The directory that has the package ``tests``.
ROOT = Path(__file__).resolve().parents[2]
#: Seconds that one measurement may take.
PATIENCE = 600

# The published concurra has to win over the one beside the package ``tests``, so the
# directory of that comes last.
_START = """
import sys
sys.path.append(sys.argv.pop(1))
from tests.benchmarks.worker import main
main()
"""

Sample = dict[str, Any]


@dataclass
class Figures:
    """What was found out about one system of a row."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    rss: int = 0
    missing: Optional[str] = None

    @property
    def median(self) -> float:
        """The seconds of the round in the middle."""
        return statistics.median(self.seconds)

    def add(self, sample: Sample) -> None:
        """Note one round."""
        if "missing" in sample:
            self.missing = sample["missing"]
        else:
            self.seconds.append(sample["seconds"])
            self.cpu.append(sample["cpu"])
            self.rss = max(self.rss, sample["rss"])


@dataclass
class Finding:
    """What was found out about a row.

    :param tenth: concurra with a tenth of the tasks.
    :param memory: bytes that concurra holds for each task in the end.
    """

    row: Row
    tasks: int
    systems: dict[str, Figures]
    tenth: Optional[Figures] = None
    memory: Optional[float] = None

    @property
    def ours(self) -> Figures:
        """Concurra itself."""
        return self.systems[OURS]

    @property
    def best(self) -> Optional[str]:
        """The fastest peer."""
        peers = {
            system.name: self.systems[system.name].median
            for system in self.row.systems[1:]
            if not system.limit and self.systems[system.name].seconds
        }
        return min(peers, key=lambda name: peers[name]) if peers else None

    @property
    def ratio(self) -> Optional[float]:
        """The time of the best peer, divided by ours."""
        best = self.best
        return self.systems[best].median / self.ours.median if best else None

    @property
    def excess(self) -> float:
        """Our seconds beyond the floor of a bar that has one."""
        bar = self.row.bar
        floor = bar.floor if isinstance(bar, Within) else None
        return self.ours.median - (self.systems[floor].median if floor else 0)

    @property
    def growth(self) -> Optional[float]:
        """How many times longer ten times as many tasks take."""
        if self.tenth is None or not self.tenth.seconds:
            return None
        return self.ours.median / self.tenth.median

    @property
    def passed(self) -> Optional[bool]:
        """Whether the row reaches its bar; None if that cannot be said."""
        bar, ratio = self.row.bar, self.ratio
        if isinstance(bar, Within):
            return self.excess <= bar.seconds
        if isinstance(bar, Faster) and ratio is not None:
            return ratio >= bar.ratio
        return None

    def to_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        found = {
            name: (
                {"seconds": each.seconds, "cpu": each.cpu, "rss": each.rss}
                if each.missing is None
                else {"missing": each.missing}
            )
            for name, each in self.systems.items()
        }
        return {
            "work": self.row.work.format(n=f"{self.tasks:,}"),
            "tasks": self.tasks,
            "systems": found,
            "tenth": self.tenth.seconds if self.tenth else None,
            "best_peer": self.best,
            "ratio": self.ratio,
            "excess": self.excess,
            "growth": self.growth,
            "bytes_per_task": self.memory,
            "passed": self.passed,
        }


class Bench:
    """Measures rows.

    :param rounds: how often each system does the work.
    :param published: the interpreter that has the published concurra, if any.
    :param tell: called with a line for each measurement.
    """

    def __init__(
        self,
        rounds: int,
        published: Optional[str] = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._rounds = rounds
        self._published = published
        self._tell = tell
        self._bytecode = tempfile.TemporaryDirectory(prefix="bytecode-")

    def measure(self, row: Row, tasks: int) -> Finding:
        """Measure a row of the table."""
        found = Finding(row, tasks, {system.name: Figures() for system in row.systems})
        tenth = tasks // 10 if row.grows else 0
        if tenth:
            found.tenth = Figures()
        for _ in range(self._rounds):
            for system in row.systems:
                figures = found.systems[system.name]
                if figures.missing is None:
                    figures.add(self._take(row, system, tasks))
            if found.tenth:
                found.tenth.add(self._take(row, row.systems[0], tenth))
        if row.most_bytes is not None:
            sample = self._sample(row, row.systems[0], tasks, "--memory")
            found.memory = sample["bytes"] / tasks
        return found

    def scan(self, row: Row, steps: Iterable[int]) -> dict[str, dict[int, float]]:
        """The median for each step of each system that is no limit, for a plot."""
        found: dict[str, dict[int, Figures]] = {}
        steps = list(steps)
        systems = [each for each in row.systems if not each.limit]
        for _ in range(self._rounds):
            for step in steps:
                for system in systems:
                    steps_of = found.setdefault(system.name, {})
                    figures = steps_of.setdefault(step, Figures())
                    figures.add(self._take(row, system, step))
        return {
            name: {step: each.median for step, each in figures.items() if each.seconds}
            for name, figures in found.items()
        }

    def _take(self, row: Row, system: System, tasks: int) -> Sample:
        sample = self._sample(row, system, tasks)
        what = sample.get("missing") or f"{sample['seconds']:.3f} s"
        self._tell(f"{row.name}  {tasks:,}  {system.name}: {what}")
        return sample

    def _sample(self, row: Row, system: System, tasks: int, *options: str) -> Sample:
        if system.published and self._published is None:
            return {"missing": "no interpreter that has it (--published)"}
        python = self._published if system.published else sys.executable
        done = subprocess.run(
            [str(python), "-c", _START, str(ROOT)]
            + [*options, row.name, system.name, str(tasks)],
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(system, self._bytecode.name),
            cwd=tempfile.gettempdir(),
            timeout=PATIENCE,
        )
        if done.returncode:
            raise RuntimeError(f"{system.name} has failed at {row.name}")
        sample: Sample = json.loads(done.stdout.splitlines()[-1])
        return sample


def _environment(system: System, bytecode: str) -> dict[str, str]:
    """The environment of a worker, which is to find the same concurra as this.

    All modules come compiled, as those of installed packages do.
    """
    environ = dict(os.environ)
    environ.pop("PYTHONPATH", None)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    environ["PYTHONPYCACHEPREFIX"] = bytecode
    if not system.published:
        environ["PYTHONPATH"] = str(Path(concurra.__file__).resolve().parents[1])
    return environ
