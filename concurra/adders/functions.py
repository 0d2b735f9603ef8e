"""How functions are added: what callers pass is checked, and becomes tasks."""

from __future__ import annotations

from contextvars import copy_context
from types import FunctionType

from .. import checks
from ..errors import hidden
from ..logs import messages
from ..options import ATTRIBUTE, NO_CHOICE, Chosen, choose, split
from ..tasks import EMPTY, REFERENCES, Call, FullCall, Task, TaskRef, call_of
from ..tasks import referred
from ..wording import quote
from .common import Adding, misplaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from contextvars import Context
    from typing import Any, Callable, Hashable, Iterable, List, Mapping
    from typing import Optional, Sequence, Tuple, Union

    from ..retries import Retry
    from .common import Labels

__tracebackhide__ = hidden


class FunctionAdders(Adding):
    """The methods of `TaskRunner` that add functions; one that raises adds nothing."""

    log: logging.Logger

    def add_task(
        self,
        task: Callable[..., Any],
        *args: Any,
        label: Hashable = None,
        depends_on: Labels = None,
        task_retries: Union[int, Retry, None] = None,
        **kwargs: Any,
    ) -> TaskRef:
        """Add a call of ``task(*args, **kwargs)``.

        :param task: a function, or anything callable. If it is ``async def``, it is
            awaited, in an event loop of its own. In a thread each attempt runs in a
            copy of the context (see `contextvars`) in which it was added.
        :param args: its arguments. What another adder or `ref` has returned stands for
            the result of that task, also directly within a list, tuple, set, frozenset
            or dict (a value) of just that type; and the call depends on that task.
        :param label: its name in the results, anything hashable; None for the number
            of tasks before it.
        :param depends_on: labels of the tasks that must succeed first. They may be
            added later. A string is one label; None or False is none.
        :param task_retries: how often it is tried again, or a `Retry`; None for what
            the runner has.

        All other keywords go to the function. For further options, see `task`.

        :return: what stands for the result in the arguments of other calls, and for the
            label in ``depends_on``.
        :raises TypeError, ValueError: an argument is wrong, the label is taken, or the
            task would wait for itself, directly or through others.
        :raises RuntimeError: the runner has been started.
        """
        chosen: Chosen
        title: Optional[str] = None
        if type(task) is FunctionType:  # by far the most: no more calls than needed
            found: Any = getattr(task, ATTRIBUTE, NO_CHOICE)
            chosen, title = found, task.__name__
        else:
            task, chosen = split(checks.function(task))
        if task_retries is not None:
            chosen = Chosen({**chosen, **choose(task_retries=task_retries)})
        if kwargs:
            self._warn_of_slips("add_task", task, kwargs)
        context = copy_context()
        context = self._context_of(context) if context else EMPTY
        if kwargs or context is not EMPTY:  # as `call_of`, without a call more
            job: Call = FullCall(task, args, kwargs, context)
        else:
            job = Call(task, args)
        references = referred(args, kwargs) if args or kwargs else ()
        if references:
            from .references import referring

            job = referring(job, chosen.get("trigger_rule"), references)
        return self._add(job, label, depends_on, chosen, references, title)

    def add_func(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> TaskRef:
        """Add a call of ``func(*args, **kwargs)``; the label is the keyword ``key``.

        All other keywords go to the function, which cannot be given any that are named
        ``key``, ``self`` or ``func``. For the return value and errors, see `add_task`.
        """
        key = kwargs.pop("key", None)
        checks.function(func)
        func, chosen = split(func)
        if kwargs:
            self._warn_of_slips("add_func", func, kwargs)
        return self._add_call(func, args, kwargs, key, None, chosen)

    def add_function(
        self,
        func: Callable[..., Any],
        args: Optional[Iterable[Any]] = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        key: Hashable = None,
        log_exception: bool = True,
        depends_on: Labels = None,
        task_retries: Union[int, Retry, None] = None,
        *,
        timeout: Optional[float] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
        version: Any = None,
        local: Optional[bool] = None,
        keep_remote: Optional[bool] = None,
    ) -> TaskRef:
        """Add a call of ``func(*args, **kwargs)``, with the arguments in containers.

        :param args: the positional arguments; None for none.
        :param kwargs: the keywords; None for none.
        :param key: the label.
        :param log_exception: has no effect.

        For the rest, see `add_task`, and for options `task`.
        """
        func, args, kwargs = checks.call(func, args, kwargs)
        chosen = choose(
            timeout=timeout,
            task_retries=task_retries,
            priority=priority,
            resources=resources,
            trigger_rule=trigger_rule,
            name=name,
            version=version,
            local=local,
            keep_remote=keep_remote,
        )
        func, before = split(func)
        chosen = Chosen({**before, **chosen})
        return self._add_call(func, args, kwargs, key, depends_on, chosen)

    def add_work(self, workload: Iterable[Tuple[Any, ...]]) -> List[TaskRef]:
        """Add many calls, or none of them if one is wrong.

        :param workload: tuples ``(func, args, kwargs, label)``, of which all but the
            function may be left out, from the end. Arguments must be no references.
        :return: what `add_task` returns, for each call, in order.

        For errors, see `add_task`.
        """
        items = checks.work(workload)
        self._life.check_open()  # now: the caller's generator may take long
        context = self._context_of(copy_context())
        tasks: List[Task] = []
        for (func, args, kwargs), label in items:
            if isinstance(label, TaskRef):
                raise misplaced(f"workload item {len(tasks)}: label", label)
            func, chosen = split(func)
            options = self._choice(chosen, ()) if chosen else self._plan.shared
            if referred(args, kwargs):
                raise ValueError(
                    f"workload item {len(tasks)} must be without references: use "
                    "add_task for what depends on other tasks"
                )
            tasks.append(Task(label, call_of(func, args, kwargs, context), options))
        with self._life.checking:  # a start finds all of them, or none
            self._life.check_open()
            self._plan.add_all(tasks)
        return list(tasks)

    def map(
        self,
        fn: Callable[[Any], Any],
        iterable: Union[Iterable[Any], TaskRef],
        *,
        chunksize: Optional[int] = None,
        label: Hashable = None,
        return_exceptions: bool = False,
        depends_on: Labels = None,
    ) -> TaskRef:
        """Add a call of ``fn(item)`` for each item, all as one task.

        Its result is the list of what these return, in order. Chunks of items are done
        side by side, as tasks are. The iterable is not turned into a list: at most a
        few chunks for each worker are taken from it in advance. If items fail, the
        others are done all the same, and then the task fails with a `MapError`; see
        `partial`. A retry calls the function again only for the items that failed.

        :param fn: see `add_task`. For further options, see `task`: its ``timeout`` is
            for all items together.
        :param iterable: the items. It is iterated in threads of the run, by one at a
            time. Or what stands for the result of another task, which is iterated.
        :param chunksize: how many items are done one after another as one piece of
            work; None to choose that by how long they take.
        :param return_exceptions: whether what items raise stands in the list, and does
            not make the task fail. The loss of a whole chunk, when its process ends for
            one, still does. A checkpoint does not record a list with exceptions.

        For the other parameters, the result and the errors, see `add_task`.
        """
        from ..maps.job import MapJob

        checks.function(fn)
        if type(iterable) not in REFERENCES:
            checks.items("iterable", iterable)
        size = None if chunksize is None else checks.whole("chunksize", chunksize, 1)
        exceptions = checks.flag("return_exceptions", return_exceptions)
        func, chosen = split(fn)
        if chosen.get("keep_remote"):
            raise ValueError(
                "keep_remote=True does not go with map(): its result is put together "
                "in this process"
            )
        source = call_of(func, (iterable,), None, self._context_of(copy_context()))
        references = referred(source.args)
        if references:
            from .references import referring

            source = referring(source, chosen.get("trigger_rule"), references)
        job = MapJob(source, size, exceptions)
        return self._add(job, label, depends_on, chosen, references)

    def _add_call(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        label: Any,
        depends_on: Any,
        chosen: Chosen,
    ) -> TaskRef:
        job = call_of(func, args, kwargs, self._context_of(copy_context()))
        references = referred(args, kwargs)
        if references:
            from .references import referring

            job = referring(job, chosen.get("trigger_rule"), references)
        return self._add(job, label, depends_on, chosen, references)

    def _warn_of_slips(self, own: str, func: Any, kwargs: Mapping[str, Any]) -> None:
        from .. import spelling

        for keyword, hint in spelling.hints(func, kwargs, own):
            name = quote(Call(func).name)
            note = (
                f"{own}() passes '{keyword}' on to {name}, which has no such parameter"
            )
            messages.warn(self.log, f"{note}: {hint}")

    def _context_of(self, now: Context) -> Context:
        """A copy of the caller's context; the last one, if that is the same."""
        plan = self._plan
        if not _are_same(now, plan.context):
            plan.context = now
        return plan.context


def _are_same(one: Context, other: Context) -> bool:
    """Whether the same variables are set, to the very same values."""
    return len(one) == len(other) and all(
        var in other and other[var] is value for var, value in one.items()
    )
