"""What is packed and unpacked without a call of anybody's code."""

from __future__ import annotations

import pickle
import sys
from typing import Any, Callable

import pytest

from concurra.tasks import Call
from concurra.workers.plain import Names, find
from tests.workers.support import add, call


def nested() -> Callable[[], None]:
    def inner() -> None:
        pass

    return inner


class Text(str):
    """Not exactly a string."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError("it was compared")


class Unwilling(type):
    """Classes that can neither be hashed nor compared."""

    def __eq__(cls, other: object) -> bool:
        raise AssertionError("it was compared")

    def __hash__(cls) -> int:
        raise AssertionError("it was hashed")


class Odd(metaclass=Unwilling):
    """Of such a class."""


def renamed(**names: str) -> Callable[..., None]:
    def func() -> None:
        pass

    for name, value in names.items():
        setattr(func, name, value)
    return func


QUICK = {
    "no arguments": (call(add), True),
    "simple arguments": (call(add, 1, 2.0, "x", b"y", None, True), True),
    "keywords": (call(add, first=1), True),
    "a builtin": (call(len, "four"), True),
    "large": (call(len, "x" * (1 << 16)), False),
    "large together": (call(add, "x" * 40_000, second="x" * 40_000), False),
    "a list": (call(len, []), False),
    "a subclass": (call(len, Text("x")), False),
    "a keyword's value": (call(add, first=[]), False),
    "a lambda": (call(lambda: None), False),
    "a nested function": (call(nested()), False),
    "a method": (call("x".upper), False),
    "an argument of an odd class": (call(len, Odd()), False),
    "an odd name": (call(renamed(__name__=Text("add"), __qualname__="add")), False),
    "an odd module": (call(renamed(__module__=Text("os"), __qualname__="func")), False),
    "a class": (call(int, "3"), False),
}


@pytest.mark.parametrize(("job", "quick"), QUICK.values(), ids=QUICK.keys())
def test_what_is_quick(job: Call, quick: bool) -> None:
    """What can be packed without the user's code, and sent without waiting.

    Also where the function has been looked up before.
    """
    names = Names()
    for _ in range(2):
        place = names.place(job)
        assert (place is not None) is quick
        assert place is None or find(place) is job.func


def plainly() -> None:
    """A function that a test takes away."""


def test_a_function_is_known_as_long_as_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that another has replaced is left to `pickle`, which complains of it."""
    names, job = Names(), call(plainly)
    assert names.place(job) == (__name__, "plainly")
    assert names.place(call(add)) is not None
    assert names.place(job) == (__name__, "plainly")
    monkeypatch.setattr(sys.modules[__name__], "plainly", add)
    assert names.place(job) is None
    monkeypatch.delattr(sys.modules[__name__], "plainly")
    assert names.place(job) is None


def test_what_was_looked_up_says_nothing_of_the_next_arguments() -> None:
    """Each call has its own."""
    names = Names()
    assert names.place(call(add, 1)) is not None
    assert names.place(call(add, [])) is None
    assert names.place(call(add, 1, second=[])) is None
    assert names.place(call(add, 1)) is not None


def test_what_is_found_nowhere_raises_what_pickle_would() -> None:
    """Be it the module or the function."""
    for place in ((__name__, "nowhere"), ("concurra_nowhere", "at_all")):
        with pytest.raises(Exception) as ours:
            find(place)
        with pytest.raises(Exception) as theirs:
            pickle.loads("c{}\n{}\n.".format(*place).encode())
        assert type(ours.value) is type(theirs.value)
        assert str(ours.value) == str(theirs.value)


def test_a_module_that_is_not_there_yet_is_imported(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `pickle` does it."""
    (tmp_path / "found_plainly.py").write_text("def func():\n    return 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "found_plainly", raising=False)
    assert find(("found_plainly", "func"))() == 7
