"""The table, and what stands behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Optional

from tabulate import tabulate

from .measure import Figures, Finding
from .rows import Faster, Within

#: The most that ten times as many tasks may cost.
GROWTH = 11


def table(findings: Iterable[Finding]) -> str:
    """A line for each row, in Markdown."""
    headers = ["row", "work", "concurra", "best peer", "ratio or excess", "bar", ""]
    headers += ["10 x tasks", "bytes a task"]
    return tabulate(
        [_line(finding) for finding in findings],
        headers=headers,
        tablefmt="github",
        disable_numparse=True,
    )


def details(findings: Iterable[Finding]) -> str:
    """A line for each system of each row, in Markdown."""
    lines = []
    for finding in findings:
        for system in finding.row.systems:
            figures = finding.systems[system.name]
            name = f"{system.name} (limit)" if system.limit else system.name
            lines.append([finding.row.name, name, *_system(finding, figures)])
    headers = ["row", "system", "a task", "in all", "CPU", "largest size"]
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def duration(seconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if abs(seconds) >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} us"


def _line(finding: Finding) -> list[str]:
    row = finding.row
    work = row.work.format(n=f"{finding.tasks:,}")
    reached, bar = _bar(finding)
    verdict = {True: "ok", False: "MISSED", None: ""}[finding.passed]
    return [
        row.name,
        work,
        _cost(finding, finding.ours),
        _best(finding),
        reached,
        bar,
        verdict,
        _against(finding.growth, GROWTH, ".1f"),
        _against(finding.memory, row.most_bytes, ",.0f"),
    ]


def _cost(finding: Finding, figures: Figures) -> str:
    """The time of a task; of a row that is about a moment, that."""
    single = isinstance(finding.row.bar, Within) or not finding.row.grows
    return duration(figures.median / (1 if single else finding.tasks))


def _best(finding: Finding) -> str:
    best = finding.best
    if best is not None:
        return f"{_cost(finding, finding.systems[best])} ({best})"
    missing = [each.missing for each in finding.systems.values() if each.missing]
    return f"missing: {missing[0]}" if missing else ""


def _bar(finding: Finding) -> tuple[str, str]:
    bar, ratio = finding.row.bar, finding.ratio
    if isinstance(bar, Within):
        return duration(finding.excess), f"at most {duration(bar.seconds)}"
    if isinstance(bar, Faster):
        return "" if ratio is None else f"{ratio:.2f} x", f"{bar.ratio:g} x"
    return duration(finding.ours.median), ""


def _against(value: Optional[float], most: Optional[float], style: str) -> str:
    if value is None or most is None:
        return ""
    mark = "" if value <= most else " MISSED"
    return f"{value:{style}} of {most:,}{mark}"


def _system(finding: Finding, figures: Figures) -> list[str]:
    if figures.missing is not None:
        return [f"missing: {figures.missing}", "", "", ""]
    cpu = sorted(figures.cpu)[len(figures.cpu) // 2]
    return [
        duration(figures.median / finding.tasks),
        duration(figures.median),
        duration(cpu),
        f"{figures.rss / 2**20:,.0f} MiB",
    ]
