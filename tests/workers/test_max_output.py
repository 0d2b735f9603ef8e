"""The beginning and the end of a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.workers.max_output import Kept


def kept(limit: int, *pieces: bytes) -> bytes:
    found = Kept(limit)
    for piece in pieces:
        found.append(piece)
    return b"".join(found)


@given(
    st.integers(1, 40),
    st.lists(st.binary(max_size=50), max_size=20),
)
def test_the_beginning_and_the_end(limit: int, pieces: list[bytes]) -> None:
    """All that fits; else both halves, and the number of bytes between them."""
    data, shown = b"".join(pieces), kept(limit, *pieces)
    if len(data) <= limit:
        assert shown == data
        return
    head, tail = data[: limit - limit // 2], data[len(data) - limit // 2 :]
    end = b"" if head.endswith(b"\n") else b"\n"
    left_out = len(data) - limit
    assert shown == head + end + b"... %d bytes left out ...\n" % left_out + tail


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
def test_memory_has_an_end(size: int) -> None:
    """Whatever the size of the pieces: at most what is kept, and as much again."""
    found = Kept(10_000)
    for _ in range(200_000 // size + 2):
        found.append(b"x" * size)
        assert len(found._head) + len(found._tail) <= 5_000 + 10_000


def test_nothing_yet() -> None:
    """Is nothing, and not an empty note."""
    assert not Kept(5)
    assert kept(5) == b""
    found = Kept(5)
    found.append(b"a")
    assert found


def test_it_can_be_read_again_while_it_grows() -> None:
    """A terminated command has its trace, and may go on printing."""
    found = Kept(4)
    found.append(b"abc")
    assert b"".join(found) == b"abc"
    found.append(b"defgh")
    assert b"".join(found) == b"".join(found) == b"ab\n... 4 bytes left out ...\ngh"
