"""Lines that are put together from pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.lines import LONGEST, Lines

#: What streams are made of, in a bad mix.
PARTS = st.sampled_from(
    [
        *(b"a", b"\n", b"\r", b"\r\n", b"\t", b"\x1b[31m", b"\0", b"\xff", b"\x80"),
        *("é".encode(), "\u2028".encode(), "😀".encode(), b"\xf0\x9f", b"\xed\xa0\x80"),
        *(b"x" * (LONGEST - 1), b"y" * (2 * LONGEST + 1)),
    ]
)
ENCODINGS = ("utf-8", "ascii", "latin-1", "shift_jis", "gb18030")


def lines_of(pieces: list[bytes] | list[str], encoding: str | None) -> list[str]:
    lines = Lines(encoding)
    found = [line for piece in pieces for line in lines.feed(piece)]
    return found + lines.end()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(each, len(data)) for each in places} | {0, len(data)})
    return [data[start:end] for start, end in zip(ends, ends[1:])]


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(
    parts=st.lists(PARTS, max_size=12),
    places=st.lists(st.integers(0, 4 * LONGEST), max_size=20),
)
def test_lines_do_not_depend_on_the_pieces(
    encoding: str, parts: list[bytes], places: list[int]
) -> None:
    """Wherever a stream is cut, its lines are the same."""
    data = b"".join(parts)
    whole = lines_of([data], encoding)
    assert lines_of(cut(data, places), encoding) == whole
    assert all(len(line) <= LONGEST and "\n" not in line for line in whole)
    assert not any("\r" in line for line in whole)


@given(st.lists(st.sampled_from([b"a", b"\n", b"\r", b"\xe9", b"\xc3\xa9", b"\xff"])))
def test_lines_byte_by_byte(parts: list[bytes]) -> None:
    """The shortest pieces that there are."""
    data = b"".join(parts)
    pieces = [bytes([byte]) for byte in data]
    assert lines_of(pieces, "utf-8") == lines_of([data], "utf-8")


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), min_size=1)))
def test_text_comes_as_it_is(given_lines: list[str]) -> None:
    """Line by line, also the last one, which has no end."""
    assert lines_of(["\n".join(given_lines)], None) == given_lines


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"10%\r50%\r100%\n", ["100%"]),
        (b"10%\r100%\r\n", ["100%"]),
        (b"10%\r100%\r", ["100%"]),
        (b"\r", []),
        (b"a\xffb\xc3", ["a\\xffb\\xc3"]),
    ],
)
def test_examples(data: bytes, expected: list[str]) -> None:
    """Ends of lines, what was written over, and what is no text."""
    assert lines_of([data], "utf-8") == expected


def test_a_line_without_an_end_is_not_kept() -> None:
    """It is cut, so that little of it waits for the rest."""
    lines, most, count = Lines("utf-8"), 0, 0
    for _ in range(100):
        count += sum(map(len, lines.feed(b"x" * 1000)))
        most = max(most, len(lines._rest))
    assert most <= LONGEST
    assert count + sum(map(len, lines.end())) == 100_000


def test_what_is_written_over_is_not_kept() -> None:
    """A progress bar may go on for days."""
    lines = Lines("utf-8")
    for number in range(10_000):
        assert lines.feed(b"\r%5d %%" % number) == []
        assert len(lines._rest) < 10
    assert lines.end() == [" 9999 %"]


def test_a_line_is_there_with_its_end() -> None:
    """Not only when the next one begins."""
    lines = Lines()
    assert lines.feed("a") == []
    assert lines.feed("b\nc") == ["ab"]
    assert lines.feed("\n") == ["c"]
    assert lines.end() == []
