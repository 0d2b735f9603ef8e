"""Every error of concurra's own.

::

    Exception
    └── ConcurraError
        ├── CommandExecutionError (RuntimeError)  a command ended with a code not 0
        ├── DuplicateLabelError (ValueError)      a label was given twice
        ├── CircularDependencyError (ValueError)  a task would wait for itself
        ├── UnknownDependencyError (ValueError)   a task waits for one never added
        ├── LifeCycleError (RuntimeError)         a call came at the wrong time
        ├── MapError (RuntimeError)               items of a map failed
        ├── CheckpointError (ValueError)          a file cannot serve as a checkpoint
        ├── ExecutionError                        a run ended with failures
        └── RemoteTraceback                       where a task raised an error

Each is also the builtin in brackets, so ``except ValueError`` keeps working.
Wrong arguments are plain ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

from itertools import islice

from .wording import ending, name, quote, show

#: How many labels a message shows at the most, of a way round at each end.
_SHOWN = 10

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Dict, Hashable, Mapping, Optional
    from typing import Sequence, Union

    from .types import Result

__all__ = [
    "CheckpointError",
    "CircularDependencyError",
    "CommandExecutionError",
    "ConcurraError",
    "DuplicateLabelError",
    "ExecutionError",
    "LifeCycleError",
    "MapError",
    "RemoteTraceback",
    "UnknownDependencyError",
]

#: A failed command's message quotes at most so many characters, the output's last.
QUOTED = 500


class ConcurraError(Exception):
    """The base of all errors of this library."""


class CommandExecutionError(ConcurraError, RuntimeError):
    """A command ended with a return code other than 0, or by a signal.

    No call raises it: a failed command's ``error`` has its name and message, and
    `TaskRunner.exception` returns it.

    :param result: the command's structured result, kept as ``.result``.
    """

    def __init__(self, result: Mapping[str, Any]) -> None:
        self.result = result
        message = f"Command {_ending(self.returncode)}"
        output = _text(self.stderr).strip() or _text(self.stdout).strip()
        if len(output) > QUOTED:  # tools say last what went wrong
            output = f"... {output[-QUOTED:]}"
        if output:
            message += f": {output}"
        super().__init__(message)

    @property
    def command(self) -> Union[str, Sequence[str], None]:
        """The command as it was given."""
        return self.result.get("command")

    @property
    def returncode(self) -> Optional[int]:
        """The exit code; the negative signal number if a signal ended the command."""
        return self.result.get("returncode")

    @property
    def stdout(self) -> Union[str, bytes, None]:
        """What the command printed; None if it was not captured."""
        return self.result.get("stdout")

    @property
    def stderr(self) -> Union[str, bytes, None]:
        """What the command printed as errors; None if it was not captured."""
        return self.result.get("stderr")

    def __reduce__(self) -> Any:
        return type(self), (self.result,)


class DuplicateLabelError(ConcurraError, ValueError):
    """The caller gave a task a label that another task has: ``.label``."""

    def __init__(self, label: Hashable) -> None:
        self.label = label
        message = f"Task {quote(label)} exists already: labels must be unique."
        if type(label) is int:
            message += " A task without a label is named by its number."
        super().__init__(message)

    def __reduce__(self) -> Any:
        return type(self), (self.label,)


class CircularDependencyError(ConcurraError, ValueError):
    """The caller added a task that would wait for itself.

    ``.cycle`` has the labels along the cycle, from the task that closed it back to that
    task. If it is long, the message has its two ends.
    """

    def __init__(self, cycle: Sequence[Hashable]) -> None:
        self.cycle = tuple(cycle)
        if len(self.cycle) == 2:
            message = f"Task {quote(self.cycle[0])} cannot depend on itself."
        else:
            message = f"Circular dependency detected: {_path(self.cycle)}."
        super().__init__(message)

    def __reduce__(self) -> Any:
        return type(self), (self.cycle,)


def _path(cycle: Sequence[Hashable]) -> str:
    """A way round in words; of a long one both ends, and how much is left out."""
    left_out = len(cycle) - 2 * _SHOWN
    if left_out <= 0:
        return " -> ".join(map(name, cycle))
    first, last = map(name, cycle[:_SHOWN]), map(name, cycle[-_SHOWN:])
    return " -> ".join([*first, f"... ({left_out} more) ...", *last])


class UnknownDependencyError(ConcurraError, ValueError):
    """The caller started a run in which tasks wait for labels that do not exist.

    ``.unknown`` maps each such task's label to the labels that are missing; if these
    are many, the message has the first. The runner has not started: add what is missing
    and start it again.

    :param hint: a sentence on what may have been meant; "" for none.
    """

    def __init__(
        self, unknown: Mapping[Hashable, Sequence[Hashable]], hint: str = ""
    ) -> None:
        self.unknown = dict(unknown)
        self._hint = hint
        told = _first(
            "; ",
            self.unknown.items(),
            lambda item: f"{name(item[0])} depends on [{_first(', ', item[1], show)}]",
        )
        message = f"Unknown task dependency label(s): {told}."
        super().__init__(f"{message} {hint}" if hint else message)

    def __reduce__(self) -> Any:
        return type(self), (self.unknown, self._hint)


def _first(separator: str, items: Collection[Any], tell: Callable[[Any], str]) -> str:
    """The first of some items in words, and how many are left out."""
    told = [tell(item) for item in islice(items, _SHOWN)]
    if len(items) > _SHOWN:
        told.append(f"... ({len(items) - _SHOWN} more)")
    return separator.join(told)


class LifeCycleError(ConcurraError, RuntimeError):
    """A call came at the wrong time, or from where it cannot be answered.

    Before the start or after it, during the run, from a task or log handler that
    would wait for itself, in a forked copy, or in a worker that imports the script.
    """


class MapError(ConcurraError, RuntimeError):
    """Items that were given to `TaskRunner.map` failed.

    No call raises it: the task's ``error`` has its name and message, and
    `TaskRunner.exception` returns it. Its ``__cause__`` is what the first of these
    items has raised.

    :param errors: the text of each error, by the index of the item, from 0 on.
    :param total: the number of items; of an iterable without a length, of those that
        were taken from it.
    """

    def __init__(self, errors: Mapping[int, str], total: int) -> None:
        self.errors: Dict[int, str] = dict(errors)
        self.total = total
        first = min(self.errors)
        super().__init__(
            f"{len(self.errors)} of {total} items failed, the first of them item "
            f"{first}: {self.errors[first]}"
        )

    def __reduce__(self) -> Any:
        return type(self), (self.errors, self.total)


class CheckpointError(ConcurraError, ValueError):
    """A file cannot serve as a checkpoint: another run has it, or it is none."""


class ExecutionError(ConcurraError):
    """A run ended with tasks that did not succeed; the message is the report.

    :param message: the report as the log would have it, where long texts are cut.
    :param results: every task's result, by label.
    :param failed: the results whose ``has_failed`` is true, by label.
    :param exceptions: what each of these has raised, by label. The first is the
        ``__cause__``. They are not sent along to another process.
    """

    def __init__(
        self,
        message: str,
        results: Mapping[Any, Result],
        failed: Mapping[Any, Result],
        exceptions: Mapping[Any, BaseException] = {},
    ) -> None:
        self.results: Dict[Any, Result] = dict(results)
        self.failed: Dict[Any, Result] = dict(failed)
        self.exceptions: Dict[Any, BaseException] = dict(exceptions)
        super().__init__(message)

    def __reduce__(self) -> Any:
        return type(self), (str(self), self.results, self.failed)


class RemoteTraceback(ConcurraError):
    """The traceback of an error, as text.

    It ends the chain of causes of what `TaskRunner.exception` returns.

    :param trace: the text, kept as ``.trace``.
    """

    def __init__(self, trace: str) -> None:
        self.trace = trace
        super().__init__(f'\n"""\n{trace}"""')

    def __reduce__(self) -> Any:
        return type(self), (self.trace,)


def hidden(caught: Any) -> bool:
    """Whether pytest is to hide the frames of our modules from what it has caught.

    It is if that is one of our errors: those are about what the caller has done. To be
    put into a module as ``__tracebackhide__``.
    """
    return issubclass(getattr(caught, "type", ConcurraError), ConcurraError)


def _ending(code: Optional[int]) -> str:
    if code is not None and code < 0:
        return ending(code)
    return f"exited with return code {code}"


def _text(output: Union[str, bytes, None]) -> str:
    if isinstance(output, bytes):
        return output.decode(errors="backslashreplace")
    return output or ""
