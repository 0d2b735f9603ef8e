"""What editors and type checkers are told of arguments and results."""

from __future__ import annotations

from typing import (
    Any,
    Iterator,
    List,
    Literal,
    Optional,
    Protocol,
    TypeVar,
    TypedDict,
    Union,
)

Status = Literal["Successful", "Failed", "Terminated"]
ExecutionMode = Literal[
    "thread", "process", "thread_fallback", "subprocess", "executor"
]


_Item = TypeVar("_Item", covariant=True)


class Arguments(Protocol[_Item]):
    """A list or tuple: what a string, which is a sequence of strings, is not."""

    def __getitem__(self, index: int, /) -> _Item: ...

    def __contains__(self, value: object, /) -> bool: ...

    def __iter__(self) -> Iterator[_Item]: ...

    def __len__(self) -> int: ...


class Executor(Protocol):
    """What runs functions elsewhere.

    Its ``submit`` returns futures, which have ``result()``, ``cancel()`` and
    ``add_done_callback(function)``.
    """

    @property
    def submit(self) -> Any:
        """Called with a function and its arguments."""


class Result(TypedDict):
    """What became of a task: the values of the dict that a run returns.

    A plain dict, made for the caller, who may change it. A type checker lets values
    be replaced, but keys neither added nor removed; ``dict(result)`` has no such
    limits.
    """

    task_name: str
    start_time: str
    end_time: str
    duration: str
    duration_seconds: float
    result: Any
    error: Optional[str]
    trace: Optional[str]
    status: Status
    has_failed: bool
    output: Any
    execution_mode: Optional[ExecutionMode]
    warning: Optional[str]
    attempts: int
    task_retries: int
    retried: bool
    retry_errors: List[str]


class CommandResult(TypedDict):
    """What a command's ``result`` holds: a plain dict.

    ``command`` is a list, or a string if it was a line for the shell.
    ``returncode`` is the negative number of the signal if one ended the command.
    ``stdout`` and ``stderr`` are strings; bytes after ``text=False``, None after
    ``capture_output=False``. They are typed as `Any`, as a caller knows which of these
    they are, and a type checker does not.
    """

    command: Union[str, List[str]]
    shell: bool
    returncode: int
    stdout: Any
    stderr: Any
    cwd: Optional[str]
