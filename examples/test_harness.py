"""Run the tests of a project in shards, and a linter beside them; sum it all up.

The project is a small one, in a temporary folder. One of its tests fails, and so does
this: the exit status is 1. With --fixed it is 0. Needs pytest; takes flake8 if it can.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path
from typing import Any

import concurra

SHARDS = 2
MODULE = "def area(width, height):\n    return width {} height\n"
TEST = "from shapes import area\n\n\ndef test_area():\n    assert area{} == {}\n"
CASES = {"empty": ((0, 0), 0), "square": ((2, 2), 4), "tall": ((2, 9), 18)}


def write_project(folder: Path, operator: str) -> list[str]:
    """Return the names of the test files."""
    (folder / "shapes.py").write_text(MODULE.format(operator))
    (folder / "pytest.ini").write_text("[pytest]\n")
    for case, numbers in CASES.items():
        (folder / f"test_{case}.py").write_text(TEST.format(*numbers))
    return [f"test_{case}.py" for case in CASES]


def check(folder: Path, tests: list[str]) -> dict[str, dict[str, Any]]:
    runner = concurra.TaskRunner(timeout=120)
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    plain = {"PYTEST_ADDOPTS": "--color=no"}  # instead of the user's own options
    for shard in range(SHARDS):
        label = f"tests {shard + 1}/{SHARDS}"
        command = [*pytest, *tests[shard::SHARDS]]
        runner.add_command(command, label, cwd=folder, env=plain)
    flake8 = importlib.util.find_spec("flake8")
    linter = ["flake8", "--isolated"] if flake8 else ["compileall", "-q"]
    runner.add_command([sys.executable, "-m", *linter, "."], "lint", cwd=folder)
    return runner.run(verify=False)


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        tests = write_project(Path(name), "*" if "--fixed" in sys.argv else "+")
        results = check(Path(name), tests)
    for label, result in results.items():
        output = result["result"]["stdout"].splitlines() if result["result"] else []
        last = output[-1] if output else result["error"] or "nothing to complain about"
        failed = [line for line in output if line.startswith("FAILED")]
        print(f"{label}: {result['status']}, {last}", *failed, sep="\n    ")
    return 1 if any(result["has_failed"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
