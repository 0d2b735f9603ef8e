"""How a command is started."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial

from ..clock import monotonic
from .command_output import close
from .forks import POSIX, starting
from .groups import ProcessGroup, watch
from .guardian import Guardian, nameless_file
from .thread import flush

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, List, Optional, Tuple

    from ..tasks import Command

#: Seconds for which a start is tried again while somebody holds the program open for
#: writing. A child that was forked between its opening and its closing does, until it
#: has become another program.
BUSY = 2.0


def start(
    command: Command, guardian: Guardian, stopped: Callable[[], bool]
) -> Tuple[subprocess.Popen[bytes], ProcessGroup, List[int]]:
    """Start a command; also the ends of pipes from which its output is to be read.

    If the output is not captured, the command inherits a pipe that is never used, by
    which the guardian can find it.

    :param stopped: whether the command is not wanted any more.
    """
    if not command.capture_output:
        flush(sys.__stdout__, sys.__stderr__, caught=Exception)
    delay, until = 0.001, monotonic() + BUSY
    while True:
        try:
            return _start(command, guardian)
        except OSError as error:
            late = monotonic() > until or stopped()
            if error.errno != errno.ETXTBSY or late:
                raise
        time.sleep(delay)
        delay = min(2 * delay, 0.05)


def _start(
    command: Command, guardian: Guardian
) -> Tuple[subprocess.Popen[bytes], ProcessGroup, List[int]]:
    ours: List[int] = []
    theirs: List[int] = []
    count = len(command.read) or int(guardian.seeks)
    with starting():
        try:
            for _ in range(count):
                read_end, write_end = os.pipe()
                ours.append(read_end)
                theirs.append(write_end)
            with guardian.expecting(ours[0]) if guardian.seeks else nullcontext():
                process = _open(command, theirs)
                lost = partial(_is_lost, process.pid)
                group = watch(
                    process.pid, guardian, lost, process.wait, command.stop_signal
                )
                return process, group, ours
        except BaseException:
            close(ours)
            raise
        finally:
            close(theirs)


def _open(command: Command, pipes: List[int]) -> subprocess.Popen[bytes]:
    read = dict(zip(command.read, pipes))
    stdout, stderr, stdin = read.get(0), read.get(1), -1
    kept = command.pass_fds if read else (*command.pass_fds, *pipes)
    try:
        stdin = _input(command)
        if command.stdout is not None:
            stdout = _output_file(command.stdout)
        return subprocess.Popen(
            command.argv,
            shell=command.shell,
            executable=command.executable,
            cwd=command.cwd,
            env=environment(command.env) if command.env else None,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.STDOUT if command.merged else stderr,
            pass_fds=kept,
            start_new_session=POSIX,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    finally:
        if stdin >= 0:
            os.close(stdin)
        if command.stdout is not None and stdout is not None:
            os.close(stdout)


def _input(command: Command) -> int:
    """What it reads, as `Popen` takes it: a file, which nobody has to feed."""
    if command.input is None:
        return subprocess.DEVNULL
    file = nameless_file()
    try:
        with open(file, "wb", closefd=False) as stream:
            stream.write(command.input)
            stream.seek(0)
    except BaseException:
        os.close(file)
        raise
    return file


def _output_file(path: str) -> int:
    """An empty file for what it prints, which no other program inherits.

    :raises OSError: it cannot be opened, or is a pipe that nobody reads from.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOCTTY", 0)
    # A start must not wait for a reader of a pipe: all forks would wait for it.
    file = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if POSIX:
        os.set_blocking(file, True)
    return file


def environment(changes: Dict[str, Optional[str]]) -> Dict[str, str]:
    """The variables of this program, with changes; None unsets one."""
    while True:  # as a thread may change them while they are copied
        try:
            environ = dict(os.environ)
            break
        except (KeyError, RuntimeError):
            pass
    for name, value in changes.items():
        if not POSIX:
            name = name.upper()
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return environ


def _is_lost(pid: int) -> bool:
    """Whether somebody else has reaped this child, as far as that can be known."""
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        return True
    except AttributeError:  # not on this system
        pass
    return False
