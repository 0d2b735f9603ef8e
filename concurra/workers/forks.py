"""How processes are started, by many threads of a program that may also fork.

A fork copies every descriptor, so a child that is forked while another one's pipe is
being made keeps that pipe open for ever. Whoever starts a program does it in
`starting`, whoever forks does it in `forking`, and a hook holds up every other
``os.fork`` of this process meanwhile. What a forked child must not keep (`unshared`)
it closes at once.
"""

from __future__ import annotations

import os
import signal  # noqa: F401
import sys
import threading
from contextlib import contextmanager, suppress
from io import BufferedRandom, BufferedReader, BufferedWriter, RawIOBase, TextIOWrapper
from weakref import WeakSet

from ..threads import NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Collection, Dict, Iterator, List, Optional, Protocol, Set
else:
    Protocol = object

POSIX = os.name == "posix"

#: What `signal` is made of, without the enums: they cost more than a small task.
raw: Any = sys.modules["_signal"]

#: Seconds that a fork waits for programs that are being started.
PATIENCE = 2.0


class Closeable(Protocol):
    """An end of a pipe, or something else that holds descriptors."""

    def close(self) -> None:
        """Close it; a second time does nothing."""


# Programs may be started side by side, but not beside a fork. Whoever starts one passes
# through _turn and is counted; whoever forks keeps _turn and waits until nobody is
# counted.
#
# Lock order: _forking, the locks that other libraries take before a fork, _turn. So
# _turn is never held by a thread that calls os.fork, but for the hook's sake. Within
# `starting` nobody may enter it again, or wait for _turn: a fork could come between.
_forking = threading.Lock()
_turn = threading.RLock()
_counting = threading.Lock()
_busy = threading.Lock()  # held while anybody is counted
_starters: Set[int] = set()  # the threads that are counted

_unshared: WeakSet[Closeable] = WeakSet()
_kept: Dict[int, Collection[Optional[Closeable]]] = {}  # by the thread that forks
_ignored: List[Any] = []  # filters of warnings, within `forking`
_ending = False


@contextmanager
def starting() -> Iterator[None]:
    """Held by whoever starts a program, from its first pipe to its start.

    :raises RuntimeError: this program is ending.
    """
    me = threading.get_ident()
    with _turn:
        _refuse_at_the_end()
        with _counting:
            if not _starters:
                _busy.acquire()
            _starters.add(me)
    try:
        yield
    finally:
        with _counting:
            _starters.discard(me)
            if not _starters:
                _busy.release()


@contextmanager
def forking(*keep: Optional[Closeable]) -> Iterator[None]:
    """Held by whoever forks a worker, who is to ``keep`` its own of what is unshared.

    The worker starts with those signals blocked for which the program has handlers. It
    inherits these, and is to forget them first.

    :raises RuntimeError: this program is ending.
    """
    with _forking, _handled_signals_blocked(), _warned_for_a_reason():
        _refuse_at_the_end()
        _kept[threading.get_ident()] = keep
        try:
            yield
        finally:
            del _kept[threading.get_ident()]


@contextmanager
def spawning(by_server: bool) -> Iterator[None]:
    """Held by whoever has `multiprocessing` start a worker that is not forked.

    The calling thread keeps its mask. `multiprocessing` unblocks signals when it starts
    its resource tracker: a SIGTERM that the program waits for would kill it.

    :param by_server: the fork server does it, which may have to be started first. It
        inherits the mask, and learns by SIGCHLD that a worker has ended.
    :raises RuntimeError: this program is ending.
    """
    with starting():
        if not POSIX:
            yield
            return
        mask = raw.pthread_sigmask(raw.SIG_BLOCK, ())
        lent = {raw.SIGCHLD}.intersection(mask) if by_server else ()
        raw.pthread_sigmask(raw.SIG_UNBLOCK, lent)
        try:
            yield
        finally:
            raw.pthread_sigmask(raw.SIG_SETMASK, mask)
            if lent:
                # One that came meanwhile is lost to whoever waits for it.
                os.kill(os.getpid(), raw.SIGCHLD)


@contextmanager
def _handled_signals_blocked() -> Iterator[None]:
    """What would call a handler in this thread waits until the end of the block."""
    handled = {n for n in raw.valid_signals() if callable(raw.getsignal(n))}
    mask = raw.pthread_sigmask(raw.SIG_BLOCK, ())
    try:
        raw.pthread_sigmask(raw.SIG_BLOCK, handled)
        yield
    finally:
        raw.pthread_sigmask(raw.SIG_SETMASK, mask)


@contextmanager
def _warned_for_a_reason() -> Iterator[None]:
    """Python warns of a fork only if there are threads of the program's own.

    From 3.12 on it warns wherever there are threads, and where warnings are errors,
    `os.fork` raises when it has forked. Those of this library hold nothing then that a
    worker would wait for.
    """
    main = threading.main_thread()
    others = [each for each in threading.enumerate() if each is not main]
    if sys.version_info < (3, 12) or any(each.name != NAME for each in others):
        yield
        return
    import re
    import warnings

    where = re.compile(r"multiprocessing\.popen_fork$")
    text = re.compile("This process .* is multi-threaded")
    # Not by a function of `warnings`: these have earlier warnings given once more, and
    # would undo what other threads change meanwhile.
    ignored = ("ignore", text, DeprecationWarning, where, 0)
    _ignored.append(ignored)
    filters: List[Any] = warnings.filters
    filters.insert(0, ignored)
    try:
        yield
    finally:
        _warn_again(filters)
        _warn_again(warnings.filters)
        _ignored.clear()


def _warn_again(filters: List[Any]) -> None:
    for each in _ignored:
        while each in filters:
            filters.remove(each)


def unshared(end: Closeable) -> None:
    """Have every forked child close ``end`` at once.

    Called within `starting`, where the end is made, unless it does no harm that a child
    keeps it; undone by `close_unshared`.
    """
    _unshared.add(end)


def close_unshared(*ends: Optional[Closeable]) -> None:
    """Close such ends.

    Their numbers may be given to other files the next moment, so no child may be forked
    that still takes them for the ends'. This waits for programs that are being started.
    """
    with _turn:
        for end in filter(None, ends):
            _unshared.discard(end)
            end.close()


def rehearse_start() -> None:
    """Open as many descriptors as the start of a process takes, and close them.

    `multiprocessing` leaves its first pipe open if there is none for the second.
    """
    ends: List[int] = []
    try:
        for _ in range(3):
            ends += os.pipe()
    finally:
        for end in ends:
            os.close(end)


def refuse_starts() -> None:
    """The program is ending: from now on `starting` and `forking` raise.

    Starts that have begun go on first: a fork server, or a worker that is half started,
    would print a traceback if it was left alone. The wait is bounded, as the thread
    that starts them may hang.
    """
    global _ending
    with _turn:
        _ending = True
    for lock in (_forking, _busy):
        if lock.acquire(timeout=PATIENCE):
            lock.release()


def _refuse_at_the_end() -> None:
    if _ending:
        raise RuntimeError("no process can be started: the program is ending")


def _before_fork() -> None:
    # A fork within `starting` is the start of a program in a way that runs the hooks,
    # such as a `Popen` with a ``preexec_fn``. Two of them would wait for each other.
    # What is forked there becomes another program at once, with no pipe but its own, so
    # nobody needs to wait.
    if threading.get_ident() not in _starters:
        _turn.acquire()
        # Not for ever: this thread may hold a lock that another library takes before a
        # fork, and that one of the starters needs, because it forks.
        if _busy.acquire(timeout=PATIENCE):
            _busy.release()


def _in_parent() -> None:
    if threading.get_ident() not in _starters:
        try:
            _turn.release()
        except RuntimeError:
            pass  # Ctrl-C came before `_before_fork` had acquired it


def _in_child() -> None:
    global _forking, _turn, _counting, _busy, _starters
    _forking, _turn = threading.Lock(), threading.RLock()
    _counting, _busy, _starters = threading.Lock(), threading.Lock(), set()
    kept = _kept.get(threading.get_ident())
    if kept is not None:
        for stream in _streams():
            _renew(stream)
    _kept.clear()  # its own children are to keep nothing
    for end in list(_unshared):
        if end not in (kept or ()):
            try:
                end.close()
            except OSError:
                pass
    _unshared.clear()
    if _ignored:
        _warn_again(sys.modules["warnings"].filters)
        _ignored.clear()


def _streams() -> Iterator[Any]:
    """Where threads of the program, and the tasks of a worker, read and write."""
    yield from (sys.stdin, sys.stdout, sys.stderr)
    yield from (sys.__stdin__, sys.__stdout__, sys.__stderr__)
    logging: Any = sys.modules.get("logging")
    for handler in list(getattr(logging, "_handlerList", ())):
        with suppress(Exception):  # an attribute of the user's own making
            yield handler().stream


_BUFFERS = BufferedReader, BufferedWriter, BufferedRandom


class _Nowhere(RawIOBase):
    """Takes what nobody is to have."""

    def writable(self) -> bool:
        return True

    readable = seekable = writable

    def seek(self, *_: int) -> int:
        return 0

    def write(self, data: Any) -> int:
        return len(data)


def _renew(stream: Any) -> None:
    """Make the buffer of a stream anew, empty, with a lock that is free.

    A thread of the parent may be reading or printing at the fork. It has the lock, for
    ever here, where there is no such thread; and what is in the buffer is the parent's,
    as is the text that is on its way there.
    """
    try:
        buffer, file = stream.buffer, stream.buffer.raw
        if type(buffer) not in _BUFFERS or file.closed:
            return
        try:
            if type(buffer) is not BufferedReader and type(stream) is TextIOWrapper:
                buffer.__init__(_Nowhere())
                stream.flush()
        finally:
            buffer.__init__(file)
    except Exception:
        pass  # there is none, it is detached, or something else stands in for it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child
    )
