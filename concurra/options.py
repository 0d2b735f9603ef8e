"""What is chosen for a task.

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
from .wording import brief

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Final, Optional, Tuple, TypeVar, Union
    from typing import overload

    from .retries import Retry

    F = TypeVar("F", bound=Callable[..., Any])

ALL_SUCCESS: Final = "all_success"
ALL_DONE: Final = "all_done"
ONE_FAILED: Final = "one_failed"

_RULES = (ALL_SUCCESS, ALL_DONE, ONE_FAILED)

#: Where a function has the options that were chosen at its definition.
ATTRIBUTE: Final = "__concurra_options__"


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
    #: What the results of a checkpoint must have been recorded with.
    version: Any = None
    #: Whether it stays in this process, though the run has an executor.
    local: bool = False
    #: Whether its result stays where the executor of the run has made it.
    keep_remote: bool = False

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
        *("timeout", "priority", "resources", "trigger_rule", "name", "version"),
        *("local", "keep_remote"),
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
        self.version = chosen.get("version")
        self.local = chosen.get("local", False)
        self.keep_remote = chosen.get("keep_remote", False)

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
    version: Any = None,
    local: Optional[bool] = None,
    keep_remote: Optional[bool] = None,
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
        if not isinstance(trigger_rule, str) or trigger_rule not in _RULES:
            expected = f"one of {', '.join(map(repr, _RULES))}"
            raise checks.wrong(ValueError, "trigger_rule", expected, trigger_rule)
        chosen["trigger_rule"] = trigger_rule
    if name is not None:
        chosen["name"] = checks.text("name", name)
    if version is not None:
        chosen["version"] = version
    if local is not None:
        chosen["local"] = checks.flag("local", local)
    if keep_remote is not None:
        chosen["keep_remote"] = checks.flag("keep_remote", keep_remote)
    return chosen


def how_to_retry(value: Union[int, Retry]) -> Tuple[int, Optional[Retry]]:
    """The number of retries, and what else there is to know of them."""
    if isinstance(value, int) or hasattr(type(value), "__index__"):
        return checks.whole("task_retries", value, least=0), None
    from .retries import Retry

    if not isinstance(value, Retry):
        raise checks.wrong(TypeError, "task_retries", "an integer or a Retry", value)
    return value.retries, value


#: The names of what can be chosen.
OPTIONS = tuple(choose.__kwdefaults__ or ())


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
    def task(function: F, /, **options: Any) -> F: ...  # as a bare decorator, too

    @overload
    def task(
        *,
        timeout: Optional[float] = None,
        task_retries: Union[int, Retry, None] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
        version: Any = None,
        local: Optional[bool] = None,
        keep_remote: Optional[bool] = None,
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

        Given a function, it returns a wrapper that has the options, and leaves the
        function as it is. As a decorator it notes the options on the function, and
        returns the function itself. Without any option both return the function as it
        is, so a bare ``@task`` chooses nothing.

        An option that is chosen at a call comes before one at the definition, and that
        before what the runner has. None is no choice.

        :param timeout: seconds that the task may take from its start, its retries
            included; ``math.inf`` for no limit. By default, the runner's.
        :param task_retries: how often it is tried again, or a `Retry`. By default, the
            runner's.
        :param priority: an integer. Of the tasks that are ready, the one of the highest
            priority starts first, and among equals the one that was added first. 0 by
            default.
        :param resources: how much of each of the runner's ``resources`` it holds while
            it is at work: whole numbers by name. Nothing by default.
        :param trigger_rule: when it starts: ``"all_success"`` when all tasks that it
            depends on have succeeded, ``"all_done"`` when all have ended, whatever
            became of them, ``"one_failed"`` as soon as one has failed, was terminated,
            or was skipped because of such a one.
        :param name: what the report's table shows in the column ``task``. By default,
            the name of the function.
        :param version: of the function, for a ``checkpoint``: when it is another one,
            the task is run again.
        :param local: whether it stays in this process, where the runner has an
            ``executor`` for all others.
        :param keep_remote: whether its result stays where the runner's ``executor``, a
            client of dask, has made it. Tasks that run there, too, get it from there as
            an argument, and nothing is sent here. Its own result is a small object that
            stands for it. It is released when the last task that depends on it has
            ended.
        :raises TypeError, ValueError: an argument is of the wrong type or out of its
            range.
        """
        unknown = [name for name in options if name not in OPTIONS]
        if unknown:
            told = f"task() has no option {unknown[0]!r}"
            if unknown[0] in ("label", "depends_on"):
                raise TypeError(f"{told}: add_task() takes it")
            raise TypeError(f"{told}, but {', '.join(OPTIONS)}")
        chosen = choose(**options)
        if function is None:
            return partial(_decorate, chosen)
        checks.function(function)
        inner, before = split(function)
        if not chosen:
            return function
        return _Configured(inner, Chosen({**before, **chosen}))


def _decorate(chosen: Chosen, function: F) -> F:
    checks.function(function)
    before = split(function)[1]
    try:
        if isinstance(function, (partial, staticmethod)):  # what they hold is called
            raise TypeError
        setattr(function, ATTRIBUTE, Chosen({**before, **chosen}))
    except Exception:  # a builtin, a method, something with slots
        expected = "a definition, for others there is task(function, ...)"
        raise checks.wrong(TypeError, "what is decorated", expected, function) from None
    return function


#: What is chosen if nothing is.
NO_CHOICE = Chosen()


def split(function: Any) -> Tuple[Any, Chosen]:
    """A function as it is to be called, and what was chosen with it.

    None of the user's code is called: objects can have any attribute, as mocks do.
    """
    kind = type(function)
    if kind is FunctionType or kind is MethodType or kind is type:
        found = getattr(function, ATTRIBUTE, NO_CHOICE)
        return function, found if type(found) is Chosen else NO_CHOICE
    if kind is _Configured:
        return function.__wrapped__, function.options
    if kind is partial:
        if function.func is _decorate:
            given = ", ".join(f"{name}=..." for name in function.args[0])
            raise TypeError(
                f"the task must be task(function, {given}), got task({given}), which "
                "is to decorate a definition"
            )
        inner, found = split(function.func)
        if inner is not function.func:
            function = partial(inner, *function.args, **function.keywords)
        return function, found
    if kind is BuiltinFunctionType:
        return function, NO_CHOICE
    try:
        found = object.__getattribute__(function, ATTRIBUTE)
    except AttributeError:
        return function, NO_CHOICE
    return function, found if type(found) is Chosen else NO_CHOICE


def check_resources(asked: Mapping[str, int], there_is: Mapping[str, int]) -> None:
    """Refuse to ask for more than there is.

    :raises ValueError: there is less than is asked for.
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
                f"resources: {brief(amount)} of {kind!r} is more than the runner has, "
                f"which is {brief(there_is[kind])}"
            )


def seconds_of(timeout: Optional[float]) -> float:
    """A timeout as a float; none is infinite."""
    return math.inf if timeout is None else float(timeout)
