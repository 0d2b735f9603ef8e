"""What a run, and a task, can be asked: the end, how far, exceptions, who I am."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from decimal import Decimal
from fractions import Fraction

import pytest

import concurra
from concurra import CurrentTask, Retry, current_task, task
from tests.helpers import wait_until

from .modes import FAIL, FUNCTIONS, SUCCEED, as_in, runner_in
from .support import BOUND, Gate, statuses

NONE = {
    "waiting": 0,
    "ready": 0,
    "running": 0,
    "successful": 0,
    "failed": 0,
    "terminated": 0,
}


# done, wait, counts, snapshot, exit_code ----------------------------------------------


def test_before_the_start():
    """Nothing is done, nothing can be waited for, and it is no success yet."""
    runner = concurra.TaskRunner(progress_stats=False)
    assert (runner.done(), runner.exit_code, runner.counts()) == (False, 0, NONE)
    runner.add_task(str, label="a")
    assert (runner.done(), runner.exit_code) == (False, 1)
    assert runner.counts() == {**NONE, "waiting": 1}
    now = runner.snapshot()
    assert (now.name, now.seconds, now.counts) == ("TaskRunner", 0, runner.counts())
    assert (now.total, now.ended, now.at_work, now.rest) == (1, 0, [], None)
    with pytest.raises(RuntimeError, match="Nothing runs yet"):
        runner.wait()


def test_while_it_runs():
    """Each task is in one state."""
    with Gate() as gate:
        runner = concurra.TaskRunner(2, progress_stats=False)
        runner.add_task(str, label="quick")
        FAIL.add(runner, "thread", label="bad")
        runner.add_task(str, label="skipped", depends_on=["bad"])
        needs = ["quick", "bad"]
        for number in range(3):
            held = task(gate.wait, trigger_rule="all_done")
            runner.add_task(held, label=number, depends_on=needs)
        runner.add_task(str, label="last", depends_on=[0])
        before = time.monotonic()
        runner.execute_in_background()
        gate.reached_by(2)
        now = runner.snapshot()
        assert (now.total, now.ended, now.counts) == (7, 3, runner.counts())
        assert sorted(each.label for each in now.at_work) == [0, 1]
        assert [each.attempt for each in now.at_work] == [1, 1]
        assert 0 < now.seconds <= time.monotonic() - before
        assert runner.done() is False and runner.exit_code == 1
        assert runner.wait(0.01) is False and runner.wait(0) is False
        assert runner.counts() == {
            "waiting": 1,
            "ready": 1,
            "running": 2,
            "successful": 1,
            "failed": 1,
            "terminated": 1,
        }
        gate.open()
        assert runner.wait() is True
        assert runner.done() is True
        assert runner.is_running(), "nobody has fetched the end yet"
        assert runner.counts() == {
            **NONE,
            "successful": 5,
            "failed": 1,
            "terminated": 1,
        }
        assert runner.exit_code == 1
        runner.get_background_results(verify=False)


def test_after_a_success():
    """Everything is done, and the program may exit with 0."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    runner.run()
    assert (runner.done(), runner.wait(), runner.wait(0), runner.exit_code) == (
        True,
        True,
        True,
        0,
    )


@pytest.mark.parametrize("kind", [float, Decimal, Fraction])
def test_any_number_of_seconds_to_wait(kind):
    """Before the end and after it."""
    runner = concurra.TaskRunner(progress_stats=False)
    with Gate() as gate:
        runner.add_task(gate.wait)
        runner.execute_in_background()
        assert runner.wait(kind("0.01")) is False
        gate.open()
        assert runner.wait(kind(BOUND)) is True
    assert runner.wait(kind(0)) is True


@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_a_wrong_time_to_wait(value, error):
    """Is refused by name."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.run()
    with pytest.raises(error, match="^timeout must be"):
        runner.wait(value)


def test_a_task_cannot_wait_for_its_own_run():
    """It would wait for itself."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(lambda: runner.wait(), label="a")
    result = runner.run(verify=False)["a"]
    assert "cannot wait for the end of its own run" in result["error"]


def test_how_long_a_task_is_to_wait_cannot_wait_for_the_run():
    """The run would wait for the answer."""

    def fail():
        raise ValueError("first")

    def delay(attempts):
        runner.wait()
        return 0

    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(task(fail, task_retries=Retry(1, delay=delay)), label="a")
    assert runner.run(verify=False)["a"]["error"] == (
        "ValueError: first (LifeCycleError: A task cannot wait for the end of its own "
        "run in the delay)"
    )


class Closing:
    """An argument whose finalizer calls something; another process gets a text."""

    def __init__(self, close):
        self.close = close

    def __del__(self):
        self.close()

    def __reduce__(self):
        return str, ()


#: Whether there is a task after it that is to be done.
FOLLOWED = pytest.mark.parametrize("followed", [False, True])


@FOLLOWED
@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_finalizer_cannot_wait_for_the_run(mode, followed):
    """It is called by a thread of the run, which would wait for itself."""
    errors = []

    def close():
        try:
            runner.wait()
        except RuntimeError as error:
            errors.append(str(error))

    runner = runner_in(mode, 1)
    runner.add_task(as_in(mode, str), Closing(close), label="a")
    if followed:
        runner.add_task(as_in(mode, str), label="b")
    assert set(statuses(runner.run()).values()) == {"Successful"}
    assert errors == ["A task cannot wait for the end of its own run"]


@FOLLOWED
@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_finalizer_can_abort_the_run(mode, followed):
    """It is not waited for until the grace period is over, which is long here."""
    found = []
    runner = runner_in(mode, 1, terminate_timeout=10 * BOUND)
    closing = Closing(lambda: found.append(runner.abort(verify=False)))
    runner.add_task(as_in(mode, str), closing, label="a")
    del closing
    if followed:
        runner.add_task(as_in(mode, str), label="b", depends_on=["a"])
    results = runner.run(verify=False)
    wait_until(lambda: found, what="the end of the finalizer")
    assert [*map(statuses, found)] == [statuses(results)]
    assert results["a"]["status"] == "Successful"


@pytest.mark.parametrize("timeout", [1, 60])
@pytest.mark.parametrize("raises", [False, True])
def test_a_slow_finalizer_is_no_part_of_the_next_task(raises, timeout):
    """Whose time begins when it begins; also if the end is seen late, by a timeout."""
    ended, began = [], []

    def close():
        if timeout == 1:  # until that brings in the end
            wait_until(lambda: runner.results_registry["a"], what="the end of a")
        else:
            time.sleep(0.1)  # time is what this is about
        ended.append(time.monotonic())

    def first(closing):
        if raises:
            raise ValueError

    def second():
        began.append(current_task().deadline - 60)

    runner = concurra.TaskRunner(1, timeout=60, progress_stats=False)
    runner.add_task(task(first, timeout=timeout), Closing(close), label="a")
    runner.add_task(second, label="b")
    for _ in range(100):  # so that nobody has to be told of these ends
        runner.add_task(str)
    results = runner.run(verify=False)
    assert results["a"]["status"] == ("Failed" if raises else "Successful")
    assert results["b"]["status"] == "Successful"
    assert ended[0] <= began[0]


def test_it_is_done_when_all_has_been_told():
    """Not while the last line of progress is still being written."""
    seen = []

    class Runner(concurra.TaskRunner):
        def show_progress(self):
            seen.append(self.done())

    runner = Runner(1)
    runner.add_task(str, label="a")
    runner.run()
    assert seen == [False] and runner.done()


def test_abort_without_a_report(log):
    """The results come all the same."""
    with Gate() as gate:
        runner = concurra.TaskRunner(progress_stats=False)
        runner.add_task(gate.wait, label="a")
        runner.execute_in_background()
        gate.reached_by(1)
        results = runner.abort(verify=False)
    assert statuses(results) == {"a": "Terminated"} and log.lines() == []
    runner.abort()
    assert "| a       |" in log.text()


def test_abort_with_a_wrong_flag():
    """Is refused, and nothing is aborted."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    with pytest.raises(TypeError, match="^verify must be True or False"):
        runner.abort(verify="no")
    assert statuses(runner.run()) == {"a": "Successful"}


# The exception ------------------------------------------------------------------------


class Big:
    """Something that a frame holds."""


class Choosy(Exception):
    """Can be sent, but not received."""

    def __init__(self, one, two):
        super().__init__(one)


def fail_deep(kept=None):
    big = Big()
    if kept is not None:
        kept.append(weakref.ref(big))
    try:
        {}["key"]
    except KeyError as error:
        raise ValueError("bad") from error


def choosy():
    raise Choosy("one", "two")


def test_an_exception_of_a_thread_is_the_one_that_was_raised():
    """With its cause; the traceback is text behind that, and keeps nothing alive."""
    kept = []
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(fail_deep, kept, label="a")
    runner.run(verify=False)
    error = runner.exception("a")
    assert type(error) is ValueError and isinstance(error.__cause__, KeyError)
    told = error.__cause__.__cause__
    assert isinstance(told, concurra.RemoteTraceback)
    assert "in fail_deep" in str(told) and "concurra/" not in str(told)
    assert kept[0]() is None and error.__traceback__ is None
    assert runner.exception("a") is error


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_exceptions_in_every_mode(mode):
    """Of its type, with its message; from a process with the traceback there."""
    runner = runner_in(mode)
    runner.add_task(as_in(mode, fail_deep), label="bad")
    runner.add_task(as_in(mode, choosy), label="choosy")
    SUCCEED.add(runner, mode, label="good")
    results = runner.run(verify=False)
    assert runner.exception("good") is None
    error = runner.exception("bad")
    assert type(error) is ValueError and str(error) == "bad"
    strange = runner.exception("choosy")
    if mode in ("thread", "fallback"):
        assert isinstance(error.__cause__, KeyError) and type(strange) is Choosy
    else:
        assert isinstance(error.__cause__, concurra.RemoteTraceback)
        assert "in fail_deep" in str(error.__cause__)
        assert "KeyError" in str(error.__cause__)
        assert type(strange) is RuntimeError and str(strange) == "Choosy: one"
        assert "in choosy" in str(strange.__cause__)
    assert results["bad"]["error"] == "ValueError: bad"


def test_the_exception_of_a_command():
    """Has its result."""
    runner = concurra.TaskRunner(progress_stats=False)
    FAIL.add(runner, "command", label="a")
    runner.run(verify=False)
    error = runner.exception("a")
    assert isinstance(error, concurra.CommandExecutionError)
    assert (error.returncode, error.stderr) == (3, "bad\n")


def test_exceptions_of_what_did_not_begin():
    """They say what befell the task."""
    runner = concurra.TaskRunner(progress_stats=False)
    FAIL.add(runner, "thread", label="a")
    SUCCEED.add(runner, "thread", label="b", depends_on=["a"])
    runner.run(verify=False)
    error = runner.exception("b")
    assert type(error) is RuntimeError
    assert str(error) == "Skipped: dependency ['a'] failed or was terminated"


def test_exceptions_that_are_asked_for_too_soon():
    """And of labels that do not exist."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    with pytest.raises(RuntimeError, match="Task 'a' has not ended yet"):
        runner.exception("a")
    with pytest.raises(ValueError, match="label must be that of a task, not 'b'$"):
        runner.exception("b")


def test_a_label_that_is_misspelt_is_told_with_what_was_meant():
    """As in `depends_on`."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="load")
    told = "^label must be that of a task, not 'lod'. Did you mean 'load'\\?$"
    with pytest.raises(ValueError, match=told):
        runner.cancel("lod")


@pytest.mark.parametrize("ask", ["cancel", "exception", "partial"])
def test_a_reference_in_the_place_of_a_label(ask):
    """What an adder has returned does, and `ref`; that of another runner is refused."""
    other, runner = (concurra.TaskRunner(progress_stats=False) for _ in range(2))
    alien = other.add_task(str, label="a")
    call = getattr(runner, ask)
    with pytest.raises(ValueError, match="^<TaskRef 'a'> is of another runner$"):
        call(alien)
    added = runner.map(str, [1], label="a")
    with pytest.raises(ValueError, match="^<TaskRef 'a'> is of another runner$"):
        call(alien)
    with pytest.raises(ValueError, match="that of a task, not <TaskRef 'b'>$"):
        call(concurra.ref("b"))
    runner.run()
    assert call(added) == call(concurra.ref("a")) == call("a")


@pytest.mark.parametrize("ask", ["cancel", "exception", "partial"])
def test_what_cannot_be_a_label(ask):
    """Is refused in the words of the adders."""
    runner = concurra.TaskRunner(progress_stats=False)
    told = "^label must be hashable, not a value of type list$"
    with pytest.raises(TypeError, match=told):
        runner.add_task(abs, -1, label=["a"])
    with pytest.raises(TypeError, match=told):
        getattr(runner, ask)(["a"])
    with pytest.raises(ValueError, match="^label must be that of a task, not None$"):
        getattr(runner, ask)(None)


def test_the_exceptions_of_an_execution_error():
    """By label, for all that failed; the first is its cause."""
    runner = concurra.TaskRunner(progress_stats=False)
    SUCCEED.add(runner, "thread", label="good")
    FAIL.add(runner, "thread", label="bad")
    runner.add_task(fail_deep, label="deep")
    SUCCEED.add(runner, "thread", label="skipped", depends_on=["bad"])
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.run(raise_exception=True)
    error = caught.value
    assert list(error.exceptions) == ["bad", "deep", "skipped"] == list(error.failed)
    assert error.__cause__ is error.exceptions["bad"] is runner.exception("bad")
    assert type(error.exceptions["skipped"]) is RuntimeError


def test_an_execution_error_keeps_no_runner_alive():
    """Who keeps it keeps the results, and the exceptions."""
    runner = concurra.TaskRunner(progress_stats=False)
    FAIL.add(runner, "thread", label="bad")
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.run(raise_exception=True)
    error, there = caught.value, weakref.ref(runner)
    error.__traceback__ = None
    del runner, caught
    gc.collect()
    assert there() is None and type(error.exceptions["bad"]) is ValueError


# current_task -------------------------------------------------------------------------


def who():
    """What the task says of itself."""
    found = current_task()
    return found.label, found.attempt, found.deadline, type(found) is CurrentTask


async def who_async():
    await asyncio.sleep(0)
    return who()


def who_fails_once(path):
    from .modes import _note, lines

    _note(path)
    if len(lines(path)) == 1:
        raise ValueError
    return who()


def test_no_task():
    """Whoever is no worker is at none."""
    assert current_task() is None


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_who_a_task_is(mode, tmp_path):
    """Its label, the number of the attempt, and the time by which it must end."""
    runner = runner_in(mode, 2, timeout=1000, run_timeout=5000)
    began = time.monotonic()
    runner.add_task(as_in(mode, who), label="plain")
    runner.add_task(task(as_in(mode, who), timeout=2000), label=("own", 2000))
    runner.add_task(as_in(mode, who_async), label=7)
    retry = Retry(1, attempt_timeout=500)
    again = task(as_in(mode, who_fails_once), task_retries=retry)
    runner.add_task(again, tmp_path / "count", label="again")
    results = runner.run(raise_exception=True)
    limits = {"plain": 1000, ("own", 2000): 2000, 7: 1000, "again": 500}
    for label, limit in limits.items():
        found, attempt, deadline, kind = results[label]["result"]
        assert (found, attempt, kind) == (label, 2 if label == "again" else 1, True)
        assert began + limit <= deadline <= time.monotonic() + limit


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_task_without_a_timeout_has_no_deadline(mode):
    """None."""
    runner = runner_in(mode)
    runner.add_task(as_in(mode, who), label="a")
    assert runner.run()["a"]["result"] == ("a", 1, None, True)


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_labels_of_any_kind(mode):
    """In a process, those that are no plain values are text."""
    label = frozenset({"x"})
    runner = runner_in(mode)
    runner.add_task(as_in(mode, who), label=label)
    found = runner.run()[label]["result"][0]
    assert found == (label if mode in ("thread", "fallback") else str(label))


def test_a_thread_that_a_task_has_started():
    """It is at no task."""
    found = []

    def work():
        thread = threading.Thread(target=lambda: found.append(current_task()))
        thread.start()
        thread.join()

    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(work, label="a")
    runner.run(raise_exception=True)
    assert found == [None]


def test_a_run_within_a_task():
    """The inner task is itself, and the outer one is again itself after that."""

    def outer():
        inner = concurra.TaskRunner(1, progress_stats=False)
        inner.add_task(who, label="inner")
        return inner.run()["inner"]["result"][0], who()[0]

    runner = concurra.TaskRunner(1, progress_stats=False)
    runner.add_task(outer, label="outer")
    assert runner.run()["outer"]["result"] == ("inner", "outer")


# with ---------------------------------------------------------------------------------


def test_a_block_waits_for_a_run_in_the_background():
    """At its end nothing is at work, and the report has been logged."""
    with Gate() as gate:
        with concurra.TaskRunner(progress_stats=False) as runner:
            runner.add_task(gate.wait, "value", label="a")
            runner.execute_in_background()
            gate.reached_by(1)
            gate.open()
        assert runner.done() and not runner.is_running()
    assert runner.results_registry["a"]["result"] == "value"


def test_a_block_that_raises_aborts():
    """What was at work is terminated; the error goes on."""
    with Gate() as gate:
        with pytest.raises(LookupError):
            with concurra.TaskRunner(progress_stats=False) as runner:
                runner.add_task(gate.wait, label="a")
                runner.execute_in_background()
                gate.reached_by(1)
                raise LookupError
    assert runner.done()
    assert runner.results_registry["a"]["status"] == "Terminated"


def test_a_block_without_a_run(log):
    """Nothing is started or aborted by it; it is told of tasks that are forgotten."""
    with pytest.raises(LookupError), concurra.TaskRunner() as other:
        other.add_task(str)
        raise LookupError
    assert not other.done()
    with concurra.TaskRunner():
        pass
    assert log.lines() == []
    with concurra.TaskRunner(progress_stats=False, name="Night") as runner:
        runner.add_task(str, label="a")
    assert log.lines() == [
        "The `with` block of Night has ended, and its 1 task has not been "
        "started: run() does that, within the block or after it"
    ]
    assert statuses(runner.run()) == {"a": "Successful"}


def test_a_block_around_a_run(log):
    """The report is logged once."""
    with concurra.TaskRunner(progress_stats=False) as runner:
        runner.add_task(str, label="a")
        runner.run()
    assert len(log.lines()) == 1


def test_a_block_of_a_subclass():
    """It is that which comes from it."""

    class Runner(concurra.TaskRunner):
        pass

    with Runner(progress_stats=False) as runner:
        assert type(runner) is Runner
    assert BOUND > 0
