"""What a stack tells of a task: plain tuples in, text out."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from concurra.workers import child, initializer, places, plain, thread, transfer
from concurra.workers.places import parsed, told

HEAD = "Stack (most recent call last):\n"


def at(file: str, name: str, line: Any = 1) -> Any:
    return file, line, name


PERFORM = at(thread.__file__, "perform")
DO = at(child.__file__, "_do")
RECEIVE = at(transfer.__file__, "receive")
PACK = at(transfer.__file__, "pack")
FIND = at(plain.__file__, "find")
REFUSAL = at(child.__file__, "_refusal")
FAILED = at(child.__file__, "_failed")
INITIALIZER = at(initializer.__file__, "__call__")
PYTHON = at(threading.__file__, "wait")
FROZEN = at("<frozen importlib._bootstrap>", "_load")
USER = at("/home/me/job.py", "work")
INNER = at("/home/me/job.py", "inner")
INSTALLED = at(os.path.join(os.path.dirname(os.__file__), "site-packages/x.py"), "x")

STAGES = [
    ([PERFORM], places.NO_PYTHON, []),
    ([DO, PERFORM, USER], "", [USER]),
    ([DO, PERFORM, PYTHON], "", [PYTHON]),
    ([DO, PERFORM, USER, PYTHON, INNER], "", [USER, PYTHON, INNER]),
    ([DO, PERFORM, USER, DO, PYTHON], "", [USER]),
    ([DO, PERFORM, USER, DO, PYTHON, DO], "", [USER]),
    ([DO, PERFORM, USER, DO, INNER, PYTHON], "", [USER, DO, INNER, PYTHON]),
    ([DO, INITIALIZER, PERFORM, USER], places.INITIALIZING, [USER]),
    ([DO, RECEIVE], places.WAITING, []),
    ([DO, RECEIVE, FROZEN, PYTHON], places.WAITING, []),
    ([DO, RECEIVE, FROZEN, USER, PYTHON], places.UNPICKLING, [USER, PYTHON]),
    ([DO, RECEIVE, INSTALLED], places.UNPICKLING, [INSTALLED]),
    ([DO, FIND, FROZEN, USER], places.UNPICKLING, [USER]),
    ([DO, PACK, PYTHON], places.RETURNED, []),
    ([DO, REFUSAL, DO, USER], places.ASKING, [USER]),
    ([DO, PACK, PYTHON, USER], places.RETURNED, [USER]),
    ([DO, FAILED, PYTHON, USER, PYTHON], places.DESCRIBING, [USER, PYTHON]),
    ([DO], places.BETWEEN, []),
]


def names(text: str) -> list[str]:
    return [line.rsplit(" ", 1)[1] for line in text.splitlines() if ", in " in line]


@pytest.mark.parametrize(("stack", "words", "shown"), STAGES)
def test_a_whole_stack(stack: list[Any], words: str, shown: list[Any]) -> None:
    """How far it came, and the user's frames."""
    text = told(stack)
    assert text.startswith(words + (HEAD if shown else ""))
    assert names(text) == [name for _, _, name in shown]


def test_the_start_of_a_process() -> None:
    """No task has begun, whatever is at work."""
    assert told([RECEIVE], starting=True) == places.STARTING
    assert told([DO, PERFORM, USER], starting=True).startswith(places.STARTING + HEAD)


def test_the_end_of_a_deep_stack() -> None:
    """What is not known is not told: no words, and the innermost frames."""
    assert names(told([PYTHON, USER, PYTHON], whole=False)) == ["wait", "work", "wait"]
    deep = [at("/home/me/job.py", "work", line) for line in range(places.FRAMES + 2)]
    text = told(deep, whole=False)
    assert text.startswith(f"{HEAD}  [... 2 frames left out ...]\n")
    assert len(names(text)) == places.FRAMES


def test_a_dump() -> None:
    """The main thread's, inwards of what serves the process; of a fork's, its own."""
    serve = f'  File "{child.__file__}", line 9 in serve\n'
    text = (
        "Thread 0x01 (most recent call first):\n"
        '  File "/other.py", line 1 in other\n\n'
        "Current thread 0x02 (most recent call first):\n"
        '  File "/home/me/job.py", line 7 in work\n'
        f'  File "{thread.__file__}", line ??? in perform\n'
        f'{serve}  File "/home/me/main.py", line 3 in main\n{serve}'
    )
    expected = [at(thread.__file__, "perform", None), at("/home/me/job.py", "work", 7)]
    assert parsed(text) == (expected, True)
    assert parsed(text.replace("serve", "go"))[1] is False


@pytest.mark.parametrize(
    "head",
    [
        "Current thread 0x02 (most recent call first):",
        "Current thread 0x02 [python] (most recent call first):",
        "<Cannot show all threads while the GIL is disabled>\n"
        "Stack (most recent call first):",
    ],
)
def test_a_dump_of_any_python(head: str) -> None:
    """From 3.14 on threads have names, and in free threading there is one alone."""
    serve = f'  File "{child.__file__}", line 9 in serve\n'
    text = f'{head}\n  File "/home/me/job.py", line 7 in work\n{serve}'
    assert parsed(text) == ([at("/home/me/job.py", "work", 7)], True)


def test_the_functions_of_ours_that_are_looked_for_are_there() -> None:
    """By these names, in these files."""
    for file, name in (*places._STAGES, places._CALLER, places._INITIALIZER):
        with open(os.path.join(places._PACKAGE, file), encoding="utf-8") as source:
            assert f"def {name}(" in source.read()
    assert callable(child.serve)
