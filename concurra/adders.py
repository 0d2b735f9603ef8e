"""How tasks are added: what callers pass is checked, and becomes tasks of a plan."""

from __future__ import annotations

from . import checks
from .errors import hidden
from .options import Options
from .tasks import Call, Command, Task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Hashable, Iterable, List, Mapping
    from typing import Optional, Tuple, Union

    from .checks import StrPath
    from .lifecycle import LifeCycle
    from .plan import Plan
    from .tasks import Job

    Labels = Union[str, Iterable[Hashable], None]

__tracebackhide__ = hidden


class Adders:
    """The methods of `TaskRunner` that add tasks; one that raises adds nothing."""

    _life: LifeCycle
    _options: Options  # of each task that is given none of its own
    _plan: Plan

    def __len__(self) -> int:
        """How many tasks have been added."""
        return len(self._plan.tasks)

    def add_task(
        self,
        task: Callable[..., Any],
        *args: Any,
        label: Hashable = None,
        depends_on: Labels = None,
        task_retries: Optional[int] = None,
        **kwargs: Any,
    ) -> None:
        """Add a call of ``task(*args, **kwargs)``.

        :param task: a function, or anything callable. If it is ``async def``, it is
            awaited, in an event loop of its own.
        :param label: its name in the results; None for the number of tasks before it.
        :param depends_on: labels of the tasks that must succeed first. They may be
            added later. A string is one label; None, or False, is none.
        :param task_retries: instead of the runner's; None for the runner's.
        :raises TypeError, ValueError: an argument is wrong, the label is taken, or the
            task would wait for itself, directly or through others.
        :raises RuntimeError: the runner has been started.
        """
        checks.function(task)
        self._add(Call(task, args, kwargs), label, depends_on, task_retries)

    def add_func(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Add a call of ``func(*args, **kwargs)``, its label being the keyword ``key``.

        All other keywords go to the function, but for ``self`` and ``func``.
        """
        key = kwargs.pop("key", None)
        checks.function(func)
        self._add(Call(func, args, kwargs), key)

    def add_function(
        self,
        func: Callable[..., Any],
        args: Optional[Iterable[Any]] = None,
        kwargs: Optional[Mapping[str, Any]] = None,
        key: Hashable = None,
        log_exception: bool = True,
        depends_on: Labels = None,
        task_retries: Optional[int] = None,
    ) -> None:
        """Add a call of ``func(*args, **kwargs)``, the arguments being in containers.

        The label is ``key``; ``log_exception`` has no effect. See `add_task`.
        """
        self._add(Call(*checks.call(func, args, kwargs)), key, depends_on, task_retries)

    def add_work(self, workload: Iterable[Tuple[Any, ...]]) -> None:
        """Add many calls, or none of them if one is wrong.

        :param workload: tuples ``(func, args, kwargs, label)``, of which all but the
            function may be left out. For errors, see `add_task`.
        """
        items = checks.work(workload)
        self._life.check_open()  # not before: the caller's generator may take its time
        tasks = [
            Task(number if label is None else label, Call(*call), self._options)
            for number, (call, label) in enumerate(items, len(self))
        ]
        self._plan.add_all(tasks)

    def add_command(
        self,
        command: Union[List[str], Tuple[str, ...]],
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[StrPath] = None,
        env: Optional[Mapping[str, str]] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Optional[int] = None,
    ) -> None:
        """Add an external command.

        Its result is a dict with ``command``, ``shell``, ``returncode``, ``stdout``,
        ``stderr`` and ``cwd``. It reads nothing: its standard input is empty.

        :param command: the program and its arguments, a list or tuple of strings.
        :param cwd: the directory to run in; None for this process's.
        :param env: variables that are set beside those of this process.
        :param check: whether a return code other than 0 makes the task fail. The
            result is there all the same.
        :param capture_output: whether the output goes into the result; otherwise it
            goes where this process prints.
        :param text: whether the output is decoded, by the locale's encoding, and has
            its line ends as ``\\n``; what cannot be decoded is kept as backslash
            escapes. For the others, and for errors, see `add_task`.
        """
        argv = checks.exec_argv(command)
        options = checks.command(argv, cwd, env, check, capture_output, text)
        self._add(Command(*options), label, depends_on, task_retries)

    def add_shell_command(
        self,
        command: str,
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[StrPath] = None,
        env: Optional[Mapping[str, str]] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Optional[int] = None,
    ) -> None:
        """Add a line for the system's shell, with pipes, redirections and so on.

        For parameters and errors, see `add_command`.
        """
        argv = checks.shell_argv(command)
        options = checks.command(argv, cwd, env, check, capture_output, text)
        self._add(Command(*options), label, depends_on, task_retries)

    def _add(
        self, job: Job, label: Any, depends_on: Any = None, task_retries: Any = None
    ) -> None:
        label = len(self._plan.tasks) if label is None else checks.label(label)
        needed = checks.labels(depends_on)
        options = self._options
        if task_retries is not None:
            options = Options(checks.whole("task_retries", task_retries, least=0))
        self._life.check_open()
        self._plan.add(Task(label, job, options), needed)
