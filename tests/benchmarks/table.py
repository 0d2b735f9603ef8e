"""The table, and what stands behind it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from tabulate import tabulate

from .measure import Figures, Finding
from .rows import Faster, Row, Within

#: What a run has written as JSON.
Saved = dict[str, Any]

#: The most that ten times as many tasks may cost.
GROWTH = 11


def table(findings: Iterable[Finding], beside: Optional[Saved] = None) -> str:
    """A line for each row, in Markdown; what falls short is bold.

    :param beside: what another run has written, by another Python for one.
    """
    headers = ["row", "work", "concurra", "best peer", "result", "aim"]
    headers += [beside["surroundings"]["python"]] if beside else []
    headers += ["10 x tasks", "bytes a task"]
    return tabulate(
        [_line(finding, beside) for finding in findings],
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


def _line(finding: Finding, beside: Optional[Saved]) -> list[str]:
    row = finding.row
    line = [
        f"`{row.name}`",
        row.work.format(n=f"{finding.tasks:,}"),
        _cost(finding, finding.ours),
        _best(finding),
        _result(row, finding.ratio, finding.excess, finding.passed),
        _aim(row),
    ]
    if beside:
        there = beside["rows"].get(row.name)
        keys = ("ratio", "excess", "passed")
        line.append(_result(row, *(there[key] for key in keys)) if there else "")
    growth, memory, most = finding.growth, finding.memory, row.most_bytes
    line.append(_mark(f"{growth:.1f}", growth <= GROWTH) if growth else "")
    if memory is None or most is None:
        return [*line, ""]
    return [*line, _mark(f"{memory:,.0f} of {most:,}", memory <= most)]


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


def _result(
    row: Row, ratio: Optional[float], excess: float, passed: Optional[bool]
) -> str:
    if not isinstance(row.bar, Faster):
        text = duration(excess)
    else:
        text = "" if ratio is None else f"{ratio:.2f} x"
    return _mark(text, passed is not False)


def _aim(row: Row) -> str:
    if isinstance(row.bar, Within):
        return f"at most {duration(row.bar.seconds)}"
    return f"{row.bar.ratio:g} x" if row.bar else ""


def _mark(text: str, reached: bool) -> str:
    return text if reached else f"**{text}**"


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
