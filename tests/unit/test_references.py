"""References: where they are looked for, and what stands in their places."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import pytest

from concurra.adders.references import ReferringCall, ReferringCommand, ref
from concurra.adders.references import STAND_IN, referring, referring_command
from concurra.adders.references import stand_ins
from concurra.outcomes import SUCCESS, Outcome
from concurra.tasks import Call, Command, FullCall, Task, TaskRef, referred
from tests.unit.support import nothing, success


def make(label: Hashable) -> Task:
    """What an adder returns."""
    return Task(label, Call(nothing))


def ended(label: str, value: Any) -> Task:
    task = make(label)
    task.outcome = success(value)
    return task


def printed(label: str, stdout: Any) -> Task:
    """A command that has printed something."""
    task = Task(label, Command(["tool"]))
    task.outcome = Outcome(SUCCESS, "subprocess", {"stdout": stdout})
    return task


def filled(*args: Any, **kwargs: Any) -> Any:
    """The arguments that a function gets."""
    call = ReferringCall(FullCall(print, args, kwargs))
    return call.args, call.kwargs


def command(argv: Any, env: Any = None, input: Any = None) -> ReferringCommand:
    """A command that adders make of these."""
    given = argv, env, input
    line, variables, text = stand_ins(*given)
    plain = Command(line, env=variables, input=text and text.encode())
    return referring_command(plain, None, referred(given), given)


# -- a reference -------------------------------------------------------------------


def test_a_reference_shows_its_label() -> None:
    """And it is hashable, and so is what an adder has returned."""
    assert repr(ref("load")) == "<TaskRef 'load'>"
    assert repr(make(3)) == "<TaskRef 3>"
    assert ref("load").label == "load"
    assert len({ref("load"), make("load")}) == 2


def test_a_label_that_is_not_hashable_is_none() -> None:
    """It is refused where it is named."""
    with pytest.raises(TypeError, match="^label must be hashable, not a value of type"):
        ref(["load"])  # type: ignore[arg-type]


def test_nothing_is_no_label() -> None:
    """No task can have it, so it would be missed at the start only."""
    told = "^label must be a hashable label other than None, not None$"
    with pytest.raises(TypeError, match=told):
        ref(None)


@pytest.mark.parametrize("name", ["result", "done", "exception", "add_done_callback"])
def test_a_reference_is_no_future(name: str) -> None:
    """Who takes it for one is told what it is for, whoever has made it."""
    for reference in (ref("a"), make("a")):
        assert not hasattr(reference, name)
        with pytest.raises(AttributeError) as info:
            getattr(reference, name)
        assert str(info.value) == (
            "<TaskRef 'a'> is no future: it stands for the result of its task in the "
            "arguments of others, and run() returns all results"
        )


@pytest.mark.parametrize("reference", [ref("a"), make("a")])
def test_a_reference_has_no_parts(reference: Any) -> None:
    """Who asks for a part of the result, or unpacks it, is told who has it."""
    told = "a task that is given it gets the whole result, and takes the part"
    with pytest.raises(TypeError) as info:
        reference["stdout"]
    assert str(info.value) == f"<TaskRef 'a'> has no ['stdout'] yet: {told}"
    with pytest.raises(TypeError) as info:
        _one, _other = reference
    assert str(info.value) == f"<TaskRef 'a'> has no [0] yet: {told}"


@pytest.mark.parametrize("reference", [ref("a"), make("a")])
def test_a_reference_is_not_sent_anywhere(reference: TaskRef) -> None:
    """It would stand for nothing there; it says where it can stand."""
    with pytest.raises(TypeError, match="<TaskRef 'a'> stands for a result only"):
        pickle.dumps([[reference]])


# -- where they are looked for -----------------------------------------------------


def test_they_are_found_in_arguments_and_directly_within_containers() -> None:
    """In order, each once; the values of a dict count, and not its keys."""
    a, b, c, d, e, f = map(ref, "abcdef")
    args = (a, 1, [b, a, 2], (c,), {"key": d, e: 1})
    assert referred(args, {"x": f, "y": frozenset([b])}) == [a, b, c, d, f]


@pytest.mark.parametrize(
    "value", [[[ref("a")]], {"k": [ref("a")]}, OrderedDict(k=ref("a")), "a", None]
)
def test_they_are_not_found_any_deeper(value: Any) -> None:
    """Nor in containers of other types, whose iteration may cost or do anything."""
    assert referred([value]) == []


# -- calls -------------------------------------------------------------------------


def test_a_call_gets_results() -> None:
    """In the places of references, in containers of the same types."""
    a, b = ended("a", 1), ended("b", [2])
    assert filled(
        a, "x", [a, b], (b,), {"k": b, "l": 0}, {a, 5}, key=frozenset([a])
    ) == (
        (1, "x", [1, [2]], ([2],), {"k": [2], "l": 0}, {1, 5}),
        {"key": frozenset([1])},
    )


def test_a_container_without_references_is_the_callers_own() -> None:
    """Nothing is copied that need not be."""
    own: list[Any] = [[1], {"k": 1}, {1}, (1,)]
    args, kwargs = filled(ended("a", 1), *own, more=own)
    assert all(got is given for got, given in zip(args[1:], own))
    assert kwargs["more"] is own


def test_the_result_itself_is_passed_each_time() -> None:
    """It is not copied, and containers are made anew for each attempt."""
    value = [1]
    call = ReferringCall(Call(print, ([ended("a", value)],)))
    first, second = call.args[0], call.args[0]
    assert first is not second and first[0] is second[0] is value
    assert call.kwargs is None


def test_a_reference_by_label_is_found_among_the_dependencies() -> None:
    """They are told when the run starts."""
    call = ReferringCall(Call(print, (ref("a"),)))
    call.needs = [ended("b", 6), ended("a", 7)]
    assert call.args == call.args == (7,)


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_result_that_a_set_cannot_hold(kind: type) -> None:
    """The error says so."""
    with pytest.raises(TypeError, match=f"a {kind.__name__} cannot have such a result"):
        filled(kind([ended("a", [1])]))


def test_a_call_is_still_known_by_its_function() -> None:
    """For the table of the report."""
    assert ReferringCall(Call(print, (ref("a"),))).title == "print"


# -- commands ----------------------------------------------------------------------


def test_a_command_without_references_is_ready() -> None:
    """As it is."""
    plain = Command(["echo"])
    assert plain.ready() is plain


def test_a_command_gets_texts() -> None:
    """As arguments, variables and input; all else is as it was given."""
    a, b = ended("a", 1.5), ended("b", "two")
    job = command(["echo", a, "x"], {"B": b, "C": "c", "D": None}, a)
    ready = job.ready()
    assert type(ready) is Command
    assert (ready.argv, ready.input) == (["echo", "1.5", "x"], b"1.5")
    assert ready.env == {"B": "two", "C": "c", "D": None}
    assert job.argv == ["echo", STAND_IN, "x"], "it may be made ready again"


def test_a_line_for_the_shell_gets_texts() -> None:
    """Beside it, where they need no quotes."""
    ready = command("cat; echo $B", {"B": ended("b", 2)}, ended("a", "x")).ready()
    assert (ready.argv, ready.env, ready.input) == ("cat; echo $B", {"B": "2"}, b"x")


@pytest.mark.parametrize(
    ("stdout", "text"),
    [
        ("one\n", "one"),
        ("one\n\n", "one\n"),
        ("one", "one"),
        ("", ""),
        (b"one\n", "one"),
        (os.fsencode("\udcff"), "\udcff"),
    ],
)
def test_the_text_of_a_command(stdout: Any, text: str) -> None:
    """Is what it has printed, without the last line end."""
    assert command(["echo", printed("a", stdout)]).ready().argv == ["echo", text]


def test_the_input_can_be_bytes() -> None:
    """Whatever they are, of a command or a function."""
    assert command(["cat"], None, printed("a", b"\xff\n")).ready().input == b"\xff\n"
    assert command(["cat"], None, ended("a", bytearray(b"\0"))).ready().input == b"\0"


def test_what_a_command_did_not_let_us_see_has_no_text() -> None:
    """The error names the reference."""
    job = command(["echo", printed("a", None)])
    with pytest.raises(ValueError, match="<TaskRef 'a'> has no text: its output was"):
        job.ready()


def test_a_text_that_is_not_fit_for_a_command() -> None:
    """The error names the place."""
    with pytest.raises(ValueError, match=r"command\[1\] must be text that can be"):
        command(["echo", ended("a", "x\0y")]).ready()
    with pytest.raises(ValueError, match=r"env\['B'\] must be text that can be"):
        command(["echo"], {"B": ended("b", "\0")}).ready()


def test_the_name_of_the_program() -> None:
    """Is not known before the command is ready, if it is a reference."""
    assert command([ended("a", "/bin/echo"), "x"]).program == ""
    assert command([ended("a", "/bin/echo"), "x"]).ready().program == "echo"
    assert command(["/bin/echo", ended("a", "x")]).title == ("command", "echo")


def test_what_the_caller_changes_later_has_no_effect() -> None:
    """The list and the variables are those of the call."""
    a = ended("a", 1)
    argv: list[Any] = ["echo", a]
    env: dict[str, Any] = {"A": a}
    job = command(argv, env)
    argv.append("x")
    env["B"] = "x"
    ready = job.ready()
    assert (ready.argv, ready.env) == (["echo", "1"], {"A": "1"})


# -- trigger rules -----------------------------------------------------------------


@pytest.mark.parametrize("rule", ["all_done", "one_failed"])
def test_who_may_start_without_a_result_cannot_refer_to_it(rule: str) -> None:
    """The error says what to do instead."""
    with pytest.raises(ValueError, match=f"{rule!r} does not go with <TaskRef 'a'>"):
        referring(Call(print, (ref("a"),)), rule, [ref("a")])
    given = ["echo", ref("a")], None, None
    with pytest.raises(ValueError, match="Name it in depends_on alone"):
        referring_command(Command(["echo"]), rule, referred(given), given)
