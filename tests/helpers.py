"""What tests share: bounded waits, a look at processes, scripts of their own.

wait_until(condition)      a wait that ends, loudly when it takes too long
START_METHODS              how this platform can start processes
descendants(pid)           who is below a process now (needs /proc)
marked(mark)               who carries a mark in its environment (needs /proc)
start_script, run_script   a Python program in a session of its own; whatever
                           it started is found, and gone when the test ends
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from typing import Callable, NamedTuple, TypeVar, Union

T = TypeVar("T")
Code = Union[str, Path]

HAS_PROC = os.path.exists("/proc/self/stat")
START_METHODS = tuple(multiprocessing.get_all_start_methods())
# The one by which workers are there soonest, and know what was made before.
QUICKEST = "fork" if sys.platform == "linux" else START_METHODS[0]
# The environment variable whose value finds a process again when its parents are
# gone; nested marks are separated by colons.
MARK = "CONCURRA_TEST_MARK"


def wait_until(
    condition: Callable[[], T], timeout: float = 10.0, what: str = "the condition"
) -> T:
    """Return the first true value of `condition()`; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.001
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


class Process(NamedTuple):
    """A process as /proc shows it. `started` tells two users of one pid apart."""

    pid: int
    parent: int
    started: int
    state: str
    command: str

    def __str__(self) -> str:
        zombie = " (a zombie: nobody has waited for it)" if self.state == "Z" else ""
        return f"process {self.pid}, child of {self.parent}: {self.command}{zombie}"


def process(pid: int) -> Process | None:
    """The process with this pid, a zombie too; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="backslashreplace")
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses and spaces included.
    before, _, after = stat.rpartition(")")
    fields = after.split()
    command = arguments.replace(b"\0", b" ").decode(errors="backslashreplace").strip()
    return Process(
        pid=pid,
        parent=int(fields[1]),
        started=int(fields[19]),
        state=fields[0],
        command=command or before.partition("(")[2],
    )


def running() -> set[int]:
    """The pids of all processes, zombies included (needs /proc)."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def _read_all(file: str, among: Set[int] | None) -> Iterator[tuple[int, bytes]]:
    """This file of these processes, or of all, where it may be read."""
    for pid in running() if among is None else among:
        path = f"/proc/{pid}/{file}"
        with contextlib.suppress(OSError), open(path, "rb", buffering=0) as f:
            yield pid, f.read()


def descendants(pid: int, among: Set[int] | None = None) -> list[Process]:
    """Children of `pid`, their children and so on; zombies included.

    Where it is known who can be one, only these are looked at.
    """
    children: dict[int, list[int]] = {}
    for child, stat in _read_all("stat", among):
        parent = int(stat.rpartition(b")")[2].split()[1])
        children.setdefault(parent, []).append(child)
    family = [pid]
    for parent in family:
        family += children.get(parent, [])
    return [found for each in family[1:] if (found := process(each)) is not None]


def marked(mark: str, among: Set[int] | None = None) -> list[Process]:
    """Living processes that were started with `mark` in their environment.

    A process keeps it whoever adopts it and whatever session it enters; so do the
    processes that it forks. Where it is known who can have it, only these are read.
    """
    environments = _read_all("environ", among)
    pids = [pid for pid, environ in environments if mark.encode() in environ]
    found = [process(pid) for pid in pids]
    return [each for each in found if each is not None and each.state != "Z"]


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    found = process(pid)
    return found is not None and found.state != "Z"


def with_mark(environment: Mapping[str, str], mark: str) -> dict[str, str]:
    """A copy of the environment to which `mark` was added."""
    marks = [old for old in [environment.get(MARK)] if old]
    return {**environment, MARK: ":".join([*marks, mark])}


class Script:
    """A running Python program; made by `start_script`."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path, mark: str):
        self._process = process
        self._folder = folder
        self._mark = mark

    @property
    def pid(self) -> int:
        return self._process.pid

    def stdout(self) -> str:
        """What it has printed so far."""
        return (self._folder / "stdout").read_text("utf-8", "backslashreplace")

    def stderr(self) -> str:
        """What it has printed to standard error so far."""
        return (self._folder / "stderr").read_text("utf-8", "backslashreplace")

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, timeout: float = 30.0) -> int:
        """Its exit status, negative for a signal.

        When it takes too long this fails, with the stacks of all its threads.
        """
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)  # faulthandler shows the stacks
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
            self._process.kill()
            self._process.wait()
        raise AssertionError(f"the script did not end in {timeout:g} s\n{self}")

    def wait_for(self, text: str, timeout: float = 10.0) -> None:
        """Wait until it has printed `text` to standard output."""

        def printed() -> bool:
            if text in self.stdout():
                return True
            if self._process.poll() is not None and text not in self.stdout():
                raise AssertionError(f"the script never printed {text!r}\n{self}")
            return False

        try:
            wait_until(printed, timeout, f"{text!r} from the script")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self}") from None

    def family(self) -> list[Process]:
        """Everything alive that it started, directly or not; not itself."""
        return [each for each in marked(self._mark) if each.pid != self.pid]

    def survivors(self, grace: float = 5.0) -> list[Process]:
        """Who of its family is still there `grace` seconds from now.

        Returns at once when nobody is. To be asked when the script has ended.
        """
        try:
            wait_until(lambda: not self.family(), grace)
        except AssertionError:
            return self.family()
        return []

    def kill_all(self) -> None:
        """Leave nothing: the script, its group, its family wherever it went."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
        while HAS_PROC and (family := self.family()):
            for each in family:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each.pid, signal.SIGKILL)
            time.sleep(0.001)

    def __str__(self) -> str:
        return (
            f"exit status: {self._process.returncode}\n"
            f"--- stdout ---\n{self.stdout()}\n--- stderr ---\n{self.stderr()}"
        )


@contextlib.contextmanager
def start_script(
    code: Code,
    *args: str,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    name: str = "script.py",
) -> Iterator[Script]:
    """Run a Python program in a session of its own, until the `with` block ends.

    Args:
        code: source text, dedented, which becomes a file called `name`; or the path
            of a program that is there.
        cwd: None is an empty folder that goes with the block.
        env: changes to the environment of the tests, not instead of it.

    It has no standard input; its output goes to files, unbuffered, so that nobody who
    outlives it can hold up the test. At the end of the block it and its family are
    killed.
    """
    import tempfile
    import textwrap

    mark = os.urandom(16).hex()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "cwd").mkdir()
        if isinstance(code, str):
            path = folder / name
            path.write_text(textwrap.dedent(code), "utf-8")
        else:
            path = code.resolve()
        with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as e:
            process = subprocess.Popen(
                [sys.executable, "-u", "-X", "faulthandler", str(path), *args],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=e,
                cwd=cwd or folder / "cwd",
                env=with_mark({**os.environ, **(env or {})}, mark),
                start_new_session=True,
            )
        script = Script(process, folder, mark)
        stack.callback(script.kill_all)
        yield script


def run_script(
    code: Code,
    *args: str,
    timeout: float = 30.0,
    check: bool = False,
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    name: str = "script.py",
) -> subprocess.CompletedProcess[str]:
    """Run a Python program to its end and return its status and output.

    Fails when it does not end in time, when it leaves a process behind, and with
    `check` when its status is not 0. See `start_script` for the rest.
    """
    with start_script(code, *args, cwd=cwd, env=env, name=name) as script:
        status = script.wait(timeout)
        left = script.survivors() if HAS_PROC else []
        assert not left, "the script left behind:\n" + "\n".join(map(str, left))
        assert status == 0 or not check, f"the script failed\n{script}"
        return subprocess.CompletedProcess(
            [str(code), *args], status, script.stdout(), script.stderr()
        )
