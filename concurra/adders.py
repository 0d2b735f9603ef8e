"""How tasks are added: what callers pass is checked, and becomes tasks of a plan."""

from __future__ import annotations

from contextvars import copy_context
from types import FunctionType

from . import checks, command_checks, logs, spelling
from .errors import hidden
from .options import ATTRIBUTE, NOTHING, ONE_FAILED, Chosen, Options
from .options import OwnOptions, check_resources, choose, split
from .references import REFERRING, referred, referring, referring_command
from .references import stand_ins
from .tasks import Call, Command, Task, TaskRef
from .wording import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from contextvars import Context
    from typing import Any, Callable, Dict, Hashable, Iterable, List, Mapping
    from typing import Optional, Sequence, Tuple, Union

    from .command_checks import AnyPath
    from .lifecycle import LifeCycle
    from .plan import Plan
    from .retries import Retry
    from .tasks import Job
    from .types import Arguments

    Labels = Union[str, TaskRef, Iterable[Hashable], None]
    Environment = Mapping[str, Union[str, TaskRef, None]]

__tracebackhide__ = hidden


class Adders:
    """The methods of `TaskRunner` that add tasks; one that raises adds nothing."""

    log: logging.Logger
    _context: Context  # in which the last function was added
    _life: LifeCycle
    _options: Options  # of each task that is given none of its own
    _plan: Plan
    resources: Mapping[str, int]

    def __len__(self) -> int:
        """How many tasks have been added."""
        return len(self._plan.tasks)

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
        :param args: its arguments. What another adder has returned, or `ref`, stands
            for the result of that task, also directly within a list, tuple, set or
            dict; and the call depends on it.
        :param label: its name in the results; None for the number of tasks before it.
        :param depends_on: labels of the tasks that must succeed first. They may be
            added later. A string is one label; None, or False, is none.
        :param task_retries: instead of the runner's; None for the runner's.

        All other keywords go to the function. For further options, see `task`.

        :return: stands for the result, in the arguments of other calls, and for the
            label in ``depends_on``.
        :raises TypeError, ValueError: an argument is wrong, the label is taken, or the
            task would wait for itself, directly or through others.
        :raises RuntimeError: the runner has been started.
        """
        chosen: Chosen
        if type(task) is FunctionType:  # by far the most: no more calls than needed
            found: Any = getattr(task, ATTRIBUTE, NOTHING)
            chosen = found
        else:
            task, chosen = split(checks.function(task))
        if task_retries is not None:
            chosen = Chosen({**chosen, **choose(task_retries=task_retries)})
        if kwargs:
            self._warn_of_slips("add_task", task, kwargs)
        job = Call(task, args, kwargs, self._context_now())
        references = referred(args, kwargs) if args or kwargs else ()
        if references:
            job = referring(job, chosen.get("trigger_rule"), references)
        return self._add(job, label, depends_on, chosen, references)

    def add_func(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> TaskRef:
        """Add a call of ``func(*args, **kwargs)``, its label being the keyword ``key``.

        All other keywords go to the function, but for ``self`` and ``func``.
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
    ) -> TaskRef:
        """Add a call of ``func(*args, **kwargs)``, the arguments being in containers.

        The label is ``key``; ``log_exception`` has no effect. See `add_task`, and for
        the keywords `task`.
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
        )
        func, before = split(func)
        chosen = Chosen({**before, **chosen})
        return self._add_call(func, args, kwargs, key, depends_on, chosen)

    def add_work(self, workload: Iterable[Tuple[Any, ...]]) -> List[TaskRef]:
        """Add many calls, or none of them if one is wrong.

        :param workload: tuples ``(func, args, kwargs, label)``, of which all but the
            function may be left out. For errors, see `add_task`.
        """
        items = checks.work(workload)
        self._life.check_open()  # not before: the caller's generator may take its time
        context = self._context_now()
        tasks: List[Task] = []
        for number, ((func, args, kwargs), label) in enumerate(items, len(self)):
            func, chosen = split(func)
            options = self._choice(chosen, ()) if chosen else self._options
            label = number if label is None else label
            if referred(args, kwargs):
                raise ValueError(
                    f"workload item {len(tasks)} must be without references: use "
                    "add_task for what depends on other tasks"
                )
            tasks.append(Task(label, Call(func, args, kwargs, context), options))
        self._plan.add_all(tasks)
        return list(tasks)

    def add_command(
        self,
        command: Arguments[Union[AnyPath, TaskRef]],
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[AnyPath] = None,
        env: Optional[Environment] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Union[int, Retry, None] = None,
        *,
        timeout: Optional[float] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
        version: Any = None,
        local: Optional[bool] = None,
        stop_signal: Union[str, int, None] = None,
        input: Union[str, bytes, TaskRef, None] = None,
        stderr: Optional[str] = None,
        pass_fds: Iterable[int] = (),
    ) -> TaskRef:
        """Add an external command.

        Its result is a dict with ``command``, ``shell``, ``returncode``, ``stdout``,
        ``stderr`` and ``cwd``.

        :param command: the program and its arguments, a list or tuple of strings. Paths
            and bytes are taken, too; the result has them as strings. A reference to
            another task, here, as a value in ``env`` or as ``input``, stands for its
            result as text: what a command has printed, without the last line end, or
            else ``str()`` of it.
        :param cwd: the directory to run in; None for this process's.
        :param env: variables that are set beside those of this process; None as a value
            unsets one.
        :param check: whether a return code other than 0 makes the task fail. The
            result is there all the same.
        :param capture_output: whether the output goes into the result; otherwise it
            goes where this process prints.
        :param text: whether the output is decoded, by the locale's encoding, and has
            its line ends as ``\\n``; what cannot be decoded is kept as backslash
            escapes.
        :param stop_signal: what asks it to end when it is to stop, such as
            ``"SIGINT"``: a name, a number, or a `signal.Signals`; None for SIGTERM.
            SIGKILL follows after ``terminate_timeout``.
        :param input: what it reads from its standard input, a string or bytes; None
            for nothing. It is a file to the command, so it may be large.
        :param stderr: ``"stdout"`` has errors printed where all else is, in order; the
            result's ``stderr`` is empty then. None keeps them apart.
        :param pass_fds: descriptors that it inherits, under the same numbers. They must
            be open when it starts. For the others, and for errors, see `add_task`.
        """
        given = command, env, input
        references = referred(given)
        if references:
            command, env, input = stand_ins(*given)
        argv = command_checks.exec_argv(command)
        options = command_checks.options(
            *(cwd, env, check, capture_output, text),
            stop_signal=stop_signal,
            input=input,
            stderr=stderr,
            pass_fds=pass_fds,
        )
        chosen = choose(
            timeout=timeout,
            task_retries=task_retries,
            priority=priority,
            resources=resources,
            trigger_rule=trigger_rule,
            name=name,
            version=version,
            local=local,
        )
        job = Command(argv, **options)
        return self._add_command(job, given, references, label, depends_on, chosen)

    def add_shell_command(
        self,
        command: str,
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[AnyPath] = None,
        env: Optional[Environment] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Union[int, Retry, None] = None,
        *,
        timeout: Optional[float] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
        version: Any = None,
        local: Optional[bool] = None,
        stop_signal: Union[str, int, None] = None,
        input: Union[str, bytes, TaskRef, None] = None,
        stderr: Optional[str] = None,
        executable: Optional[AnyPath] = None,
        pass_fds: Iterable[int] = (),
    ) -> TaskRef:
        """Add a line for the system's shell, with pipes, redirections and so on.

        :param executable: the shell to use instead of ``/bin/sh``, by its path.

        For other parameters and errors, see `add_command`.
        """
        given = command, env, input
        references = referred(given)
        if references:
            command, env, input = stand_ins(*given)
        argv = command_checks.shell_argv(command)
        options = command_checks.options(
            *(cwd, env, check, capture_output, text),
            stop_signal=stop_signal,
            input=input,
            stderr=stderr,
            executable=executable,
            pass_fds=pass_fds,
        )
        chosen = choose(
            timeout=timeout,
            task_retries=task_retries,
            priority=priority,
            resources=resources,
            trigger_rule=trigger_rule,
            name=name,
            version=version,
            local=local,
        )
        job = Command(argv, **options)
        return self._add_command(job, given, references, label, depends_on, chosen)

    def _add_call(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        label: Any,
        depends_on: Any,
        chosen: Chosen,
    ) -> TaskRef:
        job = Call(func, args, kwargs, self._context_now())
        references = referred(args, kwargs)
        if references:
            job = referring(job, chosen.get("trigger_rule"), references)
        return self._add(job, label, depends_on, chosen, references)

    def _add_command(
        self,
        job: Command,
        given: Tuple[Any, Any, Any],
        references: Sequence[TaskRef],
        label: Any,
        depends_on: Any,
        chosen: Chosen,
    ) -> TaskRef:
        if references:
            rule = chosen.get("trigger_rule")
            job = referring_command(job, rule, references, given)
        return self._add(job, label, depends_on, chosen, references)

    def _warn_of_slips(self, own: str, func: Any, kwargs: Mapping[str, Any]) -> None:
        for keyword, hint in spelling.hints(func, kwargs, own):
            note = f"{own}() passes '{keyword}' on to {quote(Call(func).name)}, which"
            logs.warn(self.log, f"{note} has no such parameter: {hint}")

    def _context_now(self) -> Context:
        """A copy of the caller's context; the last one, if that is the same."""
        now = copy_context()
        if (now or self._context) and not _are_same(now, self._context):
            self._context = now
        return self._context

    def _add(
        self,
        job: Job,
        label: Any,
        depends_on: Any,
        chosen: Chosen,
        references: Sequence[Any] = (),
    ) -> TaskRef:
        label = len(self._plan.tasks) if label is None else checks.label(label)
        needed: Tuple[Hashable, ...] = ()
        if depends_on is not None:
            single = isinstance(depends_on, TaskRef)
            needed = (depends_on,) if single else checks.labels(depends_on)
            for each in needed:
                if type(each) is Task or type(each) is TaskRef:
                    references = (*needed, *references)
                    break
        if references:
            needed = self._labels((*needed, *references))
        options = self._choice(chosen, needed) if chosen else self._options
        self._life.check_open()
        task = Task(label, job, options)
        self._plan.add(task, needed)
        if type(job) in REFERRING:
            self._plan.referring.append(task)
        return task

    def _labels(self, needed: Sequence[Any]) -> Tuple[Hashable, ...]:
        """Labels in the place of references, each once."""
        labels: Dict[Hashable, None] = {}
        for each in needed:
            if type(each) is Task and self._plan.tasks.get(each.label) is not each:
                raise ValueError(f"{each!r} is of another runner")
            labels[each.label if isinstance(each, TaskRef) else each] = None
        return tuple(labels)

    def _choice(self, chosen: Chosen, needed: Sequence[Hashable]) -> Options:
        """The options of a task of which something was chosen."""
        options = OwnOptions(self._options, chosen)
        check_resources(options.resources, self.resources)
        if options.trigger_rule == ONE_FAILED and not needed:
            raise ValueError(
                "trigger_rule 'one_failed' needs depends_on: a task that depends on "
                "nothing would never start"
            )
        return options


def _are_same(one: Context, other: Context) -> bool:
    """Whether the same variables are set, to the very same values."""
    return len(one) == len(other) and all(
        var in other and other[var] is value for var, value in one.items()
    )
