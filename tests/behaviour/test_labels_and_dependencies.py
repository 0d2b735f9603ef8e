"""Labels and dependencies: the graph, its checks, and what failures do to it."""

from __future__ import annotations

import enum
import threading

import pytest

import concurra

from .support import BOUND, check, statuses


def fail(message="no"):
    raise ValueError(message)


def chain_runner(order, needs, **options):
    """A runner whose tasks append their label to the returned list as they run."""
    ran = []
    runner = concurra.TaskRunner(progress_stats=False, **options)
    for label in order:
        runner.add_task(ran.append, label, label=label, depends_on=needs.get(label))
    return runner, ran


# Labels -----------------------------------------------------------------------


def test_without_labels_the_index_is_the_label():
    """The index counts every task, labelled ones too, from 0, as an int."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str)
    runner.add_task(str, label="named")
    runner.add_task(str)
    labels = list(runner.run())
    assert labels == [0, "named", 2]
    assert type(labels[0]) is int


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    "label",
    ["", "a b\nc", "ü→", 17, -1, 2.5, ("a", 1), frozenset("a"), b"x", Colour.RED, str],
    ids=repr,
)
def test_any_hashable_value_is_a_label(label):
    """It is the key of the result, and can be depended on, falsy values included."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label=label)
    runner.add_task(str, label="next", depends_on=[label])
    assert list(runner.run()) == [label, "next"]


def test_a_label_of_zero_is_a_label():
    """0 is not taken for a missing label."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="first")
    runner.add_task(str, label=0)
    assert list(runner.run()) == ["first", 0]


# Order ------------------------------------------------------------------------


def test_a_task_runs_after_all_that_it_depends_on():
    """A diamond: the top first, the bottom last, with room for all at once."""
    runner, ran = chain_runner(
        "abcd", {"b": ["a"], "c": ["a"], "d": ["b", "c"]}, max_concurrency=4
    )
    runner.run()
    assert ran[0] == "a"
    assert ran[-1] == "d"
    assert sorted(ran) == list("abcd")


def test_a_dependent_has_not_started_before_the_end_of_its_dependency():
    """While a dependency runs, what needs it does not, free workers or not."""
    seen = []
    other_ran = threading.Event()
    runner = concurra.TaskRunner(max_concurrency=4, progress_stats=False)

    def dependency():
        seen.append("begin")
        assert other_ran.wait(BOUND)
        seen.append("end")

    runner.add_task(dependency, label="a")
    runner.add_task(seen.append, "dependent", label="b", depends_on=["a"])
    runner.add_task(other_ran.set, label="other")
    runner.run()
    assert seen == ["begin", "end", "dependent"]


def test_dependencies_may_be_named_before_they_are_added():
    """Forward references are allowed, to any depth."""
    runner, ran = chain_runner("dcba", {"d": ["c"], "c": ["b"], "b": ["a"]})
    results = runner.run()
    assert ran == list("abcd")
    assert list(results) == list("dcba")


@pytest.mark.parametrize(
    "collection",
    [
        ["a", "b"],
        ("a", "b"),
        {"a", "b"},
        frozenset("ab"),
        {"a": 1, "b": 2},
        {"a": 1, "b": 2}.keys(),
        ["a", "b", "a", "a"],
    ],
    ids=lambda collection: type(collection).__name__,
)
def test_depends_on_takes_any_collection(collection):
    """Lists, tuples, sets, keys; a label named twice counts once."""
    runner, ran = chain_runner("cab", {"c": collection})
    runner.run()
    assert ran[-1] == "c"


@pytest.mark.parametrize("nothing", [None, [], (), set()])
def test_depends_on_nothing(nothing):
    """None and empty collections are no dependency."""
    runner, ran = chain_runner("a", {"a": nothing})
    runner.run()
    assert ran == ["a"]


def test_a_bare_string_is_one_label():
    """`depends_on="ab"` means the task "ab", not the tasks "a" and "b"."""
    runner, ran = chain_runner(["c", "ab"], {"c": "ab"})
    runner.run()
    assert ran == ["ab", "c"]


def test_tuples_are_collections_outside_and_labels_inside():
    """`("a", "b")` names two tasks, `[("a", "b")]` one."""
    pair = ("a", "b")
    runner, ran = chain_runner(["one", "two", pair, "a", "b"], {"one": [pair]})
    runner.run()
    assert ran.index(pair) < ran.index("one")
    runner, ran = chain_runner(["two", "a", "b"], {"two": pair})
    runner.run()
    assert ran[-1] == "two"


ADDERS = {
    "add_task": lambda runner, **more: runner.add_task(str, label="x", **more),
    "add_function": lambda runner, **more: runner.add_function(str, key="x", **more),
    "add_command": lambda runner, **more: runner.add_command(
        ["true"], label="x", **more
    ),
    "add_shell_command": lambda runner, **more: runner.add_shell_command(
        "exit 0", label="x", **more
    ),
}


@pytest.mark.parametrize("adder", ADDERS)
@pytest.mark.parametrize("depends_on", [5, [["unhashable"]], 1.5])
def test_depends_on_refuses_what_holds_no_labels(adder, depends_on):
    """A TypeError at the call, for every adder, and nothing is added."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError):
        ADDERS[adder](runner, depends_on=depends_on)
    assert len(runner) == 0


# Checks -----------------------------------------------------------------------


@pytest.mark.parametrize("adder", ADDERS)
def test_a_task_cannot_depend_on_itself(adder):
    """A ValueError with the documented words, at the call."""
    runner = concurra.TaskRunner()
    with pytest.raises(ValueError) as caught:
        ADDERS[adder](runner, depends_on=["x"])
    assert str(caught.value) == "Task 'x' cannot depend on itself."
    assert len(runner) == 0


def test_a_task_cannot_depend_on_its_own_index():
    """The label that a task gets from its index counts as well."""
    runner = concurra.TaskRunner()
    with pytest.raises(ValueError, match="cannot depend on itself"):
        runner.add_task(str, depends_on=[0])
    assert len(runner) == 0


def test_the_call_that_closes_a_cycle_is_refused():
    """The message shows the path, each task pointing to what it depends on."""
    runner = concurra.TaskRunner()
    runner.add_task(str, label="B", depends_on=["A"])
    runner.add_task(str, label="C", depends_on=["B"])
    with pytest.raises(ValueError) as caught:
        runner.add_task(str, label="A", depends_on=["C"])
    assert str(caught.value) == "Circular dependency detected: A -> C -> B -> A."


@pytest.mark.parametrize("adder", ADDERS)
def test_every_adder_detects_cycles(adder):
    """Functions and commands are tasks of one graph."""
    runner = concurra.TaskRunner()
    runner.add_task(str, label="y", depends_on=["x"])
    with pytest.raises(ValueError) as caught:
        ADDERS[adder](runner, depends_on=["y"])
    assert str(caught.value) == "Circular dependency detected: x -> y -> x."
    assert len(runner) == 1


@pytest.mark.parametrize("length", [2, 3, 10, 3000])
def test_cycles_of_any_length_are_refused(length):
    """However long the way round is, and however the graph was added."""
    runner = concurra.TaskRunner()
    for index in range(length - 1):
        runner.add_task(str, label=index, depends_on=[index + 1])
    with pytest.raises(ValueError, match="Circular dependency detected: "):
        runner.add_task(str, label=length - 1, depends_on=[0])
    assert len(runner) == length - 1


def test_a_cycle_in_a_branch_is_found():
    """A cycle beside healthy dependencies of the same task, named without these."""
    runner = concurra.TaskRunner()
    runner.add_task(str, label="healthy")
    runner.add_task(str, label="B", depends_on=["healthy", "A"])
    with pytest.raises(ValueError) as caught:
        runner.add_task(str, label="A", depends_on=["healthy", "B"])
    assert str(caught.value) == "Circular dependency detected: A -> B -> A."


def test_a_refused_task_leaves_no_trace():
    """After a refused cycle the label is free, and the rest runs."""
    runner, ran = chain_runner("b", {"b": ["a"]})
    with pytest.raises(ValueError):
        runner.add_task(ran.append, "bad", label="a", depends_on=["b"])
    runner.add_task(ran.append, "a", label="a")
    results = runner.run()
    assert ran == ["a", "b"]
    assert list(results) == ["b", "a"]


@pytest.mark.parametrize("start", ["run", "execute", "execute_in_background"])
def test_unknown_dependencies_are_refused_at_the_start(start):
    """A ValueError names them; the runner can be mended and started."""
    runner, ran = chain_runner("ab", {"a": ["missing"], "b": ["gone", "a"]})
    with pytest.raises(ValueError) as caught:
        getattr(runner, start)()
    message = str(caught.value)
    assert message.startswith("Unknown task dependency label(s): ")
    assert "'missing'" in message
    assert "'gone'" in message
    assert ran == []
    assert not runner.is_running()
    runner.add_task(ran.append, "missing", label="missing")
    runner.add_task(ran.append, "gone", label="gone")
    getattr(runner, start)()
    if start == "execute_in_background":
        runner.get_background_results()
    assert sorted(ran) == ["a", "b", "gone", "missing"]
    assert ran.index("missing") < ran.index("a") < ran.index("b")


# Failure ----------------------------------------------------------------------


def skipped(*labels):
    return f"RuntimeError: Skipped: dependency {list(labels)} failed or was terminated"


def test_a_failure_skips_what_depends_on_it_through_all_levels():
    """Each skipped task names the direct dependencies that were not successful."""
    runner, ran = chain_runner(
        ["fine", "b", "c", "d", "free"],
        {"b": ["fine", "x"], "c": ["b"], "d": ["fine", "c"]},
        max_concurrency=1,
    )
    runner.add_task(fail, label="x")
    results = runner.run(verify=False)
    assert statuses(results) == {
        "fine": "Successful",
        "b": "Terminated",
        "c": "Terminated",
        "d": "Terminated",
        "free": "Successful",
        "x": "Failed",
    }
    assert results["b"]["error"] == skipped("x")
    assert results["c"]["error"] == skipped("b")
    assert results["d"]["error"] == skipped("c")
    assert ran == ["fine", "free"]


@pytest.mark.parametrize("order", [["x", "y", "z"], ["z", "x", "y"]])
def test_a_skipped_task_names_all_that_had_failed(order):
    """Two dependencies that were not successful are both named, the others not."""
    needs = {"y": ["x"], "z": ["fine", "x", "y"]}
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    runner.add_task(str, label="fine")
    for label in order:
        task = fail if label == "x" else str
        runner.add_task(task, label=label, depends_on=needs.get(label))
    assert runner.run(verify=False)["z"]["error"] == skipped("x", "y")


def test_a_skipped_task_never_started():
    """No attempt, no mode, no duration; both timestamps are those of the decision."""
    runner = concurra.TaskRunner(progress_stats=False, task_retries=2)
    runner.add_task(fail, label="x")
    runner.add_task(str, label="y", depends_on=["x"])
    result = runner.run(verify=False)["y"]
    check(result)
    assert result["start_time"] == result["end_time"]
    assert result["duration"] == "0.0 sec"
    assert result["duration_seconds"] == 0.0
    assert result["attempts"] == 0
    assert result["task_retries"] == 2
    assert result["execution_mode"] is None
    assert result["result"] is None
    assert result["has_failed"] is True


def test_a_failure_skips_a_very_long_chain():
    """Any number of levels: five thousand of them."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(fail, label=0)
    for index in range(1, 5000):
        runner.add_task(str, label=index, depends_on=[index - 1])
    results = runner.run(verify=False)
    assert results[4999]["error"] == skipped(4998)
    assert {result["status"] for result in results.values()} == {"Failed", "Terminated"}


@pytest.mark.parametrize("kind", ["function", "command", "timeout"])
def test_every_unsuccessful_end_skips_dependents(kind):
    """A failed function, a failed command and a timeout alike."""
    stop = threading.Event()
    runner = concurra.TaskRunner(
        progress_stats=False, timeout=0.2 if kind == "timeout" else None
    )
    if kind == "function":
        runner.add_task(fail, label="x")
    elif kind == "command":
        runner.add_shell_command("exit 3", label="x")
    else:
        runner.add_task(stop.wait, BOUND, label="x")
    runner.add_command(["true"], label="y", depends_on=["x"])
    try:
        assert runner.run(verify=False)["y"]["error"] == skipped("x")
    finally:
        stop.set()


def test_a_command_with_check_off_skips_nothing():
    """A non-zero return code that is no failure lets dependents run."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_shell_command("exit 3", label="x", check=False)
    runner.add_task(str, label="y", depends_on=["x"])
    assert statuses(runner.run()) == {"x": "Successful", "y": "Successful"}


def test_results_are_not_piped():
    """A dependent gets its own arguments, not its dependency's result."""
    received = []
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(lambda: "result of a", label="a")
    runner.add_task(lambda *args: received.append(args), label="b", depends_on=["a"])
    runner.run()
    assert received == [()]
