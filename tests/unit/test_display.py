"""What is shown of what tasks print, on streams that are there, or are not."""

from __future__ import annotations

import io
import sys
import threading
from typing import Any

import pytest

from concurra.output import display, streams
from concurra.output.display import GROUPED, PREFIXED, WIDTH, Display, Shown


class Stream(io.StringIO):
    """Keeps what was written, call by call."""

    def __init__(self, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self.calls: list[str] = []
        self.terminal = terminal
        self.name_of_encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.name_of_encoding

    def write(self, text: str) -> int:
        text.encode(self.name_of_encoding)
        self.calls.append(text)
        return len(text)

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


class Streams:
    """Those of the program, replaced; pytest would replace a fixture's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.err = Stream(), Stream()
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setattr(sys, "stderr", self.err)


def test_lines_behind_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as they are complete; those of a piece with one call."""
    given = Streams(monkeypatch)
    out, err = given.out, given.err
    shown = Display(PREFIXED, "a", 1, "utf-8")
    shown.write(0, b"one\ntw")
    shown.write(1, b"error\n")
    assert (out.calls, err.calls) == (["[a] one\n"], ["[a] error\n"])
    shown.write(0, b"o\nthree\nfour")
    assert out.calls[1:] == ["[a] two\n[a] three\n"]
    shown.end()
    assert out.calls[2:] == ["[a] four\n"]


def test_a_block_below_the_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it at the end, in the order in which it came, with one call."""
    given = Streams(monkeypatch)
    out, err = given.out, given.err
    shown = Display(GROUPED, "a", 2, "utf-8")
    shown.write(0, b"one\ntwo\n")
    shown.write(1, b"error\n")
    shown.write(0, b"three")
    assert out.calls == []
    shown.end("exited with code 7")
    shown.end("exited with code 7")
    heading = "== a, attempt 2: exited with code 7 ==\n"
    assert out.calls == [heading + "one\ntwo\nerror\nthree\n"]
    assert err.calls == []


@pytest.mark.parametrize("how", [PREFIXED, GROUPED])
def test_nothing_shows_nothing(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """No heading without a block."""
    out = Streams(monkeypatch).out
    Display(how, "a").end("was stopped")
    assert out.calls == []


def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the label, and of what was printed; decided stream by stream."""
    out = Streams(monkeypatch).out
    terminal = Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", terminal)
    shown = Display(PREFIXED, "build")
    for number in (0, 1):
        shown.write(number, "\x1b[31mred\n")
    assert out.calls == ["[build] red\n"]
    assert terminal.calls == ["[\x1b[35mbuild\x1b[0m] \x1b[31mred\x1b[0m\n"]


def test_the_stream_is_the_one_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each line, as others may capture it for a while."""
    shown, first, second = Display(PREFIXED, "a"), Stream(), Stream()
    for stream in (first, second, first):
        monkeypatch.setattr(sys, "stdout", stream)
        shown.write(0, "x\n")
    assert (len(first.calls), len(second.calls)) == (2, 1)


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
        (("a", 1), "('a', 1)"),
        ("x" * WIDTH, "x" * WIDTH),
        ("tests/" * 900 + "test_end.py", "tests/tests/t...ests/test_end.py"),
        ("\udcff", "\\udcff"),
    ],
)
def test_labels_of_any_kind(
    monkeypatch: pytest.MonkeyPatch, label: Any, expected: str
) -> None:
    """One line, of an end, without effects."""
    out = Streams(monkeypatch).out
    Display(PREFIXED, label).write(0, "x\n")
    assert out.calls == [f"[{expected}] x\n"]


def test_a_label_that_has_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its class is named."""

    out = Streams(monkeypatch).out

    class Odd:
        def __str__(self) -> str:
            raise ValueError("odd")

    Display(PREFIXED, Odd()).write(0, "x\n")
    assert out.calls == ["[<unprintable Odd>] x\n"]


def test_an_encoding_that_lacks_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are escaped."""
    stream = Stream(encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    Display(PREFIXED, "é").write(0, "aé😀\n")
    assert stream.calls == ["[\\xe9] a\\xe9\\U0001f600\n"]


class Broken(io.StringIO):
    """Nobody reads from it any more."""

    def write(self, text: str) -> int:
        raise BrokenPipeError("nobody reads")


class Unknown(Stream):
    """Its encoding is no encoding."""

    @property
    def encoding(self) -> Any:  # type: ignore[override]
        return "no such encoding"


@pytest.mark.parametrize("how", [PREFIXED, GROUPED])
@pytest.mark.parametrize("kind", ["closed", "none", "broken", "unknown", "no stream"])
def test_a_stream_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch, how: str, kind: str
) -> None:
    """Costs what would have been shown, and not what is kept."""
    closed = io.StringIO()
    closed.close()
    streams_of: dict[str, Any] = {
        "closed": closed,
        "none": None,
        "broken": Broken(),
        "unknown": Unknown(),
        "no stream": object(),
    }
    monkeypatch.setattr(sys, "stdout", streams_of[kind])
    kept: list[bytes] = []
    shown = Display(how, "a", 1, "utf-8")
    sink = Shown(kept, shown, 0)
    for piece in (b"one\n", b"tw", b"o\n", b"three"):
        sink.append(piece)
    shown.end()
    assert b"".join(kept) == b"one\ntwo\nthree"


def test_a_block_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it is kept in what has one."""
    out = Streams(monkeypatch).out
    from concurra.workers.max_output import Kept

    shown = Display(GROUPED, "a", 1, "utf-8", Kept(10))
    for _ in range(100):
        shown.write(0, b"abcd\n")
    shown.end()
    left_out = "... 490 bytes left out ...\n"
    assert out.calls == [f"== a ==\nabcd\n{left_out}abcd\n"]


def test_lines_of_two_never_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a stream writes letter by letter."""
    written: list[str] = []

    class Slow(Stream):
        def write(self, text: str) -> int:
            for letter in text:
                written.append(letter)
                if letter == "x":
                    threading.Event().wait(0.0001)  # others may come
            return len(text)

    monkeypatch.setattr(sys, "stdout", Slow())
    start = threading.Barrier(4)

    def write(label: str) -> None:
        shown = Display(PREFIXED, label)
        start.wait(20)
        for _ in range(50):
            shown.write(0, "xxx\n")

    threads = [threading.Thread(target=write, args=(each,)) for each in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    lines = "".join(written).splitlines()
    assert sorted(lines) == sorted(
        f"[{each}] xxx" for each in "abcd" for _ in range(50)
    )


def test_what_writes_may_print_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of the user's that tells of what it gets, as a task does."""
    other, inner = Display(PREFIXED, "inner"), Stream()

    class Telling(Stream):
        def write(self, text: str) -> int:
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", inner)
                other.write(0, "told\n")
            return super().write(text)

    outer = Telling()
    monkeypatch.setattr(sys, "stdout", outer)
    Display(PREFIXED, "outer").write(0, "x\n")
    assert (inner.calls, outer.calls) == (["[inner] told\n"], ["[outer] x\n"])


# Streams that stand in ----------------------------------------------------------------


def test_a_thread_writes_to_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """While something stands in; other threads write where they did."""
    given = Streams(monkeypatch)
    out, err = given.out, given.err
    got: list[Any] = []
    streams.install()
    try:
        before = streams.exchange(lambda *what: got.append(what))
        print("mine")
        print("wrong", file=sys.stderr)
        sys.stdout.writelines(["a", "b"])
        thread = threading.Thread(target=print, args=("another's",))
        thread.start()
        thread.join(20)
        assert streams.exchange(before) is not None
        print("nobody's")
        assert streams.real(0) is out and streams.real(1) is err
    finally:
        streams.uninstall()
    assert (sys.stdout, sys.stderr) == (out, err)
    assert got == [(0, "mine"), (0, "\n"), (1, "wrong"), (1, "\n"), (0, "a"), (0, "b")]
    assert "".join(out.calls) == "another's\nnobody's\n"


def test_it_is_like_the_stream_beneath(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is asked; and refuses what that refuses."""
    Streams(monkeypatch)
    streams.install()
    try:
        assert sys.stdout.encoding == "utf-8" and not sys.stdout.isatty()
        streams.exchange(lambda *what: None)
        with pytest.raises(TypeError, match="must be str, not bytes"):
            sys.stdout.write(b"x")  # type: ignore[arg-type]
        with pytest.raises(AttributeError):
            sys.stdout.missing  # type: ignore[attr-defined]
    finally:
        streams.exchange(None)
        streams.uninstall()


def test_two_runs_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one puts the streams back."""
    out = Streams(monkeypatch).out
    streams.install()
    stand_in = sys.stdout
    streams.install()
    assert sys.stdout is stand_in
    streams.uninstall()
    assert sys.stdout is stand_in
    streams.uninstall()
    assert sys.stdout is out


def test_what_others_put_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was taken meanwhile can be put back later, and used."""
    out = Streams(monkeypatch).out
    streams.install()
    stand_in, captured = sys.stdout, Stream()
    monkeypatch.setattr(sys, "stdout", captured)
    streams.uninstall()
    assert sys.stdout is captured
    monkeypatch.setattr(sys, "stdout", stand_in)
    print("late")
    assert "".join(out.calls) == "late\n"
    assert streams.real(0) is out


def test_there_may_be_no_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a program without a console."""
    monkeypatch.setattr(sys, "stdout", None)
    streams.install()
    assert sys.stdout is None and streams.real(0) is None
    streams.uninstall()
    assert sys.stdout is None


def test_a_fork_in_the_midst_of_a_line() -> None:
    """Its child can show lines, too."""
    if not hasattr(display.os, "fork"):
        pytest.skip("needs fork")
    before = display._writing
    with before:
        display._in_child()
        try:
            assert display._writing is not before
            assert display._writing.acquire(blocking=False)
        finally:
            display._writing = before
