"""Run the tests of a project in shards, and a linter beside them; sum it all up.

The project is a small one, in a temporary folder. One of its tests fails, and so does
this: the exit status is 1. With --fixed it is 0. What a command prints comes in one
block. Reports go to the folders that are named. Needs pytest; takes flake8 and Jinja2.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import concurra
from concurra import reports

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


def check(folder: Path, operator: str) -> concurra.TaskRunner:
    tests = write_project(folder, operator)
    runner = concurra.TaskRunner(name="checks", timeout=120, output="grouped")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    env = {"PYTEST_ADDOPTS": "--color=no"}  # instead of the user's own options
    for number, shard in enumerate((tests[::2], tests[1::2]), 1):
        runner.add_command([*pytest, *shard], f"tests {number}/2", cwd=folder, env=env)
    linter = ["flake8", "--isolated"] if find_spec("flake8") else ["compileall", "-q"]
    runner.add_command([sys.executable, "-m", *linter, "."], "lint", cwd=folder)
    runner.run(verify=False)
    return runner


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        runner = check(Path(name), "*" if "--fixed" in sys.argv else "+")
    for task in reports.record(runner).tasks:
        told = (task.stdout or task.error or "nothing to complain about").splitlines()
        failed = (line for line in told if line.startswith("FAILED"))
        print(f"{task.label}: {task.status}, {told[-1]}", *failed, sep="\n    ")
    for folder in set(sys.argv[1:]) - {"--fixed"}:
        reports.write_junit_xml(runner, Path(folder, "junit.xml"))
        if find_spec("jinja2"):
            reports.write_html(runner, Path(folder, "run.html"))
    return runner.exit_code


if __name__ == "__main__":
    sys.exit(main())
