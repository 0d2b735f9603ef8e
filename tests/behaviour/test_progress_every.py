"""`progress_every`: lines although nothing has ended."""

from __future__ import annotations

import logging
import re
import threading
import time

import pytest

import concurra

from .support import BOUND


class Lines(logging.Handler):
    """Keeps what was logged, and lets wait for so many lines of a task at work."""

    def __init__(self, enough=2):
        super().__init__()
        self.lines = []
        self.enough = enough
        self.come = threading.Event()

    def emit(self, record):
        self.lines.append(record.getMessage())
        if len(self.of_work()) >= self.enough:
            self.come.set()

    def of_work(self):
        """On a busy machine lines may come before a task has begun."""
        return [line for line in self.lines if "longest: " in line]


@pytest.fixture
def lines():
    """What the logger of a test has got, from INFO on."""
    handler = Lines()
    log = logging.getLogger("tests.progress_every")
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


def runner_of(lines, **options):
    options = {"progress_every": 0.05, "progress_stats": False, **options}
    log = logging.getLogger("tests.progress_every")
    return concurra.TaskRunner(2, "Nightly", logger=log, **options)


def fail():
    raise ValueError("no")


def test_a_line_comes_although_nothing_ends(lines):
    """Again and again: counts, failures, what is at work the longest.

    There is no estimate while nothing has ended for longer than that.
    """
    runner = runner_of(lines)
    failing = runner.add_task(fail, label="bad")
    runner.add_task(print, label="skipped", depends_on=[failing])
    long = concurra.task(lines.come.wait, trigger_rule="all_done")
    runner.add_task(long, BOUND, label="long", depends_on=[failing])
    results = runner.run(verify=False)
    assert results["long"]["result"] is True
    number = r"\d+\.\d (sec|min)"
    assert all(
        re.fullmatch(
            rf"Nightly after {number}: 2 of 3 tasks have ended, 1 failed, "
            rf"1 terminated, 1 at work \(longest: long, {number}\)"
            rf"(, about {number} left)?",
            line,
        )
        for line in lines.of_work()
    ), lines.lines


def test_it_comes_beside_the_progress(lines):
    """Which keeps its form and its moments."""
    runner = runner_of(lines, progress_stats=True)
    runner.add_task(lines.come.wait, BOUND, label="long")
    runner.run(verify=False)
    progress = [line for line in lines.lines if "progress: [" in line]
    assert len(progress) == 1 and "1/1 [100.0%]" in progress[0]
    assert len(lines.lines) > 2


def test_there_is_none_where_none_is_due(lines):
    """Nor by default."""
    for period in (None, 3600, float("inf")):
        runner = runner_of(lines, progress_every=period)
        runner.add_task(print, label="short")
        runner.run(verify=False)
    assert lines.lines == []


def test_there_is_none_after_an_abort(lines):
    """Though it takes its time until all has ended."""
    runner = runner_of(lines, terminate_timeout=0.5)
    deaf = "trap '' TERM; while :; do sleep 0.05; done"
    runner.add_command(["sh", "-c", deaf], label="deaf")
    runner.execute_in_background()
    assert lines.come.wait(BOUND)
    before = len(lines.lines)
    runner.abort(verify=False)  # for ten periods
    assert len(lines.lines) <= before + 1  # which was on its way
    assert "0 of 1" in lines.lines[-1]


def test_who_does_not_want_it_has_no_timer():
    """The threads of a run are those of its tasks."""
    seen = []
    for period in (None, 3600):
        runner = concurra.TaskRunner(1, progress_every=period, progress_stats=False)
        runner.add_task(lambda: seen.append(threading.active_count()))
        runner.run(verify=False)
    assert seen[1] == seen[0] + 1


def test_a_broken_log_breaks_nothing(lines):
    """As of every other line."""

    def broken(record):
        lines.come.set()
        raise OSError("disk full")

    lines.emit = broken
    logging.raiseExceptions, before = False, logging.raiseExceptions
    try:
        runner = runner_of(lines)
        runner.add_task(lines.come.wait, BOUND, label="long")
        assert runner.run(verify=False)["long"]["result"] is True
    finally:
        logging.raiseExceptions = before


def test_a_log_that_takes_longer_than_the_period_holds_up_no_task(lines):
    """There is one line at a time, and none is due while it is being written."""

    def emit(record):
        lines.lines.append(record.getMessage())
        time.sleep(0.02)

    lines.emit = emit
    runner = runner_of(lines, progress_every=0.005)
    for label in range(50):
        runner.add_task(time.sleep, 0.01, label=label)
    runner.execute_in_background()
    try:
        assert runner.wait(BOUND)
    finally:
        lines.emit = print
    assert lines.lines


@pytest.mark.parametrize("value", [0, -1, "30", float("nan"), True])
def test_what_is_no_period_is_refused(value):
    """At the construction, by name and value."""
    with pytest.raises((TypeError, ValueError), match="^progress_every must be"):
        concurra.TaskRunner(progress_every=value)


def test_a_map_tells_how_many_items_are_done(lines):
    """Of those that it has begun, and of how many."""
    runner = runner_of(lines)

    def wait_for_a_line(item):
        return item != 4 or lines.come.wait(BOUND)

    runner.map(wait_for_a_line, range(6), label="items", chunksize=2)
    assert runner.run(verify=False)["items"]["result"] == [True] * 6
    first = lines.of_work()[0]
    told = re.search(r"\(longest: items, .* sec, (\d) of 6 items\)", first)
    assert told is not None and int(told[1]) <= 4
