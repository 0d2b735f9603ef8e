"""What is chosen for a task, and for a run.

A task points to its `Options`. Most tasks share one such object, the runner's, whose
values are those at the start of the run. A task of which something else was chosen has
`OwnOptions`; what was not chosen there is the runner's, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType

from . import checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, Final, List, Optional, Tuple, TypeVar, Union
    from typing import overload

    from .retries import Retry

    F = TypeVar("F", bound=Callable[..., Any])

ALL_SUCCESS: Final = "all_success"
ALL_DONE: Final = "all_done"
ONE_FAILED: Final = "one_failed"

_RULES = (ALL_SUCCESS, ALL_DONE, ONE_FAILED)

#: Where a function has the options that were chosen at its definition.
_ATTRIBUTE = "__concurra_options__"


class Options:
    """What is chosen for all tasks of a runner that have nothing of their own.

    :param retries: how often a task is tried again.
    :param retry: when, and after which errors; None: at once, and whatever the error.
    """

    __slots__ = ("retries", "retry")

    #: Seconds; None if it is the run's that counts.
    timeout: Optional[float] = None
    priority: int = 0
    resources: Mapping[str, int] = {}
    trigger_rule: str = ALL_SUCCESS
    #: What the table shows; None for the name of the function.
    name: Optional[str] = None

    def __init__(self, retries: int = 0, retry: Optional[Retry] = None) -> None:
        self.retries = retries
        self.retry = retry


#: Nothing was chosen.
DEFAULTS = Options()


class Chosen(dict):  # type: ignore[type-arg]
    """What was chosen for a task, by the names of parameters; each has been checked."""


class OwnOptions(Options):
    """What is chosen for one task.

    :param shared: the runner's, for what was not chosen.
    """

    __slots__ = (
        *("_shared", "_retries", "_retry"),
        *("timeout", "priority", "resources", "trigger_rule", "name"),
    )

    def __init__(self, shared: Options, chosen: Chosen) -> None:
        self._shared = shared
        retries, retry = chosen.get("task_retries") or (None, None)
        self._retries: Optional[int] = retries
        self._retry: Optional[Retry] = retry
        self.timeout = chosen.get("timeout")
        self.priority = chosen.get("priority", 0)
        self.resources = chosen.get("resources", shared.resources)
        self.trigger_rule = chosen.get("trigger_rule", ALL_SUCCESS)
        self.name = chosen.get("name")

    @property
    def retries(self) -> int:  # type: ignore[override]
        """See `Options`."""
        return self._shared.retries if self._retries is None else self._retries

    @property
    def retry(self) -> Optional[Retry]:  # type: ignore[override]
        """See `Options`."""
        return self._shared.retry if self._retries is None else self._retry


def choose(
    *,
    timeout: Optional[float] = None,
    task_retries: Union[int, Retry, None] = None,
    priority: Optional[int] = None,
    resources: Optional[Mapping[str, int]] = None,
    trigger_rule: Optional[str] = None,
    name: Optional[str] = None,
) -> Chosen:
    """What is chosen for a task; None is no choice, and is left out.

    :raises TypeError, ValueError: an argument is of the wrong type or out of its range.
    """
    chosen = Chosen()
    if timeout is not None:
        checks.seconds("timeout", timeout)
        chosen["timeout"] = timeout  # as it was given: messages show it
    if task_retries is not None:
        chosen["task_retries"] = how_to_retry(task_retries)
    if priority is not None:
        chosen["priority"] = checks.whole("priority", priority)
    if resources is not None:
        asked = checks.amounts("resources", resources)
        chosen["resources"] = {kind: many for kind, many in asked.items() if many}
    if trigger_rule is not None:
        if trigger_rule not in _RULES:
            expected = f"one of {', '.join(map(repr, _RULES))}"
            raise checks.wrong(ValueError, "trigger_rule", expected, trigger_rule)
        chosen["trigger_rule"] = trigger_rule
    if name is not None:
        chosen["name"] = checks.text("name", name)
    return chosen


def how_to_retry(value: Union[int, Retry]) -> Tuple[int, Optional[Retry]]:
    """The number of retries, and what else there is to know of them."""
    if isinstance(value, int) or hasattr(type(value), "__index__"):
        return checks.whole("task_retries", value, least=0), None
    from .retries import Retry

    if not isinstance(value, Retry):
        raise checks.wrong(TypeError, "task_retries", "an integer or a Retry", value)
    return value.retries, value


class _Configured:
    """A function with options for one call of an adder; it can be called as it is."""

    __slots__ = ("__wrapped__", "options")

    def __init__(self, function: Callable[..., Any], options: Chosen) -> None:
        self.__wrapped__ = function
        self.options = options

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"task({self.__wrapped__!r}, **{dict(self.options)!r})"


if TYPE_CHECKING:

    @overload
    def task(function: F, /, **options: Any) -> F: ...

    @overload
    def task(
        *,
        timeout: Optional[float] = None,
        task_retries: Union[int, Retry, None] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
    ) -> Callable[[F], F]: ...

    def task(function: Any = None, /, **options: Any) -> Any:
        """See below."""

else:

    def task(function: Optional[F] = None, /, **options: Any) -> Any:
        """Choose options for a task, with its function: for a call, or for good.

        ::

            runner.add_task(task(merge, timeout=600), pages)  # this call of `merge`

            @task(task_retries=3)  # whenever it is added
            def fetch(url): ...

        A function that is given is not changed: what comes back stands for it, for an
        adder or a call. A definition is decorated in place: the function stays what it
        was.

        What is chosen at a call goes before what is chosen at the definition, and that
        before what the runner has. None is no choice.

        :param timeout: seconds that the task may take from its start, its retries
            included; ``math.inf`` for no limit.
        :param task_retries: how often it is tried again, or a `Retry`.
        :param priority: of the tasks that are ready, that of the highest starts first;
            of those that are equal, the one that was added first. 0 if none is chosen.
        :param resources: how much of each of the runner's ``resources`` it holds while
            it is at work.
        :param trigger_rule: when it starts: ``"all_success"`` when all tasks that it
            depends on have succeeded, ``"all_done"`` when all have ended, whatever
            became of them, ``"one_failed"`` as soon as one has not succeeded.
        :param name: what the report's table shows in the column ``task``.
        :raises TypeError, ValueError: an argument is of the wrong type or out of its
            range.
        """
        chosen = choose(**options)
        if function is None:
            return partial(_decorate, chosen)
        checks.function(function)
        inner, before = split(function)
        return _Configured(inner, Chosen({**before, **chosen}))


def _decorate(chosen: Chosen, function: F) -> F:
    checks.function(function)
    before = split(function)[1]
    try:
        if isinstance(function, (partial, staticmethod)):  # what they hold is called
            raise TypeError
        setattr(function, _ATTRIBUTE, Chosen({**before, **chosen}))
    except Exception:  # a builtin, a method, something with slots
        expected = "a definition, for others there is task(function, ...)"
        raise checks.wrong(TypeError, "what is decorated", expected, function) from None
    return function


#: What is chosen if nothing is.
_NOTHING = Chosen()


def split(function: Any) -> Tuple[Any, Chosen]:
    """A function as it is to be called, and what was chosen with it.

    None of the user's code is called: objects can have any attribute, as mocks do.
    """
    kind = type(function)
    if kind is FunctionType or kind is MethodType or kind is type:
        found = getattr(function, _ATTRIBUTE, _NOTHING)
        return function, found if type(found) is Chosen else _NOTHING
    if kind is _Configured:
        return function.__wrapped__, function.options
    if kind is partial:
        inner, found = split(function.func)
        if inner is not function.func:
            function = partial(inner, *function.args, **function.keywords)
        return function, found
    if kind is BuiltinFunctionType:
        return function, _NOTHING
    try:
        found = object.__getattribute__(function, _ATTRIBUTE)
    except AttributeError:
        return function, _NOTHING
    return function, found if type(found) is Chosen else _NOTHING


class RunOptions:
    """What is chosen for a run: a copy of a runner's attributes, each checked.

    :param chosen: has an attribute for each parameter of `TaskRunner`. Its logger is
        its ``log``.
    :raises TypeError: an attribute is of the wrong type.
    :raises ValueError: an attribute is out of its range.
    """

    #: What is copied, and can be written back.
    NAMES = (
        *("log", "name", "timeout", "terminate_timeout"),
        *("progress_stats", "fast_fail", "use_multiprocessing", "log_errors"),
        *("fallback_to_thread_on_pickle_error", "task_retries"),
        *("max_tasks_per_child", "mp_context", "max_concurrency"),
        *("resources", "run_timeout", "initializer", "initargs"),
    )

    __slots__ = (*NAMES, "warning")

    def __init__(self, chosen: Any) -> None:
        self.log: logging.Logger = checks.logger(chosen.log)
        self.name: str = checks.text("name", chosen.name, "TaskRunner")
        # All as they were given, since that is how messages show them.
        self.timeout: Optional[float] = chosen.timeout
        self.run_timeout: Optional[float] = chosen.run_timeout
        self.terminate_timeout: float = chosen.terminate_timeout
        for name in ("timeout", "run_timeout"):
            if getattr(self, name) is not None:
                checks.seconds(name, getattr(self, name))
        checks.seconds("terminate_timeout", self.terminate_timeout, zero=True)
        self.progress_stats = _flag(chosen, "progress_stats")
        self.fast_fail = _flag(chosen, "fast_fail")
        self.use_multiprocessing = _flag(chosen, "use_multiprocessing")
        self.log_errors = _flag(chosen, "log_errors")
        self.fallback_to_thread_on_pickle_error = _flag(
            chosen, "fallback_to_thread_on_pickle_error"
        )
        self.task_retries: Union[int, Retry] = chosen.task_retries
        how_to_retry(self.task_retries)
        self.max_tasks_per_child: Optional[int] = chosen.max_tasks_per_child
        if self.max_tasks_per_child is not None:
            self.max_tasks_per_child = checks.whole(
                "max_tasks_per_child", self.max_tasks_per_child, least=1
            )
        self.mp_context: Union[str, BaseContext, None] = chosen.mp_context
        if self.mp_context is not None:  # to look at the default would settle it
            checks.context(self.mp_context)
        self.resources = checks.amounts(
            "resources", {} if chosen.resources is None else chosen.resources
        )
        self.initializer: Optional[Callable[..., Any]] = chosen.initializer
        if self.initializer is not None and not callable(self.initializer):
            raise checks.wrong(
                TypeError, "initializer", "a function, or None", self.initializer
            )
        self.initargs: Tuple[Any, ...] = tuple(
            checks.arguments("initargs", chosen.initargs)
        )
        self.max_concurrency = checks.concurrency(chosen.max_concurrency)
        #: What is to be said of it in the log.
        self.warning = ""
        if self.max_concurrency < 1:
            self.max_concurrency = 1
            self.warning = (
                "max_concurrency is less than 1: tasks will run one after another"
            )

    def share(self, shared: Options) -> None:
        """Let the options of tasks that have none of their own be as they are here."""
        shared.retries, shared.retry = how_to_retry(self.task_retries)

    def check_tasks(self, options: List[Options]) -> None:
        """Refuse tasks that could never start.

        :param options: of all tasks that have some of their own.
        """
        for each in options:
            check_resources(each.resources, self.resources)


def check_resources(asked: Mapping[str, int], there_is: Mapping[str, int]) -> None:
    """Refuse to ask for more than there is.

    :raises ValueError: that is so.
    """
    for kind, amount in asked.items():
        if kind not in there_is:
            kinds = ", ".join(map(repr, there_is)) or "none"
            raise ValueError(
                f"resources: there is no {kind!r} in the resources of the runner, "
                f"which has {kinds}"
            )
        if amount > there_is[kind]:
            raise ValueError(
                f"resources: {amount} of {kind!r} is more than the runner has, which "
                f"is {there_is[kind]}"
            )


def seconds_of(timeout: Optional[float]) -> float:
    """A timeout as a float; none is infinite."""
    return math.inf if timeout is None else float(timeout)


def _flag(chosen: Any, name: str) -> bool:
    return checks.flag(name, getattr(chosen, name))
