"""Input of every kind: it works as documented, or is refused by the call it came in.

A refusal is a `TypeError` or `ValueError` that names the value and what was expected,
and it leaves nothing behind.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Hashable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any, Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import concurra

NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400


def fine(*args: object, **kwargs: object) -> str:
    return "fine"


def new(**options: Any) -> concurra.TaskRunner:
    return concurra.TaskRunner(**{"progress_stats": False, **options})


class Explosion(Exception):
    """What hostile values raise: nobody but the user can mean it."""


class Bomb:
    """Raises `Explosion` in one special method, from its nth call on."""

    def __init__(self, method: str, after: int = 0, like: object = "bomb") -> None:
        self.method = method
        self._left = after
        self._like = like

    def _tick(self, method: str) -> None:
        if method == self.method:
            self._left -= 1
            if self._left < 0:
                raise Explosion(method)

    def __hash__(self) -> int:
        self._tick("hash")
        return hash(self._like)

    def __eq__(self, other: object) -> bool:
        self._tick("eq")
        return self is other

    def __str__(self) -> str:
        self._tick("str")
        return "bomb"

    def __repr__(self) -> str:
        self._tick("repr")
        return "bomb()"

    def __bool__(self) -> bool:
        self._tick("bool")
        return True


class Index:
    """Can stand for a number."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __index__(self) -> Any:
        return self._value


def breaks_off(*items: Any, error: type[Exception] = Explosion) -> Iterator[Any]:
    """A generator that raises after its last item."""
    yield from items
    raise error("in the middle")


def refused(kind: type[Exception], value: object, call: Callable[[], object]) -> str:
    """The message of the refusal, which has to name the value.

    Of a container it names the part that is wrong, or the type, and shows nothing else.
    """
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, kind), repr(caught.value)
    parts = list(value) if isinstance(value, (list, tuple, set)) else [value]
    parts += [*value, *value.values()] if isinstance(value, dict) else []
    shown = [repr(each)[:50] for each in (value, *parts)]
    shown.append(f"a value of type {type(value).__name__}")
    assert any(each in message for each in shown), message
    assert "must be" in message, message
    return message


# The constructor ----------------------------------------------------------------------

WRONG_OPTIONS: list[tuple[str, Any, type[Exception]]] = [
    *(("max_concurrency", v, TypeError) for v in (2.0, "2", NAN, True, [2], b"2")),
    *(("task_retries", v, TypeError) for v in (1.0, "1", None, True, NAN, (1,))),
    *(("task_retries", v, ValueError) for v in (-1, -HUGE)),
    *(("max_tasks_per_child", v, TypeError) for v in (1.0, "1", True, INFINITY)),
    *(("max_tasks_per_child", v, ValueError) for v in (0, -1)),
    *(("timeout", v, TypeError) for v in ("5", True, [1], 1j, b"1")),
    *(("timeout", v, ValueError) for v in (0, 0.0, -1, NAN, -INFINITY, HUGE)),
    *(("terminate_timeout", v, TypeError) for v in ("5", None, False, [1])),
    *(("terminate_timeout", v, ValueError) for v in (-0.1, NAN, -INFINITY, HUGE)),
    *(("name", v, TypeError) for v in (5, b"name", ["name"], True)),
    *(("logger", v, TypeError) for v in ("log", 5, print, object)),
    *(("mp_context", v, TypeError) for v in (5, ["fork"], b"fork", True)),
    *(("mp_context", v, ValueError) for v in ("", "Fork", "thread")),
]


@pytest.mark.parametrize("name", sorted({name for name, _, _ in WRONG_OPTIONS}))
def test_wrong_options(name: str) -> None:
    """Each is refused by the constructor; the message begins with the parameter."""
    for value, kind in [(v, kind) for each, v, kind in WRONG_OPTIONS if each == name]:
        message = refused(kind, value, lambda: new(**{name: value}))
        assert message.startswith(name)


@pytest.mark.parametrize("name", ["max_concurrency", "max_tasks_per_child"])
def test_what_only_seems_to_stand_for_a_number(name: str) -> None:
    """A class of numbers, or an `__index__` that gives none: refused by name."""
    some: list[Any] = [int, Index("3"), Index(None), Index(3.0)]
    for value in some:
        with pytest.raises(TypeError, match=f"^{name} must be an integer, not "):
            new(**{name: value})


FLAGS = (
    *("progress_stats", "fast_fail", "use_multiprocessing", "log_errors"),
    "fallback_to_thread_on_pickle_error",
)


def assert_without_truth(flag: str, call: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match=f"^{flag} must be True or False, not ") as info:
        call()
    assert type(info.value.__cause__) is Explosion


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_without_a_truth_value(flag: str) -> None:
    """It is refused at the constructor, by its own error, never in a run."""
    assert_without_truth(flag, lambda: new(**{flag: Bomb("bool")}))


# A string has no truth of its own: "False" would be true.
NO_FLAGS: list[Any] = ["yes", "False", "", b"no", [], {}, (False,), object(), print]


@pytest.mark.parametrize("flag", FLAGS)
def test_flags_are_taken_by_their_truth(flag: str) -> None:
    """Whatever is true or false by itself will do; all else is refused."""
    some: list[Any] = [None, 0, 1, 0.0]
    for value in some:
        runner = new(**{flag: value, "max_concurrency": 1})
        runner.add_task(fine, label="a")
        assert runner.run(verify=False)["a"]["result"] == "fine"
    for value in NO_FLAGS:
        message = refused(TypeError, value, lambda: new(**{flag: value}))
        assert message.startswith(f"{flag} must be True or False")


@pytest.mark.parametrize(
    "options",
    [
        {"max_concurrency": HUGE},
        {"max_concurrency": -HUGE},
        {"max_concurrency": Index(3)},
        {"max_concurrency": None, "name": None, "timeout": None, "logger": None},
        {"name": ""},
        {"name": "100 %s {} \n"},
        {"timeout": 10**300},
        {"timeout": 1.7e308},
        {"timeout": INFINITY},
        {"timeout": Fraction(10**9, 7)},
        {"task_retries": HUGE},
        {"terminate_timeout": 10**300},
        {"logger": logging.LoggerAdapter(logging.getLogger("users.own"), {})},
        {"mp_context": "spawn"},
        {"max_tasks_per_child": HUGE},
    ],
)
def test_options_at_their_limits(options: dict[str, Any]) -> None:
    """What is accepted works, however large it is."""
    runner = new(**options)
    runner.add_task(fine, label="a")
    runner.add_task(int, "x", label="b", task_retries=1)
    results = runner.run()
    assert [result["status"] for result in results.values()] == ["Successful", "Failed"]


@pytest.mark.parametrize(
    "options",
    [
        {"max_tasks_per_child": Index(1)},
        {"max_tasks_per_child": HUGE},
        {"terminate_timeout": 1e7},
        {"terminate_timeout": 10**300},
        {"terminate_timeout": INFINITY},
        {"terminate_timeout": Decimal(1)},
        {"terminate_timeout": 0},
        {"timeout": 10**300},
    ],
)
def test_options_of_processes_at_their_limits(options: dict[str, Any]) -> None:
    """The same where they matter: the run ends well, and leaves nothing behind."""
    runner = new(use_multiprocessing=True, max_concurrency=1, **options)
    for label in "ab":
        runner.add_task(len, "text", label=label)
    assert [r["result"] for r in runner.run(verify=False).values()] == [4, 4]


def test_the_constructor_knows_its_parameters() -> None:
    """Another keyword, or too many by position, is a `TypeError`."""
    with pytest.raises(TypeError):
        concurra.TaskRunner(workers=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        concurra.TaskRunner(
            *(1, "n", 1, True, False, False, None, False, False, 0, "spawn")
        )  # type: ignore[call-arg]


# What the adders have in common -------------------------------------------------------

# With label, depends_on and task_retries; those that take no such thing leave it out.
ORDERED: dict[str, Callable[..., None]] = {
    "add_task": lambda runner, **order: runner.add_task(fine, **order),
    "add_function": lambda runner, label=None, **order: runner.add_function(
        fine, key=label, **order
    ),
    "add_command": lambda runner, **order: runner.add_command(["true"], **order),
    "add_shell_command": lambda runner, **order: runner.add_shell_command(
        "exit 0", **order
    ),
}
ORDERED_WITHOUT_RETRIES: dict[str, Callable[..., None]] = {
    "map": lambda runner, **order: runner.map(abs, [1, 2], **order),
}
LABELLED: dict[str, Callable[..., None]] = {
    **ORDERED,
    **ORDERED_WITHOUT_RETRIES,
    "add_func": lambda runner, label: runner.add_func(fine, key=label),
    "add_work": lambda runner, label: runner.add_work(
        [(fine,), (fine, (), {}, label), (fine,)]
    ),
}


def occupied() -> Any:
    """A runner with one task, "first"; untyped, for it is given what types forbid."""
    runner = new(max_concurrency=2)
    runner.add_task(fine, label="first")
    return runner


def assert_untouched(runner: Any) -> None:
    """Only "first" is there, another can be added as if nothing had been, and run."""
    assert len(runner) == 1
    assert dict(runner.results_registry) == {"first": {}}
    runner.add_task(fine)
    assert list(runner.run(verify=False)) == ["first", 1]


@pytest.mark.parametrize("adder", LABELLED)
def test_labels_that_are_not_hashable(adder: str) -> None:
    """A `TypeError` that says so, for a label within a label too."""
    runner = occupied()
    some: list[Any] = [[], {}, set(), ("part", []), Bomb("hash")]
    for label in some:
        call = functools.partial(LABELLED[adder], runner, label=label)
        message = refused(TypeError, label, call)
        assert "label" in message and "hashable" in message
    assert_untouched(runner)


@pytest.mark.parametrize("adder", LABELLED)
def test_labels_that_explode(adder: str) -> None:
    """Whenever a label refuses to be compared: the error is the caller's, and nothing
    is added."""
    for after in range(6):
        runner = occupied()
        bomb = Bomb("eq", after, like="first")
        try:
            LABELLED[adder](runner, label=bomb)
        except Explosion:
            assert_untouched(runner)
        else:
            bomb.method = ""
            assert len(runner) == (4 if adder == "add_work" else 2)
            assert bomb in runner.run(verify=False)


@pytest.mark.parametrize("adder", ORDERED)
def test_dependencies_that_explode(adder: str) -> None:
    """They leave no trace either: nobody waits for "never" afterwards."""
    for after in range(5):
        runner = occupied()
        bomb = Bomb("eq", after, like="first")
        try:
            ORDERED[adder](runner, label="b", depends_on=["never", bomb])
        except Explosion:
            assert_untouched(runner)
        else:
            assert len(runner) == 2


@pytest.mark.parametrize("adder", LABELLED)
def test_labels_that_cannot_be_shown(adder: str) -> None:
    """They are labels like any other, also in errors, reports and skips."""
    for method in ("str", "repr"):
        bomb = Bomb(method, like="bomb")
        runner = new(max_concurrency=1, log_errors=True)
        LABELLED[adder](runner, label=bomb)
        with pytest.raises(ValueError):
            LABELLED[adder](runner, label=bomb)
        runner.add_task(int, "x", label="bad", depends_on=[bomb])
        runner.add_task(fine, label=Bomb(method, like=1), depends_on=["bad"])
        results = runner.run()
        assert results[bomb]["status"] == "Successful"
        assert [r["status"] for r in results.values()][-2:] == ["Failed", "Terminated"]


@pytest.mark.parametrize("adder", LABELLED)
def test_odd_labels(adder: str) -> None:
    """Everything hashable is a label, and comes back as it is."""
    odd: list[Hashable] = [NAN, INFINITY, 10**99, "", "\0", "\udc80", b"", (), False]
    for label in odd:
        runner = new(max_concurrency=1)
        if label is False:  # equal to 0, the index of the first
            runner.add_task(fine, label="first")
        LABELLED[adder](runner, label=label)
        runner.add_task(fine, label="after", depends_on=[label])
        results = runner.run()
        assert results[label]["status"] == "Successful"
        assert results["after"]["result"] == "fine"


@pytest.mark.parametrize("adder", ORDERED)
def test_dependencies_that_are_no_collection(adder: str) -> None:
    """A `TypeError`, also of a number that would be a label."""
    runner = occupied()
    some: list[Any] = [5, 0, True, NAN, object(), fine]
    for value in some:
        call = functools.partial(ORDERED[adder], runner, depends_on=value)
        assert refused(TypeError, value, call).startswith("depends_on")
    assert_untouched(runner)


@pytest.mark.parametrize("adder", ORDERED)
def test_dependencies_that_are_not_hashable(adder: str) -> None:
    """A `TypeError` that says what they should be."""
    runner = occupied()
    some: list[Any] = [[[]], [{}], ["first", []], ("never", Bomb("hash"))]
    for value in some:
        call = functools.partial(ORDERED[adder], runner, depends_on=value)
        message = refused(TypeError, value, call)
        assert "depends_on" in message and "hashable" in message
    assert_untouched(runner)


@pytest.mark.parametrize("adder", ORDERED)
def test_none_is_no_dependency(adder: str) -> None:
    """No task is ever called None, so nobody can wait for it."""
    runner = occupied()
    with pytest.raises(
        (TypeError, ValueError), match=r"depends_on(\[\d+\])? must be .*None"
    ):
        ORDERED[adder](runner, depends_on=["first", None])
    assert_untouched(runner)


@pytest.mark.parametrize("adder", ORDERED)
def test_dependencies_that_break_off(adder: str) -> None:
    """The generator's own error comes to the caller, and nothing is added."""
    runner = occupied()
    for error in (Explosion, TypeError, ValueError):
        with pytest.raises(error, match="in the middle"):
            ORDERED[adder](runner, depends_on=breaks_off("first", "never", error=error))
    assert_untouched(runner)


@pytest.mark.parametrize("adder", ORDERED)
def test_dependencies_of_every_form(adder: str) -> None:
    """Any collection, empty ones too; labels in it count once."""
    runner = occupied()
    some: list[Any] = ["first", ("first",), {"first"}, frozenset(["first"])]
    some += [{"first": 1}, (each for each in ["first", "first"]), ["first"] * 1000]
    some += [(), [], {}, iter(()), None]
    for depends_on in some:
        ORDERED[adder](runner, depends_on=depends_on)
    results = runner.run(verify=False)
    assert [r["status"] for r in results.values()] == ["Successful"] * 13


@pytest.mark.parametrize("adder", ORDERED)
def test_a_string_is_one_dependency(adder: str) -> None:
    """Neither text nor bytes are taken apart."""
    runner = new()
    runner.add_task(fine, label="ab")
    runner.add_task(fine, label=b"ab")
    ORDERED[adder](runner, label="c", depends_on="ab")
    ORDERED[adder](runner, label="d", depends_on=b"ab")
    assert not any(result["has_failed"] for result in runner.run().values())


@pytest.mark.parametrize("adder", ORDERED)
def test_retries_of_a_task(adder: str) -> None:
    """The same rules as for the runner's."""
    runner = occupied()
    some: list[Any] = [1.0, "1", True, NAN, [1], b"", -1, -(10**99)]
    for value in some:
        kind = ValueError if type(value) is int else TypeError
        call = functools.partial(ORDERED[adder], runner, task_retries=value)
        assert refused(kind, value, call).startswith("task_retries")
    assert_untouched(runner)


@pytest.mark.parametrize("adder", LABELLED)
def test_duplicates(adder: str) -> None:
    """A label that is there is refused, and named."""
    runner = occupied()
    with pytest.raises(ValueError, match="'first'"):
        LABELLED[adder](runner, label="first")
    assert_untouched(runner)


@pytest.mark.parametrize("adder", ORDERED)
def test_self_dependencies(adder: str) -> None:
    """Refused, among good dependencies too, and however they are passed."""
    runner = occupied()
    for depends_on in ("b", ["b"], ("first", "b"), iter(["never", "b"])):
        with pytest.raises(ValueError, match="^Task 'b' cannot depend on itself.$"):
            ORDERED[adder](runner, label="b", depends_on=depends_on)
    with pytest.raises(ValueError, match="^Task '1' cannot depend on itself.$"):
        ORDERED[adder](runner, depends_on=[1])
    assert_untouched(runner)


@pytest.mark.parametrize("closer", ORDERED)
@pytest.mark.parametrize("opener", ORDERED)
def test_cycles(opener: str, closer: str) -> None:
    """Whichever adder opens it and whichever closes it: refused, and then mended."""
    runner = occupied()
    ORDERED[opener](runner, label="b", depends_on=["c", "first"])
    ORDERED[opener](runner, label="c", depends_on=["d"])
    with pytest.raises(ValueError, match="^Circular .*: d -> b -> c -> d.$"):
        ORDERED[closer](runner, label="d", depends_on=["first", "b"])
    assert len(runner) == 3
    ORDERED[closer](runner, label="d", depends_on=["first"])
    assert list(runner.run(verify=False)) == ["first", "b", "c", "d"]


# Functions and their arguments --------------------------------------------------------


@pytest.mark.parametrize("adder", ["add_task", "add_func", "add_function"])
def test_what_is_no_function(adder: str) -> None:
    """A `TypeError` that shows it."""
    runner = occupied()
    some: list[Any] = [None, 5, NAN, "fine", b"", [fine], (fine,), {}]
    for task in some:
        refused(TypeError, task, functools.partial(getattr(runner, adder), task))
    assert_untouched(runner)


def test_args_that_are_none() -> None:
    """What is no iterable of arguments, or a mapping, whose keys nobody means."""
    runner = occupied()
    some: list[Any] = [5, NAN, True, fine, {"x": 1}]
    for args in some:
        call = functools.partial(runner.add_function, fine, args)
        assert refused(TypeError, args, call).startswith("args must be")
    assert_untouched(runner)


def test_kwargs_that_are_none() -> None:
    """What maps no names to arguments."""
    runner = occupied()
    some: list[Any] = [5, "x", b"x", [1], [("x", 1)], {1: 2}, {None: 1}, {"x"}]
    for kwargs in some:
        call = functools.partial(runner.add_function, fine, (), kwargs)
        assert refused(TypeError, kwargs, call).startswith("kwargs must be")
    assert_untouched(runner)


def test_args_that_break_off() -> None:
    """The generator's own error comes to the caller, and nothing is added."""
    runner = occupied()
    with pytest.raises(Explosion):
        runner.add_function(fine, breaks_off(1, 2))
    assert_untouched(runner)


def test_empty_args() -> None:
    """Nothing, in every form, is no argument."""
    runner = new()
    some: list[Any] = [None, (), [], {}.keys(), range(0), iter(())]
    for args in some:
        runner.add_function(fine, args)
        runner.add_function(fine, args, {})
    assert {r["result"] for r in runner.run().values()} == {"fine"}


# Workloads ----------------------------------------------------------------------------

BAD_ITEMS: list[tuple[Any, type[Exception]]] = [
    *((item, TypeError) for item in (None, 5, fine, "fine", [fine], {fine})),
    ((), ValueError),
    ((fine, (), {}, "x", 5), ValueError),
    ((5,), TypeError),
    ((None, ()), TypeError),
    ((fine, 5), TypeError),
    ((fine, {"x": 1}), TypeError),
    ((fine, (), 5), TypeError),
    ((fine, (), {1: 1}), TypeError),
    ((fine, (), [("x", 1)]), TypeError),
    ((fine, (), {}, []), TypeError),
]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_bad_items_of_a_workload(place: int) -> None:
    """Wherever it stands, its place is named, and no item is added."""
    runner = occupied()
    for item, kind in BAD_ITEMS:
        items: list[Any] = [(fine, (), {}, "x"), (fine,)]
        items.insert(place, item)
        some: list[Any] = [items, tuple(items), iter(items)]
        for workload in some:
            with pytest.raises(kind, match=f"^workload item {place}:? .*must be"):
                runner.add_work(workload)
    assert_untouched(runner)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_duplicates_in_a_workload(place: int) -> None:
    """With a task that is there, with an item's label, with the index of an item."""
    runner = occupied()
    following = place + 2  # what the next item would be called
    some: list[Any] = ["first", "x", following]
    for label in some:
        items: list[Any] = [(fine,), (fine,), (fine,), (fine, (), {}, "x")]
        items.insert(place, (fine, (), {}, label))
        with pytest.raises(ValueError, match=f"Task '{label}' exists already"):
            runner.add_work(items)
    assert_untouched(runner)


def test_what_is_no_workload() -> None:
    """Text and mappings are no lists of tuples either."""
    runner = occupied()
    some: list[Any] = [None, 5, NAN, fine, "work", b"work", {}, {(fine,): 1}]
    for workload in some:
        call = functools.partial(runner.add_work, workload)
        assert refused(TypeError, workload, call).startswith("workload must be")
    assert_untouched(runner)


@pytest.mark.parametrize("error", [Explosion, TypeError])
def test_a_workload_that_breaks_off(error: type[Exception]) -> None:
    """The generator's own error comes to the caller, and nothing is added."""
    runner = occupied()
    with pytest.raises(error, match="in the middle"):
        runner.add_work(breaks_off((fine,), (fine, (), {}, "x"), error=error))
    assert_untouched(runner)


def test_an_empty_workload() -> None:
    """Adds nothing, and is no error."""
    runner = occupied()
    some: list[Any] = [[], (), iter(()), set()]
    for workload in some:
        runner.add_work(workload)
    assert_untouched(runner)


# Commands -----------------------------------------------------------------------------

NO_ARGV: list[tuple[Any, type[Exception]]] = [
    *((v, TypeError) for v in (None, 5, "echo hi", b"echo", {"echo": 1}, {"echo"})),
    *((["echo", v], TypeError) for v in (5, None, fine)),
    (iter(["echo"]), TypeError),
    ([], ValueError),
    ((), ValueError),
    *((v, ValueError) for v in ([""], ["", "x"], ["echo", "a\0b"], ["a\0"])),
]
NO_LINE: list[tuple[Any, type[Exception]]] = [
    *((v, TypeError) for v in (None, 5, b"echo", ["echo", "hi"], ("echo",), NAN)),
    *((v, ValueError) for v in ("", "  \n", "echo a\0b")),
]


def test_what_is_no_command() -> None:
    """What no system could start is refused at once."""
    runner = occupied()
    for command, kind in NO_ARGV:
        call = functools.partial(runner.add_command, command)
        assert refused(kind, command, call).startswith("command")
    assert_untouched(runner)


def test_what_is_no_line_for_the_shell() -> None:
    """The same for the shell; a list belongs to `add_command`."""
    runner = occupied()
    for command, kind in NO_LINE:
        call = functools.partial(runner.add_shell_command, command)
        assert refused(kind, command, call).startswith("command")
    assert_untouched(runner)


COMMANDS = {
    "add_command": lambda runner, **options: runner.add_command(["true"], **options),
    "add_shell_command": lambda runner, **options: runner.add_shell_command(
        "exit 0", **options
    ),
}
WRONG_COMMAND_OPTIONS: list[tuple[str, Any, type[Exception]]] = [
    *(("cwd", v, TypeError) for v in (5, ["/"], True)),
    ("cwd", "a\0b", ValueError),
    *(("env", v, TypeError) for v in (5, "A=1", ["A"], [("A", "1")], {1: "1"})),
    *(("env", v, TypeError) for v in ({"A": 1}, {b"A": 1})),
    *(("env", v, ValueError) for v in ({"A": "\0"}, {"A\0": "1"}, {"A=B": "1"})),
]


@pytest.mark.parametrize("adder", COMMANDS)
def test_wrong_options_of_commands(adder: str) -> None:
    """Refused at once, and not when the command starts."""
    runner = occupied()
    for name, value, kind in WRONG_COMMAND_OPTIONS:
        call = functools.partial(COMMANDS[adder], runner, **{name: value})
        assert name in refused(kind, value, call).partition(" must be")[0]
    assert_untouched(runner)


@pytest.mark.parametrize("adder", COMMANDS)
def test_text_that_no_system_takes(adder: str) -> None:
    """A lone surrogate is no text for a program, nor for a path."""
    runner = occupied()
    bad = "\ud800"
    command = [bad] if adder == "add_command" else bad
    with pytest.raises(ValueError, match=r"^command(\[0\])? must be"):
        getattr(runner, adder)(command)
    with pytest.raises(ValueError, match="^cwd must be"):
        COMMANDS[adder](runner, cwd=bad)
    with pytest.raises(ValueError, match=r"^env\['A'\] must be"):
        COMMANDS[adder](runner, env={"A": bad})
    assert_untouched(runner)


@pytest.mark.parametrize("adder", COMMANDS)
@pytest.mark.parametrize("flag", ["check", "capture_output", "text"])
def test_flags_of_commands(adder: str, flag: str) -> None:
    """Taken by their truth; what raises when it is asked for that is refused."""
    runner = occupied()
    bomb = Bomb("bool")
    assert_without_truth(flag, lambda: COMMANDS[adder](runner, **{flag: bomb}))
    for value in NO_FLAGS:
        call = functools.partial(COMMANDS[adder], runner, **{flag: value})
        message = refused(TypeError, value, call)
        assert message.startswith(f"{flag} must be True or False")
    assert len(runner) == 1
    some: list[Any] = [None, 0, 1]
    for value in some:
        COMMANDS[adder](runner, **{flag: value})
    assert not any(result["has_failed"] for result in runner.run().values())


# Runs ---------------------------------------------------------------------------------

COLLECTORS: dict[str, Callable[..., Any]] = {
    "run": concurra.TaskRunner.run,
    "execute": concurra.TaskRunner.execute,
    "get_background_results": concurra.TaskRunner.get_background_results,
}


def about_to(collector: str) -> concurra.TaskRunner:
    """A runner with a failing task, for which the method may be called."""
    runner = new(max_concurrency=1)
    runner.add_task(fine, label="a")
    runner.add_task(int, "x", label="b")
    if collector == "get_background_results":
        runner.execute_in_background()
    return runner


@pytest.mark.parametrize("collector", COLLECTORS)
def test_error_messages_that_are_none(collector: str) -> None:
    """Refused before anything is started or waited for; then the same call works."""
    runner = about_to(collector)
    collect = COLLECTORS[collector]
    for message in (5, b"x", ["x"], NAN, object()):
        for raises in (False, True):
            call = functools.partial(collect, runner, True, raises, message)
            assert refused(TypeError, message, call).startswith("error_message must be")
    assert collect(runner, error_message="Oh")["a"]["result"] == "fine"
    refused(TypeError, 5, lambda: runner.verify(error_message=5))  # type: ignore


@pytest.mark.parametrize("collector", COLLECTORS)
@pytest.mark.parametrize("flag", ["verify", "raise_exception"])
def test_flags_of_runs_without_a_truth_value(collector: str, flag: str) -> None:
    """They are refused before anything is started; then the same call works."""
    runner = about_to(collector)
    bomb = Bomb("bool")
    assert_without_truth(flag, lambda: COLLECTORS[collector](runner, **{flag: bomb}))
    for value in NO_FLAGS:
        call = functools.partial(COLLECTORS[collector], runner, **{flag: value})
        message = refused(TypeError, value, call)
        assert message.startswith(f"{flag} must be True or False")
    assert COLLECTORS[collector](runner)["a"]["result"] == "fine"


@pytest.mark.parametrize("collector", COLLECTORS)
def test_runs_know_their_parameters(collector: str) -> None:
    """Another keyword is a `TypeError`, and nothing has begun."""
    runner = about_to(collector)
    with pytest.raises(TypeError):
        COLLECTORS[collector](runner, timeout=5)
    assert list(COLLECTORS[collector](runner)) == ["a", "b"]


def test_error_messages_may_be_empty() -> None:
    """None and "" are the documented heading."""
    for message in (None, ""):
        runner = about_to("run")
        with pytest.raises(concurra.ExecutionError, match="^Execution Failed\n"):
            runner.run(raise_exception=True, error_message=message)


def test_a_logger_that_fails() -> None:
    """A broken log breaks no runner, from the first warning on."""

    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise Explosion("log")

    logger = logging.Logger("users.broken")
    logger.addHandler(Broken())
    raising, logging.raiseExceptions = logging.raiseExceptions, False
    try:
        runner = concurra.TaskRunner(max_concurrency=0, logger=logger, log_errors=True)
        runner.add_task(fine, label="a")
        runner.add_task(int, "x", label="b")
        assert list(runner.run()) == ["a", "b"]
    finally:
        logging.raiseExceptions = raising


def test_a_class_is_no_logger() -> None:
    """`logging.Logger` itself has all methods, but logs nothing."""
    with pytest.raises(TypeError, match="^logger must be"):
        new(logger=logging.Logger)


# Any sequence of good and bad calls ---------------------------------------------------

LABELS = st.sampled_from(["a", "b", "c", "d", "e", 0, 1, 2, ("t", 1), None])
DEPS = st.lists(LABELS.filter(lambda label: label is not None), max_size=3)


class Adding(RuleBasedStateMachine):
    """A runner beside a model: a dict from labels to dependencies, in order."""

    @initialize()
    def begin(self) -> None:
        self.runner: Any = new(max_concurrency=2)
        self.model: dict[Hashable, list[Hashable]] = {}
        self.failing: set[Hashable] = set()

    def label_of(self, label: Hashable) -> Hashable:
        return len(self.model) if label is None else label

    def closes_cycle(self, label: Hashable, deps: list[Hashable]) -> bool:
        seen: set[Hashable] = set()
        stack = list(deps)
        while stack:
            each = stack.pop()
            if each == label:
                return True
            if each not in seen:
                seen.add(each)
                stack += self.model.get(each, [])
        return False

    @rule(
        adder=st.sampled_from(["add_task", "add_function"]),
        label=LABELS,
        deps=DEPS,
        fails=st.booleans(),
    )
    def add(
        self, adder: str, label: Hashable, deps: list[Hashable], fails: bool
    ) -> None:
        func = (lambda: 1 // 0) if fails else fine
        options: dict[str, Any] = {"depends_on": deps}
        options["key" if adder == "add_function" else "label"] = label
        name = self.label_of(label)
        good = name not in self.model and not self.closes_cycle(name, deps)
        if not good:
            with pytest.raises(ValueError):
                getattr(self.runner, adder)(func, **options)
            return
        getattr(self.runner, adder)(func, **options)
        self.model[name] = deps
        if fails:
            self.failing.add(name)

    @rule(labels=st.lists(LABELS, max_size=4), bad=st.none() | st.integers(0, 4))
    def add_work(self, labels: list[Hashable], bad: int | None) -> None:
        items: list[Any] = [(fine, (), {}, label) for label in labels]
        size = len(self.model)
        names = [size + i if n is None else n for i, n in enumerate(labels)]
        if bad is not None:
            items.insert(bad, (fine, 5))
            with pytest.raises((TypeError, ValueError)):
                self.runner.add_work(items)
        elif len({*names, *self.model}) < size + len(names):
            with pytest.raises(ValueError):
                self.runner.add_work(items)
        else:
            self.runner.add_work(items)
            self.model.update((name, []) for name in names)

    @rule(label=LABELS, deps=DEPS, which=st.integers(0, 9))
    def add_badly(self, label: Hashable, deps: list[Hashable], which: int) -> None:
        runner = self.runner
        order: dict[str, Any] = {"label": label, "depends_on": deps}
        calls: list[Callable[[], Any]] = [
            lambda: runner.add_task(None, **order),
            lambda: runner.add_task(fine, **order, task_retries=-1),
            lambda: runner.add_task(fine, label=label, depends_on=[*deps, []]),
            lambda: runner.add_task(fine, label=[], depends_on=deps),
            lambda: runner.add_task(fine, label=label, depends_on=breaks_off(*deps)),
            lambda: runner.add_func(5, key=label),
            lambda: runner.add_function(fine, breaks_off(), key=label, depends_on=deps),
            lambda: runner.add_command([], **order),
            lambda: runner.add_shell_command(" ", **order),
            lambda: runner.add_command(["true"], env={1: "x"}, **order),
        ]
        with pytest.raises((TypeError, ValueError, Explosion)):
            calls[which]()

    @precondition(lambda self: hasattr(self, "runner"))
    @rule()
    def look(self) -> None:
        self.compare()

    def compare(self) -> None:
        assert len(self.runner) == len(self.model)
        assert dict(self.runner.results_registry) == {label: {} for label in self.model}

    def teardown(self) -> None:
        if not hasattr(self, "runner"):
            return
        self.compare()
        needed = {dep for deps in self.model.values() for dep in deps}
        missing = needed - set(self.model)
        if missing:
            with pytest.raises(ValueError, match="^Unknown task dependency label"):
                self.runner.run()
            self.compare()
            for label in missing:  # nobody waits for others: no cycle can close
                self.runner.add_func(fine, key=label)
                self.model[label] = []
        results = self.runner.run(verify=False)
        assert list(results) == list(self.model)
        for label, result in results.items():
            assert (result["status"] == "Successful") == self.succeeds(label)

    def succeeds(self, label: Hashable) -> bool:
        return label not in self.failing and all(map(self.succeeds, self.model[label]))


def test_any_sequence_of_calls() -> None:
    """Whatever is called, in whatever order: what was refused has left no trace."""
    run_state_machine_as_test(
        Adding,
        settings=settings(
            max_examples=60,
            stateful_step_count=15,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
