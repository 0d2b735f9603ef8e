"""A census of a source tree: extract, transform and load, with two task runners.

The data is on every machine: the source of Python's own standard library.

* Extract: list its files.
* Transform: parse them in worker processes, one task a file, while external commands
  pack the same files into an archive and take its checksum.
* Load: write a table, a database and a summary, by tasks that hand their results on to
  each other and write to the disk one at a time.

Some files of that tree are broken on purpose: they are data for Python's own tests.
Their tasks fail, the results of all others stand, and the summary names the failures.

A checkpoint records what has been parsed and packed. Run it again with the same
directory, and only what is new is done, also after a kill. A page for a browser,
run.html, tells how the transform went; it needs Jinja2.

    python examples/source_census.py --output census
"""

from __future__ import annotations

import argparse
import ast
import csv
import logging
import os
import shutil
import sys
import sysconfig
import tempfile
import time
import warnings
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any, Optional, Sequence

import concurra
from concurra import checkpoint, reports, task

try:
    import sqlite3
except ImportError:  # Python can be built without it; then the table has to do
    sqlite3 = None  # type: ignore[assignment]

Record = dict[str, Any]  # what is known about one file
Results = dict[str, dict[str, Any]]  # what a runner returns: one result for each label
Failures = dict[str, str]  # the errors of the tasks that failed, by label

LISTING, ARCHIVE = "sources.txt", "sources.tar.gz"
TABLE, DATABASE, SUMMARY = "files.csv", "census.sqlite3", "summary.txt"
CHECKPOINT, PAGE = "checkpoint.sqlite", "run.html"
COLUMNS = "file lines functions classes longest_function longest_length imports".split()
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")  # have statements in them
SKIPPED = {"site-packages", "dist-packages", "__pycache__"}

SCHEMA = """
CREATE TABLE files (
    file TEXT PRIMARY KEY, lines INTEGER, functions INTEGER, classes INTEGER,
    longest_function TEXT, longest_length INTEGER
);
CREATE TABLE imports (file TEXT REFERENCES files, module TEXT);
CREATE TABLE failures (task TEXT PRIMARY KEY, error TEXT);
"""

# What Python does instead on a machine that lacks tar or sha256sum.
PACK = """
import os, sys, tarfile
archive, tree, listing = sys.argv[1:]
with tarfile.open(archive, "w:gz") as tar, open(listing, "rb") as names:
    for name in os.fsdecode(names.read()).splitlines():
        tar.add(os.path.join(tree, name), name)
"""
HASH = """
import hashlib, sys
with open(sys.argv[1], "rb") as file:
    print(hashlib.sha256(file.read()).hexdigest(), sys.argv[1])
"""


def list_sources(tree: Path) -> list[str]:
    """Return the paths of the Python files below ``tree``, relative to it."""
    sources = []
    for folder, subfolders, names in os.walk(tree):
        subfolders[:] = [name for name in subfolders if name not in SKIPPED]
        files = (Path(folder, name) for name in names if name.endswith(".py"))
        sources += [file.relative_to(tree).as_posix() for file in files]
    return sorted(sources)


def survey(tree: Path, file: str) -> Record:
    """Parse one file and count what it holds; a file that is broken raises."""
    source = Path(tree, file).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an odd escape sequence is no news here
        nodes: list[Any] = [ast.parse(source, file)]
    functions: list[tuple[int, str]] = []
    imports: set[str] = set()
    for node in nodes:
        for block in BLOCKS:  # as ast.walk does, without the expressions
            nodes += getattr(node, block, ())
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            functions.append((length, node.name))
        elif isinstance(node, ast.Import):
            imports.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imports.add(node.module.partition(".")[0])
    longest_length, longest_function = max(functions, default=(0, None))
    return {
        "file": file,
        "lines": len(source.splitlines()),
        "functions": len(functions),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "longest_function": longest_function,
        "longest_length": longest_length,
        "imports": sorted(imports),
    }


def stamp(path: Path) -> Optional[tuple[int, int]]:
    """Return what tells that a file has changed: its size and its time."""
    try:
        status = path.stat()
    except OSError:
        return None  # its task will say why
    return status.st_size, status.st_mtime_ns


def command(tool: str, *arguments: Any, python: Sequence[Any]) -> list[Any]:
    """Return a tool's command line, or Python's where the tool is missing."""
    if shutil.which(tool):
        return [tool, *arguments]
    return [sys.executable, "-I", *python]


def transform(
    tree: Path, sources: list[str], output: Path, workers: Optional[int]
) -> Results:
    """Archive and survey all sources; those that fail, fail alone."""
    listing = output / LISTING
    listing.write_bytes(os.fsencode("".join(f"{name}\n" for name in sources)))
    tar = ["-czf", ARCHIVE, "-C", str(tree), "-T", str(listing)]
    pack = ["-c", PACK, ARCHIVE, str(tree), str(listing)]
    # The arguments of a task do not tell that a file has changed, so its version does.
    versions = {source: stamp(tree / source) for source in sources}
    saved = output / CHECKPOINT
    if not (output / ARCHIVE).exists():  # it may be recorded, and removed since
        checkpoint.clear(saved, labels=["archive"])

    runner = concurra.TaskRunner(
        workers,
        name="transform",
        timeout=120,
        use_multiprocessing=True,
        checkpoint=saved,
    )
    # Of the tasks that are ready, the one added first starts first: begin with the
    # archive, which takes longest.
    archive = runner.add_command(
        command("tar", *tar, python=pack),
        label="archive",
        cwd=output,
        version=versions,
    )
    runner.add_command(
        command("sha256sum", ARCHIVE, python=["-c", HASH, ARCHIVE]),
        label="checksum",
        depends_on=[archive],
        cwd=output,
    )
    for source in sources:
        survey_it = task(survey, version=versions[source])
        runner.add_task(survey_it, tree, source, label=source)
    found = runner.run(verify=False)  # a report of all these tasks would be very long
    try:
        reports.write_html(runner, output / PAGE)
    except ImportError as error:
        logging.info("No page of the run: %s", error)
    return found


def load(output: Path, sources: list[str], found: Results) -> Results:
    """Write down what the transform has found: the data first, the summary last."""
    failures = {label: r["error"] for label, r in found.items() if r["has_failed"]}
    records = [found[file]["result"] for file in sources if file not in failures]
    written = {f"{TABLE}.gz": ""}
    if "checksum" not in failures:
        sha256 = found["checksum"]["result"]["stdout"].split()[0]
        written[ARCHIVE] = f", SHA-256 {sha256}"

    # Threads, as this is input and output. Those that hold the disk take turns.
    runner = concurra.TaskRunner(name="load", resources={"disk": 1})
    disk = {"disk": 1}
    # What an adder returns stands for the task's result: here the table's path.
    table = runner.add_task(
        task(write_table, resources=disk), output, records, label="table"
    )
    compress = runner.add_command(
        command("gzip", "-f", table, python=["-m", "gzip", table]),
        label="compress",
        resources=disk,
    )
    data = [compress]
    if sqlite3:
        write = task(write_database, resources=disk)
        data.append(runner.add_task(write, output, records, failures, label="database"))
        written[DATABASE] = ""
    totals = runner.add_task(add_up, records, label="totals")
    imports = runner.add_task(rank_imports, records, label="imports")
    runner.add_task(
        write_summary,
        output,
        totals,
        imports,
        failures,
        written,
        label="summary",
        depends_on=data,
    )
    return runner.run(error_message="The load failed")


def write_table(output: Path, records: list[Record]) -> Path:
    """Write one CSV row for each file; return where they are."""
    path = output / TABLE
    with open(path, "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for row in records:
            table.writerow({**row, "imports": " ".join(row["imports"])})
    return path


def write_database(output: Path, records: list[Record], failures: Failures) -> None:
    """Write everything that is known into a new SQLite database."""
    path = output / DATABASE
    path.unlink(missing_ok=True)
    imports = ((row["file"], module) for row in records for module in row["imports"])
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(SCHEMA)
        database.executemany(
            "INSERT INTO files VALUES (:file, :lines, :functions, :classes, "
            ":longest_function, :longest_length)",
            records,
        )
        database.executemany("INSERT INTO imports VALUES (?, ?)", imports)
        database.executemany("INSERT INTO failures VALUES (?, ?)", failures.items())


def add_up(records: list[Record]) -> list[str]:
    """Return lines about how much there is, and about the longest function."""
    lines = [f"parsed     {len(records):,} files"]
    for column in ("lines", "functions", "classes"):
        lines.append(f"{column:<10} {sum(row[column] for row in records):,}")
    longest = max(records, key=lambda row: row["longest_length"], default=None)
    if longest and longest["longest_function"]:
        told = "longest    {longest_function}, {longest_length:,} lines, in {file}"
        lines.append(told.format(**longest))
    return lines


def rank_imports(records: list[Record]) -> list[str]:
    """Return lines about the ten modules that most files import."""
    modules = Counter(module for row in records for module in row["imports"])
    return [f"  {module:<16} {n:>6,}" for module, n in modules.most_common(10)]


def write_summary(
    output: Path,
    totals: list[str],
    imports: list[str],
    failures: Failures,
    written: dict[str, str],
) -> str:
    """Write, and return, what the census found and which files it has ``written``."""
    lines = list(totals)
    for name, note in written.items():
        size = (output / name).stat().st_size
        lines.append(f"written    {name}, {size:,} bytes{note}")
    lines += ["", "Most imported modules, and by how many files:", *imports]
    lines += ["", f"Failed tasks: {len(failures):,}"]
    lines += [f"  {label}: {error}" for label, error in failures.items()]
    summary = "\n".join(lines)
    (output / SUMMARY).write_text(f"{summary}\n", encoding="utf-8")
    return summary


def count_restored(found: Results) -> int:
    """Return how many results were recorded by an earlier run."""
    notes = [result["warning"] or "" for result in found.values()]
    return sum(note.startswith("Restored from checkpoint") for note in notes)


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """Run the census; return 0, or 1 if the archive or the load failed."""
    parser = argparse.ArgumentParser(description="Take a census of Python source.")
    parser.add_argument("--output", type=Path, help="a directory (default: a new one)")
    parser.add_argument("--tree", type=Path, default=sysconfig.get_path("stdlib"))
    parser.add_argument("--workers", type=int, help="default: one for each processor")
    parser.add_argument("--limit", type=int, help="take only the first files")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )

    started = time.monotonic()
    tree = options.tree.resolve()
    sources = list_sources(tree)[: options.limit]
    if not sources:
        parser.error(f"no Python files below {tree}")
    output = (options.output or Path(tempfile.mkdtemp(prefix="census-"))).resolve()
    output.mkdir(parents=True, exist_ok=True)
    logging.info("%d files below %s; writing to %s", len(sources), tree, output)

    # Two runners, because `depends_on` means "after these have succeeded": in a single
    # one, the first file that does not parse would skip the whole load. So the
    # transform ends, whatever it met, and the load is made from what it has found.
    found = transform(tree, sources, output, options.workers)
    loaded = load(output, sources, found)
    if loaded["summary"]["has_failed"]:  # it waits for all the others, so for them too
        return 1
    print(f"Census of {tree}\n\n{loaded['summary']['result']}\n")
    restored = count_restored(found)
    print(f"An earlier run had done {restored:,} of the {len(found):,} tasks.")
    print(f"Took {time.monotonic() - started:.1f} seconds; the files are in {output}")
    return 1 if found["checksum"]["has_failed"] else 0


if __name__ == "__main__":
    # An error may quote characters that the console does not know.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.exit(main())
