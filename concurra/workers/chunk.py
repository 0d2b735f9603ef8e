"""Many calls of one function as one job: a chunk of what `TaskRunner.map` is given.

What a call raises costs that item, and the others of the chunk are done all the same.
"""

from __future__ import annotations

import os
import pickle
from types import AsyncGeneratorType, CoroutineType, GeneratorType

from ..retries import refusal
from ..wording import describe, stripped
from .stacks import run_coroutine
from .thread import has_not_begun

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple, Union

    #: The values, with None for what has failed; the failures by their indexes; and
    #: whether a value is a generator that has not begun.
    Done = Tuple[List[Any], Dict[int, "Failure"], bool]

    #: Is told what was raised for the item of an index.
    Fail = Callable[[int, BaseException], None]

_GENERATORS = {GeneratorType, AsyncGeneratorType}


class Failure:
    """What an item has raised, or what befell it.

    :param text: ``"ExcType: message"``.
    :param trace: the traceback as text; None if it is not kept.
    :param exception: the error itself, or as it was pickled in another process.
    :param final: whether there is no use in another attempt.
    :param raised: whether the call has raised it.
    """

    __slots__ = ("text", "trace", "exception", "final", "raised")

    def __init__(
        self,
        text: str,
        trace: Optional[str] = None,
        exception: Union[BaseException, bytes, None] = None,
        final: bool = False,
        raised: bool = True,
    ) -> None:
        self.text = text
        self.trace = trace
        self.exception = exception
        self.final = final
        self.raised = raised

    def __reduce__(self) -> Any:
        """One that cannot be pickled costs no more than itself."""
        pickled: Union[BaseException, bytes, None] = self.exception
        if isinstance(pickled, BaseException):
            try:
                pickled = pickle.dumps(pickled, pickle.HIGHEST_PROTOCOL)
            except BaseException:
                pickled = None
        return Failure, (self.text, self.trace, pickled, self.final, self.raised)


#: The items of chunks that are at work in this process. If a call forks and returns in
#: the child, too, they are taken away there: the child must not go on with them.
_items: Dict[int, List[Any]] = {}


def perform_chunk(
    func: Callable[[Any], Any], items: List[Any], on: Any, all_traces: bool
) -> Done:
    """Call a function with each of the items, and await what is to be awaited.

    :param items: emptied by whoever wants this to end after the call at work.
    :param on: see `Retry`; None if all errors are alike.
    :param all_traces: whether all tracebacks are kept, or only the first.
    """
    values: List[Any] = []
    failures: Dict[int, Failure] = {}

    def fail(index: int, error: BaseException) -> None:
        told = None if on is None else refusal(on, error)
        text, trace = describe(error)
        failures[index] = Failure(
            f"{text}{told or ''}",
            trace if all_traces or not failures else None,
            stripped(error),
            told is not None,
        )

    _items[id(items)] = items
    try:
        _call(func, items, values, fail)
        kinds = set(map(type, values))
        if CoroutineType in kinds:
            _await(items, values, fail)
            kinds = set(map(type, values))
    finally:
        del _items[id(items)]
        if not items:  # nobody is to await them any more
            _close(values)
    lazy = not _GENERATORS.isdisjoint(kinds) and any(map(has_not_begun, values))
    return values, failures, lazy


def _call(
    func: Callable[[Any], Any], items: List[Any], values: List[Any], fail: Fail
) -> None:
    calls = map(func, items)
    while True:
        try:
            values.extend(calls)  # what comes before an error stays
            if len(values) >= len(items):  # or they were taken away
                return
            raise StopIteration  # as a call has: it ended `extend`
        except BaseException as error:  # SystemExit ends the call, not the worker
            if not items:
                raise  # they were taken away
            if len(values) < len(items):  # or else it came late, for another task
                fail(len(values), error)
                values.append(None)


def _await(items: List[Any], values: List[Any], fail: Fail) -> None:
    for index, value in enumerate(values):
        if type(value) is not CoroutineType:
            continue
        if not items:
            return
        try:
            values[index] = run_coroutine(value)
        except BaseException as error:
            if not items:
                raise
            fail(index, error)
            values[index] = None


def _close(values: List[Any]) -> None:
    for value in values:
        if type(value) is CoroutineType:
            value.close()


def _take_all_away() -> None:
    for items in list(_items.values()):
        items.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_take_all_away)
