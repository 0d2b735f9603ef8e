"""The page of a run, as text: what is in it, and that nothing in it is markup."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

import concurra
from concurra.reports import RunRecord, TaskRecord, record, write_html
from concurra.reports.page import render
from concurra.reports.page.data import run_data
from tests.reports.support import (
    HOSTILE,
    boom,
    hostile_records,
    made_up,
    ran,
    timed,
    varied,
)

#: All elements that the template has, and no other.
ELEMENTS = set(
    "html head meta title style body svg symbol path circle use rect a header main "
    "section footer div h1 h2 h3 p dl dt dd ul ol li b i span noscript table thead tr "
    "th tbody td pre button canvas label input kbd script".split()
)


class Page(HTMLParser):
    """What a browser that runs no script sees."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.inside: dict[str, list[str]] = {"script": [], "style": [], "title": []}
        self._in = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        self._in = tag
        if tag in self.inside:
            self.inside[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        self._in = ""

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        if self._in in self.inside:
            self.inside[self._in][-1] += data
        else:
            self.texts.append(data)

    @property
    def data(self) -> Any:
        """What the script is given."""
        return json.loads(self.inside["script"][0])

    @property
    def text(self) -> str:
        """What can be read."""
        return " ".join(" ".join(self.texts).split())

    def values(self, name: str) -> list[str]:
        """All values of an attribute."""
        return [attrs[name] for _, attrs in self.elements if name in attrs]


def page(run: Any) -> Page:
    """The page of a run."""
    file = io.StringIO()
    write_html(run, file)
    return Page(file.getvalue())


def test_it_loads_nothing() -> None:
    """All links lead into the page itself, and no element has a source."""
    shown = page(ran())
    assert not shown.values("src")
    assert all(link.startswith("#") for link in shown.values("href"))
    style, script = shown.inside["style"][0], shown.inside["script"][1]
    assert not re.search(r"url\(|@import|https?:", style)
    urls = re.findall(r"https?:[^\"]*", script)
    assert urls == ["http://www.w3.org/2000/svg"]  # the name of a language


def test_its_policy_allows_its_own_script_and_style_alone() -> None:
    """By their digests: what would get in all the same is not run, nor loaded."""
    shown = page(made_up())
    [policy] = [
        attrs["content"]
        for tag, attrs in shown.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    for rule, text in (
        ("style-src", shown.inside["style"][0]),
        ("script-src", shown.inside["script"][1]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert not shown.values("style")
    assert not [
        name for _, attrs in shown.elements for name in attrs if name[:2] == "on"
    ]


def test_its_script_makes_no_markup_of_texts() -> None:
    """It has none of the ways to do so."""
    script = page(made_up()).inside["script"][1]
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|"
        r"srcdoc|DOMParser|createContextualFragment|setHTML",
        script,
    )


def test_it_is_small() -> None:
    """What is not the run itself."""
    assert len(render(made_up(0)).encode()) < 64_000


def test_it_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without Jinja2 nothing is written, and the error says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'pip install "concurra\[report\]"'):
        write_html(made_up(), tmp_path / "run.html")
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    """By name, and nothing is written."""
    with pytest.raises(TypeError, match="runner"):
        write_html({"a": 1}, tmp_path / "run.html")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="file"):
        write_html(made_up(), 3)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_in_utf_8(tmp_path: Path) -> None:
    """As its head says, whatever the locale."""
    write_html(made_up(1, error="für"), tmp_path / "run.html")
    text = (tmp_path / "run.html").read_bytes().decode("utf-8")
    assert text.startswith("<!DOCTYPE html>") and '<meta charset="utf-8">' in text
    assert "für" in text


def test_the_summary_says_how_it_went() -> None:
    """Failures first: how many, with their errors, and whom they have skipped."""
    shown = page(timed())
    assert shown.inside["title"] == ["varied: 2 failed, 1 timed out"]
    assert "1 skipped because of “boom”" in shown.text
    assert "1 cancelled" in shown.text
    assert "Boom: it is broken" in shown.text
    assert "CommandExecutionError: Command exited with return code 3: err" in shown.text
    assert "3 attempts" in shown.text
    for words in (
        "2 Failed",
        "4 Terminated",
        "2 Successful",
        "up to 2",
        "Longest path",
    ):
        assert words in shown.text


def test_all_successful() -> None:
    """Then nothing is said of failures."""
    shown = page(made_up(3))
    assert shown.inside["title"] == ["made up: All successful"]
    assert "went wrong" not in shown.text
    assert "3 tasks in a row, 3.00 s, 100% of the run" in shown.text


def test_equal_errors_are_told_once() -> None:
    """Also if they differ in numbers; the first five tasks are named."""
    tasks = [
        TaskRecord(
            index=n,
            label=f"task {n}",
            name="f",
            status="Failed",
            cause="error",
            error=f"ValueError: row {n}",
        )
        for n in range(40)
    ]
    shown = page(
        RunRecord(name="r", state="ended", max_concurrency=1, moment=0, tasks=tasks)
    )
    assert "ValueError: row 0 40 tasks" in shown.text
    assert "task 4 and 35 more" in shown.text


def test_without_a_script_the_failures_are_there() -> None:
    """In a table, with their errors."""
    text = render(record(ran()))
    plain = text[text.index("<noscript>") : text.index("</noscript>")]
    assert plain.count('<th scope="row">') == 3
    for words in ("boom", "Boom: it is broken", "late", "TimeoutError: Task exceeded"):
        assert words in plain
    some = page(made_up()).text
    assert "No task has failed by itself." in some


def test_the_data_has_what_is_known_of_a_task() -> None:
    """Times since the start; what is empty is left out."""
    data = page(ran()).data
    tasks = {task["label"]: task for task in data["tasks"]}
    assert tasks["boom"]["error"] == "Boom: it is broken"
    assert "Traceback" in tasks["boom"]["trace"]
    assert tasks["skipped"]["deps"] == [1] and tasks["skipped"]["root"] == "boom"
    assert (
        tasks["command"]["stdout"] == "out\n" and tasks["command"]["stderr"] == "err\n"
    )
    assert tasks["command"]["program"] == "sh" and "secret" not in str(data)
    flaky = tasks["flaky"]
    assert len(flaky["tries"]) == flaky["attempts"] == 3 and len(flaky["errors"]) == 2
    assert flaky["result"] == "done"
    assert 0 <= flaky["start"] < flaky["end"] <= data["end"]
    assert "stdout" not in flaky and "warning" not in flaky


def test_results_are_shown_as_json_or_as_python_does() -> None:
    """A value that JSON has no form of is told by its repr."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(lambda: {"a": [1]}, label="json")
    runner.add_task(lambda: {1, 2}, label="python")
    runner.run()
    first, second = page(runner).data["tasks"]
    assert json.loads(first["result"]) == {"a": [1]} and "repr" not in first
    assert second["result"] == "{1, 2}" and second["repr"] is True


def test_before_the_run_it_is_a_plan() -> None:
    """There is a graph, and no timeline."""
    shown = page(varied())
    assert shown.inside["title"] == ["varied: Not started"]
    ids = shown.values("id")
    assert "graph" in ids and "timeline" not in ids
    assert {task["status"] for task in shown.data["tasks"]} <= {"Waiting", "Terminated"}


def test_during_the_run() -> None:
    """What is at work has a start and no end, and the page says when it was made."""
    runner = concurra.TaskRunner(1, name="now", progress_stats=False)
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert leave.wait(20)

    runner.add_task(wait, label="a")
    runner.add_task(abs, -1, label="b", depends_on=["a"])
    runner.execute_in_background()
    assert entered.wait(20)
    shown = page(runner)
    leave.set()
    runner.get_background_results()
    assert shown.inside["title"] == ["now: Running"]
    first, second = shown.data["tasks"]
    assert first["status"] == "Running" and "end" not in first
    assert second["status"] == "Waiting" and "start" not in second
    assert "Seen" in shown.text and "Ended" not in shown.text


def test_what_ended_before_its_next_attempt() -> None:
    """It was at work for its one attempt, and not until its end."""
    runner = concurra.TaskRunner(1, progress_stats=False, timeout=0.1)
    runner.add_function(boom, key="a", task_retries=concurra.Retry(5, delay=60))
    runner.add_task(abs, -1, label="b")
    runner.run(verify=False)
    waited, plain = page(runner).data["tasks"]
    [[start, end]] = waited["tries"]
    assert waited["start"] == start <= end < waited["end"]
    assert "tries" not in plain


def test_an_aborted_run() -> None:
    """It is no success, and nothing has failed."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(abs, -1, label="a")
    runner.abort(verify=False)
    shown = page(runner)
    assert shown.inside["title"][0].endswith(": 1 terminated")
    assert "1 terminated with the run" in shown.text


def test_no_tasks() -> None:
    """An empty run has a page, too."""
    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.run()
    assert "There are no tasks." in page(runner).text


def test_long_texts_are_cut_and_it_says_so() -> None:
    """Their beginning and end stay; the label, too, is not endless."""
    made = made_up(1, stdout="begin" + "x" * 90_000 + "end")
    text = page(made).data["tasks"][0]["stdout"]
    assert text.startswith("begin") and text.endswith("end")
    assert "characters left out ...]" in text and len(text) < 33_000


def test_many_long_texts_are_cut_sooner() -> None:
    """So that a page can be opened whatever its tasks have printed."""
    made = made_up(3_000, stdout="x" * 20_000, trace="y" * 20_000)
    assert len(render(made)) < 30_000_000


@settings(max_examples=50)
@given(hostile_records())
def test_whatever_tasks_have_written_is_text(made: RunRecord) -> None:
    """No text adds an element, an attribute or a script, and the data is whole."""
    shown = Page(render(made))
    assert {tag for tag, _ in shown.elements} <= ELEMENTS
    assert len(shown.inside["script"]) == 2
    assert shown.data == json.loads(json.dumps(run_data(made)))
    assert len(shown.data["tasks"]) == len(made.tasks)
    assert all(link.startswith("#") for link in shown.values("href"))
    raw = "".join(map(str, (shown.texts, shown.inside["title"], shown.data)))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", raw)


def test_hostile_text_can_be_read() -> None:
    """Escaped where it is invisible, without colours, and otherwise as it is."""
    made = made_up(1, error=HOSTILE, status_text="</script><script>")
    [task] = page(made).data["tasks"]
    assert task["error"].startswith(
        "<b>&\"' ]]> <script>x</script>  \\x00 \\x07 \\u202e"
    )
    assert "\\udcff" in task["error"]
    source = render(made)
    data = source[source.index('id="data">') : source.rindex("<script>")]
    assert data.count("<") == 1 and ">" not in data[10:].replace("</script>", "")
    assert "\u2028" not in data
