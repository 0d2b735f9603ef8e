"""Values on their way to another process: whole, as they were, and little copied."""

from __future__ import annotations

import array
import multiprocessing
import os
import pickle
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

from concurra.outcomes import FAILED
from concurra.workers.guardian import Guardian
from concurra.workers.process import ProcessWorker
from concurra.workers.transfer import CHUNK, PIECES, Channel, Ended, PipeChannel
from concurra.workers.transfer import SocketChannel, connect
from tests.helpers import START_METHODS, start_script
from tests.workers.support import (
    BOUND,
    ROOT,
    TestPool,
    add,
    call,
    run,
)

MIB = 1 << 20
SIZES = [0, 1, CHUNK - 64, CHUNK - 1, CHUNK, CHUNK + 1, 5 * MIB + 1]

local = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="needs socket pairs")
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="needs /proc, to limit memory"
)

Ends = tuple[Channel, Channel]


def pipes(context: Any) -> Ends:
    """What `connect` does where there are no local sockets."""
    one, other = context.Pipe()
    return PipeChannel(one), PipeChannel(other)


@pytest.fixture(params=[connect, pipes])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """As on this system, and as it is done where there are no local sockets."""
    both: Ends = request.param(multiprocessing.get_context(START_METHODS[0]))
    yield both
    for end in both:
        end.close()


@pytest.fixture
def sockets() -> Iterator[tuple[SocketChannel, SocketChannel]]:
    """With sockets."""
    one, other = map(SocketChannel, socket.socketpair())
    yield one, other
    one.close()
    other.close()


@pytest.fixture(params=START_METHODS)
def worker(request: pytest.FixtureRequest, guardian: Guardian) -> ProcessWorker:
    """Closed by the fixture `close`."""
    context = multiprocessing.get_context(request.param)
    return ProcessWorker(context, guardian, grace=BOUND)


class Sending:
    """Sends in a thread, for as long as the block lasts that receives."""

    def __init__(self, end: Channel, *values: Any) -> None:
        messages = [end.pack(value) for value in values]
        self._thread = threading.Thread(
            target=lambda: [end.send(message) for message in messages], daemon=True
        )

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._thread.join(BOUND)
        assert not self._thread.is_alive(), "send() did not return"


def carry(ends: Ends, value: Any) -> Any:
    """What arrives of it."""
    with Sending(ends[0], value):
        return ends[1].receive()


def block(size: int) -> bytes:
    """So many bytes, not all the same."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


# What arrives -------------------------------------------------------------------------


class Bytes(bytes):
    """A kind of bytes of the user's own."""


class Buffer:
    """Is pickled as a numpy array is."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: int) -> Any:
        assert protocol == 5
        return Buffer, (pickle.PickleBuffer(self.data),)

    @property
    def readonly(self) -> bool:
        return memoryview(self.data).readonly


def numbers(data: bytes) -> array.array[int]:
    return array.array("B", data)


def text(data: bytes) -> str:
    return data.decode("latin-1")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [bytes, bytearray, Bytes, numbers, text])
def test_values_of_all_sizes(
    ends: Ends, size: int, kind: Callable[[bytes], Any]
) -> None:
    """Arrive with their type and content, alone and within others."""
    value = kind(block(size))
    alone, (_, within) = carry(ends, value), carry(ends, [1, {"key": (value, 2)}])
    assert alone == value
    assert type(alone) is type(value)
    assert within == {"key": (value, 2)}
    assert type(within["key"][0]) is type(value)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_buffers_of_all_sizes(ends: Ends, size: int, kind: Any) -> None:
    """Those that can be written to can be written to where they arrive, no others."""
    first, second = carry(ends, (Buffer(kind(block(size))), Buffer(kind(b"end"))))
    assert bytes(first.data) == block(size)
    assert bytes(second.data) == b"end"
    assert first.readonly is second.readonly is (kind is bytes)


def test_many_small_values(ends: Ends) -> None:
    """More than one chunk of them."""
    value = [(number, str(number)) for number in range(50_000)]
    assert carry(ends, value) == value


def test_more_pieces_than_a_system_call_takes(ends: Ends) -> None:
    """Buffers and bytes; none is lost or exchanged."""
    count = PIECES + 7
    values = [Buffer(bytearray([n % 256]) * CHUNK) for n in range(count)]
    large = [bytes([n % 256]) * CHUNK for n in range(100)]
    arrived, same = carry(ends, (values, large))
    assert [each.data for each in arrived] == [each.data for each in values]
    assert same == large


@pytest.mark.parametrize("most", [1, 1000, CHUNK + 1])
def test_more_than_a_system_call_takes(
    ends: Ends, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """What takes several is the same in the end."""
    monkeypatch.setattr("concurra.workers.transfer.MOST_BYTES", most)
    value = [block(2 * CHUNK), "text"]
    assert carry(ends, value) == value


def test_one_object_stays_one(ends: Ends) -> None:
    """What occurs twice is sent once."""
    data = bytes(MIB)
    first, second = carry(ends, (data, data))
    assert first is second


def test_a_buffer_in_parts_is_refused_as_ever(ends: Ends) -> None:
    """By the pickler; arrays see to it themselves that this does not happen."""
    with pytest.raises(pickle.PicklingError, match="contiguous"):
        ends[0].pack(Buffer(memoryview(bytes(4 * CHUNK))[::2]))


def test_messages_one_after_another(ends: Ends) -> None:
    """Each is received whole, and alone."""
    values = [block(size) for size in SIZES] + [b"end"]
    with Sending(ends[0], *values):
        assert [ends[1].receive() for _ in values] == values


# What is not done ---------------------------------------------------------------------


@local
def test_what_is_large_is_not_copied(sockets: Ends) -> None:
    """It is sent from where it lies; an array of bytes is not in its owner's way."""
    data, buffer = block(MIB), bytearray(MIB)
    message = sockets[0].pack((data, [data[1:]], Buffer(buffer)))
    assert any(piece is data for piece in message)
    views = [piece for piece in message if isinstance(piece, memoryview)]
    assert [view.obj for view in views] == [buffer]
    own = bytearray(MIB)
    kept = sockets[0].pack(own)
    own.append(1)
    assert sum(map(len, kept)) < len(own) + CHUNK


def test_a_message_that_was_sent_holds_nothing(sockets: Ends) -> None:
    """A worker that is idle does not keep its last result."""
    buffer = bytearray(MIB)
    message = sockets[0].pack(Buffer(buffer))
    sender = threading.Thread(target=sockets[0].send, args=(message,), daemon=True)
    sender.start()
    assert sockets[1].receive().data == buffer
    sender.join(BOUND)
    assert not message
    buffer.append(1)


@local
def test_the_defaults_of_the_program_do_not_matter() -> None:
    """Nobody waits for less long, and programs that are started inherit nothing."""
    socket.setdefaulttimeout(0.001)
    try:
        one, other = connect(multiprocessing.get_context(START_METHODS[0]))
    finally:
        socket.setdefaulttimeout(None)
    for end in (one, other):
        assert end.source.gettimeout() is None
        assert not end.source.get_inheritable()
        end.close()
        end.close()


# What goes wrong ----------------------------------------------------------------------


def explode(*args: object) -> None:
    raise ValueError("not here")


class Explosive:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return explode, ()


class Exiting:
    """Exits when it is unpickled."""

    def __reduce__(self) -> Any:
        return sys.exit, (3,)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bad", [Explosive(), Exiting()])
def test_a_message_that_cannot_be_unpickled(ends: Ends, size: int, bad: Any) -> None:
    """Leaves the next one as it is, wherever in it the fault lies."""
    data = block(size)
    value = data, Buffer(bytearray(data)), bad, data[::-1], Buffer(data)
    with Sending(ends[0], value, "next"):
        with pytest.raises((ValueError, SystemExit)):
            ends[1].receive()
        assert ends[1].receive() == "next"


@pytest.mark.parametrize("value", ["small", bytes(5 * MIB)], ids=["small", "large"])
def test_nobody_is_there(ends: Ends, value: Any) -> None:
    """Neither to receive nor to send: both ends say so, again and again."""
    ends[1].close()
    for _ in range(2):
        with pytest.raises(Ended):
            ends[0].send(ends[0].pack(value))
        with pytest.raises(Ended):
            ends[0].receive()


@local
@pytest.mark.parametrize("part", [1, 15, 16, 17, 100, CHUNK, CHUNK + 100, MIB])
@pytest.mark.parametrize("kind", [bytes, lambda data: Buffer(bytearray(data))])
def test_the_sender_ends_in_the_middle(
    sockets: tuple[SocketChannel, SocketChannel], part: int, kind: Any
) -> None:
    """The receiver learns of it, wherever that is; there is no half value."""
    one, other = sockets
    message = b"".join(one.pack([kind(block(MIB)), "tail"]))

    def send() -> None:
        one.source.sendall(message[:part])
        one.close()

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    for _ in range(2):
        with pytest.raises(Ended):
            other.receive()
    sender.join(BOUND)


@local
def test_the_receiver_ends_in_the_middle(
    sockets: tuple[SocketChannel, SocketChannel],
) -> None:
    """The sender learns of it when it receives: its message may have had effects."""
    one, other = sockets
    message = one.pack(block(8 * MIB))

    def receive() -> None:
        other.source.recv(100)
        other.close()

    receiver = threading.Thread(target=receive, daemon=True)
    receiver.start()
    one.send(message)
    receiver.join(BOUND)
    assert not message
    with pytest.raises(Ended):
        one.receive()


@local
def test_an_interrupt_within_a_message(
    sockets: tuple[SocketChannel, SocketChannel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ends the connection: nobody knows where the next message begins."""
    one, other = sockets
    take = other._read_into

    def interrupted(view: memoryview) -> int:
        if len(view) >= CHUNK:
            raise KeyboardInterrupt
        return take(view)

    monkeypatch.setattr(other, "_read_into", interrupted)
    with Sending(one, block(CHUNK)):
        for _ in range(2):
            with pytest.raises(Ended):
                other.receive()


def test_an_interrupt_of_who_waits_at_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does the same there, where nobody knows whether a message was begun."""
    one, other = pipes(multiprocessing.get_context(START_METHODS[0]))

    def interrupted() -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(other.source, "recv_bytes", interrupted)
    with pytest.raises(Ended):
        other.receive()
    one.close()
    other.close()


# Through a worker ---------------------------------------------------------------------


def echo(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


def test_arguments_and_results_of_a_worker(worker: ProcessWorker) -> None:
    """Positional and by name, there and back."""
    data = block(5 * MIB)
    outcome = run(worker, call(echo, data, bytearray(data), key=[data, "text"]))
    assert outcome.error is None
    (first, second), kwargs = outcome.value
    assert first == second == data
    assert (type(first), type(second)) == (bytes, bytearray)
    assert kwargs == {"key": [data, "text"]}


@pytest.mark.parametrize("method", START_METHODS)
def test_a_worker_without_local_sockets(
    guardian: Guardian, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Does the same, also when a job or a result cannot be unpickled or it ends."""
    monkeypatch.setattr("concurra.workers.process.connect", pipes)
    worker = ProcessWorker(multiprocessing.get_context(method), guardian, grace=BOUND)
    try:
        data = block(MIB)
        assert run(worker, call(echo, data, key=1)).value == ((data,), {"key": 1})
        assert run(worker, call(echo, Explosive())).error == "ValueError: not here"
        assert run(worker, call(Explosive)).error == (
            "ValueError: Could not record task result: not here"
        )
        assert run(worker, call(add, 1, 2)).value == 3
        assert run(worker, call(os._exit, 3)).error == (
            "RuntimeError: Worker process exited with code 3 during the task"
        )
    finally:
        worker.close()


def tighten(room: int) -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


@linux
@pytest.mark.parametrize("kind", [bytes, lambda data: Buffer(bytearray(data)), text])
def test_an_argument_for_which_the_worker_has_no_memory(
    worker: ProcessWorker, kind: Any
) -> None:
    """Fails its own task with MemoryError; the worker goes on."""
    assert run(worker, call(tighten, 30 * MIB)).ok
    outcome = run(worker, call(echo, 1, kind(bytes(80 * MIB)), 2))
    assert outcome.status == FAILED
    assert outcome.error and outcome.error.startswith("MemoryError")
    assert not worker.spent
    assert run(worker, call(add, 1, 2)).value == 3


def count_and_exit(path: str) -> None:
    with open(path, "a") as file:
        file.write("x")
    os._exit(3)


class Deadly:
    """Ends the process in which it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return count_and_exit, (str(self.path),)


@pytest.mark.parametrize("size", [1, 8 * MIB])
def test_a_crash_while_arguments_arrive_is_not_repeated(
    tmp_path: Path, size: int
) -> None:
    """Also if not all of them have been sent by then."""
    pool = TestPool(multiprocessing.get_context(START_METHODS[0]), grace=BOUND)
    pooled = pool.hire()
    try:
        outcome = run(pooled, call(echo, Deadly(tmp_path / "count"), bytes(size)))
        assert outcome.mode == "process"
        assert outcome.error == (
            "RuntimeError: Worker process exited with code 3 during the task"
        )
        assert (tmp_path / "count").read_text() == "x"
        assert run(pooled, call(add, 1, 2)).value == 3
    finally:
        pooled.close()
        pool.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX signals")
@pytest.mark.parametrize("pieces", [1, 2])
def test_who_sends_to_nobody_lives_on(pieces: int) -> None:
    """Also a program that dies of that by default, as shell tools do."""
    code = """
    import signal, sys
    from concurra.workers.transfer import Ended, SocketChannel
    import socket

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    here, there = socket.socketpair()
    there.close()
    try:
        SocketChannel(here).send([b"piece"] * int(sys.argv[1]))
    except Ended:
        print("ended")
    """
    with start_script(code, str(pieces), env=ROOT) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == "ended\n"


def test_arrays_of_numpy(worker: ProcessWorker) -> None:
    """Arrive as they are: order, strides and whether they can be written to."""
    numpy = pytest.importorskip("numpy", reason="numpy is no dependency of the tests")
    plain = numpy.arange(MIB).reshape(1024, 1024)
    fixed = plain.copy()
    fixed.flags.writeable = False
    for array_ in (plain, fixed, plain.T, plain[::2, ::3], plain[:3, :3]):
        outcome = run(worker, call(echo, array_))
        assert outcome.error is None
        ((arrived,), _) = outcome.value
        assert (arrived == array_).all()
        assert arrived.dtype == array_.dtype
        assert arrived.flags.writeable is array_.flags.writeable
        assert arrived.flags.f_contiguous is array_.flags.f_contiguous or (
            not array_.flags.forc
        )
