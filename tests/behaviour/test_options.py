"""Options of one task: where they can be said, which goes first, and what they do."""

from __future__ import annotations

import functools
import math
import threading

import pytest

import concurra
from concurra import task
from tests.helpers import wait_until

from .modes import FUNCTIONS, MODES, NOTE, STAYS, SUCCEED, as_in, mode_of, runner_in
from .support import BOUND, Gate, check, statuses


@task(task_retries=2, name="loader", priority=3)
def load(value):
    """A function with options, for every mode."""
    return value * 2


@task
def load_bare(value):
    """The same, of which nothing is chosen."""
    return value * 2


@task(timeout=BOUND)
async def load_async(value):
    """The same, `async def`."""
    return value * 2


class Source:
    """Has a method with options."""

    @task(name="method")
    def load(self, value):
        return value * 2


def boom():
    raise ValueError("bad")


# Where they can be said ---------------------------------------------------------------


def test_every_adder_takes_them():
    """By keyword, or with the function; each of them does the same."""
    runner = concurra.TaskRunner(progress_stats=False, task_retries=0)
    more = {"task_retries": 1, "name": "load", "priority": 1, "timeout": BOUND}
    runner.add_task(task(boom, **more), label="task")
    runner.add_func(task(boom, **more), key="func")
    runner.add_function(boom, key="function", **more)
    runner.add_function(task(boom, **more), key="both")
    runner.add_work([(task(boom, **more), (), {}, "work"), (boom, (), {}, "plain")])
    runner.add_command(["false"], label="command", **more)
    runner.add_shell_command("false", label="shell", **more)
    results = runner.run(verify=False)
    plain = results.pop("plain")
    assert (plain["attempts"], plain["task_name"]) == (1, "boom")
    for label, result in results.items():
        check(result)
        assert (result["attempts"], result["task_name"]) == (2, "load"), label


def test_add_task_passes_on_what_is_not_its_own():
    """A keyword of an option is one of the function, as it always was."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(dict, timeout=1, priority=2, name="x", label="a")
    runner.add_func(dict, timeout=1, resources=3, key="b")
    results = runner.run()
    assert results["a"]["result"] == {"timeout": 1, "priority": 2, "name": "x"}
    assert results["b"]["result"] == {"timeout": 1, "resources": 3}


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_decorated_functions_run_in_every_mode(mode):
    """Plain, async, as methods, as partials; picklable by name."""
    runner = runner_in(mode, 2)
    for label, function in {
        "plain": load,
        "bare": load_bare,
        "call": task(load, timeout=BOUND),
        "async": load_async,
        "method": Source().load,
        "partial": functools.partial(load, 4),
        "partial call": functools.partial(task(load, name="x"), 4),
    }.items():
        args = () if "partial" in label else (4,)
        runner.add_task(as_in(mode, function), *args, label=label)
    results = runner.run()
    for result in results.values():
        check(result)
        assert (result["result"], result["execution_mode"]) == (8, mode_of(mode))
    if mode != "fallback":  # there, a lambda hides them
        names = [result["task_name"] for result in results.values()]
        rest = ["loader", "load_async", "method", "loader", "x"]
        assert names == ["loader", "load_bare", *rest]
        retries = [result["task_retries"] for result in results.values()]
        assert retries == [2, 0, 2, 0, 0, 2, 2]


def test_a_decorated_function_is_called_as_ever():
    """Where no runner is concerned, it is what it was."""
    assert load(2) == 4
    assert task(load, priority=1)(3) == 6


# Which goes first ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "definition", "runner", "attempts"),
    [
        (None, None, 1, 2),
        (None, 2, 1, 3),
        (0, 2, 1, 1),
        (3, None, 1, 4),
        (None, 0, 1, 1),
    ],
)
def test_the_calls_then_the_functions_then_the_runners(
    call, definition, runner, attempts
):
    """What is None was not chosen; 0 was."""

    @task(task_retries=definition)
    def work():
        raise ValueError

    engine = concurra.TaskRunner(progress_stats=False, task_retries=runner)
    engine.add_task(work, label="keyword", task_retries=call)
    engine.add_task(task(work, task_retries=call), label="call")
    engine.add_function(work, key="function", task_retries=call)
    results = engine.run(verify=False)
    assert {result["attempts"] for result in results.values()} == {attempts}


def test_the_runners_value_at_the_start_counts():
    """Also for tasks that have other options of their own."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(task(boom, priority=1), label="a")
    runner.task_retries = concurra.Retry(2)
    result = runner.run(verify=False)["a"]
    assert (result["attempts"], result["task_retries"]) == (3, 2)


def test_the_name_in_the_table(log):
    """Is what was chosen, in the result as well."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(task(str, name="wash the data"), label="a")
    runner.add_command(["true"], label="b", name="call true")
    results = runner.run()
    assert results["a"]["task_name"] == "wash the data"
    assert "| a       | wash the data | Successful |" in log.text()
    assert "| b       | call true     | Successful |" in log.text()


# Timeouts -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_timeout_of_ones_own_in_every_mode(mode, tmp_path):
    """It ends that task, and no other."""
    runner = runner_in(mode, 2, timeout=BOUND * 2, terminate_timeout=0.2)
    if mode in ("thread", "fallback"):
        gate = Gate()
        runner.add_task(task(as_in("fallback", gate.wait), timeout=0.3), label="slow")
    else:
        gate = None
        STAYS.add(runner, mode, tmp_path / "pid", label="slow", timeout=0.3)
    SUCCEED.add(runner, mode, label="quick")
    results = runner.run(verify=False)
    if gate:
        gate.open()
    assert statuses(results) == {"slow": "Terminated", "quick": "Successful"}
    error = "TimeoutError: Task exceeded timeout of 0.3 seconds"
    assert results["slow"]["error"] == error
    assert type(runner.exception("slow")) is TimeoutError
    check(results["slow"])


def test_no_limit_in_spite_of_the_runners():
    """`math.inf` says that; None says nothing."""
    with Gate() as gate:
        runner = concurra.TaskRunner(2, timeout=0.2, progress_stats=False)
        runner.add_function(gate.wait, ["at last"], key="none", timeout=math.inf)
        runner.add_function(gate.wait, key="runner's", timeout=None)
        runner.execute_in_background()
        wait_until(lambda: runner.counts()["terminated"], BOUND)
        gate.open()
        results = runner.get_background_results(verify=False)
    assert statuses(results) == {"none": "Successful", "runner's": "Terminated"}


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_takes_too_long(mode, tmp_path):
    """Everything is terminated, with the reason; what has ended keeps its outcome."""
    runner = runner_in(mode, 1, run_timeout=1.5, terminate_timeout=0.2)
    SUCCEED.add(runner, mode, label="quick")
    gate = Gate()
    if mode in ("thread", "fallback"):
        runner.add_task(as_in("fallback", gate.wait), label="slow")
    else:
        STAYS.add(runner, mode, tmp_path / "pid", label="slow")
    SUCCEED.add(runner, mode, label="never")
    results = runner.run(verify=False)
    gate.open()
    assert statuses(results) == {
        "quick": "Successful",
        "slow": "Terminated",
        "never": "Terminated",
    }
    for label in ("slow", "never"):
        check(results[label])
        assert results[label]["error"] == (
            "TimeoutError: Run exceeded timeout of 1.5 seconds"
        )
    assert results["never"]["attempts"] == 0


# Priorities ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_the_highest_priority_starts_first(mode, tmp_path):
    """Of those that are ready; those that are equal in the order of adding."""
    runner, path = runner_in(mode, 1), tmp_path / "order"
    for label, priority in {"a": 0, "b": -5, "c": 7, "d": 0, "e": 7}.items():
        NOTE.add(runner, mode, path, label, label=label, priority=priority)
    NOTE.add(runner, mode, path, "f", label="f", priority=9, depends_on=["e"])
    results = runner.run()
    assert path.read_text().split() == ["c", "e", "f", "a", "d", "b"]
    assert list(results) == ["a", "b", "c", "d", "e", "f"], "as they were added"


# Wrong values, and what makes no sense ------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"timeout": 0}, "timeout must be a number of seconds, more than 0"),
        ({"timeout": "5"}, "timeout must be a number of seconds"),
        ({"task_retries": -1}, "task_retries must be at least 0"),
        ({"task_retries": "2"}, "task_retries must be an integer or a Retry"),
        ({"priority": "high"}, "priority must be an integer"),
        ({"priority": None, "name": 5}, "name must be a string"),
        ({"resources": ["db"]}, "resources must be a mapping"),
        ({"resources": {"db": 2}}, "resources: 2 of 'db' is more than the runner has"),
        ({"resources": {"x": 1}}, "resources: there is no 'x' in the resources"),
        ({"trigger_rule": "always"}, "trigger_rule must be one of 'all_success', 'al"),
        ({"trigger_rule": "one_failed"}, "trigger_rule 'one_failed' needs depends_on"),
    ],
)
def test_wrong_values_add_nothing(options, error):
    """Each is refused at the call, by every adder, and the runner is as it was."""
    runner = concurra.TaskRunner(progress_stats=False, resources={"db": 1})
    for add in (
        lambda: runner.add_task(task(boom, **options)),
        lambda: runner.add_func(task(boom, **options)),
        lambda: runner.add_function(boom, **options),
        lambda: runner.add_work([(str,), (task(boom, **options),), (str,)]),
        lambda: runner.add_command(["true"], **options),
        lambda: runner.add_shell_command("true", **options),
    ):
        with pytest.raises((TypeError, ValueError), match=f"^{error}"):
            add()
    assert len(runner) == 0
    runner.add_task(str, label="a")
    assert statuses(runner.run()) == {"a": "Successful"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_timeout", 0),
        ("resources", {"db": -1}),
        ("resources", [1]),
        ("initializer", 5),
        ("initargs", 5),
        ("task_retries", "2"),
    ],
)
def test_wrong_values_of_the_runner(name, value):
    """At construction; or at the start, if they are changed, and it can be mended."""
    with pytest.raises((TypeError, ValueError), match=f"^{name}"):
        concurra.TaskRunner(**{name: value})
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    before = getattr(runner, name)
    setattr(runner, name, value)
    with pytest.raises((TypeError, ValueError), match=f"^{name}"):
        runner.run()
    setattr(runner, name, before)
    assert statuses(runner.run()) == {"a": "Successful"}


def test_resources_that_were_taken_away():
    """A task that could never start is refused at the start."""
    runner = concurra.TaskRunner(progress_stats=False, resources={"db": 2})
    runner.add_command(["true"], label="a", resources={"db": 2})
    runner.resources = {"db": 1}
    with pytest.raises(ValueError, match="2 of 'db' is more than the runner has"):
        runner.run()
    runner.resources = {"db": 2}
    assert statuses(runner.run()) == {"a": "Successful"}


def test_options_do_not_outlive_a_call():
    """`task(function, ...)` leaves the function as it was, from any thread."""
    runner = concurra.TaskRunner(4, progress_stats=False)
    threads = [
        threading.Thread(
            target=lambda n=number: runner.add_task(task(boom, task_retries=n), label=n)
        )
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runner.add_task(boom, label="plain")
    results = runner.run(verify=False)
    assert {label: result["attempts"] for label, result in results.items()} == {
        **{number: number + 1 for number in range(4)},
        "plain": 1,
    }


@pytest.mark.parametrize("add", ["add_task", "add_func", "add_function"])
def test_a_decorator_is_no_task(add):
    """Options without their function are refused where they are added."""
    runner = concurra.TaskRunner(progress_stats=False)
    told = r"^the task must be task\(function, timeout=...\), got task\(timeout=...\)"
    with pytest.raises(TypeError, match=told):
        getattr(runner, add)(concurra.task(timeout=3))
    with pytest.raises(TypeError, match=told):
        runner.add_work([(concurra.task(timeout=3),)])
    assert len(runner) == 0
