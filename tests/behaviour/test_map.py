"""`map`: many small calls as one task, whose result is the list of their values."""

from __future__ import annotations

import contextvars
import gc
import itertools
import os
import signal
import threading
import time
import weakref

import pytest

import concurra
from tests.helpers import QUICKEST, START_METHODS

from .modes import FUNCTIONS, as_in, mode_of, runner_in
from .support import BOUND, Gate, check, meet, read, statuses, stay, write

PROCESSES = START_METHODS


def double(number):
    return 2 * number


def fail_for_threes(number):
    if number % 10 == 3:
        raise ValueError(f"bad {number}")
    return number


class Unsendable(Exception):
    """An error that no process can send."""

    def __init__(self, message):
        super().__init__(message)
        self.lock = threading.Lock()


def fail_unsendably(number):
    if number == 1:
        raise Unsendable("bad")
    return number


def die_for(number):
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def meet_in(item):
    meet(*item)
    return item[1]


def fail_once(item):
    path, number = item
    with open(path, "a") as file:
        file.write(f"{number}\n")
    if number == 2 and read(path).splitlines().count("2") < 2:
        raise ConnectionError("not now")
    return number


def pid_of(_):
    return os.getpid()


async def wait_a_moment(number):
    import asyncio

    await asyncio.sleep(0)
    if number == 3:
        raise ValueError("bad")
    return number


def where(_):
    return concurra.current_task().label, concurra.current_task().attempt


def linger_for(item):
    if item is not None:
        stay(item)
    return "quick"


def first_of(items):
    return next(iter(items))


def generate(number):
    yield number


def one(runner, label="m"):
    """Run it; the result of the map, which is complete."""
    result = runner.run(verify=False)[label]
    check(result)
    return result


class TestResults:
    """What a map gives."""

    @pytest.mark.parametrize("mode", FUNCTIONS)
    def test_its_result_is_the_list_in_order(self, mode):
        """Whatever it is that is iterated, and of any length."""
        runner = runner_in(mode, 3)
        func = as_in(mode, double)
        runner.map(func, iter(range(1000)), label="m")
        runner.map(func, range(7), label="small", chunksize=2)
        runner.map(func, {1: "a", 2: "b"}, label="dict")
        results = runner.run(verify=False)
        assert results["m"]["result"] == [2 * n for n in range(1000)]
        assert results["small"]["result"] == [0, 2, 4, 6, 8, 10, 12]
        assert results["dict"]["result"] == [2, 4]
        for result in results.values():
            check(result)
            assert result["task_name"] == (
                "<lambda>" if mode == "fallback" else "double"
            )
            assert result["execution_mode"] == mode_of(mode)
            assert result["attempts"] == 1
        warning = "Task was not picklable; ran in thread fallback"
        assert results["m"]["warning"] == (warning if mode == "fallback" else None)

    def test_of_nothing_it_is_an_empty_list(self):
        """As that of the builtin."""
        runner = runner_in("thread")
        runner.map(double, [], label="m")
        assert one(runner)["result"] == []

    def test_the_list_is_that_of_its_own_result_alone(self):
        """The label is the number of tasks before, and `partial` gives a copy."""
        runner = runner_in("thread")
        runner.map(double, [1])
        result = one(runner, 0)["result"]
        result.append("more")
        known = runner.partial(0)
        known.clear()
        assert runner.results_registry[0]["result"] == [2, "more"]

    def test_coroutines_are_awaited(self):
        """One after another in a chunk, each costing no more than itself."""
        runner = runner_in("thread", 2)
        runner.map(wait_a_moment, range(6), label="m", return_exceptions=True)
        values = one(runner)["result"]
        assert values[:3] + values[4:] == [0, 1, 2, 4, 5]
        assert repr(values[3]) == "ValueError('bad')"

    def test_generators_are_told_of(self):
        """Nothing of them has run, as with any task."""
        runner = runner_in("thread")
        runner.map(generate, range(3), label="m")
        expected = "returned a generator: nothing of its body has run"
        assert one(runner)["warning"] == expected

    def test_many_chunks_on_many_workers(self):
        """All slots take part, and each value has its place."""
        runner = runner_in("thread", 8)
        runner.map(double, iter(range(5000)), label="m", chunksize=3)
        assert one(runner)["result"] == [2 * n for n in range(5000)]

    @pytest.mark.parametrize("mode", FUNCTIONS)
    def test_chunks_are_done_side_by_side(self, mode, tmp_path):
        """Three items meet, which wait for each other."""
        runner = runner_in(mode, 3)
        items = [(str(tmp_path), name, 3) for name in "abc"]
        runner.map(as_in(mode, meet_in), items, label="m", chunksize=1)
        assert one(runner)["result"] == ["a", "b", "c"]


class TestPlan:
    """A map is a task like any other."""

    def test_its_reference_is_an_argument_and_a_dependency(self):
        """And it is iterated where another map is given it."""
        runner = runner_in("thread", 2)
        numbers = runner.add_task(lambda: [1, 2, 3], label="numbers")
        doubled = runner.map(double, numbers, label="doubled")
        again = runner.map(double, doubled, label="again")
        runner.add_task(sum, again, label="sum")
        results = runner.run(verify=False)
        assert results["again"]["result"] == [4, 8, 12]
        assert results["sum"]["result"] == 24

    def test_references_among_the_items_are_results(self):
        """As directly within any list."""
        runner = runner_in("thread", 2)
        first = runner.add_task(lambda: 1)
        runner.map(double, [first, 5, concurra.ref("later")], label="m")
        runner.add_task(lambda: 10, label="later")
        assert one(runner)["result"] == [2, 10, 20]

    def test_it_waits_for_what_it_depends_on_and_is_waited_for(self):
        """In the order of dependencies."""
        order = []
        runner = runner_in("thread", 4)
        runner.add_task(order.append, "before", label="before")
        runner.map(order.append, [1, 2], label="m", depends_on="before", chunksize=2)
        runner.add_task(order.append, "after", depends_on=["m"])
        runner.run(verify=False)
        assert order == ["before", 1, 2, "after"]

    def test_it_is_skipped_with_what_it_depends_on(self):
        """Nothing is iterated then."""
        runner = runner_in("thread")
        runner.add_task(fail_for_threes, 3, label="bad")
        items = iter([1, 2])
        runner.map(double, items, label="m", depends_on=["bad"])
        result = one(runner)
        assert result["error"] == (
            "RuntimeError: Skipped: dependency ['bad'] failed or was terminated"
        )
        assert list(items) == [1, 2]
        assert runner.partial("m") == {}

    def test_who_was_added_first_is_first(self):
        """Its chunks have its place; on one worker, the order is that of adding."""
        order = []
        runner = runner_in("thread", 1)
        runner.add_task(order.append, "A")
        runner.map(order.append, range(4), chunksize=1)
        runner.add_task(order.append, "Z")
        runner.run(verify=False)
        assert order == ["A", 0, 1, 2, 3, "Z"]

    def test_a_higher_priority_is_taken_between_chunks(self):
        """And a map has the priority of its function's options."""
        order = []
        runner = runner_in("thread", 1)
        runner.map(order.append, ["low"] * 2, chunksize=1)
        runner.map(concurra.task(order.append, priority=1), ["high"] * 2, chunksize=1)
        runner.run(verify=False)
        assert order == ["high", "high", "low", "low"]

    def test_each_chunk_holds_the_resources(self):
        """So they bound how many are at work."""
        at_work, most, two = [], [], threading.Barrier(2)

        def use(number):
            at_work.append(number)
            two.wait(BOUND)
            most.append(len(at_work))
            two.wait(BOUND)
            at_work.remove(number)

        runner = runner_in("thread", 4, resources={"db": 2})
        use = concurra.task(use, resources={"db": 1})
        runner.map(use, range(20), label="m", chunksize=1)
        runner.map(use, range(20, 40), label="n", chunksize=1)
        assert one(runner)["status"] == "Successful"
        assert set(most) == {2}

    def test_two_maps_with_tasks_between_them(self):
        """All of them come to their ends."""
        runner = runner_in("thread", 3)
        for number in range(3):
            runner.map(double, iter(range(50)), label=f"m{number}", chunksize=4)
            runner.add_task(double, number, label=f"t{number}")
        results = runner.run(verify=False)
        assert [results[f"m{n}"]["result"][-1] for n in range(3)] == [98, 98, 98]
        assert [results[f"t{n}"]["result"] for n in range(3)] == [0, 2, 4]

    def test_it_is_one_task_for_those_who_follow_the_run(self):
        """Observers, counts, the board and the report see one entry."""
        seen = []

        class Observer(concurra.Observer):
            def on_task_start(self, fact):
                seen.append(("start", fact.label))

            def on_task_end(self, fact):
                seen.append(("end", fact.label))

        with Gate() as gate:
            runner = runner_in("thread", 3, observers=[Observer()])
            ref = runner.map(
                lambda number: gate.wait(number), range(9), label="m", chunksize=1
            )
            runner.add_task(double, 1, label="after", depends_on=ref)
            runner.execute_in_background()
            gate.reached_by(3)
            assert runner.get_active_runner_count() == 1
            counts = runner.counts()
            assert (counts["running"], counts["ready"], counts["waiting"]) == (1, 0, 1)
            assert len(runner) == 2
            assert [each.label for each in runner._life.snapshot("").at_work] == ["m"]
            gate.open()
            runner.get_background_results(verify=False)
        assert [kind for kind, label in seen if label == "m"] == ["start", "end"]

    def test_the_task_knows_its_label_and_attempt(self):
        """In a process, too."""
        for mode in ("thread", PROCESSES[0]):
            runner = runner_in(mode)
            runner.map(where, range(2), label="m")
            assert one(runner)["result"] == [("m", 1), ("m", 1)]


class TestIteration:
    """How the iterable is asked for items."""

    def test_it_is_not_listed_at_once(self):
        """At most a few chunks for each worker are taken in advance."""
        taken, ended = [], []

        def items():
            for number in range(300):
                taken.append(number)
                yield number

        ahead = []

        def use(number):
            ahead.append(len(taken) - len(ended))
            ended.append(number)

        runner = runner_in("thread", 2)
        runner.map(use, items(), label="m", chunksize=1)
        assert one(runner)["status"] == "Successful"
        assert max(ahead) <= 3

    def test_items_that_come_slowly_are_done_as_they_come(self):
        """None waits for a chunk to be full."""
        done = threading.Semaphore(0)

        def items():
            for number in range(3):
                yield number
                assert done.acquire(timeout=BOUND)

        def use(number):
            done.release()
            return number

        for width in (1, 2):
            runner = runner_in("thread", width)
            runner.map(use, items(), label="m", chunksize=1)
            assert one(runner)["result"] == [0, 1, 2]

    def test_one_thread_at_a_time_iterates(self):
        """A generator is never asked while it is at it."""
        inside = []

        def items():
            for number in range(200):
                inside.append(number)
                assert len(inside) == 1
                time.sleep(0)
                inside.clear()
                yield number

        runner = runner_in("thread", 4)
        runner.map(double, items(), label="m", chunksize=1)
        assert one(runner)["error"] is None

    @pytest.mark.parametrize("mode", ("thread", PROCESSES[0]))
    def test_one_that_raises_fails_the_task_with_its_error(self, mode):
        """What it has given is done all the same; it is not asked again."""
        asked = []

        def items():
            asked.append("once")
            yield 1
            yield 2
            raise LookupError("no more")

        runner = runner_in(mode, 2, task_retries=2)
        runner.map(double, items(), label="m")
        result = one(runner)
        assert result["error"] == "LookupError: no more"
        assert result["status"] == "Failed"
        assert "in items" in result["trace"]
        assert isinstance(runner.exception("m"), LookupError)
        assert runner.partial("m") == {0: 2, 1: 4}
        assert asked == ["once"]

    def test_one_that_raises_at_once(self):
        """Also if it is the result of a task that cannot be iterated."""
        runner = runner_in("thread")
        number = runner.add_task(lambda: 5)
        runner.map(double, number, label="m")
        assert one(runner)["error"] == "TypeError: 'int' object is not iterable"

    def test_an_endless_one_is_aborted(self):
        """With what there is by then."""
        with Gate() as gate:
            runner = runner_in("thread", 1)
            runner.map(
                lambda n: gate.wait(n) if n > 4 else n, itertools.count(), label="m"
            )
            runner.execute_in_background()
            gate.reached_by(1)
            result = runner.abort(verify=False)["m"]
            check(result)
        assert result["status"] == "Terminated"
        assert result["attempts"] == 1
        assert result["execution_mode"] == "thread"
        assert 0 in runner.partial("m")

    def test_one_that_blocks_is_aborted(self):
        """It goes on unheeded, as a function in a thread does."""
        with Gate() as gate:

            def items():
                yield gate.wait(1)

            runner = runner_in("thread", 2)
            runner.map(double, items(), label="m")
            runner.execute_in_background()
            gate.reached_by(1)
            result = runner.abort(verify=False)["m"]
        assert result["error"].startswith("RuntimeError: Execution terminated")
        assert runner.partial("m") == {}

    def test_it_runs_in_the_context_of_the_call(self):
        """And so does the function."""
        variable = contextvars.ContextVar("variable", default="none")

        def items():
            yield variable.get()

        variable.set("mine")
        runner = runner_in("thread")
        runner.map(lambda value: (value, variable.get()), items(), label="m")
        variable.set("other")
        assert one(runner)["result"] == [("mine", "mine")]

    def test_it_runs_in_this_process(self):
        """Where the items are sent to others from."""
        runner = runner_in(PROCESSES[0])
        runner.map(double, (os.getpid() for _ in range(2)), label="m")
        assert one(runner)["result"] == [2 * os.getpid()] * 2


class TestFailures:
    """Items that fail."""

    @pytest.mark.parametrize("mode", FUNCTIONS)
    def test_the_task_fails_with_how_many_and_which_first(self, mode):
        """After all others have been done; these are in `partial`."""
        runner = runner_in(mode, 2)
        runner.map(as_in(mode, fail_for_threes), iter(range(35)), label="m")
        result = one(runner)
        assert result["error"] == (
            "MapError: 4 of 35 items failed, the first of them item 3: "
            "ValueError: bad 3"
        )
        assert result["result"] is None
        assert "in fail_for_threes" in result["trace"]
        assert (
            "concurra" not in result["trace"].replace("tests", "").partition("File")[0]
        )
        assert runner.partial("m") == {n: n for n in range(35) if n % 10 != 3}
        error = runner.exception("m")
        assert isinstance(error, concurra.MapError)
        assert error.errors[33] == "ValueError: bad 33"
        assert (len(error.errors), error.total) == (4, 35)
        assert repr(error.__cause__) == "ValueError('bad 3')"

    @pytest.mark.parametrize("mode", FUNCTIONS)
    def test_exceptions_can_be_values(self, mode):
        """Each in its place, with its traceback as text; the task succeeds."""
        runner = runner_in(mode, 2)
        func = as_in(mode, fail_for_threes)
        runner.map(func, range(15), label="m", return_exceptions=True)
        result = one(runner)
        assert result["status"] == "Successful"
        values = result["result"]
        assert [repr(values[3]), repr(values[13])] == [
            "ValueError('bad 3')",
            "ValueError('bad 13')",
        ]
        assert "in fail_for_threes" in values[13].__cause__.trace
        assert [v for v in values if type(v) is int] == list(
            runner.partial("m").values()
        )

    @pytest.mark.parametrize("exceptions", (False, True))
    def test_one_that_cannot_be_sent_costs_no_other(self, exceptions):
        """Its text is what there is of it."""
        runner = runner_in(PROCESSES[0])
        runner.map(
            fail_unsendably,
            range(4),
            label="m",
            return_exceptions=exceptions,
            chunksize=4,
        )
        result = one(runner)
        if exceptions:
            assert str(result["result"][1]) == "Unsendable: bad"
        else:
            assert result["error"].endswith("item 1: Unsendable: bad")
        assert runner.partial("m") == {0: 0, 2: 2, 3: 3}

    def test_an_exit_is_a_failure_of_its_item(self):
        """As it is of any task."""
        runner = runner_in("thread")
        runner.map(lambda n: n or exit(3), range(3), label="m")
        assert one(runner)["error"].endswith("item 0: SystemExit: 3")
        assert runner.partial("m") == {1: 1, 2: 2}

    @pytest.mark.parametrize("mode", FUNCTIONS)
    @pytest.mark.parametrize("size", (1, 8, None))
    def test_what_looks_like_the_end_is_a_failure_of_its_item(self, mode, size):
        """An item that raises StopIteration ends nothing but itself."""
        runner = runner_in(mode, 2)
        items = [[1], [], [2], [], []]
        runner.map(as_in(mode, first_of), items, label="m", chunksize=size)
        assert one(runner)["error"].startswith("MapError: 3 of 5 items failed")
        assert runner.partial("m") == {0: 1, 2: 2}
        runner = runner_in(mode, 2)
        function = as_in(mode, first_of)
        runner.map(function, items, label="m", chunksize=size, return_exceptions=True)
        result = one(runner)["result"]
        assert [type(each) for each in result[1::2]] == [StopIteration] * 2
        assert result[::2][:2] == [1, 2] and type(result[4]) is StopIteration

    @pytest.mark.parametrize("mode", PROCESSES)
    @pytest.mark.parametrize("exceptions", (False, True))
    def test_a_crash_costs_its_chunk(self, mode, exceptions):
        """The others' values are there; the exceptions of items are not asked for."""
        runner = runner_in(mode, 2, task_retries=1)
        items = [0, 1, 2, -3, 4, 5, 6, 7]
        runner.map(die_for, items, label="m", chunksize=2, return_exceptions=exceptions)
        result = one(runner)
        assert result["error"] == (
            "MapError: 2 of 8 items failed, the first of them item 2: RuntimeError: "
            "Worker process was killed by SIGKILL (signal 9, probably out of memory) "
            "during the task (it befell a chunk of 2 items)"
        )
        assert result["attempts"] == 1  # what has begun is not tried again
        assert runner.partial("m") == {0: 0, 1: 1, 4: 4, 5: 5, 6: 6, 7: 7}

    def test_what_cannot_be_sent_fails_as_any_task(self):
        """With the warning, and without a mode."""
        runner = runner_in(PROCESSES[0])
        runner.map(lambda number: number, range(3), label="m")
        result = one(runner)
        assert result["status"] == "Failed"
        assert result["execution_mode"] is None
        expected = "Task was not picklable and thread fallback is disabled"
        assert result["warning"] == expected

    def test_fast_fail_ends_it_with_the_first(self):
        """And everything else; the iterable may be endless."""
        with Gate() as gate:
            runner = runner_in("thread", 3, fast_fail=True)
            runner.add_task(gate.wait, label="other")
            runner.map(fail_for_threes, itertools.count(), label="m", chunksize=1)
            results = runner.run(verify=False)
        assert statuses(results) == {"other": "Terminated", "m": "Failed"}
        assert "MapError: 1 of " in results["m"]["error"]

    def test_what_depends_on_it_is_skipped(self):
        """As behind any task that failed."""
        runner = runner_in("thread")
        m = runner.map(fail_for_threes, [3], label="m")
        runner.add_task(len, m, label="after")
        assert statuses(runner.run(verify=False)) == {
            "m": "Failed",
            "after": "Terminated",
        }

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
    def test_a_forked_child_that_comes_back_does_no_more_items(self, tmp_path):
        """Its way ends with the call that has forked it."""

        def fork(number):
            if number == 1:
                child = os.fork()
                if not child:
                    return None
                os.waitpid(child, 0)
            write(tmp_path / f"{number}.{os.getpid()}")
            return number

        runner = runner_in("thread")
        runner.map(fork, range(4), label="m", chunksize=4)
        assert one(runner)["result"] == [0, 1, 2, 3]
        assert len(list(tmp_path.iterdir())) == 4


class TestRetries:
    """What failed is tried again, and nothing else."""

    @pytest.mark.parametrize("mode", FUNCTIONS)
    @pytest.mark.parametrize("exceptions", (False, True))
    def test_only_what_failed_is_tried_again(self, mode, exceptions, tmp_path):
        """After all others; an attempt counts as one of the task."""
        path = str(tmp_path / "calls")
        runner = runner_in(mode, 2, task_retries=2)
        items = [(path, number) for number in range(5)]
        runner.map(
            as_in(mode, fail_once), items, label="m", return_exceptions=exceptions
        )
        result = one(runner)
        assert result["result"] == [0, 1, 2, 3, 4]
        assert sorted(read(path).split()) == ["0", "1", "2", "2", "3", "4"]
        assert result["attempts"] == 2
        assert result["retry_errors"] == [
            "MapError: 1 of 5 items failed, the first of them item 2: "
            "ConnectionError: not now"
        ]

    @pytest.mark.parametrize("mode", ("thread", PROCESSES[0]))
    def test_by_the_rule_of_its_options(self, mode):
        """Items whose errors it does not name are not tried again."""
        calls = []
        retry = concurra.Retry(2, on=ConnectionError, delay=0.01)

        def fail(number):
            calls.append(number)
            raise (ConnectionError if number else ValueError)("bad")

        func = fail if mode == "thread" else fail_by_kind
        runner = runner_in(mode, 1)
        runner.map(concurra.task(func, task_retries=retry), range(2), label="m")
        result = one(runner)
        assert result["attempts"] == 3
        assert result["error"] == (
            "MapError: 2 of 2 items failed, the first of them item 0: ValueError: bad"
        )
        if mode == "thread":
            assert calls == [0, 1, 1, 1]

    def test_no_more_than_it_may(self):
        """The last failure stands."""
        runner = runner_in("thread", task_retries=1)
        runner.map(fail_for_threes, range(10), label="m")
        result = one(runner)
        assert (result["attempts"], len(result["retry_errors"])) == (2, 2)

    @pytest.mark.parametrize("mode", ("thread", PROCESSES[0]))
    def test_the_timeout_of_an_attempt_is_that_of_a_chunk(self, mode, tmp_path):
        """It costs its chunk, which is tried again, if that is asked for."""
        retry = concurra.Retry(1, attempt_timeout=1.5)
        path = tmp_path / "once"

        def linger(number):
            if number == 1 and not path.exists():
                write(path)
                assert gate._open.wait(BOUND)
            return "quick"

        with Gate() as gate:
            runner = runner_in(mode, 2)
            func, items = (linger, [0, 1, 2])
            if mode != "thread":
                func, items = linger_once, [None, str(path), None]
            runner.map(
                concurra.task(func, task_retries=retry), items, label="m", chunksize=1
            )
            result = one(runner)
        assert result["result"] == ["quick"] * 3
        assert result["retry_errors"] == [
            "MapError: 1 of 3 items failed, the first of them item 1: "
            "TimeoutError: Attempt exceeded 1.5 seconds"
        ]


def fail_by_kind(number):
    raise (ConnectionError if number else ValueError)("bad")


def linger_once(path):
    if path is not None and not os.path.exists(path):
        stay(path)
    return "quick"


class TestForce:
    """Timeouts, cancels, aborts."""

    @pytest.mark.parametrize("mode", ("thread", *PROCESSES))
    def test_the_timeout_is_for_all_of_it(self, mode, tmp_path):
        """Values of what had ended are there; processes are ended."""
        path = str(tmp_path / "pid")
        with Gate() as gate:
            func, items = linger_for, [None, None, path]
            if mode == "thread":
                func, items = (lambda n: gate.wait() if n else "quick"), [0, 0, 1]
            runner = runner_in(mode, 1)
            runner.add_task(double, 1, label="first")  # the worker is there then
            func = concurra.task(func, timeout=1.5)
            runner.map(func, items, label="m", chunksize=1)
            runner.add_task(double, 2, label="other")
            results = runner.run(verify=False)
        check(results["m"])
        expected = "TimeoutError: Task exceeded timeout of 1.5 seconds"
        assert results["m"]["error"] == expected
        assert results["m"]["execution_mode"] == mode_of(mode)
        assert runner.partial("m") == {0: "quick", 1: "quick"}
        assert results["other"]["result"] == 4

    def test_a_cancel_ends_all_of_it_and_nothing_else(self):
        """Its chunks that wait are not begun."""
        with Gate() as gate:
            begun = []

            def wait(number):
                begun.append(number)
                return gate.wait(number)

            runner = runner_in("thread", 3)
            runner.map(wait, range(50), label="m", chunksize=1)
            runner.add_task(double, 2, label="other")
            runner.execute_in_background()
            gate.reached_by(3)
            assert runner.cancel("m")
            assert not runner.cancel("m")
            results = runner.get_background_results(verify=False)
        check(results["m"])
        assert results["m"]["error"] == "CancelledError: Task was cancelled"
        assert results["other"]["result"] == 4
        assert len(begun) == 3

    @pytest.mark.parametrize("how", ("cancel", "abort", "timeout", "attempt", "run"))
    def test_a_thread_begins_no_more_of_its_chunk(self, how):
        """The call that is at work goes on, as that of any task; it is the last."""
        begun, threads = [], []
        with Gate() as gate:

            def wait(number):
                begun.append(number)
                threads.append(threading.current_thread())
                gate.wait(number)

            runner = runner_in("thread", 1, run_timeout=1.0 if how == "run" else None)
            retry = concurra.Retry(0, attempt_timeout=1.0) if how == "attempt" else None
            func = concurra.task(
                wait, timeout=1.0 if how == "timeout" else None, task_retries=retry or 0
            )
            runner.map(func, range(3), label="m", chunksize=3)
            runner.execute_in_background()
            gate.reached_by(1)
            if how == "cancel":
                assert runner.cancel("m")
            elif how == "abort":
                runner.abort(verify=False)
            result = runner.get_background_results(verify=False)["m"]
            check(result)
            assert result["result"] is None
        threads[0].join(BOUND)
        assert not threads[0].is_alive()
        assert begun == [0]

    def test_a_cancel_before_the_start(self):
        """Nothing of it is begun."""
        runner = runner_in("thread")
        items = iter([1])
        runner.map(double, items, label="m")
        runner.cancel("m")
        assert one(runner)["attempts"] == 0
        assert list(items) == [1]

    def test_an_abort_from_within(self):
        """The map ends with all the rest."""
        runner = runner_in("thread", 2)
        runner.map(
            lambda n: runner.abort(verify=False) if n == 5 else n, range(9), label="m"
        )
        assert one(runner)["status"] == "Terminated"

    def test_the_timeout_of_the_run(self):
        """It is said which it was."""
        with Gate() as gate:
            runner = runner_in("thread", 2, run_timeout=0.2)
            runner.map(lambda _: gate.wait(), range(9), label="m")
            result = one(runner)
        assert result["error"] == "TimeoutError: Run exceeded timeout of 0.2 seconds"

    def test_partial_while_it_is_at_work(self):
        """What has ended so far."""
        with Gate() as gate:
            runner = runner_in("thread", 1)
            runner.map(
                lambda n: gate.wait(n) if n == 2 else n,
                range(4),
                label="m",
                chunksize=1,
            )
            assert runner.partial("m") == {}
            runner.execute_in_background()
            gate.reached_by(1)
            assert runner.partial("m") == {0: 0, 1: 1}
            gate.open()
            runner.get_background_results(verify=False)
        assert runner.partial("m") == {0: 0, 1: 1, 2: 2, 3: 3}

    @pytest.mark.skipif("fork" not in PROCESSES, reason="needs fork")
    def test_partial_in_a_copy(self):
        """It would never know more, as all results would not."""
        runner = runner_in("fork")
        COPIES.append(runner)
        try:
            runner.map(ask_the_copy, [0], label="m")
            assert "This is the copy of a runner" in one(runner)["error"]
        finally:
            COPIES.clear()

    @pytest.mark.parametrize("mode", PROCESSES)
    def test_workers_are_replaced_after_so_many_chunks(self, mode):
        """A chunk counts as one task."""
        runner = runner_in(mode, 1, max_tasks_per_child=1)
        runner.map(pid_of, range(6), label="m", chunksize=2)
        pids = one(runner)["result"]
        assert len(set(pids)) == 3


class TestMemory:
    """What has ended is let go of."""

    def test_items_go_with_the_end(self):
        """Of a map that failed, was cancelled, or succeeded."""

        class Item:
            pass

        def fail(item):
            raise ValueError("bad")

        for func in (id, fail):
            items = [Item() for _ in range(5)]
            known = [weakref.ref(item) for item in items]
            runner = runner_in("thread", 2)
            runner.map(func, items, label="m")
            del items
            gc.disable()
            try:
                runner.run(verify=False)
                assert [ref() for ref in known] == [None] * 5
            finally:
                gc.enable()

    def test_a_runner_goes_without_the_collector(self):
        """No cycle keeps it, nor the values."""

        class Value:
            pass

        gc.collect()
        gc.disable()
        try:
            runner = runner_in("thread", 2)
            runner.map(lambda _: Value(), range(3), label="m")
            results = runner.run(verify=False)
            value = weakref.ref(results["m"]["result"][0])
            known = weakref.ref(runner)
            del results, runner
            assert (value(), known()) == (None, None)
        finally:
            gc.enable()

    def test_results_that_are_not_kept(self):
        """What was handed out is not kept for `partial` either."""
        runner = runner_in("thread", keep_results=False)
        runner.map(double, range(3), label="m")
        [(label, result)] = runner.as_completed()
        assert (label, result["result"]) == ("m", [0, 2, 4])
        assert runner.partial("m") == {}


class TestElsewhere:
    """Executors, and checkpoints."""

    @pytest.mark.parametrize("local", (False, True))
    def test_an_executor_does_the_chunks(self, local):
        """But not those of a function that stays here."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(2) as pool:
            runner = concurra.TaskRunner(2, executor=pool, progress_stats=False)
            func = concurra.task(fail_for_threes, local=local, task_retries=1)
            runner.map(func, iter(range(50)), label="m", return_exceptions=True)
            result = runner.run(verify=False)["m"]
        assert [n for n in result["result"] if type(n) is int] == [
            n for n in range(50) if n % 10 != 3
        ]
        assert result["execution_mode"] == ("thread" if local else "executor")

    def test_chunks_are_not_taken_for_local_jobs(self, monkeypatch):
        """Though they may be where one was that has been let go of."""
        from concurrent.futures import ThreadPoolExecutor

        for module in ("concurra.engine.hiring", "concurra.workers.executor"):
            monkeypatch.setattr(f"{module}.id", lambda job: 0, raising=False)
        with ThreadPoolExecutor(2) as pool:
            runner = concurra.TaskRunner(2, executor=pool, progress_stats=False)
            first = runner.add_task(concurra.task(list, local=True), (1, 2))
            runner.map(double, first, label="m")
            result = runner.run(verify=False)["m"]
        assert (result["result"], result["execution_mode"]) == ([2, 4], "executor")

    def test_a_checkpoint_has_its_list(self, tmp_path):
        """If its items can be recorded, it is not run again; a generator's cannot."""
        calls = []

        def note(number):
            calls.append(number)
            return number

        for _ in range(2):
            runner = runner_in("thread", checkpoint=tmp_path / "file")
            runner.map(remember, [1, 2, 3], label="m")
            runner.map(remember, (n for n in (4, 5)), label="g")
            results = runner.run(verify=False)
            assert results["m"]["result"] == [1, 2, 3]
            assert results["g"]["result"] == [4, 5]
            assert runner.partial("m") == {0: 1, 1: 2, 2: 3}
        assert sorted(CALLS) == [1, 2, 3, 4, 4, 5, 5]

    def test_a_checkpoint_has_no_list_with_exceptions(self, tmp_path):
        """The next run does it again, and all that is made of it."""
        for down in (True, True, False):
            SOURCE[:] = [down]
            runner = runner_in("thread", checkpoint=tmp_path / "file")
            pages = runner.map(ask_source, [1, 2], return_exceptions=True, label="m")
            runner.add_task(list, pages, label="made of it")
            results = runner.run(verify=False)
            assert {each["warning"] for each in results.values()} == {None}
            assert results["made of it"]["result"] == results["m"]["result"]
            failed = [isinstance(v, ConnectionError) for v in results["m"]["result"]]
            assert failed == [down, False]
        runner = runner_in("thread", checkpoint=tmp_path / "file")
        runner.map(ask_source, [1, 2], return_exceptions=True, label="m")
        assert one(runner)["warning"].startswith("Restored from checkpoint")

    def test_initializers_are_for_workers(self):
        """Of processes it is called there, and not where the items come from."""
        runner = runner_in(QUICKEST, 1, initializer=HERE.append, initargs=(1,))
        runner.map(here, (len(HERE) for _ in range(2)), label="m")
        assert one(runner)["result"] == [(0, 1), (0, 1)]
        assert HERE == []


SOURCE = []


def ask_source(number):
    if number == 1 and SOURCE[0]:
        raise ConnectionError("not now")
    return number


CALLS = []
HERE = []
COPIES = []


def ask_the_copy(_):
    return COPIES[0].partial("m")


def remember(number):
    CALLS.append(number)
    return number


def here(number):
    return number, len(HERE)


class TestWrongInputs:
    """A clear error at the call, and nothing is added."""

    @pytest.mark.parametrize(
        "args, options, error, text",
        [
            ((5, []), {}, TypeError, "the task must be callable"),
            ((len, 5), {}, TypeError, "iterable must be an iterable of items, not 5"),
            ((len, []), {"chunksize": 0}, ValueError, "chunksize must be at least 1"),
            ((len, []), {"chunksize": "2"}, TypeError, "chunksize must be an integer"),
            ((len, []), {"depends_on": 3}, TypeError, "depends_on must be"),
            ((len, []), {"label": []}, TypeError, "label must be hashable"),
            ((len, []), {"label": "m"}, ValueError, "Task 'm' exists already"),
            (
                (concurra.task(len, keep_remote=True), []),
                {},
                ValueError,
                "keep_remote=True does not go with map()",
            ),
        ],
    )
    def test_wrong_inputs(self, args, options, error, text):
        """They are told of by name."""
        runner = runner_in("thread")
        runner.add_task(double, 1, label="m")
        with pytest.raises(error) as caught:
            runner.map(*args, **options)
        assert str(caught.value).startswith(text)
        assert len(runner) == 1
        assert runner.run(verify=False)["m"]["result"] == 2

    def test_after_the_start(self):
        """Nothing is added then."""
        runner = runner_in("thread")
        runner.run(verify=False)
        with pytest.raises(concurra.LifeCycleError):
            runner.map(len, [])

    def test_partial_of_others(self):
        """They have nothing of the kind."""
        runner = runner_in("thread")
        runner.add_task(double, 1, label="t")
        with pytest.raises(ValueError, match="must be that of a task, not 'x'"):
            runner.partial("x")
        with pytest.raises(ValueError, match=r"that of a task of map\(\), not 't'"):
            runner.partial("t")
