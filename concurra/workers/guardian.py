"""A small process that is there when this one is gone.

::

    this process ──> table, a file: a line for each child, replaced where it stands
         │                            │ read once, in the end
         └───────── pipe ───────> guardian (sh, in a session of its own)
                                      at its end, or a line: SIGKILL to all sessions

Handlers do not run on SIGKILL or `os._exit`, so what must survive those lives outside.
The guardian sleeps until the end of the pipe, whose write end only this process holds;
nothing is written to it until the run is over. So a child costs a few small writes to a
file that has no name, and wakes nobody.
"""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from contextlib import contextmanager, suppress

from .forks import POSIX, close_unshared, starting, unshared
from .sessions import reap_killed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Optional, Set, Tuple

if not hasattr(os, "memfd_create"):
    # Not when it is needed: a program that forks while another thread imports has
    # half a module in the child.
    import tempfile  # noqa: F401


class Guardian:
    """Kills what a run started when this process is gone, and leftovers at the end.

    One for a run, started before the first child. A child can be watched when its id
    is known, which is some time after its start. If a SIGKILL of this process comes
    between, a worker sees the end of its own pipe, and a command is found by a pipe
    that it holds (see `expecting`), where there is a ``/proc``.
    """

    #: Whether it can find out who holds a pipe.
    seeks = os.path.isdir("/proc/self/fd")

    _SHELL: Tuple[str, ...] = ("/bin/sh",)

    # The table is its standard output, as shells know only descriptors of one digit.
    # The variables ours_1, ours_2, ... name the sessions that are to end.
    #
    # A leftover's leader is reaped. If a process with that id is there all the same,
    # the id has been recycled, and the group is another's. Whoever holds the pipe of a
    # new child is one, or a child of it, except for this process, should it be alive.
    #
    # What is killed may have forked meanwhile, so there is a second look.
    _SCRIPT = r"""
    emulate sh
    trap '' HUP INT QUIT TERM
    finish() { kill -s KILL -- "-$1" || kill -s KILL "$1"; }
    sweep() {
        for stat in /proc/[0-9]*/stat; do
            read -r line < "$stat" || continue
            set -- ${line##*)}
            case $1$3$4 in Z* | X* | ?*[!0-9]*) continue ;; esac
            eval "[ \"\$ours_$4\" ]" && kill -s KILL -- "-$3"
        done
    }
    read -r nothing
    while read -r what id; do
        case $what in
            +) finish "$id"; any=1; eval "ours_$id=1" ;;
            =) if ! kill -s 0 "$id"; then
                   kill -s KILL -- "-$id"; any=1; eval "ours_$id=1"
               fi ;;
            @) ls -l /proc/[0-9]*/fd | while read -r line; do
                   case $line in
                       /proc/*:) pid=${line#/proc/} pid=${pid%/fd:} ;;
                       *" pipe:[$id]") [ "$pid" = "$PPID" ] || finish "$pid" ;;
                   esac
               done ;;
        esac
    done <&1
    [ "$any" ] && sweep && sweep
    """

    #: What `ps` shows of it, which is not the script.
    NAME = "concurra-guardian"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shell: Optional[subprocess.Popen[bytes]] = None
        self._pipe: Optional[_End] = None
        self._table: Optional[_Table] = None
        self._useless = not POSIX
        self._leftovers: Set[int] = set()  # whose sessions may have members

    def start(self) -> None:
        """Be there; called before each child is started."""
        if self._shell is not None or self._useless:
            return
        with self._lock:
            if self._shell is None and not self._useless:
                try:
                    self._start()
                except (OSError, RuntimeError):
                    # The tasks are not to suffer for that: the run goes on, unguarded.
                    self._useless = True

    @contextmanager
    def expecting(self, pipe: int) -> Iterator[None]:
        """Held while a child is started, until it is watched.

        :param pipe: an end of a pipe whose other end it will hold, and nobody else.
        """
        inode = os.fstat(pipe).st_ino
        self._add("@", inode)
        try:
            yield
        finally:
            self._remove("@", inode)

    def watch(self, pid: int) -> None:
        """Kill the session of ``pid`` when this process ends."""
        self._add("+", pid)

    def dismiss(self, pid: int, leftovers: bool) -> None:
        """The leader is reaped: forget it, or with ``leftovers`` see to its session."""
        if leftovers:
            self._leftovers.add(pid)
        self._remove("+", pid, "=" if leftovers else "")

    def close(self) -> None:
        """Kill all leftovers, and end. Called when nothing is alive any more."""
        with self._lock:
            self._useless = True
            table, self._table = self._table, None
        self._say_the_end()
        for end in (table, self._pipe):
            if end is not None:
                close_unshared(end)
        if self._shell is not None:
            self._shell.wait()
        if self._leftovers:
            reap_killed(self._leftovers)

    def _say_the_end(self) -> None:
        # The pipe may not end: a child that was forked behind Python's back has a copy.
        # Nor must it be written to if nobody reads, as SIGPIPE may be at its default.
        shell, pipe = self._shell, self._pipe
        if shell is not None and pipe is not None and shell.poll() is None:
            with suppress(OSError):
                os.write(pipe.fd, b"\n")

    def _add(self, what: str, number: int) -> None:
        with self._lock, suppress(OSError):  # no space: that one goes unguarded
            if self._table is not None:
                self._table.add(what, number)

    def _remove(self, what: str, number: int, rest: str = "") -> None:
        with self._lock:
            try:
                if self._table is not None:
                    self._table.remove(what, number, rest)
            except OSError:
                # Rather no guardian than one that does not know whose ids are others'.
                self._useless = True
                if self._shell is not None:
                    self._shell.kill()

    def _start(self) -> None:
        with starting():
            self._table = table = _Table()
            read_end, write_end = os.pipe()
            self._pipe = _End(write_end)
            try:
                self._shell = subprocess.Popen(
                    [*self._SHELL, "-c", 'eval "$script"', self.NAME],
                    stdin=read_end,
                    stdout=table.fd,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"script": self._SCRIPT},  # others, such as TMOUT, are obeyed
                    start_new_session=True,
                )
            finally:
                os.close(read_end)
                # Not before: a `Popen` that runs the hooks at a fork, as gevent's does,
                # would close the table of the guardian itself. Forks wait meanwhile.
                unshared(table)
                unshared(self._pipe)


class _End:
    """A descriptor that is closed once."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


class _Table(_End):
    """A file with a line for each child: what it is known by, and its number."""

    #: Characters in a line; no line lies on two pages, so each is written whole.
    WIDTH = 16

    def __init__(self) -> None:
        super().__init__(nameless_file())
        self._lines: Dict[Tuple[str, int], int] = {}  # those that may be replaced
        self._free: List[int] = []
        self._length = 0

    def add(self, what: str, number: int) -> None:
        """Write a line.

        :raises OSError: there is no space; nothing has changed.
        """
        if (what, number) not in self._lines:
            if not self._free:
                self._free.append(self._length)
                self._length += 1
            self._write(self._free[-1], f"{what} {number}")
            self._lines[what, number] = self._free.pop()

    def remove(self, what: str, number: int, rest: str = "") -> None:
        """Blank a line, or have it say ``rest`` of the number for good.

        :raises OSError: it could not be replaced.
        """
        line = self._lines.pop((what, number), None)
        if line is not None:
            self._write(line, f"{rest} {number}" if rest else "")
            if not rest:
                self._free.append(line)

    def _write(self, line: int, text: str) -> None:
        width = self.WIDTH
        if self.fd >= 0:  # it is closed in forked children, who have no say
            os.pwrite(self.fd, f"{text:{width - 1}}\n".encode(), line * width)


def nameless_file() -> int:
    """A new file that is gone with its last descriptor, in memory if possible."""
    try:
        return os.memfd_create("concurra")
    except (AttributeError, OSError) as error:
        if getattr(error, "errno", None) in (errno.EMFILE, errno.ENFILE):
            raise  # `tempfile` would say that there is no folder for it
        from tempfile import TemporaryFile

        with TemporaryFile() as file:
            return os.dup(file.fileno())
