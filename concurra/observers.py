"""Those who follow a run as a user's object: `Observer`."""

from __future__ import annotations

from .events import END, RUN_END, RUN_START, TASK_RETRY, TASK_START, Reader
from .wording import describe, kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Final, Hashable, List, Mapping, Optional

    from .engine.snapshot import Snapshot
    from .events import Event
    from .results import Registry


class Fact:
    """Something that has happened.

    :param moment: when, in seconds since the epoch.
    :param label: of which task; None if it happened to the run.
    :param name: the task's, as in the table of the report; or the runner's.
    :param attempt: the number of the task's attempt; 0 if there was none.
    :param mode: how the attempt was run, once that is known.
    :param error: of the attempt, before a retry; of the task, at its end.
    :param result: at the end of a task its result dict; at the start and the end of the
        run, how many tasks are in which state.
    """

    __slots__ = ("moment", "label", "name", "attempt", "mode", "error", "result")

    def __init__(
        self,
        moment: float,
        label: Hashable,
        name: str,
        attempt: int = 0,
        mode: Optional[str] = None,
        error: Optional[str] = None,
        result: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.moment = moment
        self.label = label
        self.name = name
        self.attempt = attempt
        self.mode = mode
        self.error = error
        self.result = result

    def __repr__(self) -> str:
        given = (f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"Fact({', '.join(given)})"


class Observer:
    """Follows a run: a base class, whose methods do nothing.

    They are called in the order of what has happened, one at a time, in threads of the
    run, and must not be ``async def``. They may block and call anything of the runner:
    that holds up no task, only the end of the run. What a method raises is logged with
    its traceback, the first time for each observer. What a class does not define costs
    nothing.
    """

    def watch(self, look: Callable[[], Snapshot]) -> None:
        """Called before all others: ``look()`` tells how far the run has come.

        It can be called at any time and by any thread, also after the run.
        """

    def on_run_start(self, fact: Fact) -> None:
        """The run has begun."""

    def on_task_start(self, fact: Fact) -> None:
        """An attempt has begun."""

    def on_task_retry(self, fact: Fact) -> None:
        """An attempt has failed, and there will be another one."""

    def on_task_failure(self, fact: Fact) -> None:
        """A task itself went wrong: it failed, or took too long; before its end."""

    def on_task_end(self, fact: Fact) -> None:
        """A task has its result, whether it was ever started or not."""

    def on_run_end(self, fact: Fact) -> None:
        """All tasks have ended."""


_METHODS: Final = {
    RUN_START: "on_run_start",
    TASK_START: "on_task_start",
    TASK_RETRY: "on_task_retry",
    END: "on_task_end",
    RUN_END: "on_run_end",
}
_FAILURE: Final = "on_task_failure"

#: Names that are easily taken for these, and are more than a slip of a letter apart.
_SLIPS: Final = {
    **{f"{name}ed": name for name in _METHODS.values()},
    "on_task_retried": "on_task_retry",
    "on_task_retries": "on_task_retry",
    "on_task_failed": _FAILURE,
}


class ObserverReader(Reader):
    """Tells one observer of the events of a run.

    :param warn: logs a warning.
    :param offset: what makes seconds since the epoch of a moment.
    :param look: how far the run has come.
    """

    apart = True

    def __init__(
        self,
        observer: Observer,
        warn: Callable[[str], None],
        registry: Registry,
        offset: float,
        look: Callable[[], Snapshot],
    ) -> None:
        wanted = {k for k, name in _METHODS.items() if _defines(observer, name)}
        self.kinds = {*wanted, RUN_START} - {END}
        self.step = int(END in wanted)
        self.faults = _defines(observer, _FAILURE)
        self._wanted = wanted
        self._observer = observer
        self._warn = warn
        self._registry = registry
        self._offset = offset
        self._look = look
        self._broken = False
        self._over = False

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        if self._over:
            return
        self._over = event.kind == RUN_END
        if event.kind == RUN_START and _defines(self._observer, "watch"):
            self._call("watch", self._look)
        outcome = event.outcome
        if self.faults and outcome is not None and outcome.fault:
            self._call(_FAILURE, self._fact(event))
        if event.kind in self._wanted:
            self._call(_METHODS[event.kind], self._fact(event))

    def _call(self, method: str, about: Any) -> None:
        try:
            getattr(self._observer, method)(about)
        except BaseException as error:  # of the user's own, whatever it is
            if not self._broken:
                self._broken = True
                text, trace = describe(error)
                who, trace = kind(self._observer), trace.rstrip()
                self._warn(f"The observer {who} has raised {text}\n{trace}")

    def _fact(self, event: Event) -> Fact:
        moment = event.moment + self._offset
        if event.kind in (RUN_START, RUN_END):
            snapshot = self._look()
            return Fact(moment, None, snapshot.name, result=snapshot.counts)
        task = event.task
        fact = Fact(moment, task.label, task.name, event.attempt)
        if event.kind == TASK_RETRY:
            fact.mode, fact.error = task.failed_mode, task.errors[event.attempt - 1]
        elif event.kind == END:
            assert event.outcome is not None
            fact.result = result = self._registry.anew(task, event.outcome)
            fact.mode, fact.error = result["execution_mode"], result["error"]
        return fact


def _defines(observer: Any, method: str) -> bool:
    """Whether an observer has a method that does something."""
    own = getattr(observer, method, None)
    nothing: Any = getattr(Observer, method)
    return own is not None and getattr(own, "__func__", own) is not nothing


def check(observers: Any) -> List[Observer]:
    """Those of a parameter.

    :raises TypeError: one of them lacks a method, or has one that would never run.
    """
    from .checks import PROMPT, is_deferred, wrong
    from .spelling import is_slip

    known = (*_METHODS.values(), _FAILURE)
    if isinstance(observers, (str, bytes)) or not hasattr(observers, "__iter__"):
        raise wrong(TypeError, "observers", "a list of observers", observers)
    checked = list(observers)
    for each in checked:
        if isinstance(each, type) or not all(
            callable(getattr(each, name, None)) for name in _METHODS.values()
        ):
            raise wrong(TypeError, "observers", "a list of Observer objects", each)
        for name in (*known, "watch"):
            if is_deferred(getattr(each, name, None)):
                raise TypeError(f"{kind(each)}.{name} of an observer must be {PROMPT}")
        for name in dir(type(each)):
            if name in known or name.startswith("_"):
                continue
            meant = _SLIPS.get(name) or next((m for m in known if is_slip(name, m)), "")
            if meant and callable(getattr(type(each), name, None)):
                raise TypeError(
                    f"{kind(each)}.{name} of an observer is never called: did you mean "
                    f"{meant!r}?"
                )
    return checked
