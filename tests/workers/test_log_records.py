"""Log records of process workers, by themselves: with and without a dispatcher."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import threading
from typing import Any

import pytest

from concurra.workers import awaited
from concurra.workers.guardian import Guardian
from concurra.workers.log_forwarding import LogForwarding
from concurra.workers.log_records import levels, pass_on
from concurra.workers.outbox import Outbox
from concurra.workers.process import ProcessWorker
from concurra.workers.transfer import SocketChannel, connect
from tests.helpers import START_METHODS

from .support import BOUND, Dispatched, call, run

NAME = "users.workers"


def say(count: int) -> int:
    for number in range(count):
        logging.getLogger(NAME).warning("%d", number)
    return os.getpid()


def say_and_exit(count: int) -> None:
    say(count)
    os._exit(3)


_later: list[threading.Thread] = []


def say_later() -> None:
    """Leave a thread that goes on to log when the task has ended."""
    _later.append(threading.Thread(target=say, args=(50,)))
    _later[0].start()


def wait_for_it() -> None:
    _later[0].join()


@pytest.mark.parametrize("make", [ProcessWorker, Dispatched])
@pytest.mark.parametrize("method", START_METHODS)
def test_records_come_before_the_outcome(
    make: Any, method: str, guardian: Guardian
) -> None:
    """All of them, whatever the outcome is; also those that come out of turn."""
    found: queue.SimpleQueue[Any] = queue.SimpleQueue()
    context = multiprocessing.get_context(method)
    worker = make(context, guardian, grace=BOUND, pass_on=found.put)
    try:
        assert run(worker, call(say, 100)).ok
        assert found.qsize() == 100
        assert run(worker, call(say_later)).ok
        assert run(worker, call(wait_for_it)).ok
        assert not run(worker, call(say_and_exit, 100)).ok
    finally:
        worker.close()
    assert found.qsize() == 250
    texts = [found.get()[0]["msg"] for _ in range(250)]
    assert texts == [str(number) for count in (100, 50, 100) for number in range(count)]


def test_a_message_within_a_message_comes_after_it() -> None:
    """A finalizer that logs in the midst of a record, say."""
    ours, theirs = connect(multiprocessing.get_context())
    outbox = Outbox(theirs)
    send = theirs.send

    def interrupted(message: Any) -> None:
        theirs.send = send  # type: ignore[method-assign]
        outbox.send(theirs.pack_record(("within",)))
        send(message)

    theirs.send = interrupted  # type: ignore[method-assign]
    outbox.send_whole(theirs.pack_record(("first",)))
    outbox.send(theirs.pack("last"))
    assert [ours.receive() for _ in range(3)] == [("first",), ("within",), "last"]
    ours.close()
    theirs.close()


def test_the_rest_is_records_alone() -> None:
    """A reply that nobody waits for is not even unpickled."""
    ours, theirs = connect(multiprocessing.get_context())
    assert isinstance(ours, SocketChannel)
    for number in range(3):
        theirs.send(theirs.pack_record((number,)))
        theirs.send(theirs.pack(Poison()))
    theirs.send([theirs.pack_record(("half",))[0][:-3]])
    theirs.close()
    assert list(ours.rest()) == [(0,), (1,), (2,)]
    ours.close()


class Poison:
    def __reduce__(self) -> Any:
        return _poisoned, ()


def _poisoned() -> None:
    raise AssertionError("this was to be skipped")


def test_records_that_cannot_be_read_whole_are_given_as_far_as_they_can() -> None:
    """An attribute of a class that is not there is left out."""
    found: list[logging.LogRecord] = []
    logger = logging.getLogger(NAME)
    handler = logging.Handler()
    handler.emit = found.append  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        pass_on(({"name": NAME, "msg": "x", "args": None, "levelno": 40}, b"no pickle"))
    finally:
        logger.removeHandler(handler)
    assert [record.getMessage() for record in found] == ["x"]


def test_levels_of_loggers_that_have_one() -> None:
    """And of those that are disabled; placeholders have none."""
    logging.getLogger(f"{NAME}.a.b").setLevel(7)
    logging.getLogger(f"{NAME}.c").disabled = True
    try:
        disabled, found = levels()
    finally:
        logging.getLogger(f"{NAME}.c").disabled = False
        logging.getLogger(f"{NAME}.a.b").setLevel(0)
    assert disabled == logging.root.manager.disable
    assert found[""] == logging.root.level
    assert found[f"{NAME}.a.b"] == 7 and found[f"{NAME}.c"] is None
    assert f"{NAME}.a" not in found


def test_who_passes_on_is_known() -> None:
    """As long as it is in a handler, and in its own thread alone."""
    passing, found = LogForwarding(), []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(passing.is_at_it())  # type: ignore
    logger = logging.getLogger(NAME)
    logger.addHandler(handler)
    try:
        passing(({"name": NAME, "msg": "x", "levelno": 40}, b""))
    finally:
        logger.removeHandler(handler)
    assert found == [True] and not passing.is_at_it()


def test_a_call_when_a_module_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, right after the import; at once if it is there already."""
    import colorsys
    import sys

    told: list[str] = []
    before = list(sys.meta_path)
    awaited.when_imported("colorsys", lambda: told.append("there"))
    assert told == ["there"] and sys.meta_path == before
    monkeypatch.delitem(sys.modules, "colorsys")
    awaited.when_imported("colorsys", lambda: told.append("imported"))
    import keyword  # noqa: F401

    assert told == ["there"]
    import colorsys as again

    assert told == ["there", "imported"] and sys.meta_path == before
    assert again is not colorsys and again.rgb_to_hsv(1, 1, 1) == (0.0, 0.0, 1)
