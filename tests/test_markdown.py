"""The reader of our pages: what it lets pass would never be tested."""

from __future__ import annotations

import pytest

from tests.markdown import (
    MarkdownError,
    anchors,
    blocks,
    entries,
    inclusions,
    local_links,
    normalised,
    programs,
)

PAGE = """\
# Page

```python
greeting = "hello"
print(greeting)
```

<!-- output -->
```text
hello
```

Some words.

<!-- continues -->

```python
print(greeting, "again")
1 / 0
```

- in a list:

  ```bash
  ls
  ```
"""


def test_blocks_have_language_line_and_text() -> None:
    """Also indented ones, without their indentation."""
    found = [(block.language, block.line, block.text) for block in blocks(PAGE)]
    assert found == [
        ("python", 3, 'greeting = "hello"\nprint(greeting)\n'),
        ("text", 9, "hello\n"),
        ("python", 17, 'print(greeting, "again")\n1 / 0\n'),
        ("bash", 24, "ls\n"),
    ]


def test_a_program_keeps_the_line_numbers_of_its_page() -> None:
    """A traceback leads to the page."""
    first, second = programs(PAGE)
    assert first.source.splitlines()[3] == 'greeting = "hello"'
    assert "again" not in first.source
    assert second.source.splitlines()[3] == 'greeting = "hello"'
    assert second.source.splitlines()[18] == "1 / 0"


def test_a_program_knows_the_output_that_the_page_promises() -> None:
    """None where the page promises none."""
    assert [program.output for program in programs(PAGE)] == ["hello\n", None]


def test_a_program_knows_what_it_needs() -> None:
    """All that the blocks which it continues need as well."""
    page = "<!-- needs joblib -->\n" + PAGE[PAGE.index("```python") :]
    assert [program.needs for program in programs(page)] == [("joblib",)] * 2
    assert [program.needs for program in programs(PAGE)] == [(), ()]


def test_only_the_last_block_of_a_chain_is_looked_at(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What earlier blocks print stands before the marker."""
    program = programs(PAGE)[1]
    with pytest.raises(ZeroDivisionError):
        exec(program.source, {"__name__": "__main__"})
    before, _, after = capsys.readouterr().out.partition(program.marker + "\n")
    assert (before, after) == ("hello\n", "hello again\n")


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\n", "line 1: this block has no end"),
        ("```py\n```\n", "unknown language 'py'"),
        ("```\n```\n", "unknown language ''"),
        ("```python no-run\n```\n", "unknown language 'python no-run'"),
        ("```{code-cell}\n```\n", "unknown language '{code-cell}'"),
        ("> ```python\n> 1 / 0\n> ```\n", "inside a quotation"),
        ("<!-- continues -->\n```python\n```\n", "nothing to continue"),
        ("<!-- output -->\n```text\n```\n", "the output of what"),
        ("<!-- needs joblib -->\n```text\n```\n", "only Python needs a module"),
        ("<!-- needs joblib -->\n\nwords\n", "'needs' that is not before a block"),
        ("<!-- output -->\n\nwords\n", "'output' that is not before a block"),
        (
            "```python\n```\nwords\n<!-- output -->\n```text\n```\n",
            "the output of what",
        ),
        ("```python\n```\n```text\n```\n", "looks like output"),
    ],
)
def test_what_would_silently_do_nothing_is_refused(page: str, complaint: str) -> None:
    """A slip of the pen must not switch a test off."""
    with pytest.raises(MarkdownError, match=complaint):
        blocks(page)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("in 0 min 0.0 sec", "in 1 min 13.5 sec"),
        ("| a | 1.01 sec |\n+---+----+", "| a | 12.5 min   |\n+---+------+"),
        ("2026-01-02 03:04:05", "2027-12-11 10:09:08"),
        ("<object at 0x7f00>", "<object at 0x7faa>"),
        ('File "/a.py", line 3, in f\n    1 / 0\n    ~~^~~\n', 'File "b.py", line 99'),
    ],
)
def test_what_differs_from_run_to_run_is_made_equal(one: str, other: str) -> None:
    """Times, moments, addresses, places, and the widths of tables."""
    assert normalised(one).startswith(normalised(other).strip())


@pytest.mark.parametrize(
    ("one", "other"),
    [("1/3 [33.33%]", "2/3 [66.67%]"), ("a\n  b", "a\nb"), ("return code 7", "8")],
)
def test_what_matters_stays_different(one: str, other: str) -> None:
    """Counts, indentation and numbers are promises."""
    assert normalised(one) != normalised(other)


def test_anchors_are_those_of_github() -> None:
    """Lower case, punctuation away, repetitions counted, explicit ones as well."""
    page = """
# Two commands
## 🚀 Features & `depends_on`!
## A [link](x.md), _emphasised_
### Again
### Again
<a id="explicit"></a>
```text
# no heading
```
"""
    assert anchors(page) == {
        "two-commands",
        "-features--depends_on",
        "a-link-emphasised",
        "again",
        "again-1",
        "explicit",
    }


def test_local_links_of_every_kind_are_found() -> None:
    """Inline, by reference, images and HTML; other sites and code are not."""
    page = """
[a](a.md "title") ![b](b.png) [c][c] <img src="d.svg"> [site](https://example.org)
[![badge](e%20f.svg)](#top) `[code](no.md)` [mail](mailto:x@example.org)

[c]: c.md#part

```text
[x](no.md)
```
"""
    assert sorted(local_links(page)) == sorted(
        ["#top", "a.md", "b.png", "c.md#part", "d.svg", "e f.svg"]
    )


def test_contents_and_inclusions_are_found() -> None:
    """The options of a directive are none of its entries."""
    page = """
```{include} ../README.md
:start-after: "# concurra"
:end-before: "## Two commands"
```
```{toctree}
:caption: How to

tutorial
how-to/timeouts
```
```{eval-rst}
.. autoclass:: concurra.TaskRunner
```
"""
    assert entries(page) == ["tutorial.md", "how-to/timeouts.md"]
    assert inclusions(page) == {"../README.md": ["# concurra", "## Two commands"]}
