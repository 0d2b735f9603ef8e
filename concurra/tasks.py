"""Plain values: what to do, and a task in the plan.

Nothing here does anything. A `Task` is written by the plan, and by `dag` while it
grows; `results` may empty its outcome. Times are seconds on the monotonic clock.
"""

from __future__ import annotations

import os
from contextvars import Context
from functools import partial

from .options import DEFAULTS, Options
from .wording import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Final, Hashable, Iterable, List, Mapping
    from typing import NoReturn, Optional, Sequence, Tuple, Union

    from .outcomes import Outcome
    from .types import ExecutionMode

    Job = Union["Call", "Command"]

#: That of `signal`, which takes too long to load for this alone.
SIGTERM: Final = 15

#: The kinds of jobs.
CALL: Final = "call"
COMMAND: Final = "command"
#: Calls that find out what there is to do next: see `maps.job`.
FEED: Final = "feed"


#: In which no variable is set. Many calls share one context; each runs in a copy.
EMPTY = Context()


class Call:
    """A Python function with its positional arguments; see also `FullCall`.

    Most calls have no more, and pay for no more.
    """

    __slots__ = ("func", "args")

    kind = CALL
    #: The keywords; None for none.
    kwargs: Optional[Mapping[str, Any]] = None
    #: Each attempt runs in a copy of it.
    context = EMPTY
    #: Whether it is to be told of the tasks that it depends on: see `references`.
    refers = False
    #: Whether it stays in this process, though the run has an executor; None if that is
    #: as its task's options say.
    here: Optional[bool] = None

    def __init__(self, func: Callable[..., Any], args: Sequence[Any] = ()) -> None:
        self.func = func
        self.args = args

    @property
    def name(self) -> str:
        """The function's name; of a partial, the name of what it wraps."""
        func: Any = self.func
        try:
            name = func.__name__
            if type(name) is str:
                return name
        except Exception:
            if issubclass(type(func), partial):
                return Call(func.func).name
        return type(func).__name__

    #: What is kept of a call that has ended.
    title = name

    def for_executor(self) -> Call:
        """The same call, with an executor's futures for results that it keeps.

        :raises Exception: they cannot be where they are to be.
        """
        return self

    @property
    def identity(self) -> Any:
        """What is equal as long as it does the same."""
        return self.func, tuple(self.args), dict(self.kwargs or {})

    @property
    def module(self) -> Optional[str]:
        """The name of the function's module; of a partial, that of what it wraps."""
        func: Any = self.func
        while issubclass(type(func), partial):
            func = func.func
        try:
            module = func.__module__
        except Exception:
            return None
        return module if type(module) is str else None


class FullCall(Call):
    """A call with keywords, or in a context in which variables are set."""

    __slots__ = ("kwargs", "context")

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
        context: Context = EMPTY,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs or None
        self.context = context


def call_of(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Optional[Mapping[str, Any]],
    context: Context,
) -> Call:
    """The call, with no more than it has."""
    if not kwargs and context is EMPTY:
        return Call(func, args)
    return FullCall(func, args, kwargs, context)


#: The calls that nobody needs once they have been made.
CALLS: Final = frozenset((Call, FullCall))


class Command:
    """An external command; ``argv`` is a string if the shell is to read it.

    ``env`` has variables to set, and None for those to unset. What is ``merged`` prints
    its errors where it prints all else. ``executable`` is the shell to use. ``stdout``
    is the path of a file. ``max_output`` and ``output`` are the run's if they are None.
    """

    __slots__ = (
        *("argv", "cwd", "env", "check", "capture_output", "text"),
        *("stop_signal", "input", "merged", "executable", "pass_fds"),
        *("stdout", "max_output", "output"),
    )

    kind = COMMAND
    refers, here = False, None  # see `Call`

    def __init__(
        self,
        argv: Union[str, List[str]],
        cwd: Optional[str] = None,
        env: Optional[Dict[str, Optional[str]]] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        *,
        stop_signal: int = SIGTERM,
        input: Optional[bytes] = None,
        merged: bool = False,
        executable: Optional[str] = None,
        pass_fds: Tuple[int, ...] = (),
        stdout: Optional[str] = None,
        max_output: Optional[float] = None,
        output: Optional[str] = None,
    ) -> None:
        self.argv = argv
        self.cwd = cwd
        self.env = env
        self.check = check
        self.capture_output = capture_output
        self.text = text
        self.stop_signal = stop_signal
        self.input = input
        self.merged = merged
        self.executable = executable
        self.pass_fds = pass_fds
        self.stdout = stdout
        self.max_output = max_output
        self.output = output

    def ready(self) -> Command:
        """The same command, with all that it needs of others; called when it begins.

        :raises Exception: some of that is not fit for a command.
        """
        return self

    @property
    def identity(self) -> Any:
        """See `Call.identity`; how its output is shown makes no difference."""
        return tuple(getattr(self, name) for name in Command.__slots__[:-1])

    @property
    def read(self) -> Tuple[int, ...]:
        """The streams that are captured: 0 for what it prints, 1 for its errors."""
        found = (0,) if self.stdout is None else ()
        if not self.merged:
            found = (*found, 1)
        return found if self.capture_output else ()

    @property
    def shell(self) -> bool:
        """Whether the shell reads the command."""
        return isinstance(self.argv, str)

    @property
    def name(self) -> str:
        """What stands for a function's name."""
        return "shell_command" if self.shell else "command"

    @property
    def program(self) -> str:
        """The name of the program; "" if a shell's line does not plainly begin with it.

        Nothing else of the command, which may be secret.
        """
        if not isinstance(self.argv, str):
            return os.path.basename(self.argv[0])
        for word in self.argv.split():
            variable, sign, word = word.rpartition("=")
            if not all(each.isalnum() or each in "_-./+" for each in variable + word):
                break
            if not sign:
                return os.path.basename(word)
        return ""

    @property
    def title(self) -> Tuple[str, str]:
        """What is kept of a command that has ended."""
        return self.name, self.program


def _refuse_as_future(reference: TaskRef) -> NoReturn:
    raise AttributeError(
        f"{reference!r} is no future: it stands for the result of its task in the "
        "arguments of others, and run() returns all results"
    )


class TaskRef:
    """Stands for the result of a task, in the arguments of another.

    Adders return one, and so does `ref`. In ``depends_on`` it stands for its label.

    :param label: of that task, kept as ``.label``.
    """

    __slots__ = ("label",)

    def __init__(self, label: Hashable) -> None:
        self.label = label

    def __repr__(self) -> str:
        return f"<TaskRef {show(self.label)}>"

    if not TYPE_CHECKING:  # a `__getattr__` would slow down each look at a task
        result = done = exception = add_done_callback = property(_refuse_as_future)

        def __getitem__(self, part: Any) -> NoReturn:
            whole = "a task that is given it gets the whole result, and takes the part"
            raise TypeError(f"{self!r} has no [{show(part)}] yet: {whole}")

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self!r} stands for a result only as an argument itself, or directly "
            "within a list, tuple, set or dict that is one"
        )


class Errors(list[str]):
    """The errors of attempts that failed, and how the last of these was run."""

    __slots__ = ("mode",)

    def __init__(self, errors: Iterable[str], mode: Optional[ExecutionMode]) -> None:
        super().__init__(errors)
        self.mode = mode


class Task(TaskRef):
    """A job with its place in the plan, and in the end its outcome.

    With its outcome it lets go of its ``job``. ``needs`` are the tasks that it depends
    on; none before the run if some of them are added after it. ``attempts`` counts
    those that were started; ``errors`` has the error of each that failed. ``blockers``
    is the number of dependencies that it still waits for. ``index`` and ``needs`` are
    set by `dag` with its adding, ``order`` and ``component`` once that has a use for
    them.

    :param title: the job's, from those who have it at hand.
    """

    __slots__ = (
        "title",
        "index",
        "order",
        "component",
        "job",
        "options",
        "needs",
        "blockers",
        "attempts",
        "errors",
        "started",
        "ended",
        "outcome",
    )

    index: int
    order: int
    component: Sequence[Task]

    #: The task that this is a part of, if it is no task of the plan: see `map_state`.
    whole: Optional[Task] = None

    def __init__(
        self,
        label: Hashable,
        job: Job,
        options: Options = DEFAULTS,
        title: Union[str, Tuple[str, str], None] = None,
    ) -> None:
        self.label = label
        self.title: Union[str, Tuple[str, str]] = title or job.title
        self.job: Optional[Job] = job
        self.options = options
        self.needs: Sequence[Task] = ()
        self.blockers = 0
        self.attempts = 0
        self.errors: Sequence[str] = ()
        self.started: Optional[float] = None
        self.ended: Optional[float] = None
        self.outcome: Optional[Outcome] = None

    @property
    def name(self) -> str:
        """What the report's table shows of it."""
        title = self.title
        return self.options.name or (title if type(title) is str else title[0])

    @property
    def program(self) -> str:
        """The name of a command's program, as far as it is known; else ""."""
        return "" if isinstance(self.title, str) else self.title[1]

    @property
    def failed_mode(self) -> Optional[ExecutionMode]:
        """How the last attempt was run that failed; None if there was none."""
        errors = self.errors
        return errors.mode if isinstance(errors, Errors) else None

    @property
    def last_mode(self) -> Optional[ExecutionMode]:
        """How the last attempt was run that began; None if there was none."""
        outcome = self.outcome
        return (outcome and outcome.mode) or self.failed_mode


REFERENCES: Final = frozenset((Task, TaskRef))

#: Where references are looked for, in arguments of just these types.
CONTAINERS: Final = frozenset((list, tuple, set, frozenset, dict))


def label_of(given: Hashable, tasks: Optional[Mapping[Hashable, Task]] = None) -> Any:
    """A label that was given, or that of the task for which a reference stands.

    :param tasks: those of the runner by label, if it has to be one of them.
    :raises ValueError: another runner has returned the reference.
    """
    if not isinstance(given, TaskRef):
        return given
    label = given.label
    if tasks is not None and type(given) is Task and tasks.get(label) is not given:
        raise ValueError(f"{given!r} is of another runner")
    return label


def referred(args: Sequence[Any], kwargs: Mapping[str, Any] = {}) -> List[TaskRef]:
    """The references among arguments, in order; each once."""
    found: Dict[TaskRef, None] = {}
    for value in (*args, *kwargs.values()) if kwargs else args:
        kind = type(value)
        if kind in REFERENCES:
            found[value] = None
        elif kind in CONTAINERS:
            within = value.values() if kind is dict else value
            if not REFERENCES.isdisjoint(map(type, within)):  # quick, if it is long
                found.update(
                    (each, None) for each in within if type(each) in REFERENCES
                )
    return list(found)
