"""The types that editors show are right, and type checkers find mistakes with them.

`usage.py` is a program that they must accept, `misuse.py` has a mistake on each line
that is marked ``# E:``. Both checkers are run on both, where they are installed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
import typing
from collections.abc import Mapping
from pathlib import Path

import pytest

import concurra

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
USAGE, MISUSE = HERE / "usage.py", HERE / "misuse.py"

#: What a checker said: for each file and line, the messages.
Findings = Mapping[tuple[str, int], list[str]]


def run(module: str, *arguments: str) -> str:
    """What a checker prints; it takes the package from here, or from where it is."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments, str(USAGE), str(MISUSE)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=170,
    )
    # Both say with 1 that they have found something, as they must.
    assert done.returncode == 1, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def mypy(cache: Path) -> Findings:
    """What ``mypy --strict`` says."""
    options = ["--strict", "--follow-imports=silent", "--config-file="]
    output = run("mypy", *options, f"--cache-dir={cache}", "--no-pretty")
    found: dict[tuple[str, int], list[str]] = {}
    for line in output.splitlines():
        match = re.fullmatch(r"(.+?):(\d+): error: (.*)", line)
        if match:
            name = Path(match[1]).name
            found.setdefault((name, int(match[2])), []).append(match[3])
    return found


def pyright(cache: Path) -> Findings:
    """What pyright says; ``usage.py`` asks for its strict mode."""
    output = run("pyright", "--outputjson", "--pythonpath", sys.executable)
    found: dict[tuple[str, int], list[str]] = {}
    for each in json.loads(output)["generalDiagnostics"]:
        if each["severity"] == "error":
            place = Path(each["file"]).name, each["range"]["start"]["line"] + 1
            found.setdefault(place, []).append(each["message"])
    return found


@pytest.mark.hang_after(180)
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_finds_the_mistakes_and_nothing_else(
    checker: typing.Callable[[Path], Findings], tmp_path: Path
) -> None:
    """Each marked line of `misuse.py`, and no other line of either file."""
    marked = {
        (MISUSE.name, number)
        for number, line in enumerate(MISUSE.read_text("utf-8").splitlines(), 1)
        if "  # E: " in line
    }
    found = checker(tmp_path)
    assert len(marked) > 30
    assert {place: found[place] for place in found if place not in marked} == {}
    assert sorted(marked - set(found)) == []


@pytest.mark.hang_after(90)
def test_the_program_that_checkers_accept_runs() -> None:
    """Its assertions hold: what checkers accept is what works."""
    runpy.run_path(str(USAGE), run_name="__main__")


def test_a_result_has_the_fields_that_its_type_names() -> None:
    """In their order; and so has a command's result."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_command([sys.executable, "-c", ""], label="it")
    result = runner.run(verify=False)["it"]
    assert list(result) == list(concurra.Result.__annotations__)
    assert list(result["result"]) == list(concurra.CommandResult.__annotations__)
    assert (type(result), type(result["result"])) == (dict, dict)


@pytest.mark.parametrize("form", [concurra.Result, concurra.CommandResult])
def test_the_types_can_be_read_at_run_time(form: type) -> None:
    """By libraries that validate, and without `typing_extensions`."""
    hints = typing.get_type_hints(form)
    assert list(hints) == list(form.__annotations__)
