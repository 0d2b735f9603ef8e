"""Decisions that are asked for in threads which must not make them."""

from __future__ import annotations

import threading
from collections import deque

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Iterator


class Question:
    """Something that is to be decided, at a moment, in another thread."""

    def __init__(self, decide: Callable[[float], Any]) -> None:
        self.decide = decide
        self._answer: Any = None
        self._answered = threading.Lock()
        self._answered.acquire()

    def reply(self, answer: Any) -> None:
        """Let whoever waits have the answer; called once."""
        self._answer = answer
        self._answered.release()

    def wait(self) -> Any:
        """The answer, once it is there."""
        self._answered.acquire()
        return self._answer


class Questions:
    """Those that have not been answered; for any thread."""

    def __init__(self) -> None:
        self._all: Deque[Question] = deque()

    def put(self, decide: Callable[[float], Any]) -> Question:
        """Ask for a decision; its answer can be waited for."""
        question = Question(decide)
        self._all.append(question)
        return question

    def take(self) -> Iterator[Question]:
        """Take out the open questions, to answer them; nobody else gets the same."""
        while True:
            try:
                yield self._all.popleft()
            except IndexError:
                return
