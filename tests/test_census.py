"""The census, an ETL run over real source: whole, on small trees, and its parts."""

from __future__ import annotations

import ast
import csv
import gzip
import hashlib
import importlib.util
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tarfile
import textwrap
import threading
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, Mapping

import pytest

import concurra
from concurra.digests import digest
from tests.behaviour.support import recorded
from tests.helpers import run_script, start_script, wait_until

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "source_census.py"
SAME_LIBRARY = {"PYTHONPATH": str(Path(concurra.__file__).resolve().parent.parent)}

SOURCES: dict[str, bytes] = {
    "broken.py": b"def half(:\n",
    "empty.py": b"",
    "latin.py": b"# -*- coding: latin-1 -*-\nname = '\xe9'\n",
    "package/__init__.py": b"from . import work\nfrom .work import Worker\n",
    "package/work.py": b"""\
import os.path, sys
from collections import abc
import sys as again

class Worker:
    class Part: pass

    def short(self): pass

    async def long(self):
        def inner():
            return os

        return inner, sys, abc, again
""",
    "undecodable.py": b"name = '\xff'\n",
}
NOT_SOURCES = {
    "notes.txt": b"not Python",
    "__pycache__/cached.py": b"cached",
    "package/site-packages/other.py": b"installed",
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BROKEN = ["broken.py", "undecodable.py"]

# Runs an example as a script, in an interpreter that starts processes in this way.
STARTED_BY = """
import multiprocessing, runpy, sys

method, sys.argv = sys.argv[1], sys.argv[2:]
multiprocessing.set_start_method(method)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small source tree: a package, an empty file, two broken ones, other things."""
    tree = tmp_path / "tree"
    for name, content in {**SOURCES, **NOT_SOURCES}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    return tree


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "new" / "output"


@pytest.fixture(scope="module")
def census() -> ModuleType:
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("source_census", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(
    *arguments: str | Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the example to its end; it leaves no process behind."""
    environment = {**SAME_LIBRARY, **(env or {})}
    return run_script(EXAMPLE, *map(str, arguments), env=environment, timeout=50)


def query(output: Path, sql: str) -> list[Any]:
    """Ask the database that a run has written."""
    with closing(sqlite3.connect(output / "census.sqlite3")) as database:
        return database.execute(sql).fetchall()


def packed(output: Path) -> dict[str, bytes]:
    """The archive's content."""
    with tarfile.open(output / "sources.tar.gz") as archive:
        files = {each.name: archive.extractfile(each) for each in archive.getmembers()}
        return {name: file.read() for name, file in files.items() if file is not None}


def sha256(path: Path) -> str:
    """The file's checksum."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def found(census: ModuleType, tree: Path) -> dict[str, dict[str, Any]]:
    """What a transform of the sound files would bring back, as far as load cares."""
    results: dict[str, dict[str, Any]] = {
        name: {"has_failed": False, "error": None, "result": census.survey(tree, name)}
        for name in SOURCES
        if name not in BROKEN
    }
    for name in BROKEN:
        results[name] = {"has_failed": True, "error": "Error: it is", "result": None}
    for name in ("archive", "checksum"):
        results[name] = {"has_failed": True, "error": "Error: no tool", "result": None}
    return results


# The whole run


def test_the_broken_files_are_named_and_all_others_count(
    tree: Path, output: Path
) -> None:
    """What does not parse is the data's fault: the exit status is 0."""
    done = run("--tree", tree, "--output", output)
    assert done.returncode == 0, done.stderr
    for line in (
        f"Census of {tree.resolve()}",
        "parsed     4 files",
        "lines      18",
        "functions  3",
        "classes    2",
        "longest    long, 5 lines, in package/work.py",
        "  collections           1",
        "  os                    1",
        "  sys                   1",
        "Failed tasks: 2",
    ):
        assert line in done.stdout.splitlines()
    for name in BROKEN:
        assert re.search(rf"^  {name}: SyntaxError: .+", done.stdout, re.MULTILINE)
    assert re.search(r"^Took \d+\.\d seconds; the files are in ", done.stdout, re.M)
    assert str(output.resolve()) in done.stdout


def test_it_logs_progress_and_the_report_of_the_load(tree: Path, output: Path) -> None:
    """Standard output is for the summary, standard error for the log."""
    done = run("--tree", tree, "--output", output, "--workers", "1")
    tasks = len(SOURCES) + 2
    assert f"{len(SOURCES)} files below {tree.resolve()}" in done.stderr
    assert re.search(rf"transform progress: \[#+\] {tasks}/{tasks} ", done.stderr)
    for label in ("table", "compress", "database", "totals", "imports", "summary"):
        assert re.search(rf"\| {label} +\| \w+ +\| Successful ", done.stderr)
    assert "progress: [" not in done.stdout


def test_the_database_has_everything(tree: Path, output: Path) -> None:
    """One row for each file, each import and each failure."""
    run("--tree", tree, "--output", output)
    assert query(output, "SELECT * FROM files ORDER BY file") == [
        ("empty.py", 0, 0, 0, None, 0),
        ("latin.py", 2, 0, 0, None, 0),
        ("package/__init__.py", 2, 0, 0, None, 0),
        ("package/work.py", 14, 3, 2, "long", 5),
    ]
    assert query(output, "SELECT * FROM imports ORDER BY module") == [
        ("package/work.py", "collections"),
        ("package/work.py", "os"),
        ("package/work.py", "sys"),
    ]
    failures = query(output, "SELECT task, error FROM failures ORDER BY task")
    assert [task for task, _ in failures] == BROKEN
    assert all(error.startswith("SyntaxError: ") for _, error in failures)


def test_the_archive_has_the_sources_and_the_summary_its_checksum(
    tree: Path, output: Path
) -> None:
    """The broken files are in it too, what is no source is not."""
    done = run("--tree", tree, "--output", output)
    assert packed(output) == SOURCES
    archive = output / "sources.tar.gz"
    told = f"{archive.name}, {archive.stat().st_size:,} bytes, SHA-256 "
    assert told + sha256(archive) in done.stdout


def test_python_does_the_work_of_missing_tools(tree: Path, output: Path) -> None:
    """Without tar, sha256sum and gzip the run writes the same files."""
    done = run("--tree", tree, "--output", output, env={"PATH": ""})
    assert done.returncode == 0, done.stderr
    assert packed(output) == SOURCES
    assert sha256(output / "sources.tar.gz") in done.stdout
    assert gzip.open(output / "files.csv.gz").read().count(b"\n") == 5


def test_a_second_run_may_use_the_same_directory(tree: Path, output: Path) -> None:
    """It replaces what the first one has written."""
    run("--tree", tree, "--output", output)
    (tree / "broken.py").unlink()
    assert run("--tree", tree, "--output", output).returncode == 0
    assert query(output, "SELECT task FROM failures") == [("undecodable.py",)]
    assert "broken.py" not in packed(output)


def earlier(done: subprocess.CompletedProcess[str]) -> int:
    """How many tasks a run did not do, as an earlier one had."""
    [told] = re.findall(
        r"^An earlier run had done (\d+) of the 8 tasks", done.stdout, re.M
    )
    return int(told)


def test_a_second_run_does_only_what_is_new(tree: Path, output: Path) -> None:
    """The broken files fail again, and a file that has changed is parsed and packed
    again; both runs find the same otherwise."""
    first = run("--tree", tree, "--output", output)
    second = run("--tree", tree, "--output", output)
    assert (earlier(first), earlier(second)) == (0, 6)
    assert "Restored from checkpoint " in second.stderr
    counted = re.compile(
        r"parsed .*?Failed tasks: 2\n  broken.*?\n  undecod", re.DOTALL
    )
    assert counted.findall(first.stdout) == counted.findall(second.stdout) != []

    (tree / "empty.py").write_bytes(b"import sys\n")
    third = run("--tree", tree, "--output", output)
    assert earlier(third) == 3, "all but this file, the archive and its checksum"
    assert "lines      19\n" in third.stdout
    assert packed(output)["empty.py"] == b"import sys\n"
    assert sha256(output / "sources.tar.gz") in third.stdout


def test_an_archive_that_was_removed_is_made_again(tree: Path, output: Path) -> None:
    """Though a checkpoint knows that it has been made."""
    run("--tree", tree, "--output", output)
    (output / "sources.tar.gz").unlink()
    assert earlier(run("--tree", tree, "--output", output)) == 4
    assert packed(output) == SOURCES


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_run_that_was_killed_goes_on(tree: Path, output: Path) -> None:
    """What it had parsed is not parsed again. It waits for a pipe, and is killed."""
    os.mkfifo(tree / "waits.py")
    arguments = ("--tree", str(tree), "--output", str(output), "--workers", "2")
    sound = {digest(name) for name in SOURCES if name not in BROKEN}
    with start_script(EXAMPLE, *arguments, env=SAME_LIBRARY) as script:
        saved = output / "checkpoint.sqlite"
        wait_until(lambda: saved.exists() and recorded(saved) >= sound, 50)
        script.send_signal(signal.SIGKILL)
        assert script.wait() == -signal.SIGKILL
    (tree / "waits.py").unlink()
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert earlier(done) == len(sound), "the archive is made anew, without the pipe"
    assert "parsed     4 files" in done.stdout
    assert packed(output) == SOURCES


def test_a_page_tells_how_the_transform_went(tree: Path, output: Path) -> None:
    """It names what failed."""
    pytest.importorskip("jinja2")
    run("--tree", tree, "--output", output)
    page = (output / "run.html").read_text("utf-8")
    assert page.lower().startswith("<!doctype html>")
    for name in (*BROKEN, "package/work.py", "checksum"):
        assert name in page


def test_without_jinja2_there_is_no_page(
    tree: Path, output: Path, tmp_path: Path
) -> None:
    """One line says why, and the census is made."""
    (tmp_path / "jinja2.py").write_text("raise ImportError('no jinja2 here')\n")
    path = os.pathsep.join([str(tmp_path), SAME_LIBRARY["PYTHONPATH"]])
    done = run("--tree", tree, "--output", output, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^\S+ No page of the run: ", done.stderr, re.M)) == 1
    assert "concurra[report]" in done.stderr
    assert not (output / "run.html").exists()
    assert "parsed     4 files" in done.stdout


def test_the_default_directory_is_new_and_named(tree: Path, tmp_path: Path) -> None:
    """It stays, so that its user can look into it."""
    places = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path))
    done = run("--tree", tree, env=places)
    [directory] = tmp_path.resolve().glob("census-*")
    assert done.stdout.rstrip().endswith(f"the files are in {directory}")
    assert (directory / "summary.txt").read_text("utf-8").rstrip() in done.stdout


def test_a_load_that_fails_is_status_1(tree: Path, output: Path) -> None:
    """The database cannot be written, so there is no summary; the report says why."""
    (output / "census.sqlite3").mkdir(parents=True)
    done = run("--tree", tree, "--output", output)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "The load failed" in done.stderr
    assert re.search(r"\| database +\| write_database +\| Failed ", done.stderr)
    assert re.search(r"\| summary +\| write_summary +\| Terminated ", done.stderr)


def test_an_archive_that_fails_is_status_1(tree: Path, output: Path) -> None:
    """Its checksum is skipped, and everything else is there."""
    (output / "sources.tar.gz").mkdir(parents=True)
    done = run("--tree", tree, "--output", output)
    assert done.returncode == 1
    assert "parsed     4 files" in done.stdout
    assert "Failed tasks: 4" in done.stdout
    assert "  archive: CommandExecutionError: " in done.stdout
    assert "  checksum: RuntimeError: Skipped: dependency ['archive']" in done.stdout
    assert "SHA-256" not in done.stdout


def test_a_tree_without_sources_is_wrong_usage(tmp_path: Path) -> None:
    """As is one that is not there."""
    for nothing in (tmp_path, tmp_path / "missing"):
        done = run("--tree", nothing)
        assert done.returncode == 2
        assert "no Python files below" in done.stderr


def test_it_works_however_processes_are_started(
    start_method: str, tree: Path, output: Path
) -> None:
    """The tasks are top-level functions, and the main guard is there."""
    arguments = [start_method, EXAMPLE, "--tree", tree, "--output", output]
    done = run_script(STARTED_BY, *map(str, arguments), env=SAME_LIBRARY)
    assert done.returncode == 0, done.stderr
    assert query(output, "SELECT count(*) FROM files") == [(4,)]
    assert query(output, "SELECT task FROM failures ORDER BY 1") == [
        (name,) for name in BROKEN
    ]


def test_the_standard_library(output: Path) -> None:
    """The real data: the first of the files on this machine."""
    done = run("--limit", "60", "--output", output)
    assert done.returncode == 0, done.stderr
    [(files, lines, functions)] = query(
        output, "SELECT count(*), sum(lines), sum(functions) FROM files"
    )
    [(failures,)] = query(output, "SELECT count(*) FROM failures")
    assert files + failures == len(packed(output)) == 60
    assert f"parsed     {files:,} files\nlines      {lines:,}\n" in done.stdout
    assert functions > 100
    assert "site-packages" not in (output / "sources.txt").read_text("utf-8")


# The parts


def test_list_sources_finds_python_files_in_order(
    census: ModuleType, tree: Path
) -> None:
    """Installed packages and caches are not part of a tree."""
    assert census.list_sources(tree) == sorted(SOURCES)


def test_survey_counts(census: ModuleType, tree: Path) -> None:
    """Nested and async functions count; a file that imports twice does so once."""
    assert census.survey(tree, "package/work.py") == {
        "file": "package/work.py",
        "lines": 14,
        "functions": 3,
        "classes": 2,
        "longest_function": "long",
        "longest_length": 5,
        "imports": ["collections", "os", "sys"],
    }


def test_survey_leaves_relative_imports_out(census: ModuleType, tree: Path) -> None:
    """They lead into the tree itself."""
    assert census.survey(tree, "package/__init__.py")["imports"] == []


def test_survey_looks_into_every_block(census: ModuleType, tree: Path) -> None:
    """It finds what a walk through the whole tree finds, in the library's files too."""
    blocks = """\
        with a: import m1
        for b in c: import m2
        else: import m3
        while d: import m4
        else: import m5
        try:
            if e: import m6
            elif f: import m7
            else: import m8
        except g:
            class H:
                async def i(self):
                    async with (lambda: j)(): import m9
        else: import m10
        finally: import m11
        """
    if sys.version_info >= (3, 10):
        blocks += "match k:\n            case 1: import m12\n"
    (tree / "blocks.py").write_text(textwrap.dedent(blocks))
    library = Path(ast.__file__).parent
    for folder, name in ((tree, "blocks.py"), (library, "ast.py"), (library, "os.py")):
        nodes = list(ast.walk(ast.parse((folder / name).read_bytes())))
        modules = [e for e in nodes if isinstance(e, (ast.Import, ast.ImportFrom))]
        functions = [e for e in nodes if isinstance(e, FUNCTIONS)]
        found = census.survey(folder, name)
        assert found["functions"] == len(functions)
        assert found["classes"] == sum(isinstance(e, ast.ClassDef) for e in nodes)
        if name == "blocks.py":
            assert len(found["imports"]) == len(modules) >= 11


def test_survey_does_not_warn(census: ModuleType, tree: Path) -> None:
    """Old escape sequences in somebody's file are no news."""
    (tree / "old.py").write_bytes(b"pattern = '\\d'\nwrong = 1 is 1\n")
    assert census.survey(tree, "old.py")["lines"] == 2


@pytest.mark.parametrize("name", BROKEN)
def test_survey_of_a_broken_file_raises(
    census: ModuleType, tree: Path, name: str
) -> None:
    """So that its task fails."""
    with pytest.raises(SyntaxError):
        census.survey(tree, name)


def test_command_takes_the_tool_that_is_there(
    census: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python is always there, and ignores what lies around."""
    monkeypatch.setattr(census.shutil, "which", {"tar": "/bin/tar"}.get)
    assert census.command("tar", "-c", python=["-m", "x"]) == ["tar", "-c"]
    assert census.command("zip", "-q", python=["-m", "x"]) == [
        sys.executable,
        "-I",
        "-m",
        "x",
    ]


def test_load_without_sqlite_writes_the_table(
    census: ModuleType, tree: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And does not speak of a database."""
    monkeypatch.setattr(census, "sqlite3", None)
    output.mkdir(parents=True)
    loaded = census.load(output, sorted(SOURCES), found(census, tree))
    assert list(loaded) == ["table", "compress", "totals", "imports", "summary"]
    assert not any(result["has_failed"] for result in loaded.values())
    assert "sqlite" not in loaded["summary"]["result"]
    with gzip.open(output / "files.csv.gz", "rt", encoding="utf-8") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert list(rows) == sorted(set(SOURCES) - set(BROKEN))
    assert rows["package/work.py"]["imports"] == "collections os sys"
    assert rows["empty.py"]["longest_function"] == ""


def test_the_load_writes_one_at_a_time(
    census: ModuleType, tree: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table and the database are ready together, and never at work together."""
    both, met = threading.Barrier(2), []

    def meeting(write: Any) -> Any:
        def wait_for_the_other(*arguments: Any) -> Any:
            try:
                both.wait(0.3)
            except threading.BrokenBarrierError:
                return write(*arguments)
            met.append(write)

        return wait_for_the_other

    for name in ("write_table", "write_database"):
        monkeypatch.setattr(census, name, meeting(getattr(census, name)))
    output.mkdir(parents=True)
    loaded = census.load(output, sorted(SOURCES), found(census, tree))
    assert not any(result["has_failed"] for result in loaded.values())
    assert met == []


def test_the_load_hands_results_on(
    census: ModuleType, tree: Path, output: Path
) -> None:
    """The table's path goes to the program that packs it, the counts to the summary."""
    output.mkdir(parents=True)
    loaded = census.load(output, sorted(SOURCES), found(census, tree))
    assert loaded["table"]["result"] == output / "files.csv"
    assert loaded["compress"]["result"]["command"][-1] == str(output / "files.csv")
    summary = loaded["summary"]["result"].splitlines()
    assert summary[:5] == loaded["totals"]["result"]
    assert set(loaded["imports"]["result"]) <= set(summary)
    assert len(loaded["imports"]["result"]) == 3


def test_a_summary_of_nothing(census: ModuleType, output: Path) -> None:
    """All files may be broken; no longest function is made up."""
    output.mkdir(parents=True)
    totals, imports = census.add_up([]), census.rank_imports([])
    summary = census.write_summary(
        output, totals, imports, {"a.py": "SyntaxError: no"}, {}
    )
    assert summary.startswith("parsed     0 files\nlines      0\n")
    assert "longest" not in summary
    assert summary.endswith("Failed tasks: 1\n  a.py: SyntaxError: no")
