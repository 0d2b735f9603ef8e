"""Plain values: what to do, a task in the plan, and how it came out.

Nothing here does anything. A `Task` is written by three calls of the plan
(``add``, ``take``, ``settle``) and read by one of `results`. Times are seconds
on the monotonic clock.
"""

from __future__ import annotations

from functools import partial

from .errors import CommandExecutionError, kind, name, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Final, Hashable, List, Mapping, Optional
    from typing import Sequence, Tuple, Union

    from .types import CommandResult, ExecutionMode, Status

    Job = Union["Call", "Command"]

SUCCESSFUL: Final = "Successful"
FAILED: Final = "Failed"
TERMINATED: Final = "Terminated"

PICKLE_WARNING = "Task was not picklable and thread fallback is disabled"
PICKLE_HINT = """\
(What goes to a process must be picklable: a function at the top level of a module, with
arguments of that kind. With fallback_to_thread_on_pickle_error=True the rest is run in
threads.)
"""
FALLBACK_WARNING = "Task was not picklable; ran in thread fallback"

#: The packages whose frames are left out of tracebacks.
_OWN = ("concurra", "concurra.workers")


class Call:
    """A Python function with its arguments; ``kwargs`` is None for none."""

    __slots__ = ("func", "args", "kwargs")

    def __init__(
        self,
        func: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self.func = func
        self.args = args
        self.kwargs = kwargs or None

    @property
    def name(self) -> str:
        """The function's name; of a partial, the name of what it wraps."""
        func: Any = self.func
        try:
            if type(func.__name__) is str:
                return func.__name__
        except Exception:
            if issubclass(type(func), partial):
                return Call(func.func).name
        return type(func).__name__

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


class Command:
    """An external command; ``argv`` is a string if the shell is to read it."""

    __slots__ = ("argv", "cwd", "env", "check", "capture_output", "text")

    def __init__(
        self,
        argv: Union[str, List[str]],
        cwd: Optional[str] = None,
        env: Optional[Dict[str, str]] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
    ) -> None:
        self.argv = argv
        self.cwd = cwd
        self.env = env
        self.check = check
        self.capture_output = capture_output
        self.text = text

    @property
    def shell(self) -> bool:
        """Whether the shell reads the command."""
        return isinstance(self.argv, str)

    @property
    def name(self) -> str:
        """What stands for a function's name."""
        return "shell_command" if self.shell else "command"


class Task:
    """A job with its place in the plan, and in the end its outcome.

    ``attempts`` counts the attempts that were started; ``errors`` has the error of
    each that failed, ``mode`` is how the last of these was run. ``blockers`` is the
    number of dependencies that have not succeeded yet. ``order`` and ``island`` belong
    to `dag`, which sets them once it has a use for them.
    """

    __slots__ = (
        "label",
        "index",
        "order",
        "island",
        "job",
        "retries",
        "depends_on",
        "dependents",
        "blockers",
        "attempts",
        "errors",
        "started",
        "ended",
        "mode",
        "outcome",
    )

    order: int
    island: Sequence[Task]

    def __init__(
        self,
        label: Hashable,
        job: Job,
        depends_on: Tuple[Hashable, ...] = (),
        retries: int = 0,
    ) -> None:
        self.label = label
        self.index = -1
        self.job = job
        self.retries = retries
        self.depends_on = depends_on
        self.dependents: Sequence[Task] = ()
        self.blockers = 0
        self.attempts = 0
        self.errors: Sequence[str] = ()
        self.started: Optional[float] = None
        self.ended: Optional[float] = None
        self.mode: Optional[ExecutionMode] = None
        self.outcome: Optional[Outcome] = None


class Outcome:
    """How an attempt ended: one value, whether it went well or not.

    :param status: one of the three documented ones.
    :param mode: how the attempt was run; None if it never began.
    :param value: what the task returned.
    :param error: ``"ExcType: message"``.
    :param trace: text that helps to understand the error, or an object whose
        ``str()`` does: a terminated command may go on printing until it is dead.
    :param warning: a note for the user.
    :param retry: whether another attempt may help.
    :param fault: whether the task itself went wrong, instead of suffering what
        befell others (a skip, an abort).
    """

    __slots__ = (
        "status",
        "mode",
        "value",
        "error",
        "trace",
        "warning",
        "retry",
        "fault",
    )

    def __init__(
        self,
        status: Status,
        mode: Optional[ExecutionMode],
        value: Any = None,
        error: Optional[str] = None,
        trace: Optional[object] = None,
        warning: Optional[str] = None,
        retry: bool = False,
        fault: bool = False,
    ) -> None:
        self.status = status
        self.mode = mode
        self.value = value
        self.error = error
        self.trace = trace
        self.warning = warning
        self.retry = retry
        self.fault = fault

    #: Whether no attempt was made, for want of what another worker may have.
    declined = False

    @property
    def ok(self) -> bool:
        """Whether the task succeeded."""
        return self.status is SUCCESSFUL

    @property
    def grows(self) -> bool:
        """Whether the trace may not be complete yet."""
        told = self.trace is None or isinstance(self.trace, str)
        return self.status is TERMINATED and not told

    @classmethod
    def failed(
        cls,
        mode: Optional[ExecutionMode],
        error: str,
        trace: Optional[object] = None,
        *,
        value: Any = None,
        warning: Optional[str] = None,
        retry: bool = False,
    ) -> Outcome:
        """The attempt went wrong by itself."""
        return cls(FAILED, mode, value, error, trace, warning, retry, True)

    @classmethod
    def raised(cls, mode: Optional[ExecutionMode], error: BaseException) -> Outcome:
        """The task's own code raised ``error``; the trace begins in that code."""
        text, trace = describe(error)
        return cls.failed(mode, text, trace, retry=True)

    @classmethod
    def unpicklable(cls, error: str, trace: str) -> Outcome:
        """The job cannot be sent to another process, so it never began."""
        return cls.failed(None, error, trace + PICKLE_HINT, warning=PICKLE_WARNING)

    @classmethod
    def lost(cls, mode: Optional[ExecutionMode], how: str) -> Outcome:
        """The worker process died, and ``how`` (words).

        What has begun may have had its effects, and only an exception says that it
        may be done again.
        """
        error = f"RuntimeError: Worker process {how}"
        return cls.failed(mode, error, retry=mode is None)

    @classmethod
    def exited(
        cls, mode: ExecutionMode, result: CommandResult, trace: object
    ) -> Outcome:
        """A command that is checked ended with a code other than 0."""
        error = CommandExecutionError(result)
        text = f"{type(error).__name__}: {error}"
        return cls.failed(mode, text, trace, value=result, retry=True)

    @classmethod
    def timed_out(
        cls, timeout: float, mode: Optional[ExecutionMode], trace: Optional[object]
    ) -> Outcome:
        """The task was at work for longer than ``timeout`` seconds."""
        error = f"TimeoutError: Task exceeded timeout of {timeout} seconds"
        return cls(TERMINATED, mode, None, error, trace, warning_of(mode), fault=True)

    @classmethod
    def stopped(
        cls, mode: Optional[ExecutionMode] = None, trace: Optional[object] = None
    ) -> Outcome:
        """Everything was stopped while the task was at work, or waited."""
        error = "RuntimeError: Execution terminated before completion"
        return cls(TERMINATED, mode, None, error, trace, warning_of(mode))

    @classmethod
    def skipped(cls, labels: Sequence[Hashable]) -> Outcome:
        """The tasks with these ``labels`` were needed, and did not succeed."""
        names = ", ".join(map(show, labels))
        error = f"Skipped: dependency [{names}] failed or was terminated"
        return cls(TERMINATED, None, None, f"RuntimeError: {error}")


class Declined(Outcome):
    """Something that any job needs could not be had: a process, a thread, a pipe."""

    __slots__ = ()
    declined = True


def describe(error: BaseException) -> Tuple[str, str]:
    """The text ``"ExcType: message"`` of an error, and its traceback.

    Never raises. Concurra's own frames, the outermost, are left out, unless there are
    no others.
    """
    try:
        text = f"{kind(error)}: {name(error)}"
    except BaseException:  # the error's __str__ raises KeyboardInterrupt
        text = f"{kind(error)}: <unprintable {kind(error)}>"
    try:
        import traceback

        frames = error.__traceback__
        while frames and frames.tb_frame.f_globals.get("__package__") in _OWN:
            frames = frames.tb_next
        frames = frames or error.__traceback__
        trace = "".join(traceback.format_exception(type(error), error, frames))
    except BaseException:  # formatting calls the user's code, and may lack memory
        trace = text
    return text, trace


def warning_of(mode: Optional[ExecutionMode]) -> Optional[str]:
    """What is to be noted of a task that was terminated after it began in this mode."""
    return FALLBACK_WARNING if mode == "thread_fallback" else None


def ending(exitcode: Optional[int]) -> str:
    """How a process ended, in words."""
    if exitcode is None:
        return "ended without an exit code"
    if exitcode >= 0:
        return f"exited with code {exitcode}"
    import signal

    try:
        cause = signal.Signals(-exitcode).name
    except ValueError:
        cause = f"signal {-exitcode}"
    if -exitcode == getattr(signal, "SIGKILL", None):
        cause += " (signal 9, probably out of memory)"
    return f"was killed by {cause}"
