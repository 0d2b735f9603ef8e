"""What a task can ask about itself."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from concurra.current import CurrentTask, current_task, exchange, is_plain


def test_a_thread_without_a_task() -> None:
    """It is at none."""
    assert current_task() is None


def test_one_thread_asks_about_its_own() -> None:
    """Others, even those that it has started, are at none."""
    mine = CurrentTask("a", 1, 5.0)
    assert exchange(lambda: mine) is None
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(current_task()))
    try:
        thread.start()
        thread.join()
        assert current_task() is mine and found == [None]
    finally:
        exchange(None)
    assert current_task() is None


def test_a_task_within_a_task() -> None:
    """A thread that serves another in between comes back to the first."""
    outer, inner = (lambda: CurrentTask("outer", 1)), (lambda: CurrentTask("inner", 2))
    try:
        assert exchange(outer) is None
        assert exchange(inner) is outer
        found = current_task()
        assert found is not None and (found.label, found.attempt) == ("inner", 2)
        assert exchange(outer) is inner
    finally:
        assert exchange(None) is outer


def test_each_question_is_asked_anew() -> None:
    """The attempt and the label are those of the moment."""
    numbers = iter([1, 2])
    exchange(lambda: CurrentTask("a", next(numbers)))
    try:
        found = [current_task(), current_task()]
        assert [each and each.attempt for each in found] == [1, 2]
    finally:
        exchange(None)


def test_what_is_told() -> None:
    """Label, attempt, deadline, and nothing else can be written there."""
    found = CurrentTask(("a", 1), 3)
    assert (found.label, found.attempt, found.deadline) == (("a", 1), 3, None)
    assert repr(found) == "<CurrentTask ('a', 1), attempt 3>"
    with pytest.raises(AttributeError):
        found.status = "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("label", "plain"),
    [
        ("a", True),
        (1, True),
        (1.5, True),
        (b"a", True),
        (("a", 1), True),
        ((), True),
        (None, False),
        (("a", ("b",)), False),
        (frozenset(), False),
        (type("Label", (str,), {})("a"), False),
    ],
)
def test_labels_that_go_to_a_process(label: Any, plain: bool) -> None:
    """As they are; of others it is the text, so that none of the user's code runs."""
    assert is_plain(label) is plain
