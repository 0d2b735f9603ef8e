"""What the tasks of a stress run do, and the log in which they say so.

Worker processes import this, so it is light. Every task appends lines
``what number attempt pid`` to one file; appends are atomic, so the order of the lines
is the order of the events, across threads, processes and programs:

    start, end   an attempt of a task; there is no end if it was killed
    child        a process that the task left behind
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Callable, NoReturn

#: Seconds after which what hangs gives up, if nobody ends it.
FOREVER = 60.0

_children: list[subprocess.Popen[bytes]] = []


class Unprintable(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Alien(BaseException):
    """An error that `except Exception` lets through."""


class Poison:
    """Something that can be pickled and not unpickled."""

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> NoReturn:
    raise RuntimeError("this was poisoned")


def note(log: str, what: str, number: int, attempt: int, pid: int = 0) -> None:
    """Append a line to the log, in one piece."""
    fd = os.open(log, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(fd, f"{what} {number} {attempt} {pid or os.getpid()}\n".encode())
    finally:
        os.close(fd)


def attempt_of(log: str, number: int) -> int:
    """Which attempt of the task this is, counted in a file."""
    path = f"{log}.{number}"
    before = 0
    with contextlib.suppress(FileNotFoundError), open(path) as file:
        before = int(file.read())
    with open(path, "w") as file:
        file.write(str(before + 1))
    return before + 1


def perform(
    log: str, number: int, acts: Sequence[str], pause: float = 0.0, *extra: object
) -> Any:
    """An attempt: the act that stands in its place, or the last one."""
    attempt = attempt_of(log, number)
    pid = os.getpid()
    note(log, "start", number, attempt)
    try:
        if "STRESS_MESS" in os.environ or _is_there(log):
            raise AssertionError("an earlier task's environment")
        if pause:
            time.sleep(pause)
        act = acts[min(attempt, len(acts)) - 1]
        if act.startswith("linger"):
            return _hang(log, number, attempt, float(act.split()[1]))
        return ACTS[act](log, number, attempt)
    finally:
        if os.getpid() == pid:
            note(log, "end", number, attempt)


async def perform_async(
    log: str, number: int, acts: Sequence[str], pause: float = 0.0, *extra: object
) -> Any:
    """The same, awaited."""
    import asyncio

    await asyncio.sleep(pause)
    return perform(log, number, acts)


def _is_there(log: str) -> bool:
    return os.path.samefile(os.getcwd(), os.path.dirname(log))


def value_of(number: int, attempt: int) -> dict[str, object]:
    """What a task returns."""
    return {"task": number, "attempt": attempt, "text": "naïve \udc80 😀"}


# -- acts: (log, number, attempt) -> value -------------------------------------------


def _big(log: str, number: int, attempt: int) -> bytes:
    return b"x" * 300_000


def _raise(log: str, number: int, attempt: int) -> NoReturn:
    raise ValueError(f"task {number}, attempt {attempt}")


def _unprintable(log: str, number: int, attempt: int) -> NoReturn:
    raise Unprintable


def _alien(log: str, number: int, attempt: int) -> NoReturn:
    raise Alien(f"from task {number}")


def _interrupt(log: str, number: int, attempt: int) -> NoReturn:
    raise KeyboardInterrupt(f"in task {number}")


def _exit(log: str, number: int, attempt: int) -> NoReturn:
    sys.exit(3)


def _exit_well(log: str, number: int, attempt: int) -> NoReturn:
    sys.exit(0)


def _kill(log: str, number: int, attempt: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(FOREVER)


def _hard_exit(log: str, number: int, attempt: int) -> NoReturn:
    os._exit(9)


def _hard_exit_well(log: str, number: int, attempt: int) -> NoReturn:
    os._exit(0)


def _hang(log: str, number: int, attempt: int, seconds: float = FOREVER) -> str:
    until = time.monotonic() + seconds
    while not os.path.exists(f"{log}.release") and time.monotonic() < until:
        time.sleep(0.01)
    return "too late"


def _stubborn(log: str, number: int, attempt: int) -> str:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return _hang(log, number, attempt)


def _orphan(log: str, number: int, attempt: int) -> dict[str, object]:
    child = subprocess.Popen(["sleep", str(FOREVER)])
    _children.append(child)
    note(log, "child", number, attempt, child.pid)
    return value_of(number, attempt)


def _mess(log: str, number: int, attempt: int) -> dict[str, object]:
    os.environ["STRESS_MESS"] = "left by a task"
    os.chdir(os.path.dirname(log))
    return value_of(number, attempt)


def _fork(log: str, number: int, attempt: int) -> dict[str, object]:
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert status == 0, status
    return value_of(number, attempt)


ACTS: dict[str, Callable[[str, int, int], Any]] = {
    "value": lambda log, number, attempt: value_of(number, attempt),
    "none": lambda log, number, attempt: None,
    "big": _big,
    "unpicklable": lambda log, number, attempt: lambda: None,
    "poison": lambda log, number, attempt: Poison(),
    "raise": _raise,
    "unprintable": _unprintable,
    "alien": _alien,
    "interrupt": _interrupt,
    "exit": _exit,
    "exit well": _exit_well,
    "hang": _hang,
    # For processes alone:
    "kill": _kill,
    "hard exit": _hard_exit,
    "hard exit well": _hard_exit_well,
    "stubborn": _stubborn,
    "orphan": _orphan,
    "mess": _mess,
    "fork": _fork,
}

# -- the same for the shell ----------------------------------------------------------

#: What a big output is made of.
LINE = "x" * 39 + "\n"

SHELL_ACTS = {
    "value": "echo out {number}; fin",
    "silent": "fin",
    "garbage": r"printf 'a\377b'; fin",
    "big": f"i=0; while [ $i -lt 3000 ]; do echo {LINE.strip()}; i=$((i+1)); done; fin",
    "leftover": "sleep 60 >/dev/null 2>&1 & echo child {number} $n $! >>$log; fin",
    "fail": "echo out; echo oops >&2; fin; exit 3",
    "fail silently": "fin; exit 4",
    "kill": "kill -9 $$",
    "terminate": "kill -TERM $$",
    "hang": "echo waiting; exec sleep 60",
    "stubborn": "trap '' TERM; echo waiting; sleep 60",
}


def script(log: str, number: int, acts: Sequence[str], pause: float, mute: bool) -> str:
    """A program for the shell that does what `perform` does."""
    count = shlex.quote(f"{log}.{number}")
    done = [SHELL_ACTS.get(act) or act.replace("linger", "exec sleep") for act in acts]
    cases = [f"{i}) {each} ;;" for i, each in enumerate(done[:-1], 1)]
    cases.append(f"*) {done[-1]} ;;")
    lines = [
        "exec >/dev/null 2>&1" if mute else "",
        f"log={shlex.quote(log)} n=0",
        f"[ -f {count} ] && read -r n <{count}",
        f"n=$((n+1)); echo $n >{count}",
        "echo start {number} $n $$ >>$log",
        "fin() { echo end {number} $n $$ >>$log; }",
        f"sleep {pause}" if pause else "",
        "case $n in",
        *cases,
        "esac",
    ]
    return "\n".join(filter(None, lines)).replace("{number}", str(number))
