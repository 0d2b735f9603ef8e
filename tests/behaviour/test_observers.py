"""Observers: what they are told, in which order, and what they cannot harm."""

from __future__ import annotations

import itertools
import threading

import pytest

import concurra
from concurra import Fact, Observer, task
from tests.helpers import wait_until

from .modes import FLAKY, FUNCTIONS, MODES, SUCCEED, mode_of, runner_in
from .support import BOUND, Gate, check


class Keeping(Observer):
    """Writes down what it is told, and by how many at once."""

    def __init__(self):
        self.told = []
        self.inside = 0
        self.together = 0

    def _tell(self, kind, fact):
        self.inside += 1
        self.together = max(self.together, self.inside)
        self.told.append((kind, fact))
        self.inside -= 1

    def on_run_start(self, fact):
        self._tell("run start", fact)

    def on_task_start(self, fact):
        self._tell("start", fact)

    def on_task_retry(self, fact):
        self._tell("retry", fact)

    def on_task_end(self, fact):
        self._tell("end", fact)

    def on_run_end(self, fact):
        self._tell("run end", fact)

    def of(self, label):
        return [kind for kind, fact in self.told if fact.label == label]

    def kinds(self):
        return [kind for kind, _ in self.told]


def observed(mode, *args, **options):
    observer = Keeping()
    return observer, runner_in(mode, *args, observers=[observer], **options)


@pytest.mark.parametrize("mode", MODES)
def test_the_facts_of_a_run(mode, tmp_path):
    """Its start, each attempt, each end with its result, its end."""
    observer, runner = observed(mode, 1, task_retries=2, name="Nightly")
    SUCCEED.add(runner, mode, label="a")
    FLAKY.add(runner, mode, tmp_path / "tries", 1, label="b", depends_on=["a"])
    results = runner.run(verify=False)
    told = [(kind, fact.label, fact.attempt) for kind, fact in observer.told]
    first = ("start", "b", 1)
    if mode == "fallback" and told.count(first) > 1:
        told.remove(first)  # it was given back before it began
    assert told == [
        ("run start", None, 0),
        ("start", "a", 1),
        ("end", "a", 1),
        ("start", "b", 1),
        ("retry", "b", 1),
        ("start", "b", 2),
        ("end", "b", 2),
        ("run end", None, 0),
    ]
    moments = [fact.moment for _, fact in observer.told]
    assert moments == sorted(moments)
    for kind, fact in observer.told:
        assert type(fact) is Fact
        if kind == "end":
            check(fact.result)
            assert fact.result == results[fact.label]
            assert (fact.mode, fact.error) == (mode_of(mode), None)
        if kind == "retry":
            assert fact.error == results["b"]["retry_errors"][0]
            assert fact.mode == mode_of(mode)
        assert fact.name == (
            "Nightly" if fact.label is None else results[fact.label]["task_name"]
        )
    first, last = observer.told[0][1].result, observer.told[-1][1].result
    assert sum(first.values()) == 2  # of the moment in which it is told
    assert (last["successful"], sum(last.values())) == (2, 2)


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_the_order_under_load(mode):
    """A start comes before its end, one fact at a time, and none is lost."""
    observer, runner = observed(mode, 4)
    for number in range(200):
        SUCCEED.add(runner, mode, label=number)
    runner.run(verify=False)
    for number in range(200):
        told = observer.of(number)
        assert told[-2:] == ["start", "end"] and told.count("end") == 1
    assert observer.together == 1
    kinds = observer.kinds()
    assert (kinds[0], kinds[-1]) == ("run start", "run end")
    assert len({kinds.count("run start"), kinds.count("run end"), 1}) == 1


def test_what_never_started():
    """Has an end all the same: what was skipped, cancelled or aborted."""
    observer, runner = observed("thread", 1)
    runner.add_task(lambda: 1 / 0, label="bad")
    runner.add_task(str, label="skipped", depends_on=["bad"])
    runner.add_task(str, label="cancelled")
    runner.cancel("cancelled")
    runner.run(verify=False)
    assert observer.of("bad") == ["start", "end"]
    assert observer.of("skipped") == observer.of("cancelled") == ["end"]
    facts = {fact.label: fact for kind, fact in observer.told if kind == "end"}
    assert (facts["skipped"].attempt, facts["skipped"].mode) == (0, None)
    assert facts["bad"].error == "ZeroDivisionError: division by zero"
    assert all(fact.error == fact.result["error"] for fact in facts.values())


@pytest.mark.parametrize("added", [0, 2])
def test_a_run_that_is_aborted_before_it_begins(added):
    """Has a start, too, so that an observer can rely on it."""
    observer, runner = observed("thread")
    for number in range(added):
        runner.add_task(str, label=number)
    runner.abort(verify=False)
    assert observer.kinds() == ["run start", *["end"] * added, "run end"]


def test_a_run_that_is_aborted_in_its_midst():
    """Its tasks end, each once."""
    with Gate() as gate:
        observer, runner = observed("thread", 2)
        for number in range(2):
            runner.add_task(gate.wait, label=number)
        runner.add_task(str, label=2, depends_on=[0])
        runner.execute_in_background()
        gate.reached_by(2)
        runner.abort(verify=False)
    assert observer.kinds() == ["run start", *["start"] * 2, *["end"] * 3, "run end"]


def test_what_was_restored(tmp_path):
    """Has an end, and no start; its result says where it is from."""
    for starts in (1, 0):
        observer = Keeping()
        runner = concurra.TaskRunner(
            1, progress_stats=False, observers=[observer], checkpoint=tmp_path / "file"
        )
        runner.add_task(abs, -7, label="a")
        runner.run(verify=False)
        assert observer.of("a") == [*["start"] * starts, "end"]
    ((_, fact),) = [each for each in observer.told if each[0] == "end"]
    assert fact.result["warning"].startswith("Restored from checkpoint")
    assert fact.result["result"] == 7


# -- what it cannot harm -----------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2])
def test_who_blocks_holds_up_no_task(limit):
    """However few may be at work; the end of the run waits for it."""
    done = threading.Event()

    class Blocking(Keeping):
        def on_task_end(self, fact):
            super().on_task_end(fact)
            if fact.label == 0:
                self.waited = done.wait(BOUND)

    observer = Blocking()
    runner = runner_in("thread", limit, observers=[observer])
    for number in range(20):
        runner.add_task(str, label=number)
    runner.add_task(done.set, label="last", depends_on=range(20))
    runner.run(verify=False)
    assert observer.waited
    assert observer.kinds().count("end") == 21


def test_who_blocks_holds_up_no_other_observer():
    """Nor the log."""
    done = threading.Event()

    class Blocking(Observer):
        def on_run_start(self, fact):
            self.waited = done.wait(BOUND)

    class Quick(Observer):
        def on_run_end(self, fact):
            done.set()

    observers = [Blocking(), Quick()]
    runner = runner_in("thread", 1, observers=observers)
    runner.add_task(str, label="a")
    runner.run(verify=False)
    assert observers[0].waited


def test_who_blocks_holds_up_nobody_who_hears_of_the_same():
    """Observers and a loop are told at once, though nothing more happens meanwhile."""
    over = threading.Event()
    together = threading.Barrier(4, over.set)

    class Meeting(Observer):
        def on_task_end(self, fact):
            if fact.label == "a":
                together.wait(BOUND)

    runner = runner_in("thread", 1, observers=[Meeting(), Meeting(), Meeting()])
    runner.add_task(str, label="a")
    runner.add_task(over.wait, BOUND, label="b", depends_on=["a"])
    for label, result in runner.as_completed():
        if label == "a":
            together.wait(BOUND)
        assert result["status"] == "Successful"
    assert over.is_set() and not together.broken


def test_who_blocks_at_the_start_holds_up_no_other():
    """Of a task that stays at work until all have heard of that."""
    over = threading.Event()
    together = threading.Barrier(3, over.set)

    class Meeting(Observer):
        def on_task_start(self, fact):
            together.wait(BOUND)

    runner = runner_in("thread", 1, observers=[Meeting(), Meeting(), Meeting()])
    runner.add_task(over.wait, BOUND, label="a")
    assert runner.run(verify=False)["a"]["result"] is True
    assert not together.broken


def test_who_raises_is_logged_once(log):
    """Each observer for itself; it is told all that follows."""

    class Raising(Keeping):
        def on_task_end(self, fact):
            super().on_task_end(fact)
            raise LookupError(f"at {fact.label}")

    class Other(Raising):
        pass

    observers = [Raising(), Other()]
    runner = runner_in("thread", 1, observers=observers)
    for label in "abc":
        runner.add_task(str, label=label)
    assert {each["status"] for each in runner.run(verify=False).values()} == {
        "Successful"
    }
    told = sorted(log.lines())
    assert [each.splitlines()[0] for each in told] == [
        "The observer Other has raised LookupError: at a",
        "The observer Raising has raised LookupError: at a",
    ]
    assert all('raise LookupError(f"at {fact.label}")' in each for each in told)
    assert [each.kinds().count("end") for each in observers] == [3, 3]


def test_who_asks_the_runner():
    """Whatever it is asked, and however few may be at work."""

    class Asking(Observer):
        def __init__(self):
            self.found = []

        def on_task_end(self, fact):
            if fact.label == "a":
                self.found.append(runner.counts()["waiting"])
                self.found.append(runner.results_registry["a"]["result"])
                self.found.append(runner.cancel("c"))
                gate.open()

        def on_run_end(self, fact):
            self.found.append(runner.exit_code)
            self.found.append(runner.wait())
            self.found.append(len(runner.abort(verify=False)))

    with Gate() as gate:
        observer = Asking()
        runner = runner_in("thread", 1, observers=[observer])
        runner.add_task(abs, -7, label="a")
        runner.add_task(gate.wait, label="b")
        runner.add_task(str, label="c", depends_on=["b"])
        runner.run(verify=False)
    assert observer.found == [1, 7, True, 1, False, 3]


def test_who_follows_the_run_in_a_loop():
    """Has all results; the end waits for it."""

    class Following(Observer):
        def on_run_start(self, fact):
            self.found = [label for label, _ in runner.as_completed()]

    observer = Following()
    runner = runner_in("thread", 1, observers=[observer])
    for number in range(10):
        runner.add_task(str, label=number)
    runner.run(verify=False)
    assert observer.found == list(range(10))


def test_who_aborts_the_run():
    """At the first failure, say."""

    class Strict(Keeping):
        def on_task_end(self, fact):
            super().on_task_end(fact)
            if fact.result["has_failed"]:
                runner.abort(verify=False)

    observer = Strict()
    runner = runner_in("thread", 1, observers=[observer])
    runner.add_task(lambda: 1 / 0, label="bad")
    with Gate() as gate:
        runner.add_task(gate.wait, label="held")
        results = runner.run(verify=False)
    assert results["held"]["status"] == "Terminated"
    assert observer.kinds()[-1] == "run end"


def test_who_waits_for_the_end_in_vain():
    """It is a part of it, and is told so."""

    class Waiting(Observer):
        def on_run_end(self, fact):
            runner.get_background_results()

    runner = runner_in("thread", observers=[Waiting()])
    runner.add_task(str, label="a")
    assert runner.run(verify=False)["a"]["status"] == "Successful"


def test_results_that_are_handed_out_meanwhile():
    """The observer has them whole, however late it comes."""
    done = threading.Event()

    class Late(Keeping):
        def on_run_start(self, fact):
            done.wait(BOUND)

    observer = Late()
    runner = runner_in("thread", 2, observers=[observer], keep_results=False)
    for number in range(20):
        runner.add_task(abs, number, label=number)
    for count, _ in enumerate(runner.as_completed(), 1):
        if count == 20:
            done.set()
    found = {
        fact.label: fact.result["result"]
        for _, fact in observer.told
        if fact.label is not None and fact.result
    }
    assert found == {number: number for number in range(20)}


def test_a_fact_is_a_copy():
    """What an observer makes of it is its own."""

    class Changing(Observer):
        def on_task_end(self, fact):
            fact.result.clear()

    runner = runner_in("thread", observers=[Changing()])
    runner.add_task(abs, -7, label="a")
    assert runner.run(verify=False)["a"]["result"] == 7


def test_observers_can_be_changed_until_the_start():
    """They are checked again then."""
    runner = runner_in("thread")
    runner.add_task(str, label="a")
    runner.observers = [print]
    with pytest.raises(TypeError, match="observers must be a list of Observer objects"):
        runner.run()
    observer = Keeping()
    runner.observers = iter([observer])
    runner.run(verify=False)
    assert observer.kinds()[-1] == "run end"
    with pytest.raises(TypeError, match="a list of observers"):
        concurra.TaskRunner(observers=Observer())


def test_one_observer_of_two_runs():
    """Is told by both."""
    observer = Keeping()
    for name in ("one", "two"):
        runner = runner_in("thread", name=name, observers=[observer])
        runner.add_task(task(str, name="text"), label="a")
        runner.run(verify=False)
    names = [fact.name for kind, fact in observer.told if kind == "run end"]
    assert names == ["one", "two"]
    assert {fact.name for kind, fact in observer.told if kind == "end"} == {"text"}


def test_a_look_knows_when_the_last_task_has_ended():
    """No time has passed as long as none has; the rest is not known for ever."""
    looks, go = [], threading.Event()

    class Looking(Observer):
        def watch(self, look):
            looks.append(look)

    runner = runner_in("thread", 2, observers=[Looking()])
    runner.add_task(go.wait, BOUND, label="long")
    runner.add_task(int, label="short")
    with runner:
        runner.execute_in_background()
        try:
            (short,) = (
                label for label, _ in itertools.islice(runner.as_completed(), 1)
            )
            assert short == "short"
            wait_until(lambda: looks, BOUND, "the observer")
            first = looks[0]()
            wait_until(lambda: looks[0]().quiet > first.quiet, BOUND, "time to pass")
        finally:
            go.set()
        runner.get_background_results(verify=False)
    assert looks[0]().rest == 0.0
    assert 0.0 <= first.quiet <= first.seconds
