"""Commands and functions in one run: is what git has archived what was committed?

Files are committed to a new repository and archived. Then a pipe lists the archive,
and at the same time tar unpacks it, for a comparison of checksums in Python.

Needs git, tar and sort.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from pathlib import Path

import concurra

FILES = {"zebra.txt": b"stripes\n", "apple.txt": b"red\n", "mole.txt": b"dark\n"}
GIT = ["git", "-c", "user.name=Example", "-c", "user.email=example@example.com"]
STEPS = ["init -q", "add .", "commit -q -m all", "archive -o ../all.tar HEAD"]
# Neither the settings nor a repository of whoever runs this may interfere.
APART = {"GIT_DIR": ".git", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


def write_files(folder: Path) -> None:
    for name, content in FILES.items():
        (folder / name).write_bytes(content)


def checksums(folder: Path) -> list[str]:
    files = sorted(folder.glob("*.txt"))
    return [f"{hashlib.sha256(f.read_bytes()).hexdigest()} {f.name}" for f in files]


def compare(one: Path, other: Path) -> str:
    if checksums(one) != checksums(other):
        raise ValueError(f"{one.name} and {other.name} differ")
    return "\n".join(checksums(other))


if __name__ == "__main__":
    runner = concurra.TaskRunner(timeout=60)
    with tempfile.TemporaryDirectory() as folder:
        source, copy = Path(folder, "source"), Path(folder, "copy")
        source.mkdir()
        copy.mkdir()
        runner.add_task(write_files, source, label="write")
        for before, step in zip(["write", *STEPS], STEPS):
            git = [*GIT, *step.split()]
            runner.add_command(git, step, depends_on=before, cwd=source, env=APART)
        runner.add_shell_command("tar -tf all.tar | sort", "list", STEPS[-1], folder)
        runner.add_command(["tar", "-xf", "../all.tar"], "unpack", STEPS[-1], copy)
        runner.add_task(compare, source, copy, label="compare", depends_on="unpack")
        results = runner.run(error_message="The archive is not to be trusted")
    if any(result["has_failed"] for result in results.values()):
        sys.exit(1)
    print("In the archive:", results["list"]["result"]["stdout"], sep="\n")
    print("Unpacked as committed:", results["compare"]["result"], sep="\n")
