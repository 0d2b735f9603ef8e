"""Texts made fit for a log: encodable, without effects, not endless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from concurra.sanitize import CHARACTERS, LINES, one_line, sanitize, shorten, transcript

#: All that there is, lone surrogates included, and often what is dangerous.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=()),
        st.sampled_from("\r\n\t\x1b\a\0\x85\x9b\u202e\u2066\u2028\udcff\ue000\xa0"),
    )
)
ENCODINGS = ("utf-8", "utf-16", "utf-32", "utf-7", "gb18030")

#: What would move a cursor, turn the direction, or cannot be seen.
DANGEROUS = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def is_safe(text: str) -> bool:
    import unicodedata

    kept = "\t\n\u200c\u200d"
    return all(c in kept or unicodedata.category(c) not in DANGEROUS for c in text)


# Characters ---------------------------------------------------------------------------


@given(TEXTS)
def test_what_is_shown_has_no_effect(text: str) -> None:
    """It can be encoded, moves no cursor, and nothing more comes of a second time."""
    shown = sanitize(text)
    assert is_safe(shown)
    assert [shown.encode(each).decode(each) for each in ENCODINGS] == [shown] * 5
    assert sanitize(shown) == shown
    assert shown.count("\n") == text.count("\n")


@given(TEXTS)
def test_what_is_to_stay_in_its_line_does(text: str) -> None:
    """Neither lines nor tabs are left in it."""
    shown = one_line(text)
    assert is_safe(shown)
    assert not set("\n\t\r") & set(shown)
    assert one_line(shown) == sanitize(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "a\tb\n c\n",
        "日本\u3000語",
        "d\xe9j\xe0 vu\xa0!",
        "C:\\n",
        "👩\u200d💻",
    ],
)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    """Spaces, tabs and lines of any script."""
    assert sanitize(text) == text


def test_escapes_are_those_of_python() -> None:
    """Whoever reads them knows them; ends of lines are all of one kind."""
    text = "\x1b[2J \a \0 \x7f \x9b \u202e \u2028 \udcff \U000e0001 \r|\r\n"
    shown = r"\x1b[2J \x07 \x00 \x7f \x9b \u202e \u2028 \udcff \U000e0001 \r|"
    assert sanitize(text) == shown + "\n"
    assert one_line("a\r\n\tb") == r"a\r\n\tb"


# Length -------------------------------------------------------------------------------


def test_a_long_text() -> None:
    """Its beginning and its end, and how much is left out between them."""
    text = "a" * 5000 + "b" * 1_000_000 + "c" * 5000
    shown = shorten(text)
    half = CHARACTERS // 2
    assert shown == "a" * half + " [... 1002000 characters left out ...] " + "c" * half
    assert shorten("x" * CHARACTERS) == "x" * CHARACTERS


def numbered(count: int) -> str:
    return "".join(f"line {n}\n" for n in range(count))


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_long_stream(name: str) -> None:
    """Its last lines, under its heading, and how many are left out."""
    shown = transcript(f"{name}:\n{numbered(300_000)}").splitlines()
    assert shown[:2] == [f"{name}:", f"[... {300_000 - LINES} lines left out ...]"]
    assert shown[2:] == [f"line {n}" for n in range(300_000 - LINES, 300_000)]


def test_both_streams() -> None:
    """Each has its last lines; what is short enough stays as it is."""
    short = f"stdout:\n{numbered(LINES)}\nstderr:\n{numbered(LINES)}"
    assert transcript(short) == short
    shown = transcript(f"stdout:\n{numbered(60)}\nstderr:\n{numbered(70)}")
    out, _, errors = shown.partition("\n\nstderr:\n")
    assert out.splitlines()[1:3] == ["[... 10 lines left out ...]", "line 10"]
    assert errors.splitlines()[:2] == ["[... 20 lines left out ...]", "line 20"]


def test_a_stream_whose_last_line_does_not_end() -> None:
    """It is a line all the same."""
    shown = transcript("stderr:\n" + numbered(LINES) + "the end").splitlines()
    assert shown[1] == "[... 1 line left out ...]"
    assert (len(shown), shown[-1]) == (LINES + 2, "the end")


def test_a_line_that_was_written_over() -> None:
    """Is shown as it was left; a progress bar is one line."""
    bar = "\r".join(f"{n} of 3000" for n in range(3001))
    assert transcript(f"stderr:\n{bar}\nfailed\n") == "stderr:\n3000 of 3000\nfailed\n"
    assert transcript("stdout:\n1\r2\r\n3\r") == "stdout:\n2\n3"


def test_a_long_line_of_a_stream() -> None:
    """It is as long as any text may be."""
    shown = transcript("stdout:\n" + "x" * 1_000_000)
    assert len(shown) < CHARACTERS + 100


@given(st.text("\r\nax:stdouter"), st.text("\r\nax:stdouter"))
def test_whatever_a_command_prints(out: str, errors: str) -> None:
    """There are few lines, and nothing of a short one is lost."""
    shown = transcript(f"stdout:\n{out}\nstderr:\n{errors}")
    assert shown.startswith("stdout:\n") and "\nstderr:\n" in shown
    assert shown.count("\n") <= 2 * LINES + 8
    if "\r" not in out + errors and (out + errors).count("\n") < LINES:
        assert shown == f"stdout:\n{out}\nstderr:\n{errors}"


def test_a_trace_that_is_no_transcript() -> None:
    """A traceback keeps its frames and its error."""
    trace = "Traceback:\n" + "  frame\n" * 10 + "ValueError: " + "x" * 20_000 + " end\n"
    shown = transcript(trace)
    assert shown.startswith("Traceback:\n  frame\n") and shown.endswith("x end\n")
    assert "characters left out" in shown
