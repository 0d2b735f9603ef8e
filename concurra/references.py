"""The result of one task as an argument of another.

Adders return the task that they have added, as a `TaskRef`. Where one stands as an
argument of a later call, or directly within a list, tuple, set or dict that is one, the
call gets that task's result in its place, when it begins.
"""

from __future__ import annotations

from .tasks import EMPTY, Call, Task, TaskRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Context
    from typing import Any, Dict, Hashable, List, Mapping, Sequence, Tuple

#: Where references are looked for, in arguments of just these types.
_CONTAINERS = frozenset((list, tuple, set, frozenset, dict))

_REFERENCES = frozenset((Task, TaskRef))


def ref(label: Hashable) -> TaskRef:
    """A reference to the task with a label, which may be added later.

    :raises TypeError: the label is not hashable.
    """
    hash(label)
    return TaskRef(label)


def referred(args: Sequence[Any], kwargs: Mapping[str, Any]) -> List[TaskRef]:
    """The references among arguments, in order; each once."""
    found: Dict[TaskRef, None] = {}
    for value in (*args, *kwargs.values()) if kwargs else args:
        kind = type(value)
        if kind in _REFERENCES:
            found[value] = None
        elif kind in _CONTAINERS:
            for each in value.values() if kind is dict else value:
                if type(each) in _REFERENCES:
                    found[each] = None
    return list(found)


class ReferringCall(Call):
    """A call that gets the results of other tasks.

    Its arguments are made when they are asked for: these tasks have succeeded then.

    :param given_args: with references in them.
    :param given_kwargs: the same.
    """

    __slots__ = ("given_args", "given_kwargs", "tasks")

    def __init__(
        self,
        func: Any,
        given_args: Sequence[Any],
        given_kwargs: Mapping[str, Any],
        context: Context = EMPTY,
    ) -> None:
        self.func = func
        self.context = context
        self.given_args = given_args
        self.given_kwargs = given_kwargs
        #: By the label, those that it refers to; set when the run starts.
        self.tasks: Dict[Hashable, Task] = {}

    @property
    def args(self) -> Tuple[Any, ...]:  # type: ignore[override]
        """The positional arguments."""
        return tuple(map(self._fill, self.given_args))

    @property
    def kwargs(self) -> Any:  # type: ignore[override]
        """The keywords; None for none."""
        filled = {key: self._fill(value) for key, value in self.given_kwargs.items()}
        return filled or None

    def _fill(self, value: Any) -> Any:
        kind = type(value)
        if kind in _REFERENCES:
            return self._result(value)
        if kind not in _CONTAINERS:
            return value
        if kind is dict:
            if not any(type(each) in _REFERENCES for each in value.values()):
                return value
            return {key: self._result(each) for key, each in value.items()}
        if not any(type(each) in _REFERENCES for each in value):
            return value
        return kind(map(self._result, value))

    def _result(self, value: Any) -> Any:
        if type(value) is TaskRef:
            value = self.tasks[value.label]
        if type(value) is not Task:
            return value
        outcome = value.outcome
        return None if outcome is None else outcome.value
