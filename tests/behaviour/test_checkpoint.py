"""Checkpoints: what has succeeded is not run again, as long as its call is the same."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import concurra
from concurra import ref, task
from concurra.checkpoint import Checkpoint, clear
from tests.helpers import START_METHODS, run_script

from .modes import FAIL, FLAKY, FUNCTIONS, MODES, NOTE, STAYS, mode_of, runner_in
from .modes import lines
from .support import BOUND, SAME_LIBRARY, Gate, check, read, statuses

RESTORED = re.compile(r"Restored from checkpoint of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

#: What has been called, in this process.
calls = []


@pytest.fixture(autouse=True)
def nothing_called():
    calls.clear()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.sqlite"


def call(*values, **named):
    """Return what it is given."""
    calls.append(values)
    return [*values, *named.values()]


def fail(*values):
    calls.append(values)
    raise ValueError("bad")


class Adder:
    """Something with a method."""

    def __init__(self, start):
        self.start = start

    def add(self, number):
        calls.append((number,))
        return self.start + number


class Fragile:
    """Something that can be pickled, and unpickled as long as that is allowed."""

    allowed = True

    def __reduce__(self):
        return unpickled, ()


def unpickled():
    if not Fragile.allowed:
        raise RuntimeError("its class has changed")
    return Fragile()


def wait_and_return(seconds):
    time.sleep(seconds)
    return seconds


def runner_with(path, **options):
    options.setdefault("progress_stats", False)
    return concurra.TaskRunner(options.pop("workers", 2), checkpoint=path, **options)


def restored(results):
    """The labels of what was not run."""
    return [
        label
        for label, result in results.items()
        if RESTORED.fullmatch(result["warning"] or "")
    ]


def run(path, *adds, **options):
    """Run what is added; the labels of what was restored."""
    runner = runner_with(path, **options)
    for add in adds:
        add(runner)
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
    return restored(results)


def a_then_b(function=call, value=1, **options):
    """A task, and one that gets its result."""

    def add(runner):
        a = runner.add_task(task(function, **options), value, label="a")
        runner.add_task(call, a, label="b")

    return add


# What is restored ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "fallback"])
def test_what_has_succeeded_is_not_run_again(mode, path, tmp_path):
    """In every mode; its result is the recorded one, and says from when it is."""
    journal = tmp_path / "journal"

    def results():
        runner = runner_in(mode, 2, checkpoint=path)
        NOTE.add(runner, mode, journal, "a", label="a")
        NOTE.add(runner, mode, journal, "b", label="b", depends_on=["a"])
        FLAKY.add(runner, mode, f"{journal}2", 1, label="c", task_retries=2)
        return runner.run(verify=False)

    first, second = results(), results()
    assert lines(journal) == ["a", "b"]
    assert restored(first) == []
    assert restored(second) == list(second) == ["a", "b", "c"]
    for label, result in second.items():
        check(result)
        assert result == {**first[label], "warning": result["warning"]}
        assert result["execution_mode"] == mode_of(mode)
    assert (second["c"]["attempts"], second["c"]["task_retries"]) == (2, 2)
    assert len(second["c"]["retry_errors"]) == 1


def test_what_has_failed_is_run_again(path):
    """With what depends on it, and nothing else; what it depends on is there for it."""
    first = runner_with(path)
    a = first.add_task(call, 1, label="a")
    first.add_task(fail, a, label="b")
    first.add_task(call, 3, label="c", depends_on=["b"])
    first.add_task(call, 4, label="d")
    assert list(statuses(first.run(verify=False)).values()) == [
        "Successful",
        "Failed",
        "Terminated",
        "Successful",
    ]
    calls.clear()
    second = runner_with(path)
    a = second.add_task(call, 1, label="a")
    second.add_task(call, a, label="b")
    second.add_task(call, 3, label="c", depends_on=["b"])
    second.add_task(call, 4, label="d")
    results = second.run(verify=False)
    assert restored(results) == ["a", "d"]
    assert calls == [([1],), (3,)]
    assert results["b"]["result"] == [[1]]


RESTORE_ALL = """
import math, os, resource, sys
import concurra
from tests.helpers import descendants
from tests.behaviour.modes import runner_in

def main():
    runner = runner_in(sys.argv[1], 2, checkpoint="run.sqlite")
    for number in range(20):
        runner.add_task(math.sqrt, number)
    runner.add_command(["true"])
    results = runner.run(verify=False)
    print(sum("Restored" in (each["warning"] or "") for each in results.values()))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(children.ru_minflt > 0 or len(descendants(os.getpid())) > 0)

if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("mode", START_METHODS)
def test_a_run_in_which_all_is_restored_starts_no_process(mode, tmp_path):
    """Neither for functions nor for commands, nor one that watches over them."""
    root = str(Path(__file__).resolve().parents[2])
    path = {"PYTHONPATH": f"{SAME_LIBRARY['PYTHONPATH']}{os.pathsep}{root}"}
    for expected in ("0\nTrue\n", "21\nFalse\n"):
        done = run_script(RESTORE_ALL, mode, env=path, cwd=tmp_path, check=True)
        assert done.stdout == expected


def test_it_is_said_how_many_were_restored(path, log):
    """At the start of the run, if there are any."""
    for labels, expected in (("ab", []), ("abc", ["2 of 3 tasks"])):
        runner = runner_with(path)
        for label in labels:
            runner.add_task(call, label, label=label)
        runner.run(verify=False)
        told = [each for each in log.lines(logging.INFO) if "Restored" in each]
        start = f"Restored from checkpoint {str(path)!r}: "
        assert told == [f"{start}{each}" for each in expected]


def test_labels_of_any_kind(path):
    """Whatever can be hashed and pickled."""
    labels = [1, "1", ("a", 2), frozenset("xyz"), b"1", 2.5]

    def add(runner):
        for label in labels:
            runner.add_task(call, label, label=label)

    assert run(path, add) == []
    assert len(run(path, add)) == len(labels)


def test_as_many_runs_as_one_likes(path):
    """Each with some more; what was recorded stays as it was."""
    moments = []
    for count in (1, 3, 6):
        runner = runner_with(path)
        for number in range(count):
            runner.add_task(call, number, label=number)
        results = runner.run(verify=False)
        assert len(restored(results)) == len(moments) and len(results) == count
        moments = [result["end_time"] for result in results.values()]
    assert calls == [(number,) for number in range(6)]


# The same call ------------------------------------------------------------------------


def of_task(function, *args, **kwargs):
    return lambda runner: runner.add_task(function, *args, label="it", **kwargs)


def of_function(*args, **kwargs):
    return lambda runner: runner.add_function(*args, key="it", **kwargs)


def of_command(*args, **kwargs):
    return lambda runner: runner.add_command(*args, label="it", **kwargs)


def of_shell(*args, **kwargs):
    return lambda runner: runner.add_shell_command(*args, label="it", **kwargs)


def wrapped(*values):
    return call(*values)


decorated = task(timeout=50)(wrapped)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (of_task(call, 1), of_task(call, 1)),
        (of_task(call, 1), of_function(call, [1])),
        (of_task(call, 1), of_function(call, (1,), {})),
        (of_task(call, {"b", "a"}), of_task(call, {"a", "b"})),
        (of_task(call, [1, 2]), of_task(task(call, timeout=9, priority=2), [1, 2])),
        (of_task(call, 1), of_task(call, 1, task_retries=3)),
        (of_task(call, 1), of_function(call, [1], name="other name")),
        (of_task(decorated, 1), of_task(decorated, 1)),
        (of_task(partial(call, 1), 2), of_task(partial(call, 1), 2)),
        (of_task(Adder(1).add, 2), of_task(Adder(1).add, 2)),
        (of_task(abs, -1), of_task(abs, -1)),
        (of_task(task(call, version=2), 1), of_task(task(call, version=2), 1)),
        (of_command(["echo", "a"]), of_command(("echo", Path("a")))),
        (of_shell("echo a", timeout=5), of_shell("echo a", task_retries=2)),
        (
            of_command(["sort"], env={"A": "1"}, input="b\na\n"),
            of_command(["sort"], env={"A": "1"}, input=b"b\na\n"),
        ),
    ],
)
def test_the_same_call_is_restored(one, other, path):
    """However it was added, and with whatever says only how it is to be run."""
    assert run(path, one) == []
    assert run(path, other) == ["it"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (of_task(call, 1), of_task(call, 2)),
        (of_task(call, 1), of_task(call, "1")),
        (of_task(call, 1), of_task(wrapped, 1)),
        (of_task(call, 1), of_task(call, value=1)),
        (of_task(call, 1), of_task(partial(call, 1))),
        (of_task(Adder(1).add, 2), of_task(Adder(2).add, 2)),
        (of_task(task(call, version=1), 1), of_task(task(call, version=2), 1)),
        (of_task(call, 1), of_task(task(call, version=1), 1)),
        (of_task(wrapped, "echo"), of_command(["echo"])),
        (of_command(["echo", "a"]), of_command(["echo", "b"])),
        (of_command(["echo", "a"]), of_shell("echo a")),
        (of_shell("echo a"), of_shell("echo a", cwd="/")),
        (of_shell("echo a"), of_shell("echo a", env={"A": "1"})),
        (of_shell("echo a", env={"A": None}), of_shell("echo a", env={"A": "1"})),
        (of_shell("cat"), of_shell("cat", input="text")),
        (of_shell("echo a"), of_shell("echo a", stderr="stdout")),
        (of_shell("echo a"), of_shell("echo a", text=False)),
        (of_shell("echo a"), of_shell("echo a", check=False)),
        (of_shell("echo a"), of_shell("echo a", capture_output=False)),
        (of_shell("echo a"), of_shell("echo a", stop_signal="SIGINT")),
        (of_shell("echo a"), of_shell("echo a", executable="/bin/sh")),
    ],
)
def test_another_call_is_run(one, other, path):
    """With that label; from then on it is the one that is recorded."""
    assert run(path, one) == []
    assert run(path, other) == []
    assert run(path, other) == ["it"]


def test_another_label_is_another_task(path):
    """Even if it is the same call."""
    run(path, lambda runner: runner.add_task(call, 1, label="a"))
    assert run(path, lambda runner: runner.add_task(call, 1, label="b")) == []


def test_references_count_by_their_labels(path):
    """Also those to what is added later, and within containers."""

    def early(runner):
        runner.add_task(call, [ref("a"), 2], more={"a": ref("a")}, label="b")
        runner.add_task(call, 1, label="a")

    def late(runner):
        a = runner.add_task(call, 1, label="a")
        runner.add_task(call, [a, 2], more={"a": a}, label="b")

    def another(runner):
        runner.add_task(call, 1, label="a")
        c = runner.add_task(call, 1, label="c")
        runner.add_task(call, [c, 2], more={"a": ref("a")}, label="b")

    assert run(path, early) == []
    assert sorted(run(path, late)) == ["a", "b"]
    assert run(path, another) == ["a"]


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["echo", ref("a")], {}),
        (["echo", "a"], {"env": {"A": ref("a")}}),
        (["cat"], {"input": ref("a")}),
    ],
)
def test_references_of_commands_count_by_their_labels(command, options, path):
    """In arguments, variables and input."""

    def add(command, options):
        def add(runner):
            for label in ("a", "c"):
                runner.add_task(str, 5, label=label)
            needs = ["a", "c"]
            runner.add_command(command, label="b", depends_on=needs, **options)

        return add

    def other(value):
        if isinstance(value, dict):
            return {key: other(each) for key, each in value.items()}
        if isinstance(value, list):
            return [other(each) for each in value]
        return value if isinstance(value, str) else ref("c")

    assert run(path, add(command, options)) == []
    assert run(path, add(command, options)) == ["a", "c", "b"]
    assert run(path, add(other(command), other(options))) == ["a", "c"]


@pytest.mark.parametrize("place", ["command", "env", "input"])
def test_references_of_commands_count_by_labels_of_any_kind(place, path):
    """What the repr of a label says makes no difference: it may have an address."""

    class Changing(frozenset):
        reprs = iter(range(9))

        def __repr__(self):
            return str(next(self.reprs))

        def __reduce__(self):
            return frozenset, (list(self),)

    def add(runner):
        a = runner.add_task(str, 5, label=Changing("a"))
        given = {"command": ["cat", "-"], "label": "b"}
        given[place] = {"command": ["echo", a], "env": {"A": a}, "input": a}[place]
        runner.add_command(**given)

    assert run(path, add) == []
    assert run(path, add) == [frozenset("a"), "b"]


def test_a_restored_result_is_an_argument(path):
    """Of what runs now, in a thread or a process."""
    run(path, lambda runner: runner.add_task(call, 5, label="a"))
    for options in ({}, {"use_multiprocessing": True}):
        runner = runner_with(path, **options)
        a = runner.add_task(call, 5, label="a")
        runner.add_task(len, a, label=str(options))
        results = runner.run(verify=False)
        assert restored(results) == ["a"]
        assert results[str(options)]["result"] == 1


def test_arguments_that_change_during_the_run(path):
    """What counts is what they were when it started."""

    def add(runner):
        numbers = [1]
        runner.add_task(numbers.append, 2, label="change")
        runner.add_task(call, numbers, label="use", depends_on=["change"])

    first = runner_with(path)
    add(first)
    assert first.run(verify=False)["use"]["result"] == [[1, 2]]
    assert run(path, add) == ["change", "use"]


# What follows from what is run again --------------------------------------------------


def test_what_depends_on_another_call_is_run_again(path):
    """Through any number of levels."""

    def chain(value):
        def add(runner):
            runner.add_task(call, 0, label="beside")
            before = runner.add_task(call, value, label=0)
            for number in range(1, 5):
                before = runner.add_task(call, before, label=number)

        return add

    run(path, chain("old"))
    assert run(path, chain("new")) == ["beside"]
    assert run(path, chain("new")) == ["beside", 0, 1, 2, 3, 4]


def test_what_was_made_of_something_older_is_run_again(path):
    """A run was cut short between a task that was run anew and what depends on it."""
    run(path, a_then_b(value=1))
    run(path, lambda runner: runner.add_task(call, 2, label="a"))
    runner = runner_with(path)
    a_then_b(value=2)(runner)
    results = runner.run(verify=False)
    assert restored(results) == ["a"]
    assert results["b"]["result"] == [[2]]
    assert run(path, a_then_b(value=2)) == ["a", "b"]


def test_what_ran_after_a_failure_is_run_again_after_a_success(path):
    """A rule that did not ask for success has no part in what is restored."""

    def add(function):
        def add(runner):
            runner.add_task(function, 1, label="a")
            runner.add_task(
                task(call, trigger_rule="one_failed"),
                2,
                label="repair",
                depends_on=["a"],
            )
            runner.add_task(
                task(call, trigger_rule="all_done"), 3, label="tidy", depends_on=["a"]
            )

        return add

    assert run(path, add(fail)) == []
    assert calls == [(1,), (2,), (3,)] or calls == [(1,), (3,), (2,)]
    run(path, lambda runner: runner.add_task(call, 1, label="a"))
    calls.clear()
    assert run(path, add(call)) == ["a"]
    assert calls == [(3,)]
    assert run(path, add(call)) == ["a", "tidy"]


def test_a_task_that_was_cancelled_before_the_start(path):
    """It is not restored, nor is what depends on it."""
    run(path, a_then_b())
    runner = runner_with(path)
    a_then_b()(runner)
    assert runner.cancel("a") is True
    results = runner.run(verify=False)
    assert results["a"]["error"] == "CancelledError: Task was cancelled"
    assert statuses(results) == {"a": "Terminated", "b": "Terminated"}
    assert run(path, a_then_b()) == ["a", "b"]


class Hooked:
    """Something that calls something when it is unpickled."""

    hook = None

    def __reduce__(self):
        return unhooked, ()


def unhooked():
    if Hooked.hook is not None:
        Hooked.hook()
    return Hooked()


def test_a_task_that_is_cancelled_while_results_are_read(path, monkeypatch):
    """It is as if that had come before: it ends by that, and what depends on it."""

    def add(runner):
        runner.add_task(call, 0, label="first")
        runner.add_task(Hooked, label="a")
        runner.add_task(call, 1, label="b", depends_on=["a"])
        runner.add_task(call, 2, label="c", depends_on=["b"])
        runner.add_task(call, 3, label="d", depends_on=["first"])

    run(path, add)
    calls.clear()
    runner = runner_with(path)
    add(runner)
    monkeypatch.setattr(Hooked, "hook", lambda: said.append(runner.cancel("a")))
    said = []
    results = runner.run(verify=False)
    ended = dict.fromkeys("abc", "Terminated")
    assert statuses(results) == {"first": "Successful", **ended, "d": "Successful"}
    assert said == [True] and calls == []
    assert results["a"]["error"] == "CancelledError: Task was cancelled"


def test_a_loop_while_another_thread_starts_the_run(path, monkeypatch):
    """It waits for that, and has all results."""
    run(path, lambda runner: runner.add_task(Hooked, label="a"))
    runner = runner_with(path)
    runner.add_task(Hooked, label="a")
    reads, goes_on = threading.Event(), threading.Event()

    def hook():
        reads.set()
        assert goes_on.wait(BOUND)

    monkeypatch.setattr(Hooked, "hook", hook)
    with ThreadPoolExecutor(2) as pool:
        results = pool.submit(runner.run, verify=False)
        assert reads.wait(BOUND)
        loop = pool.submit(lambda: dict(runner.as_completed()))
        goes_on.set()
        assert loop.result(BOUND) == results.result(BOUND)


def test_results_that_have_become_too_old(path):
    """They are run again, with what depends on them; without a limit they are there."""
    run(path, a_then_b())
    assert run(Checkpoint(path, max_age=600), a_then_b()) == ["a", "b"]
    assert run(Checkpoint(path, max_age=math.inf), a_then_b()) == ["a", "b"]
    assert run(Checkpoint(path, max_age=0), a_then_b(fail)) == []
    assert run(path, a_then_b()) == ["a", "b"]
    assert run(Checkpoint(str(path), max_age=0), a_then_b()) == []


def test_to_forget(path):
    """One label, some, or all; what depends on them is run again as well."""

    def add(runner):
        a_then_b()(runner)
        for label in ("c", ("d", 1)):
            runner.add_task(call, label, label=label)

    def after(*labels):
        clear(path, *labels)
        return run(path, add)

    run(path, add)
    assert after("a") == ["c", ("d", 1)]
    assert after(["b", ("d", 1), "unknown"]) == ["a", "c"]
    assert after([ref("c")]) == ["a", "b", ("d", 1)]
    assert after(ref("b")) == ["a", "c", ("d", 1)]
    assert after(()) == ["a", "b", "c", ("d", 1)]
    assert after() == []
    clear(path.with_name("none"))
    assert not path.with_name("none").exists()


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (3, "labels must be a collection of labels, not 3"),
        (False, "labels must be a collection of labels, not False"),
        ([[1]], r"labels\[0\] must be a hashable label other than None, not a value"),
        (["a", None], r"labels\[1\] must be a hashable label other than None"),
    ],
)
def test_what_are_no_labels_to_forget(labels, error, path):
    """They are refused, whether there is a file or not, and nothing is forgotten."""
    with pytest.raises(TypeError, match=f"^{error}"):
        clear(path, labels)
    assert not path.exists()
    run(path, a_then_b())
    with pytest.raises(TypeError, match=f"^{error}"):
        clear(path, labels)
    assert run(path, a_then_b()) == ["a", "b"]


# What cannot be recorded --------------------------------------------------------------


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_what_cannot_be_pickled_is_run_each_time(mode, path, tmp_path, log):
    """There is one warning; all others are recorded."""
    for _ in range(2):
        runner = runner_in(mode, 1, checkpoint=path)
        if mode in ("thread", "fallback"):
            for label in "xyz":
                runner.add_task(lambda: 1, label=label)
        NOTE.add(runner, "thread", tmp_path / "journal", label="a")
        results = runner.run(verify=False)
        assert set(statuses(results).values()) == {"Successful"}
    assert restored(results) == ["a"]
    told = [line for line in log.lines(logging.WARNING) if "the checkpoint" in line]
    if mode in ("thread", "fallback"):
        assert len(told) == 2
        assert told[0].startswith(
            "Task 'x' cannot be recorded in the checkpoint, so it is run each time "
            "with all that depends on it, as may others be: "
        )
    else:
        assert told == []


def test_a_result_that_cannot_be_pickled(path, log):
    """The task succeeds; it and what depends on it are run each time."""

    def add(runner):
        lock = runner.add_task(threading.Lock, label="lock")
        runner.add_task(call, 1, label="after", depends_on=[lock])
        runner.add_task(call, 2, label="other")

    assert run(path, add) == []
    assert run(path, add) == ["other"]
    assert calls == [(1,), (2,), (1,)] or calls == [(2,), (1,), (1,)]
    told = [line for line in log.lines(logging.WARNING) if "the checkpoint" in line]
    assert [line.partition(" cannot")[0] for line in told] == ["Task 'lock'"] * 2


def test_what_was_recorded_as_another_call_before_it_could_not_be(path):
    """What was made of a result that was not recorded is not recorded either."""
    run(path, a_then_b())
    runner = runner_with(path)
    a_then_b(lambda value: [value, "other"])(runner)
    assert runner.run(verify=False)["b"]["result"] == [[1, "other"]]
    runner = runner_with(path)
    a_then_b()(runner)
    results = runner.run(verify=False)
    assert restored(results) == ["a", "b"]
    assert results["b"]["result"] == [[1]]


def test_a_result_that_cannot_be_read_any_more(path, log, monkeypatch):
    """The task and what depends on it are run again; it is said once, at INFO."""

    def add(runner):
        for label in "xy":
            runner.add_task(Fragile, label=label)
            runner.add_task(call, label, label=label * 2, depends_on=[label])
        runner.add_task(call, "z", label="z")

    run(path, add)
    monkeypatch.setattr(Fragile, "allowed", False)
    assert run(path, add) == ["z"]
    (told,) = [line for line in log.lines(logging.INFO) if "the checkpoint" in line]
    assert told == (
        "Task 'x' is run again, as may others be, since its result cannot be read from "
        "the checkpoint: RuntimeError: its class has changed"
    )


def test_a_result_that_ends_the_program_when_it_is_read(path, monkeypatch):
    """It does not: the task is run again. Ctrl-C does."""
    run(path, lambda runner: runner.add_task(Hooked, label="a"))
    runner = runner_with(path)
    runner.add_task(Hooked, label="a")

    def hook():
        raise ending

    monkeypatch.setattr(Hooked, "hook", hook)
    ending = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    ending = SystemExit(3)
    result = runner.run(verify=False)["a"]
    assert (result["status"], restored({"a": result})) == ("Successful", [])


# Results are the users' ---------------------------------------------------------------


def test_what_users_do_with_results_is_not_recorded(path):
    """Nor does it reach what another run is given."""
    runner = runner_with(path)
    for number in range(200):
        runner.add_task(call, number, label=number)
    for _, result in runner.as_completed():
        result["result"] = None
    for _ in range(2):
        runner = runner_with(path)
        for number in range(200):
            runner.add_task(call, number, label=number)
        results = runner.run(verify=False)
        assert len(restored(results)) == 200
        for number, result in results.items():
            assert result["result"] == [number]
            result["result"].append("changed")
            result["retry_errors"].append("changed")


@pytest.mark.parametrize("workers", [1, 4])
def test_results_that_are_not_kept_are_recorded(path, workers):
    """Even if they were taken before anybody could write them down."""
    for times in range(2):
        runner = runner_with(path, keep_results=False, workers=workers)
        for number in range(500):
            runner.add_task(call, number, label=number)
        taken = dict(runner.as_completed())
        assert {label: result["result"] for label, result in taken.items()} == {
            number: [number] for number in range(500)
        }
        assert len(restored(taken)) == 500 * times
        assert runner.get_background_results(verify=False) == {}


class Log(concurra.Observer):
    """Writes down what it is told."""

    def __init__(self):
        self.facts = []

    def on_task_start(self, fact):
        self.facts.append(("start", fact.label, None))

    def on_task_end(self, fact):
        self.facts.append(("end", fact.label, fact.result))


def test_observers_are_told_of_what_is_restored(path):
    """Of its end, with its result; not of a start that there was not."""
    run(path, lambda runner: runner.add_task(call, 1, label="a"))
    log = Log()
    runner = runner_with(path, observers=[log], workers=1)
    a_then_b()(runner)
    results = runner.run(verify=False)
    assert log.facts == [
        ("end", "a", results["a"]),
        ("start", "b", None),
        ("end", "b", results["b"]),
    ]


def test_observers_are_told_the_results_of_what_is_not_kept():
    """As they were, whatever has become of them."""
    log = Log()
    runner = concurra.TaskRunner(
        2, progress_stats=False, keep_results=False, observers=[log]
    )
    for number in range(300):
        runner.add_task(call, number, label=number)
    for _, result in runner.as_completed():
        result.clear()
    told = {label: result for what, label, result in log.facts if what == "end"}
    assert len(told) == 300
    assert all(result["result"] == [label] for label, result in told.items())


def test_progress_and_report(path, log):
    """Restored tasks are counted, and shown with the duration that they took."""
    for _ in range(2):
        runner = runner_with(path, progress_stats=True)
        for number in range(4):
            runner.add_task(call, number, label=number)
        log._caplog.clear()
        runner.run()
    bars = log.progress()
    assert len(bars) == 4
    assert "4/4 [100.0%]" in bars[-1]
    table = log.lines(logging.INFO)[-1]
    assert table.count("Successful") == 4


@pytest.mark.parametrize("keep", [True, False])
def test_the_report_has_the_duration_of_then(keep, path, log):
    """Also once the result was handed out and is not kept."""
    tables = []
    for _ in range(2):
        runner = runner_with(path, keep_results=keep)
        runner.add_task(wait_and_return, 0.03, label="a")
        assert [label for label, _ in runner.as_completed()] == ["a"]
        runner.verify()
        tables.append(log.lines(logging.INFO)[-1])
    assert tables[0] == tables[1] and "0.0 sec" not in tables[0]


# The life of a run --------------------------------------------------------------------


def test_in_the_background(path):
    """Nothing of it is different."""
    with Gate() as gate:
        runner = runner_with(path)
        runner.add_task(call, 1, label="a")
        runner.add_task(lambda: gate.wait(), label="held")
        runner.execute_in_background()
        gate.reached_by(1)
        assert runner.is_running()
        gate.open()
        runner.get_background_results(verify=False)
    assert run(path, lambda runner: runner.add_task(call, 1, label="a")) == ["a"]


def test_in_an_event_loop(path):
    """Nothing of it is different either."""

    def add():
        runner = runner_with(path)
        a_then_b()(runner)
        return runner

    async def run_twice():
        first = await add().run_async(verify=False)
        again = [each async for each in add().as_completed_async()]
        return restored(first), restored(dict(again))

    assert asyncio.run(run_twice()) == ([], ["a", "b"])


def test_priorities_and_resources(path):
    """What is restored holds nothing, and takes no turn."""

    def add(runner):
        for number in range(6):
            chosen = {"priority": number, "resources": {"db": 1}}
            runner.add_task(task(call, **chosen), number, label=number)

    def more(runner):
        add(runner)
        chosen = {"priority": 9, "resources": {"db": 1}}
        for label in ("x", "y"):
            needs = [0, 5]
            runner.add_task(task(call, **chosen), label, label=label, depends_on=needs)

    assert run(path, add, resources={"db": 1}) == []
    assert calls == [(number,) for number in reversed(range(6))]
    assert run(path, more, resources={"db": 1}) == [0, 1, 2, 3, 4, 5]
    assert calls[6:] == [("x",), ("y",)]


@pytest.mark.parametrize("how", ["abort", "timeout", "fast_fail", "run_timeout"])
def test_a_run_that_is_cut_short(how, path, tmp_path):
    """What had succeeded is recorded, what was ended is not, and the file is free."""
    options = {
        "timeout": {"timeout": 0.5},
        "run_timeout": {"run_timeout": 0.5},
        "fast_fail": {"fast_fail": True},
    }.get(how, {})
    runner = runner_with(path, terminate_timeout=0.2, **options)
    runner.add_task(call, 1, label="a")
    STAYS.add(runner, "command", tmp_path / "pid", label="stays", depends_on=["a"])
    if how == "fast_fail":
        FAIL.add(runner, "command", label="fails", depends_on=["a"])
    runner.execute_in_background()
    if how == "abort":
        read(tmp_path / "pid")
        runner.abort(verify=False)
    results = runner.get_background_results(verify=False)
    assert results["stays"]["status"] == "Terminated"

    def add(runner):
        runner.add_task(call, 1, label="a")
        runner.add_shell_command("true", label="stays", depends_on=["a"])

    assert run(path, add) == ["a"]


def test_an_abort_before_the_start(path):
    """It takes the place of the run: nothing is restored, and no file is made."""
    runner = runner_with(path)
    runner.add_task(call, 1, label="a")
    assert statuses(runner.abort(verify=False)) == {"a": "Terminated"}
    assert statuses(runner.run(verify=False)) == {"a": "Terminated"}
    assert not path.exists()


def test_a_second_start_is_refused_and_leaves_the_file_alone(path):
    """As without a checkpoint."""
    runner = runner_with(path)
    runner.add_task(call, 1, label="a")
    runner.run(verify=False)
    path.unlink()
    with pytest.raises(concurra.LifeCycleError, match="already been started"):
        runner.run()
    assert not path.exists()


def test_a_start_that_was_refused_can_be_mended(path):
    """The file is not held meanwhile, and nothing of it stays."""
    run(path, a_then_b())
    runner = runner_with(path)
    runner.add_task(call, 2, label="a", depends_on=["missing"])
    with pytest.raises(ValueError, match="Unknown task dependency"):
        runner.run()
    assert run(path, a_then_b()) == ["a", "b"]
    runner.add_task(call, 3, label="missing")
    results = runner.run(verify=False)
    assert restored(results) == []
    assert results["a"]["result"] == [2]


def test_ctrl_c_frees_the_file(path, tmp_path):
    """And what had succeeded is there."""
    runner = runner_with(path, terminate_timeout=0.2)
    runner.add_task(call, 1, label="a")
    STAYS.add(runner, "command", tmp_path / "pid", label="stays", depends_on=["a"])

    def interrupt():
        read(tmp_path / "pid")
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert run(path, lambda runner: runner.add_task(call, 1, label="a")) == ["a"]
