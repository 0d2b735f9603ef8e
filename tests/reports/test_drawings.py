"""The graph as text for Mermaid and Graphviz."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import example, given, settings

import concurra
from concurra import reports
from concurra.reports import RunRecord, to_dot, to_mermaid
from concurra.reports.mermaid import CHARACTERS, EDGES, escaped
from concurra.reports.texts import line

from .support import HOSTILE, TEXTS, hostile_records, made_up, ran, timed, varied

# Readers ------------------------------------------------------------------------


def read_mermaid(text: str) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The nodes with their lines, and the arrows; nothing else may be there."""
    nodes: dict[str, list[str]] = {}
    edges = []
    first, *lines = text.split("\n")
    assert first == "flowchart LR" and lines.pop() == ""
    for each in lines:
        if found := re.fullmatch(r'  (\w+)\["([^"\n]+)"\]', each):
            nodes[found[1]] = [unescaped(part) for part in found[2].split("<br/>")]
        elif found := re.fullmatch(r"  (\w+) --> (\w+)", each):
            edges.append((found[1], found[2]))
        else:
            styles = r"(classDef|class|linkStyle) [\w,]+ [\w,:#-]+"
            assert re.fullmatch(rf"  {styles}", each), each
    return nodes, edges


def unescaped(text: str) -> str:
    """What Mermaid shows; whatever is special to it stands as a code."""
    codes = re.compile(r"#(\d+);")
    plain = codes.sub("", text)
    assert not set(plain) & set("#;<>&\"'`*[]{}|\\~^%$!?@=+"), text
    assert not re.search(r"(?<![^\W_])[-._]|[-._](?![^\W_])", plain), text
    return codes.sub(lambda found: chr(int(found[1])), text)


#: The tokens of DOT, as its grammar has them.
TOKENS = re.compile(
    r'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[\w.]+)|(?P<sign>->|[{}\[\]=,;]))'
)


def read_dot(text: str) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The nodes with their lines, and the arrows."""
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        found = TOKENS.match(text, place)
        assert found, text[place : place + 60]
        tokens.append(found[found.lastgroup or 0])
        place = found.end()
    assert tokens[0] == "digraph" and tokens[2] == "{" and tokens[-1] == "}"
    nodes: dict[str, list[str]] = {}
    edges = []
    statement: list[str] = []
    for token in tokens[3:-1]:
        if token != ";":
            statement.append(token)
            continue
        if statement[1:2] == ["->"]:
            edges.append((statement[0], statement[2]))
        elif statement[1:4] == ["[", "label", "="]:
            nodes[statement[0]] = lines_of(statement[4])
        statement = []
    assert not statement
    return nodes, edges


def lines_of(string: str) -> list[str]:
    """What Graphviz shows of a string."""
    parts, current = [], ""
    for found in re.finditer(r"\\(.)|([^\\])", string[1:-1], re.DOTALL):
        if found[1] == "n":
            parts.append(current)
            current = ""
        else:
            assert found[1] in (None, "\\", '"')
            current += found[1] or found[2]
    return [each.replace("&amp;", "&") for each in (*parts, current)]


READERS = [(to_mermaid, read_mermaid), (to_dot, read_dot)]
BOTH = pytest.mark.parametrize(("write", "read"), READERS, ids=["mermaid", "dot"])


# What is drawn ------------------------------------------------------------------


@BOTH
def test_the_plan_is_drawn(write: Any, read: Any) -> None:
    """Before the run: each task by its label, with its dependencies."""
    nodes, edges = read(write(varied()))
    assert nodes["t0"] == ["flaky"] and len(nodes) == 8
    assert sorted(edges) == [
        ("t0", "t3"),
        ("t1", "t2"),
        ("t3", "t5"),
        ("t3", "t6"),
        ("t5", "t7"),
    ]


@BOTH
def test_the_end_is_drawn(write: Any, read: Any) -> None:
    """After the run: what became of each, and how long it took."""
    nodes, edges = read(write(ran()))
    assert nodes["t2"] == ["skipped", "Terminated (skip)"]
    assert re.fullmatch(r"Failed, \d\.\d\d s", nodes["t1"][1])
    assert len(edges) == 5


def test_a_status_has_its_colour() -> None:
    """And the longest path is thick."""
    record = timed()
    text = to_mermaid(record)
    assert "  class t0,t3 successful\n" in text
    assert "  class t1,t4 failed\n" in text
    assert "  class t0,t3,t5 longest\n" in text
    steps = re.search(r"linkStyle ([\d,]+) stroke-width:4px", text)
    arrows = re.findall(r"(t\d) --> (t\d)", text)
    assert steps and [arrows[int(each)] for each in steps[1].split(",")] == [
        *(("t0", "t3"), ("t3", "t5"))
    ]
    text = to_dot(record)
    assert re.search(r't1 \[label="boom.*", fillcolor="#ffd9d6"', text)
    assert "  t0 -> t3 [penwidth=4];\n" in text
    assert "  t1 -> t2;\n" in text


@BOTH
def test_no_more_than_was_asked_for(write: Any, read: Any) -> None:
    """What is left out is said."""
    nodes, _ = read(write(timed(), max_tasks=3))
    assert set(nodes) == {"t0", "t3", "t5", "left"}
    assert nodes["left"] == ["5 more tasks are not drawn"]


@pytest.mark.parametrize("many", [5_000, 600])
def test_mermaid_gets_what_it_can_draw(many: int) -> None:
    """A chain of thousands of tasks is cut; Graphviz gets it whole."""
    record = made_up(many)
    text = to_mermaid(record)
    nodes, edges = read_mermaid(text)
    assert 100 < len(edges) < EDGES and len(text) < CHARACTERS
    assert nodes["left"] == [f"{many - len(nodes) + 1} more tasks are not drawn"]
    assert len(read_mermaid(to_mermaid(record, max_tasks=many))[0]) == many
    assert len(read_dot(to_dot(record))[0]) == many


def test_a_wide_graph_is_cut_by_its_arrows() -> None:
    """Forty tasks, each of which needs all of forty others."""
    runner = concurra.TaskRunner()
    before = list(range(40))
    for label in before:
        runner.add_task(abs, -1, label=label)
    for label in range(40, 80):
        runner.add_task(abs, -1, label=label, depends_on=before)
    assert len(read_mermaid(to_mermaid(runner))[1]) < EDGES
    assert len(read_dot(to_dot(runner))[1]) == 1600


@BOTH
@pytest.mark.parametrize(
    ("wrong", "kind"), [(0, ValueError), ("3", TypeError), (1.5, TypeError)]
)
def test_a_number_that_is_none(write: Any, read: Any, wrong: Any, kind: Any) -> None:
    """The refusal names the parameter."""
    with pytest.raises(kind, match="max_tasks must be"):
        write(made_up(), max_tasks=wrong)


@BOTH
def test_an_empty_graph(write: Any, read: Any) -> None:
    """There is nothing in it."""
    assert read(write(made_up(0))) == ({}, [])


# Hostile texts ------------------------------------------------------------------


@given(TEXTS)
@example("a-b_c v1.2 - x 1. foo")
@example("--> end %% x")
def test_mermaid_shows_a_text_as_it_is(text: str) -> None:
    """Nothing of it is a sign of Mermaid's, or of Markdown."""
    assert unescaped(escaped(line(text))) == line(text)


def test_plain_labels_stay_readable() -> None:
    """Letters of any script, digits, and what joins them."""
    for each in ("build-2.1 (linux)", "tests 1/2", "été_日本", "a.b-c: d, e"):
        assert escaped(each) == each
    assert escaped("1. a") == "1#46; a"


@settings(max_examples=100)
@given(hostile_records())
def test_every_label_comes_back(record: RunRecord) -> None:
    """From either text, cut, without colours, and with controls escaped."""
    for write, read, cut in ((to_mermaid, read_mermaid, 60), (to_dot, read_dot, 200)):
        nodes, _ = read(write(record))
        assert len(nodes) == len(record.tasks)
        for task in record.tasks:
            shown = line(task.label, cut)
            assert nodes[f"t{task.index}"][0].strip() in (
                shown.strip(),
                nodes[f"t{task.index}"][-1] if not shown else None,
            )


@pytest.mark.skipif(not shutil.which("dot"), reason="needs Graphviz's dot")
def test_graphviz_draws_it() -> None:
    """Without a word, whatever the labels are."""
    record = made_up(3)
    record.tasks[0].label = HOSTILE
    record.tasks[1].label = "&lt; \\N \\n <b>"
    text = to_dot(reports.record(record))
    done = subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"&amp;lt; \\N \\n &lt;b&gt;" in done.stdout.replace(b"&#45;", b"-")
