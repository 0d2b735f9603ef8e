"""`python -m concurra.reports`: reports from the file of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from concurra import reports
from concurra.reports.__main__ import main

from .support import HOSTILE, made_up, ran


@pytest.fixture
def run(tmp_path: Path) -> str:
    """The path of the file of a run."""
    path = tmp_path / "run.json"
    reports.write_json(ran(), path)
    return str(path)


def test_what_is_asked_for_is_written(run: str, tmp_path: Path) -> None:
    """Several reports at once, each the same as from the program itself."""
    names = {each: tmp_path / each for each in ("junit", "trace", "mermaid", "dot")}
    arguments = [f"--{name}={path}" for name, path in names.items()]
    assert main([run, *arguments]) == 0
    assert ElementTree.parse(names["junit"]).getroot().tag == "testsuites"
    assert json.loads(names["trace"].read_text())["traceEvents"]
    record = reports.load(run)
    assert names["mermaid"].read_text() == reports.to_mermaid(record)
    assert names["dot"].read_text() == reports.to_dot(record)


def test_as_a_program(run: str) -> None:
    """A minus is the standard output."""
    command = [sys.executable, "-m", "concurra.reports", run, "--mermaid", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (reports.to_mermaid(reports.load(run)), "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_output_for_other_text(encoding: str, tmp_path: Path) -> None:
    """Reports are in UTF-8 there, too; the line about the run is escaped."""
    path = str(tmp_path / "run.json")
    record = made_up(2)
    record.name = "Nächte \u20ac"
    reports.write_json(record, path)
    told = []
    for more in (["--junit", "-"], []):
        command = [sys.executable, "-m", "concurra.reports", path, *more]
        environ = {**os.environ, "PYTHONIOENCODING": encoding}
        done = subprocess.run(command, capture_output=True, env=environ, check=True)
        told.append(done.stdout)
    assert ElementTree.fromstring(told[0]).get("name") == record.name
    assert b"\\u20ac: " in told[1]


def test_without_options_the_run_is_told(run: str, capsys: Any) -> None:
    """In one line."""
    assert main([run]) == 0
    told = "varied: ended, 8 tasks: 2 Successful, 2 Failed, 4 Terminated\n"
    assert capsys.readouterr().out == told


def test_a_file_that_is_none(tmp_path: Path, capsys: Any) -> None:
    """One line says what is wrong, and nothing is written."""
    other = tmp_path / "other\x1b[m.json"
    other.write_text("{}")
    for path in (other, tmp_path / "missing.json"):
        assert main([str(path), f"--dot={tmp_path / 'dot'}"]) == 2
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and "\x1b" not in err
        assert err.startswith("concurra.reports: ") and ".json" in err
    assert not (tmp_path / "dot").exists()


def test_a_place_that_is_none(run: str, tmp_path: Path, capsys: Any) -> None:
    """One line says so, and the exit code is another one."""
    assert main([run, f"--junit={tmp_path / 'none' / 'junit.xml'}"]) == 1
    assert "none" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["a", "--pdf=x"]])
def test_arguments_that_are_wrong(arguments: list[str], capsys: Any) -> None:
    """How it is used is told."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: python -m concurra.reports" in capsys.readouterr().err


def test_a_missing_package_is_named(run: str, capsys: Any, monkeypatch: Any) -> None:
    """In one line, with what helps."""

    def missing(*given: object) -> None:
        raise ImportError('Jinja2 is missing: pip install "concurra[report]"')

    monkeypatch.setattr(reports, "write_html", missing, raising=False)
    assert main([run, "--html=x"]) == 1
    assert 'pip install "concurra[report]"\n' in capsys.readouterr().err


def test_hostile_names_are_shown(tmp_path: Path, capsys: Any) -> None:
    """Nothing of them reaches the terminal raw."""
    record = made_up(1)
    record.name = HOSTILE
    reports.write_json(record, tmp_path / "run.json")
    assert main([str(tmp_path / "run.json")]) == 0
    assert capsys.readouterr().out.rstrip("\n").isprintable()
