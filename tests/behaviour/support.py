"""What these tests share: meeting points, and the documented form of a result.

Tests and tasks meet; they never sleep and hope. In one process they meet at a `Gate`
or a `threading.Barrier`, across processes at files. Every wait has an end, and an
error that says what did not happen.

Nothing heavy is imported here (no pytest), so that spawned workers load this quickly.
"""

from __future__ import annotations

import os
import re
import threading
import time
from datetime import datetime
from functools import lru_cache
from pathlib import Path

import concurra
from tests.helpers import alive, wait_until

BOUND = 20.0

# The environment in which a script imports the same concurra as the tests.
SAME_LIBRARY = {"PYTHONPATH": str(Path(concurra.__file__).resolve().parents[1])}

FIELDS = (
    "task_name",
    "start_time",
    "end_time",
    "duration",
    "duration_seconds",
    "result",
    "error",
    "trace",
    "status",
    "has_failed",
    "output",
    "execution_mode",
    "warning",
    "attempts",
    "task_retries",
    "retried",
    "retry_errors",
)
MODES = ("thread", "process", "thread_fallback", "subprocess", None)
STATUSES = ("Successful", "Failed", "Terminated")
TERMINATED = "RuntimeError: Execution terminated before completion"
UNTRIGGERED = "Skipped: no dependency failed"
BEHIND_IT = "Skipped: it depends on a task that was skipped as no dependency failed"


class Gate:
    """Holds tasks until the test opens it; leaving the `with` block opens it for sure.

    A thread that the runner has given up goes on until its task returns, so a test that
    has such a thread holds it at a gate, and thereby ends it.
    """

    def __init__(self):
        self._open = threading.Event()
        self._waiting = 0
        self._lock = threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.open()

    def open(self):
        self._open.set()

    def wait(self, value=None):
        """To be called by a task: wait here, then return `value`."""
        with self._lock:
            self._waiting += 1
        if not self._open.wait(BOUND):
            raise AssertionError("gate was never opened")
        return value

    def reached_by(self, count):
        """To be called by a test: wait until `count` tasks have come here."""
        wait_until(lambda: self._waiting >= count, what=f"{count} at the gate")


# Files, where processes meet --------------------------------------------------


def write(path, text=""):
    """Write a file that appears with its whole content, or not at all."""
    unfinished = f"{path}.{os.getpid()}.unfinished"
    Path(unfinished).write_text(str(text))
    os.replace(unfinished, path)


def read(path):
    """Wait for a file of `write`, and return its text."""
    wait_until(lambda: os.path.exists(path), what=f"file {path}")
    return Path(path).read_text().strip()


def meet(folder, name, count):
    """A barrier between processes: arrive as `name`, wait until `count` are here."""
    write(Path(folder, f"{name}.here"))
    wait_until(
        lambda: len(list(Path(folder).glob("*.here"))) >= count,
        what=f"{count} at the meeting in {folder}",
    )


def stay(pid_file):
    """A task that must be stopped from outside: leave the process id, then linger."""
    write(pid_file, os.getpid())
    time.sleep(BOUND * 3)
    return "was not stopped"


STAY = "echo $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 60"  # the same for a shell


def wait_for_end_of(pid):
    """Wait until that process runs no longer."""
    wait_until(lambda: not alive(int(pid)), what=f"end of process {pid}")


# Results ----------------------------------------------------------------------


def check(result):
    """Assert that `result` has the documented fields, and agrees with itself."""
    assert type(result) is dict
    assert sorted(result) == sorted(FIELDS)
    assert isinstance(result["task_name"], str)
    assert result["output"] is result["result"]
    _check_times(result)
    _check_status(result)
    _check_attempts(result)


@lru_cache(maxsize=64)
def _moment(text):
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")


def _check_times(result):
    assert _moment(result["start_time"]) <= _moment(result["end_time"])
    seconds = result["duration_seconds"]
    assert type(seconds) is float
    assert seconds >= 0
    assert seconds == round(seconds, 2)
    if seconds < 60:
        assert result["duration"] == f"{seconds} sec"
    else:
        assert re.fullmatch(r"\d+(\.\d+)? min", result["duration"])


def _check_status(result):
    assert result["status"] in STATUSES
    idle = result["warning"] in (UNTRIGGERED, BEHIND_IT)  # nothing to do: no failure
    assert result["has_failed"] is (result["status"] != "Successful" and not idle)
    assert result["execution_mode"] in MODES
    assert result["warning"] is None or isinstance(result["warning"], str)
    assert result["trace"] is None or isinstance(result["trace"], str)
    if result["status"] == "Successful":
        assert result["error"] is None
        assert result["trace"] is None
    elif idle:
        assert (result["status"], result["error"]) == ("Terminated", None)
    else:
        assert re.match(r"\w+: ", result["error"])
    if result["status"] == "Terminated":
        assert result["result"] is None


def _check_attempts(result):
    assert type(result["attempts"]) is int
    assert type(result["task_retries"]) is int
    assert result["retried"] is (result["attempts"] > 1)
    assert type(result["retry_errors"]) is list
    assert all(isinstance(error, str) for error in result["retry_errors"])
    if result["attempts"] == 0:
        assert result["execution_mode"] is None
        assert result["duration_seconds"] == 0
        assert result["retry_errors"] == []
    else:
        assert result["execution_mode"] is not None
    failed_attempts = {
        "Successful": (result["attempts"] - 1,),
        "Failed": (result["attempts"],),
        "Terminated": (max(0, result["attempts"] - 1), result["attempts"]),
    }
    assert len(result["retry_errors"]) in failed_attempts[result["status"]]


def statuses(results):
    """The status of each task, by label."""
    return {label: result["status"] for label, result in results.items()}


def recorded(path):
    """The digests of the labels in a checkpoint, which a run may use meanwhile."""
    import shutil
    import sqlite3
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        try:
            shutil.copy(path, copy)
            shutil.copy(f"{path}-wal", f"{copy}-wal")
        except FileNotFoundError:
            pass  # it has just been made, or closed
        file = sqlite3.connect(copy)
        try:
            return {label for (label,) in file.execute("SELECT label FROM successes")}
        except sqlite3.DatabaseError:  # in the midst of a change
            return set()
        finally:
            file.close()
