"""References: the result of one task as an argument of another, in every mode."""

from __future__ import annotations

import os
import sys
import threading

import pytest

import concurra
from concurra import ref, task

from .modes import FUNCTIONS, as_in, runner_in
from .support import Gate, check, statuses

SKIPPED = "RuntimeError: Skipped: dependency ['a'] failed or was terminated"


def _make(value):
    return value


def _join(*values, **named):
    return [*values, *sorted(named.items())]


def _fail():
    raise ValueError("bad")


def _flaky(value, path):
    with open(path, "a") as file:
        file.write("x")
    if os.path.getsize(path) < 3:
        raise ConnectionError("not yet")
    return value


def add(runner, mode, function, *args, **options):
    return runner.add_task(as_in(mode, function), *args, **options)


# -- functions ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_result_is_an_argument(mode):
    """Positional, or directly within a container that is one; the order follows."""
    runner = runner_in(mode, 2)
    last = add(runner, mode, _join, ref("b"), [ref("a"), 3], (ref("b"),), label="c")
    a = add(runner, mode, _make, 1, label="a")
    add(runner, mode, _join, a, {"x": a}, label="b")
    add(runner, mode, _join, last, label="d")
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
    assert results["b"]["result"] == [1, {"x": 1}]
    assert results["c"]["result"] == [[1, {"x": 1}], [1, 3], ([1, {"x": 1}],)]
    assert results["d"]["result"] == [results["c"]["result"]]


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_a_result_is_a_keyword(mode):
    """Of every adder that passes keywords on."""
    runner = runner_in(mode, 2)
    a = runner.add_task(_make, 1, label="a")
    runner.add_task(_join, x=a, y=[a], label="task")
    runner.add_func(_join, x=a, key="func")
    runner.add_function(_join, [a], {"x": a}, key="function")
    results = runner.run(verify=False)
    assert results["task"]["result"] == [("x", 1), ("y", [1])]
    assert results["func"]["result"] == [("x", 1)]
    assert results["function"]["result"] == [1, ("x", 1)]


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_large_result(mode):
    """It goes from process to process through this one."""
    runner = runner_in(mode, 1)
    a = add(runner, mode, bytes, 5_000_000, label="a")
    add(runner, mode, len, a, label="b")
    assert runner.run(verify=False)["b"]["result"] == 5_000_000


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_each_attempt_gets_the_result(mode, tmp_path):
    """However often a task is tried again."""
    runner = runner_in(mode, 1, task_retries=2)
    a = add(runner, mode, _make, [1], label="a")
    add(runner, mode, _flaky, a, str(tmp_path / "tries"), label="b")
    result = runner.run(verify=False)["b"]
    assert (result["result"], result["attempts"]) == ([1], 3)


@pytest.mark.parametrize("mode", ["thread", "fork"])
def test_who_refers_to_a_failure_is_skipped(mode):
    """As every dependent is, and so is who refers to that."""
    runner = runner_in(mode, 1)
    a = runner.add_task(_fail, label="a")
    b = runner.add_task(_make, a, label="b")
    runner.add_task(_make, [b], label="c")
    results = runner.run(verify=False)
    assert [each["status"] for each in results.values()] == [
        "Failed",
        "Terminated",
        "Terminated",
    ]
    assert results["b"]["error"] == SKIPPED


def test_who_refers_to_what_never_ran_is_skipped():
    """A task that waits for a failure has no result, if there is none."""
    runner = runner_in("thread")
    runner.add_task(_make, 1, label="a")
    rescue = runner.add_task(
        task(_make, trigger_rule="one_failed"), 1, label="rescue", depends_on=["a"]
    )
    runner.add_task(_make, rescue, label="b")
    results = runner.run(verify=False)
    assert statuses(results) == {
        "a": "Successful",
        "rescue": "Terminated",
        "b": "Terminated",
    }


def test_a_value_is_passed_as_it_is():
    """In threads it is the very same object, which all may change."""
    runner = runner_in("thread", 1)
    a = runner.add_task(list, label="a")
    b = runner.add_task(list.append, a, 1, label="b")
    runner.add_task(list.append, a, 2, label="c", depends_on=[b])
    assert runner.run(verify=False)["a"]["result"] == [1, 2]


def test_a_reference_is_a_label_in_depends_on():
    """Alone, beside labels, or twice; the result does not go anywhere."""
    order = []
    runner = runner_in("thread", 2)
    c = runner.add_task(
        order.append, 3, label="c", depends_on=[ref("b"), "a", ref("a")]
    )
    runner.add_task(order.append, 4, label="d", depends_on=c)
    runner.add_task(order.append, 2, label="b", depends_on={ref("a")})
    runner.add_task(order.append, 1, label="a")
    runner.run(verify=False)
    assert order == [1, 2, 3, 4]


def test_a_reference_has_the_label():
    """Also one that was not given, and of each of many calls."""
    runner = runner_in("thread")
    assert runner.add_task(_make, 1).label == 0
    assert [
        each.label for each in runner.add_work([(_fail,), (_fail, (), {}, "x")])
    ] == [
        1,
        "x",
    ]
    assert runner.add_command(["true"], label="c").label == "c"
    assert repr(runner.add_shell_command("true", label="s")) == "<TaskRef 's'>"


def test_an_unset_result_in_a_set():
    """Results that are equal are one there; what cannot be there is an error."""
    runner = runner_in("thread")
    a, b = (runner.add_task(_make, 1, label=label) for label in "ab")
    c = runner.add_task(list, label="c")
    runner.add_task(len, {a, b, 1}, label="equal")
    runner.add_task(len, {a, c}, label="list")
    results = runner.run(verify=False)
    assert results["equal"]["result"] == 1
    error = results["list"]["error"]
    assert error.startswith("TypeError: a set cannot have such a result in it: ")
    assert "unhashable type: 'list'" in error


def test_references_deeper_within_are_not_found():
    """They are passed as they are; a process refuses them, and says where they can
    be."""
    runner = runner_in("fork", 1) if hasattr(os, "fork") else runner_in("spawn", 1)
    a = runner.add_task(_make, 1, label="a")
    runner.add_task(_make, [[a]], label="b")
    result = runner.run(verify=False)["b"]
    assert "<TaskRef 'a'> stands for a result only as an argument" in result["error"]
    runner = runner_in("thread")
    a = runner.add_task(_make, 1, label="a")
    runner.add_task(_make, [[a]], label="b")
    assert runner.run(verify=False)["b"]["result"] == [[a]]


# -- what is refused ---------------------------------------------------------------


def test_a_reference_of_another_runner():
    """As an argument, within one, or in depends_on; nothing is added."""
    other = runner_in("thread").add_task(_make, 1, label="a")
    runner = runner_in("thread")
    runner.add_task(_make, 1, label="a")
    for call in (
        lambda: runner.add_task(_make, other),
        lambda: runner.add_task(_make, x=[other]),
        lambda: runner.add_task(_make, 1, depends_on=[other]),
        lambda: runner.add_command(["echo", other]),
    ):
        with pytest.raises(ValueError, match="<TaskRef 'a'> is of another runner"):
            call()
    assert len(runner) == 1


@pytest.mark.parametrize("reference", [ref("a"), None])
def test_a_reference_as_a_label(reference):
    """It is another task's; the error says where it can go, and nothing is added."""
    runner = runner_in("thread")
    added = runner.add_task(_make, 1, label="a")
    label = added if reference is None else reference
    told = (
        "label must be the task's own (a reference to another task goes to depends_on, "
        "or among the arguments), not <TaskRef 'a'>"
    )
    for call, where in (
        (lambda: runner.add_task(_make, 1, label=label), ""),
        (lambda: runner.add_func(_make, 1, key=label), ""),
        (lambda: runner.add_function(_make, [1], key=label), ""),
        (lambda: runner.map(_make, [1], label=label), ""),
        (lambda: runner.add_command(["true"], label), ""),
        (lambda: runner.add_shell_command("true", label), ""),
        (
            lambda: runner.add_work([(_make, (1,)), (_make, (1,), {}, label)]),
            "workload item 1: ",
        ),
    ):
        with pytest.raises(TypeError) as caught:
            call()
        assert str(caught.value) == where + told
    assert len(runner) == 1


def test_a_reference_to_a_reference():
    """`ref` of what an adder has returned is that, of whichever runner it is."""
    runner = runner_in("thread")
    made = runner.add_task(_make, 7, label="a")
    assert ref(made) is made
    runner.add_task(_make, ref(made), label="b")
    assert runner.run(verify=False)["b"]["result"] == 7


def test_a_reference_to_nothing():
    """Is found when the run starts, and can be mended then."""
    runner = runner_in("thread")
    runner.add_task(_make, ref("later"), label="a")
    with pytest.raises(concurra.UnknownDependencyError, match="later"):
        runner.run()
    runner.add_task(_make, 7, label="later")
    assert runner.run(verify=False)["a"]["result"] == 7


def test_a_circle_of_references():
    """Is found by the call that closes it."""
    runner = runner_in("thread")
    runner.add_task(_make, ref("b"), label="a")
    with pytest.raises(
        concurra.CircularDependencyError, match="a -> b -> a|b -> a -> b"
    ):
        runner.add_task(_make, ref("a"), label="b")
    with pytest.raises(ValueError, match="'c' cannot depend on itself"):
        runner.add_task(_make, ref("c"), label="c")


@pytest.mark.parametrize("rule", ["all_done", "one_failed"])
def test_who_may_start_without_a_result(rule):
    """Is refused, with the words what to do instead."""
    runner = runner_in("thread")
    a = runner.add_task(_make, 1, label="a")
    for call in (
        lambda: runner.add_task(task(_make, trigger_rule=rule), a),
        lambda: runner.add_function(_make, [a], trigger_rule=rule),
        lambda: runner.add_command(["echo", a], trigger_rule=rule),
    ):
        with pytest.raises(ValueError, match="Name it in depends_on alone"):
            call()
    runner.add_task(task(_make, trigger_rule=rule), 1, label="b", depends_on=[a])
    assert len(runner) == 2


def test_a_workload_has_no_references():
    """It has no dependencies at all; none of it is added."""
    runner = runner_in("thread")
    a = runner.add_task(_make, 1, label="a")
    with pytest.raises(ValueError, match="workload item 1 must be without references"):
        runner.add_work([(_make, (1,)), (_make, (a,))])
    assert len(runner) == 1


def test_a_subclass_whose_adders_return_nothing():
    """Still works, with labels."""

    class Old(concurra.TaskRunner):
        def add_task(self, function, *args, **kwargs):
            super().add_task(function, *args, **kwargs)

        def add_command(self, *args, **kwargs):
            super().add_command(*args, **kwargs)

    runner = Old(progress_stats=False)
    assert runner.add_task(_make, 1, label="a") is None
    assert runner.add_task(_join, ref("a"), label="b", depends_on=["a"]) is None
    assert runner.run(verify=False)["b"]["result"] == [1]


def test_what_is_let_go_of():
    """A value that was handed out is there as long as somebody waits for it."""
    seen = []
    with Gate() as gate:
        runner = runner_in("thread", 2, keep_results=False, task_retries=1)
        value = runner.add_task(_make, "value", label="a")
        tries = iter([ConnectionError, None])

        def use(value):
            gate.wait()
            seen.append(value)
            error = next(tries)
            if error is not None:
                raise error

        runner.add_task(use, value, label="b")
        for label, result in runner.as_completed():
            if label == "a":
                assert result["result"] == "value"
                gate.reached_by(1)
                gate.open()
    assert seen == ["value", "value"]
    assert runner.get_background_results(verify=False) == {}


def test_by_many_threads_at_once():
    """A value is the same for all who wait for it."""
    barrier = threading.Barrier(8)
    runner = runner_in("thread", 8)
    a = runner.add_task(object, label="a")

    def use(value):
        barrier.wait()
        return value

    for number in range(8):
        runner.add_task(use, a, label=number)
    results = runner.run(verify=False)
    assert {id(results[number]["result"]) for number in range(8)} == {
        id(results["a"]["result"])
    }


# -- commands ----------------------------------------------------------------------

CAT = [sys.executable, "-c", "import sys; sys.stdout.write(sys.stdin.read())"]
SHOW = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]


@pytest.mark.parametrize("mode", FUNCTIONS)
def test_a_command_gets_the_text_of_a_function(mode):
    """Of what it has returned, in whichever mode."""
    runner = runner_in(mode, 2)
    a = add(runner, mode, _make, 1.5, label="a")
    runner.add_command([*SHOW, a, "x"], label="b")
    result = runner.run(verify=False)["b"]
    check(result)
    assert result["result"]["stdout"] == "['1.5', 'x']\n"
    assert result["result"]["command"] == [*SHOW, "1.5", "x"]


def test_a_command_gets_the_output_of_a_command():
    """As an argument or a variable without the last line end, as input all of it."""
    runner = runner_in("thread", 2)
    a = runner.add_shell_command("printf 'one two\\n'", label="a")
    runner.add_command([*SHOW, a], label="argument")
    runner.add_shell_command('echo "$A" "$B"', env={"A": a, "B": "b"}, label="variable")
    runner.add_command(CAT, input=a, label="input")
    results = runner.run(verify=False)
    assert results["argument"]["result"]["stdout"] == "['one two']\n"
    assert results["variable"]["result"]["stdout"] == "one two b\n"
    assert results["input"]["result"]["stdout"] == "one two\n"


def test_a_function_gets_the_result_of_a_command():
    """All of it, as it is in the results."""
    runner = runner_in("thread")
    a = runner.add_command(["true"], label="a")
    runner.add_task(dict.get, a, "returncode", label="b")
    assert runner.run(verify=False)["b"]["result"] == 0


def test_a_program_that_is_found_by_a_task():
    """The first argument may be a reference as well."""
    runner = runner_in("thread")
    a = runner.add_task(_make, sys.executable, label="a")
    runner.add_command([a, "-c", "print(7)"], label="b")
    assert runner.run(verify=False)["b"]["result"]["stdout"] == "7\n"


class Speechless:
    def __str__(self):
        raise LookupError("no words")


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("x\0y", "ValueError: command[5] must be text that can be passed to a program"),
        (Speechless(), "LookupError: no words"),
    ],
)
def test_a_text_that_cannot_be_passed(value, error):
    """Is a failure of the task that refers to it."""
    runner = runner_in("thread")
    a = runner.add_task(_make, value, label="a")
    runner.add_command([*SHOW, "x", "y", a], label="b")
    result = runner.run(verify=False)["b"]
    check(result)
    assert result["status"] == "Failed" and result["error"].startswith(error)
    assert result["execution_mode"] == "subprocess"


def test_output_that_was_not_captured():
    """Has no text."""
    runner = runner_in("thread")
    a = runner.add_command(["true"], capture_output=False, label="a")
    runner.add_command(["echo", a], label="b")
    assert runner.run(verify=False)["b"]["error"] == (
        "ValueError: <TaskRef 'a'> has no text: its output was not captured"
    )


def test_a_command_is_tried_again_with_its_text(tmp_path):
    """It is made anew for each attempt."""
    runner = runner_in("thread", task_retries=1)
    a = runner.add_task(str, tmp_path / "here", label="a")
    runner.add_shell_command('test -e "$A" || { touch "$A"; exit 1; }', env={"A": a})
    result = runner.run(verify=False)[1]
    assert (result["status"], result["attempts"]) == ("Successful", 2)


@pytest.mark.parametrize(
    "given", [{"command": ref("a")}, {"env": ref("a")}, {"cwd": ref("a")}]
)
def test_where_a_reference_cannot_stand(given):
    """It is refused like any other value there."""
    runner = runner_in("thread")
    with pytest.raises(TypeError, match="<TaskRef 'a'>"):
        runner.add_command(**{"command": ["true"], **given})
    with pytest.raises(TypeError, match="command must be a string"):
        runner.add_shell_command(ref("a"))
    assert len(runner) == 0


@pytest.mark.parametrize(
    "given, where",
    [
        ({"command": ["echo", "--tag={}"]}, "command[1]"),
        ({"env": {"X": "v={}"}}, "env['X']"),
        ({"input": "all of {}"}, "input"),
    ],
)
def test_a_reference_within_a_text(given, where):
    """It would be passed on as the text that it looks like."""
    runner = runner_in("thread")
    tag = runner.add_task(str, "1", label="a")

    def fill(value):
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [fill(each) for each in value]
        return value.format(tag)

    given = {key: fill(value) for key, value in given.items()}
    with pytest.raises(ValueError, match="without a reference within") as caught:
        runner.add_command(**{"command": ["true"], **given})
    assert str(caught.value).startswith(f"{where} must be ")
    with pytest.raises(ValueError, match="^command must be without a reference"):
        runner.add_shell_command(f"echo {tag}")
    assert len(runner) == 1


def test_the_advice_of_that_refusal(capfd):
    """A shell's line puts a result into a text."""
    runner = runner_in("thread")
    tag = runner.add_task(str, "v 2", label="a")
    runner.add_shell_command('echo --tag="$TAG"', label="b", env={"TAG": tag})
    assert runner.run(verify=False)["b"]["result"]["stdout"] == "--tag=v 2\n"
