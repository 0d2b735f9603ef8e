"""What is said where no worker process can be started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers import HAS_PROC, START_METHODS, run_script

UNFORKED = [method for method in START_METHODS if method != "fork"]

PROGRAM = """
import multiprocessing, os, sys, tempfile
import concurra

def lose_nothing():
    pass

def lose_directory():
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")

def lose_python():
    multiprocessing.set_executable("/nowhere/python")

def lose_temporary():
    tempfile._candidate_tempdir_list = lambda: ["/nowhere"]

def lose_spec():
    del sys.modules["__main__"].__spec__

if __name__ == "__main__":
    method, what = sys.argv[1:]
    globals()[what]()
    runner = concurra.TaskRunner(
        1, use_multiprocessing=True, mp_context=method, progress_stats=False
    )
    runner.add_task(abs, -1)
    print(runner.run(verify=False)[0]["error"])
    print(str(runner.results_registry[0]["trace"]).splitlines()[-1])
"""


def said(method: str, what: str, **variables: str) -> str:
    """The error; its trace, if there is one, has the same explanation at its end."""
    done = run_script(PROGRAM, method, what, env=variables, check=True)
    error, trace = done.stdout.splitlines()
    assert trace == "None" or trace.rpartition(" (")[2] == error.rpartition(" (")[2]
    return error


@pytest.mark.parametrize("method", UNFORKED)
def test_the_working_directory_is_gone(method: str) -> None:
    """Python's own error reads as if the function missed a file."""
    error = said(method, "lose_directory")
    assert error.startswith("FileNotFoundError: ")
    assert error.endswith(" (the working directory has been deleted)")


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="works there")
@pytest.mark.parametrize("method", UNFORKED)
def test_the_main_module_has_no_spec(method: str) -> None:
    """That is how `pdb` runs a script."""
    error = said(method, "lose_spec")
    assert error.startswith("AttributeError: ")
    assert error.endswith(" pdb takes that away: fork, or use threads)")


@pytest.mark.parametrize("method", UNFORKED)
def test_python_cannot_be_executed(method: str) -> None:
    """Nothing is wrong with the script then."""
    assert said(method, "lose_python").endswith(
        " (could '/nowhere/python' be executed?)"
    )


@pytest.mark.skipif("forkserver" not in START_METHODS, reason="needs a fork server")
@pytest.mark.skipif(not HAS_PROC, reason="paths of sockets differ")
def test_the_directory_for_temporary_files_has_a_long_path(tmp_path: Path) -> None:
    """The fork server's socket is in there."""
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    error = said("forkserver", "lose_nothing", TMPDIR=str(folder))
    assert error == (
        "OSError: AF_UNIX path too long "
        "(where a fork server has its socket: see TMPDIR)"
    )


@pytest.mark.skipif("forkserver" not in START_METHODS, reason="needs a fork server")
def test_there_is_no_directory_for_temporary_files() -> None:
    """As where all file systems are read-only."""
    error = said("forkserver", "lose_temporary")
    assert error.startswith(
        "FileNotFoundError: [Errno 2] No usable temporary directory"
    )
    assert error.endswith(" (where a fork server has its socket: see TMPDIR)")
