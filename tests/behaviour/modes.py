"""The same deeds in every mode: as a function in a thread, in a process, or a command.

A deed has two forms, a function at the top level of this module and a line for the
shell, that do the same. Nothing heavy is imported here, so that spawned workers load
this quickly.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import concurra
from tests.helpers import START_METHODS, wait_until

from .support import BOUND, STAY, stay, write

#: How functions can run. In the last one it is a process that cannot take them.
FUNCTIONS = ("thread", *START_METHODS, "fallback")
MODES = (*FUNCTIONS, "command") if os.name == "posix" else FUNCTIONS
#: Those in which what runs can be killed.
KILLABLE = tuple(mode for mode in MODES if mode not in ("thread", "fallback"))


def runner_in(mode, *args, **options):
    """A runner whose functions run in a mode."""
    if mode in START_METHODS:
        options.update(use_multiprocessing=True, mp_context=mode)
    elif mode == "fallback":
        options.update(
            use_multiprocessing=True, fallback_to_thread_on_pickle_error=True
        )
    options.setdefault("progress_stats", False)
    return concurra.TaskRunner(*args, **options)


def mode_of(mode):
    """What its results have as `execution_mode`."""
    names = {"fallback": "thread_fallback", "command": "subprocess"}
    return "process" if mode in START_METHODS else names.get(mode, mode)


def as_in(mode, function):
    """The function, such that it runs in that mode."""
    return (lambda *args: function(*args)) if mode == "fallback" else function


class Deed:
    """Something to be done, in its two forms.

    :param line: for the shell; ``{0}`` and so on are the arguments.
    """

    def __init__(self, function, line):
        self.function = function
        self.line = line

    def add(self, runner, mode, *args, label, depends_on=None, **options):
        """Add it to a runner of that mode, with options."""
        more = {"label": label, "depends_on": depends_on}
        if mode == "command":
            return runner.add_shell_command(self.line.format(*args), **more, **options)
        task = concurra.task(as_in(mode, self.function), **options)
        return runner.add_task(task, *args, **more)


def _succeed():
    return "done"


def _fail():
    raise ValueError("bad")


def _note(path, text="x"):
    with open(path, "a") as file:
        file.write(f"{text}\n")


def _flaky(path, failures):
    _note(path)
    attempt = len(Path(path).read_text().split())
    if attempt <= failures:
        raise ConnectionError(f"attempt {attempt}")
    return f"attempt {attempt}"


def _slow_at_first(path, pid_file):
    """The first attempt has to be stopped; the second is quick."""
    _note(path)
    if len(Path(path).read_text().split()) == 1:
        stay(pid_file)
    return "done"


def _hold(folder, name, count):
    """Be there together with others; say how many were there at the most."""
    here = Path(folder, name)
    write(here)
    most = 0
    deadline = time.monotonic() + 0.1
    while time.monotonic() < deadline or (count and most < count):
        most = max(most, len(list(Path(folder).glob("at-*"))))
        if time.monotonic() > deadline + BOUND:
            break
        time.sleep(0.005)
    here.unlink()
    return most


def _wait_for(path):
    wait_until(lambda: os.path.exists(path), what=f"file {path}", timeout=BOUND)
    return "done"


SUCCEED = Deed(_succeed, "echo done")
FAIL = Deed(_fail, "echo bad >&2; exit 3")
NOTE = Deed(_note, "echo {1} >> {0}")
FLAKY = Deed(_flaky, "echo x >> {0}; test $(wc -l < {0}) -gt {1}")
STAYS = Deed(stay, STAY)
SLOW_AT_FIRST = Deed(
    _slow_at_first,
    "echo x >> {0}; if test $(wc -l < {0}) = 1; then " + STAY.format("{1}") + "; fi",
)
HOLD = Deed(
    _hold,
    "touch {0}/{1}; sleep 0.1; ls {0} | grep -c '^at-'; rm {0}/{1}",
)
WAIT_FOR = Deed(_wait_for, "until test -e {0}; do sleep 0.01; done")


def lines(path):
    """What has been noted, without waiting for it."""
    return Path(path).read_text().split() if os.path.exists(path) else []
