"""Functions of a `__main__`, by whatever way the program was started."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import zipfile

import pytest

from tests.helpers import START_METHODS

from .support import BOUND, SAME_LIBRARY

UNFORKED = [method for method in START_METHODS if method != "fork"]
CAUSE = "workers cannot import this __main__: put the function into a module"

PROGRAM = """
import sys
import concurra

def here(n):
    return n + 1

if __name__ == "__main__":
    def under_guard(n):
        return n

    runner = concurra.TaskRunner(
        1,
        use_multiprocessing=True,
        mp_context="{method}",
        fallback_to_thread_on_pickle_error={fallback},
        progress_stats=False,
    )
    runner.add_task(here, 1, label="here")
    runner.add_task(under_guard, 1, label="guard")
    runner.add_task(abs, -1, label="other")
    for result in runner.run(verify=False).values():
        print(result["status"], result["result"], result["error"], sep="|")
        print("in a container" not in str(result["trace"]), result["execution_mode"])
"""


def run(folder, how, method, fallback=False):
    """What the program prints that is started in this way."""
    text = PROGRAM.format(method=method, fallback=fallback)
    package = folder / "app"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(text)
    (package / "mod.py").write_text(text)
    with zipfile.ZipFile(folder / "app.pyz", "w") as archive:
        archive.writestr("__main__.py", text)
    cell = f"import types; exec(compile({text!r}, '<cell>', 'exec'))"
    arguments = {
        "package": ["-m", "app"],
        "module": ["-m", "app.mod"],
        "script": ["app/mod.py"],
        "folder": ["app"],
        "zip": ["app.pyz"],
        "-c": ["-c", text],
        "-i": ["-i", "-c", text],
        "cell": ["-c", cell],
    }
    done = subprocess.run(
        [sys.executable, *arguments[how]],
        cwd=folder,
        env={**os.environ, **SAME_LIBRARY},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOUND * 2,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 6, textwrap.indent(done.stdout + done.stderr, "  ")
    return lines


@pytest.mark.parametrize("method", UNFORKED)
@pytest.mark.parametrize("how", ["package", "folder", "zip", "-c", "-i", "cell"])
def test_a_main_that_workers_cannot_import(tmp_path, how, method):
    """The error says so, and what to do; the others run."""
    here, _, guard, _, other, _ = run(tmp_path, how, method)
    for line in (here, guard):
        status, result, error = line.split("|")
        assert (status, result) == ("Failed", "None")
        assert error.startswith("AttributeError: ")
        assert error.endswith(f" ({CAUSE})")
    assert other == "Successful|1|None"


@pytest.mark.parametrize("method", UNFORKED)
@pytest.mark.parametrize("how", ["module", "script"])
def test_a_main_that_workers_can_import(tmp_path, how, method):
    """What it has outside of the guard can be sent; of all else the error says why."""
    here, _, guard, _, other, _ = run(tmp_path, how, method)
    assert here == "Successful|2|None"
    assert guard.startswith("Failed|None|AttributeError: ")
    assert guard.endswith(
        "(workers import the script, and it is not there outside of "
        "`if __name__ == '__main__':`)"
    )
    assert other == "Successful|1|None"


@pytest.mark.parametrize("method", UNFORKED)
def test_the_fallback_serves_it(tmp_path, method):
    """It runs in a thread, as whatever else cannot be sent."""
    lines = run(tmp_path, "package", method, fallback=True)
    assert lines[::2] == [
        "Successful|2|None",
        "Successful|1|None",
        "Successful|1|None",
    ]
    modes = [line.split()[-1] for line in lines[1::2]]
    assert modes == ["thread_fallback", "thread_fallback", "process"]


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
@pytest.mark.parametrize("how", ["package", "-c", "zip"])
def test_under_fork_nothing_is_imported(tmp_path, how):
    """A forked worker has the functions."""
    lines = run(tmp_path, how, "fork")
    assert lines[::2] == ["Successful|2|None", "Successful|1|None", "Successful|1|None"]
