"""The command line: ``python -m tests.benchmarks --help``."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from typing import Optional

from .catalogue import ROWS
from .measure import Bench, Finding
from .plot import plot
from .table import Saved, details, table

PEERS = ("pebble", "joblib", "mpire", "numpy")


def parse() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description="Measure concurra beside what users would pick instead.",
    )
    add = parser.add_argument
    add("--only", metavar="ROW[,ROW]", help=f"of {', '.join(ROWS)}")
    add("--rounds", type=int, default=5, help="measurements of each system (5)")
    add("--scale", type=float, default=1.0, help="fraction of the tasks (1)")
    add("--json", metavar="FILE", help="write every measurement to FILE")
    add("--beside", metavar="FILE", help="show the results of that --json as well")
    add("--plot", metavar="FILE.svg", help="measure, and draw, how the cost grows")
    add("--published", metavar="PYTHON", help="an interpreter with concurra==1.1.12")
    arguments = parser.parse_args()
    names = arguments.only.split(",") if arguments.only else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    if arguments.rounds < 1 or arguments.scale <= 0:
        parser.error("--rounds and --scale must be positive")
    if arguments.beside:
        with open(arguments.beside, encoding="utf-8") as file:
            arguments.beside = json.load(file)
    arguments.rows = [] if arguments.plot and not arguments.only else names
    return arguments


def surroundings() -> Saved:
    """What the figures depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "peers": {name: _version(name) for name in PEERS},
    }


def _version(name: str) -> Optional[str]:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def tell(line: str) -> None:
    """Show that something happens."""
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and print the table."""
    arguments = parse()
    around = surroundings()
    bench = Bench(arguments.rounds, arguments.published, tell)
    findings: list[Finding] = []
    try:
        for name in arguments.rows:
            row = ROWS[name]
            findings.append(bench.measure(row, row.at(arguments.scale)))
            if arguments.json:
                save(arguments.json, findings, around)
    except KeyboardInterrupt:
        tell("interrupted: here is what there is")
    if findings:
        report(findings, around, arguments.beside)
    if arguments.plot:
        try:
            plot(bench, arguments.plot, arguments.scale)
        except ImportError as error:
            sys.exit(f"no plot: {error}")


def save(path: str, findings: list[Finding], around: Saved) -> None:
    """Write what was found so far."""
    rows = {each.row.name: each.to_json() for each in findings}
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"surroundings": around, "rows": rows}, file, indent=2)


def report(findings: list[Finding], around: Saved, beside: Optional[Saved]) -> None:
    """Print what was found."""
    peers = around["peers"].items()
    versions = [f"{name} {version or 'is missing'}" for name, version in peers]
    load = f", load {around['load']:.1f}" if around["load"] is not None else ""
    print(f"Python {around['python']}, {around['cpus']} CPUs{load}")
    print(", ".join(versions))
    print(f"\n{table(findings, beside)}\n\n{details(findings)}")


if __name__ == "__main__":
    main()
