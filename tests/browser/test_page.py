"""A user goes through the page of a run, with the mouse and with the keyboard."""

from __future__ import annotations

import re
from typing import Callable

import pytest
from playwright.sync_api import Page, expect

from concurra.reports import RunRecord, TaskRecord, record
from tests.reports.support import HOSTILE, made_up, ran

Show = Callable[..., Page]

#: The rows that are shown, by their labels.
LABELS = "[...document.querySelectorAll('#tasks .row .label')].map(e => e.textContent)"


def labels(page: Page) -> list[str]:
    """The labels of the rows that are shown."""
    found: list[str] = page.evaluate(LABELS)
    return found


def row(label: str) -> str:
    """Where the button of a row is."""
    return f"#tasks .row .task button:has(.label:text-is('{label}'))"


def test_the_table_has_all_tasks(show: Show) -> None:
    """In the order in which they were added."""
    run = record(ran())
    page = show(run)
    assert labels(page) == [task.label for task in run.tasks]
    expect(page.locator("#shown")).to_have_text("8 tasks")
    assert page.locator("#tasks table").get_attribute("aria-rowcount") == "9"


def test_it_filters_by_status(show: Show) -> None:
    """Buttons say how many there are; several are alternatives."""
    page = show(record(ran()))
    chips = page.locator(".chips button")
    assert chips.all_text_contents() == [
        *("Failed 2", "Terminated 4", "Successful 2", "Retried 1", "Warnings 1")
    ]
    chips.nth(0).click()
    assert labels(page) == ["boom", "command"]
    expect(chips.nth(0)).to_have_attribute("aria-pressed", "true")
    chips.nth(2).click()
    assert labels(page) == ["flaky", "boom", "fine", "command"]
    chips.nth(3).click()
    assert labels(page) == ["flaky"]
    expect(page.locator("#shown")).to_have_text("1 of 8 tasks")


def test_it_filters_by_text(show: Show) -> None:
    """Labels, errors and programs; all words have to be there, in any case."""
    page = show(record(ran()))
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type("CODE return")
    assert labels(page) == ["command"]
    page.keyboard.press("Escape")
    assert len(labels(page)) == 8
    page.keyboard.type("nothing has this")
    expect(page.locator("#tasks .empty")).to_have_text("No task is like that.")


def test_it_sorts(show: Show) -> None:
    """What has no value is last either way, and `aria-sort` tells of it."""
    page = show(record(ran()))
    head = page.locator("#tasks th[data-key=took]")
    head.locator("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    descending = labels(page)
    head.locator("button").click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    ascending = labels(page)
    assert descending[:5] == ascending[:5][::-1]
    assert set(descending[5:]) == {"skipped", "untriggered", "cancelled"}
    assert descending[5:] == ascending[5:]
    expect(page.locator("#tasks [aria-sort]")).to_have_count(1)


def test_the_address_keeps_the_state(show: Show) -> None:
    """Who gets it sees the same rows, in the same order, with the same task open."""
    page = show(record(ran()))
    page.locator(".chips button", has_text="Failed").click()
    page.locator("#tasks th[data-key=task] button").click()
    page.locator("#filter").fill("o")
    page.locator(row("command")).click()
    fragment = page.evaluate("location.hash")
    assert fragment == "#status=Failed&q=o&sort=task&task=4"
    again = show(record(ran()), fragment)
    assert labels(again) == ["boom", "command"]
    expect(again.locator("#filter")).to_have_value("o")
    expect(again.locator(row("command"))).to_have_attribute("aria-expanded", "true")


def test_a_row_opens(show: Show) -> None:
    """With all that is known, and closes."""
    page = show(record(ran()))
    page.locator(row("command")).click()
    details = page.locator("#tasks .details")
    for words in ("Standard output", "Standard error", "Error", "out", "err", "sh"):
        expect(details).to_contain_text(words)
    page.locator(row("command")).click()
    expect(details).to_have_count(0)


def test_errors_of_attempts_are_shown(show: Show) -> None:
    """Each with its number."""
    page = show(record(ran()), "#task=0")
    details = page.locator("#tasks .details")
    expect(details).to_contain_text("Errors of its attempts")
    expect(details).to_contain_text("1. Boom: 1 more")
    expect(details).to_contain_text("3 of 3")


def test_dependencies_are_links(show: Show) -> None:
    """To and fro; a task that the filter hides is shown."""
    page = show(record(ran()), "#status=Terminated&task=2")
    details = page.locator("#tasks .details")
    details.locator("a", has_text="boom").click()
    expect(page.locator(row("boom"))).to_be_focused()
    assert len(labels(page)) == 8
    after = page.locator(".row[data-index='1'] + .details a")
    assert after.all_inner_texts() == ["skipped"]
    page.go_back()
    assert "status=Terminated" in page.evaluate("location.hash")


def test_what_went_wrong_leads_to_the_task(show: Show) -> None:
    """From the summary, as often as it is clicked."""
    page = show(record(ran()))
    for _ in range(2):
        page.evaluate("scrollTo(0, 0)")
        page.locator(".failures a", has_text="boom").click()
        expect(page.locator(row("boom"))).to_be_in_viewport()
    page.locator(".counts a", has_text="Successful").click()
    assert labels(page) == ["flaky", "fine"]


def test_texts_are_copied(show: Show) -> None:
    """The button says whether it has worked."""
    page = show(
        record(ran()), "#task=1", permissions=["clipboard-read", "clipboard-write"]
    )
    button = page.get_by_role("button", name="Copy: Error")
    button.click()
    expect(button).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "Boom: it is broken"


def test_the_table_by_keyboard(show: Show) -> None:
    """One stop for the tabulator; arrows go along, open and close."""
    page = show(record(ran()))
    page.locator("#filter").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator(row("flaky"))).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.locator(row("boom"))).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#tasks .details")).to_have_count(1)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tasks .details")).to_have_count(0)
    page.keyboard.press("End")
    expect(page.locator(row("cancelled"))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#tasks .details")).to_have_count(1)
    expect(page.locator("#tasks .row [tabindex='0']")).to_have_count(1)


def test_everything_is_reached_by_tabulator(show: Show) -> None:
    """The skip link first, and a focus that can be seen on each."""
    page = show(record(ran()))
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        what = page.evaluate(
            "(() => { const e = document.activeElement; return [e.getAttribute('class')"
            " ?? '', e.id, getComputedStyle(e).outlineStyle, e.tagName]; })()"
        )
        if what[3] == "BODY":
            break
        seen.append(what)
    assert seen[0][0] == "skip"
    assert "filter" in [what[1] for what in seen]
    classes = " ".join(what[0] for what in seen)
    assert "chart" in classes and "node" in classes
    assert all(what[2] != "none" or what[0].startswith("node") for what in seen)


def test_the_timeline_by_keyboard(show: Show) -> None:
    """Arrows go from task to task and tell of each, Enter opens it."""
    page = show(made_up(6))
    page.locator(".chart").focus()
    told = page.locator("#timeline-told")
    page.keyboard.press("ArrowRight")
    expect(told).to_have_text(re.compile("^task 0, Successful, 1.00 s, from "))
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("task 2")
    page.keyboard.press("ArrowDown")
    expect(told).to_contain_text("task 1")
    page.keyboard.press("End")
    expect(told).to_contain_text("task 5")
    expect(page.locator(".tip")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.locator(row("task 5"))).to_be_focused()
    expect(page.locator("#tasks .details")).to_have_count(1)


def test_the_timeline_by_mouse(show: Show) -> None:
    """It tells of what is under the pointer, zooms and moves; a click opens."""
    page = show(made_up(6), viewport={"width": 1000, "height": 800})
    page.locator(".chart").scroll_into_view_if_needed()
    box = page.locator(".lanes canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + 60, box["y"] + 18  # the first task
    page.mouse.move(x, y)
    expect(page.locator(".tip b")).to_have_text("task 0")
    page.keyboard.down("Control")
    for _ in range(8):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.mouse.move(x + 500, y)
    expect(page.locator(".tip b")).to_have_text("task 0")  # which is wider now
    page.mouse.down()
    page.mouse.move(x - 900, y, steps=4)
    page.mouse.up()
    expect(page.locator("#tasks .details")).to_have_count(0)
    page.locator("[data-zoom=all]").click()
    page.mouse.move(x, y)
    expect(page.locator(".tip b")).to_have_text("task 0")
    page.mouse.click(x, y)
    expect(page.locator(row("task 0"))).to_be_focused()


def test_the_graph(show: Show) -> None:
    """Boxes are links; arrows go along the dependencies; the longest path is marked."""
    page = show(record(ran()))
    nodes = page.locator(".drawing .node")
    expect(nodes).to_have_count(8 - 1)  # nothing depends on the command
    assert page.locator(".drawing .edge.longest").count() >= 1
    expect(page.locator("#graph .note")).to_contain_text("1 task is not drawn")
    node = page.locator(".node[data-index='0']")
    node.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".node[data-index='3']")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(row("fine"))).to_be_focused()
    width = page.locator(".drawing svg").first.bounding_box()
    page.locator("[data-size=in]").click()
    wider = page.locator(".drawing svg").first.bounding_box()
    assert width and wider and wider["width"] > 1.3 * width["width"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(show: Show, scheme: str) -> None:
    """As the system is; texts are darker, or lighter, than what they stand on."""
    page = show(made_up(), color_scheme=scheme)
    paper, ink = page.evaluate(
        "['backgroundColor', 'color'].map(n => getComputedStyle(document.body)[n]"
        ".match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0))"
    )
    assert (paper > ink) == (scheme == "light")


@pytest.mark.parametrize("width", [420, 800, 1400])
def test_no_width_scrolls_to_the_side(show: Show, width: int) -> None:
    """Long labels and lines included, with everything open."""
    made = made_up(4, error="x" * 3000, stdout="y" * 3000)
    long = RunRecord(
        name="n" * 400,
        state="ended",
        max_concurrency=1,
        moment=1.0,
        tasks=[
            *made.tasks,
            TaskRecord(index=4, label="w" * 5000, name="f", status="Waiting"),
        ],
    )
    page = show(long, "#task=0,4", viewport={"width": width, "height": 800})
    expect(page.locator("#tasks .details")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_paper(show: Show) -> None:
    """The whole table, failures open, light colours; afterwards all is as before."""
    page = show(many(450), color_scheme="dark")
    assert len(page.pdf()) > 10_000
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert len(labels(page)) == 450
    expect(page.locator("#tasks .details")).to_have_count(9)
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator("#tasks .details")).to_have_count(0)


def test_without_a_script(show: Show) -> None:
    """The summary and the failures can be read; what needs a script is not there."""
    page = show(record(ran()), java_script_enabled=False)
    expect(page.locator(".plain")).to_contain_text("Boom: it is broken")
    for name in ("timeline", "graph", "tasks"):
        expect(page.locator(f"#{name}")).to_be_hidden()


def test_nothing_of_a_task_is_run(show: Show) -> None:
    """Texts that would be scripts, in every field, with everything shown."""
    evil = (
        "<script>window.xss=1</script><img src=x onerror='window.xss=1'>"
        "</script><svg onload='window.xss=1'>\"' onmouseover='window.xss=1' "
        "javascript:window.xss=1 {{7*7}}"
    )
    texts = dict.fromkeys(
        ("error", "trace", "warning", "stdout", "stderr", "result", "status_text"), evil
    )
    made = made_up(3, retry_errors=[evil, HOSTILE], **texts)
    for task in made.tasks:
        task.label = task.program = task.name = evil
        task.cause, task.status, task.attempts = "error", "Failed", 2
    run = RunRecord(
        name=evil,
        state="ended",
        max_concurrency=2,
        started=1000.0,
        ended=1003.0,
        moment=2000.0,
        tasks=made.tasks,
    )
    page = show(run, "#task=0,1,2")
    expect(page.locator("#tasks .details")).to_have_count(3)
    page.locator(".chart").focus()
    page.keyboard.press("ArrowRight")
    page.locator(".node").first.hover()
    expect(page.locator(".tip b")).to_have_text(evil)
    expect(page.locator("h1")).to_have_text(evil)
    assert page.evaluate("window.xss") is None
    assert page.locator("script").count() == 2 and page.locator("img").count() == 0


def test_what_would_get_in_is_not_run(show: Show, troubles: list[str]) -> None:
    """The policy of the page stops scripts and handlers that are not its own."""
    page = show(made_up())
    page.evaluate(
        """() => {
        const script = document.createElement("script");
        script.textContent = "window.xss = 1";
        document.body.append(script);
        const button = document.createElement("button");
        button.setAttribute("onclick", "window.xss = 2");
        document.body.append(button);
        button.click();
    }"""
    )
    assert page.evaluate("window.xss") is None
    assert len(troubles) == 2
    assert all("Content Security Policy" in each for each in troubles)
    troubles.clear()


def many(count: int) -> RunRecord:
    """A run of many tasks on 16 lanes, with a failure now and then."""
    tasks = []
    for n in range(count):
        failed = n % 50 == 7
        start = 1000.0 + n // 16
        tasks.append(
            TaskRecord(
                index=n,
                label=f"task {n}",
                name="work",
                depends_on=[n - 16] if n >= 16 and n % 3 else [],
                status="Failed" if failed else "Successful",
                cause="error" if failed else "success",
                started=start,
                ended=start + 0.9,
                duration=0.9 - (n % 7) / 10,
                attempts=1,
                mode="thread",
                lane=n % 16,
                error="ValueError: no" if failed else None,
                trace="Traceback\n" * 10 if failed else None,
            )
        )
    return RunRecord(
        name="many",
        state="ended",
        max_concurrency=16,
        started=1000.0,
        ended=1001.0 + count / 16,
        moment=2000.0,
        tasks=tasks,
    )


def test_five_thousand_tasks_do_not_freeze(show: Show) -> None:
    """Rows come when they are needed: at the start, by keys and by links."""
    page = show(many(5000))
    ready = page.evaluate("performance.getEntriesByName('concurra:ready')[0].startTime")
    assert ready < 10_000  # a few hundred milliseconds where nothing else is at work
    page.locator("#filter").fill("task 4999")
    assert labels(page) == ["task 4999"]
    page.locator("#filter").fill("")
    page.locator("#tasks .row .task button").first.focus()
    page.keyboard.press("End")
    expect(page.locator(row("task 4999"))).to_be_focused()
    page.locator("#tasks th[data-key=took] button").click()
    assert labels(page)[:2] == ["task 0", "task 7"]
    page.locator(".failures a").first.click()
    expect(page.locator(row("task 7"))).to_be_in_viewport()
    expect(page.locator("#graph .note")).to_contain_text("of 5,000 tasks are drawn")
    assert page.locator(".node").count() <= 300
