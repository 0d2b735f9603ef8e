"""How an attempt came out: one value with one cause, from which all else follows.

===========  ==========  ======  =====  ======================================
cause        status      fault   retry  what happened
===========  ==========  ======  =====  ======================================
SUCCESS      Successful                 the job returned
ERROR        Failed      yes     yes    the job raised
EXIT         Failed      yes     yes    the command's return code was not 0
UNPICKLABLE  Failed      yes            the job, or its value, cannot be sent
LOST         Failed      yes     (1)    the worker ended without an answer
UNAVAILABLE  Failed      yes     (2)    no worker could be had for the job
TIMEOUT      Terminated  yes            the job took too long
ABORT        Terminated                 everything was stopped
CANCEL       Terminated                 the task alone was cancelled
SKIP         Terminated                 a dependency did not succeed
UNTRIGGERED  Terminated                 (3) what it waits for did not happen
===========  ==========  ======  =====  ======================================

*fault*: the task itself went wrong, instead of suffering what befell others.
*retry*: another attempt may help. (1) Only if the job had not begun: what has begun
may have had its effects, and only an exception says that it may be done again.
(2) Only if an attempt was made: a program could not be started.
(3) It was to run after a failure, and there was none. That is no failure either.
"""

from __future__ import annotations

from .errors import CommandExecutionError
from .wording import (
    FALLBACK_WARNING,
    PICKLE_HINT,
    PICKLE_WARNING,
    Trace,
    outline,
    show,
    stripped,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Final, Hashable, Optional, Sequence, Union

    from .types import CommandResult, ExecutionMode, Result, Status

SUCCESSFUL: Final = "Successful"
FAILED: Final = "Failed"
TERMINATED: Final = "Terminated"

SUCCESS: Final = "success"
ERROR: Final = "error"
EXIT: Final = "exit"
UNPICKLABLE: Final = "unpicklable"
LOST: Final = "lost"
UNAVAILABLE: Final = "unavailable"
TIMEOUT: Final = "timeout"
ABORT: Final = "abort"
CANCEL: Final = "cancel"
SKIP: Final = "skip"
UNTRIGGERED: Final = "untriggered"
#: Not of a task, but of what was done for one: see `map_state`.
PART: Final = "part"

#: The documented status of each cause.
STATUS: Dict[str, Status] = {
    SUCCESS: SUCCESSFUL,
    **dict.fromkeys((ERROR, EXIT, UNPICKLABLE, LOST, UNAVAILABLE), FAILED),
    **dict.fromkeys((TIMEOUT, ABORT, CANCEL, SKIP, UNTRIGGERED), TERMINATED),
}

#: What is no fault of the task itself.
_INNOCENT = (SUCCESS, ABORT, CANCEL, SKIP, UNTRIGGERED)


def is_fault(cause: Optional[str]) -> bool:
    """Whether a task with this cause went wrong by itself; None if it has not ended."""
    return cause is not None and cause not in _INNOCENT


class Remark:
    """A text that may come later; empty until then."""

    __slots__ = ("text",)

    def __init__(self) -> None:
        self.text = ""

    def __str__(self) -> str:
        return self.text


class AtHand:
    """What a worker is at: one immutable value, so that nobody sees half of it.

    :param mode: how the job is run; None if none has begun.
    :param transcript: what it has printed so far, by ``str()``; None for nothing.
    :param remark: what is to be noted of it if it is terminated; None for nothing.
    :param place: where it was if it is terminated, by ``str()``; None for nothing.
    """

    __slots__ = ("mode", "transcript", "remark", "place")

    def __init__(
        self,
        mode: Optional[ExecutionMode],
        transcript: Optional[object] = None,
        remark: Optional[Remark] = None,
        place: Optional[object] = None,
    ) -> None:
        self.mode = mode
        self.transcript = transcript
        self.remark = remark
        self.place = place


NOTHING: Final = AtHand(None)


class Outcome:
    """How an attempt ended, or why there was none.

    :param cause: one of those above.
    :param mode: how the attempt was run; None if it never began.
    :param value: what the task returned.
    :param error: ``"ExcType: message"``, or an object whose ``str()`` is that.
    :param trace: text that helps to understand the error, or an object whose
        ``str()`` does: a terminated command may go on printing until it is dead, and
        where a function was is looked up when it is read.
    :param warning: a note for the user, or an object whose ``str()`` is that: what
        could not be killed shows later; empty for none.

    ``exception`` is the error itself, if it is known: without a traceback, or as it was
    pickled in another process. ``final`` tells that there is no further attempt,
    whatever the cause. ``result`` is the result as an earlier run has recorded it, of
    what was `Restored`.
    """

    __slots__ = (
        *("cause", "mode", "value", "error", "trace", "warning"),
        *("exception", "final"),
    )

    result: Optional[Result] = None

    def __init__(
        self,
        cause: str,
        mode: Optional[ExecutionMode],
        value: Any = None,
        error: Optional[object] = None,
        trace: Optional[object] = None,
        warning: Optional[object] = None,
    ) -> None:
        self.cause = cause
        self.mode = mode
        self.value = value
        self.error = error
        self.trace = trace
        self.warning = warning
        self.exception: Union[BaseException, bytes, None] = None
        self.final = False

    @property
    def status(self) -> Status:
        """One of the three documented ones."""
        return STATUS[self.cause]

    @property
    def ok(self) -> bool:
        """Whether the task succeeded."""
        return self.cause is SUCCESS

    @property
    def fault(self) -> bool:
        """Whether the task itself went wrong."""
        return is_fault(self.cause)

    @property
    def failed(self) -> bool:
        """Whether something went wrong, with the task or before it."""
        return self.cause is not SUCCESS and self.cause is not UNTRIGGERED

    @property
    def retry(self) -> bool:
        """Whether another attempt may help."""
        cause = self.cause
        if self.final:
            return False
        if cause is LOST:
            return self.mode is None
        if cause is UNAVAILABLE:
            return self.mode is not None
        return cause is ERROR or cause is EXIT

    def emptied(self) -> Outcome:
        """The same outcome without a value."""
        if self.value is None and self.exception is None and self.trace is None:
            return self
        if self.cause is SUCCESS and self.warning is None:
            plain = Outcome(SUCCESS, self.mode)
            return _SUCCESSES.setdefault(self.mode, plain)  # there may be many
        return Outcome(self.cause, self.mode, None, self.error, None, self.warning)

    def of(self, mode: ExecutionMode) -> Outcome:
        """The same outcome, of an attempt in this mode."""
        outcome = Outcome(self.cause, mode, self.value, self.error, self.trace)
        outcome.warning = self.warning
        outcome.exception = self.exception
        outcome.final = self.final
        return outcome

    @property
    def grows(self) -> bool:
        """Whether the trace or the warning may not be complete yet."""
        told = self.trace is None or isinstance(self.trace, str)
        if isinstance(self.warning, Remark):
            return True
        return not told and self.cause is not EXIT

    def refuse(self, refusal: Optional[str]) -> None:
        """Rule out another attempt, unless ``refusal`` is None.

        :param refusal: what is to be added to the text of the error.
        """
        if refusal is not None:
            self.final = True
            self.error = f"{self.error}{refusal}"

    def render_trace(self) -> None:
        """Make its trace into text, as there is no attempt after this one."""
        if type(self.trace) is Trace:
            self.trace = str(self.trace)

    @classmethod
    def raised(
        cls,
        mode: Optional[ExecutionMode],
        error: BaseException,
        cause: str = ERROR,
        *,
        last: bool = True,
    ) -> Outcome:
        """The job raised ``error``, or something did for it.

        The trace begins in the job's own code.

        :param last: False if there may be another attempt: whoever gets it calls
            `render_trace` if there is none after all.
        """
        text, trace = outline(error)
        outcome = cls(cause, mode, None, text, str(trace) if last else trace)
        outcome.exception = stripped(error)
        return outcome

    @classmethod
    def unpicklable(
        cls, error: str, trace: str, cause: Optional[str] = None
    ) -> Outcome:
        """The job cannot be sent to another process, so it never began.

        :param cause: words for what is known of the cause.
        """
        if cause is not None:
            error = f"{error} ({cause})"
            return cls(UNPICKLABLE, None, None, error, trace, PICKLE_WARNING)
        return cls(UNPICKLABLE, None, None, error, trace + PICKLE_HINT, PICKLE_WARNING)

    @classmethod
    def lost(cls, mode: Optional[ExecutionMode], how: str) -> Outcome:
        """The worker process ended, and ``how`` (words)."""
        return cls(LOST, mode, None, f"RuntimeError: Worker process {how}")

    @classmethod
    def exited(
        cls,
        mode: ExecutionMode,
        result: CommandResult,
        trace: object,
        warning: Optional[str] = None,
    ) -> Outcome:
        """A command that is checked ended with a code other than 0."""
        error = CommandExecutionError(result)
        text = f"{type(error).__name__}: {error}"
        outcome = cls(EXIT, mode, result, text, trace, warning)
        outcome.exception = error
        return outcome

    @classmethod
    def timed_out(cls, timeout: float, at_hand: AtHand) -> Outcome:
        """The task was at work for longer than ``timeout`` seconds."""
        error = f"TimeoutError: Task exceeded timeout of {timeout} seconds"
        return cls._terminated(TIMEOUT, error, at_hand)

    @classmethod
    def attempt_timed_out(cls, timeout: float, at_hand: AtHand) -> Outcome:
        """An attempt was at work for longer than ``timeout`` seconds, and failed."""
        error = f"TimeoutError: Attempt exceeded {timeout} seconds"
        return cls._terminated(ERROR, error, at_hand)

    @classmethod
    def run_timed_out(cls, timeout: float, at_hand: AtHand = NOTHING) -> Outcome:
        """The run took longer than ``timeout`` seconds."""
        error = f"TimeoutError: Run exceeded timeout of {timeout} seconds"
        return cls._terminated(ABORT, error, at_hand)

    @classmethod
    def cancelled(cls, at_hand: AtHand = NOTHING) -> Outcome:
        """The task, alone, was told to end."""
        error = "CancelledError: Task was cancelled"
        return cls._terminated(CANCEL, error, at_hand)

    @classmethod
    def untriggered(cls, note: str = "Skipped: no dependency failed") -> Outcome:
        """The task was to run after a failure, and all went well.

        :param note: what its warning says.
        """
        return cls(UNTRIGGERED, None, None, None, None, note)

    @classmethod
    def stopped(cls, at_hand: AtHand = NOTHING) -> Outcome:
        """Everything was stopped while the task was at work, or waited."""
        error = "RuntimeError: Execution terminated before completion"
        return cls._terminated(ABORT, error, at_hand)

    @classmethod
    def skipped(cls, labels: Sequence[Hashable], root: Hashable = None) -> Outcome:
        """The tasks with these ``labels`` were needed, and did not succeed.

        :param root: the label of the task that went wrong by itself, with which it
            began; None for the first of ``labels``.
        """
        return cls(SKIP, None, None, SkipError(labels, root))

    @classmethod
    def _terminated(cls, cause: str, error: str, at_hand: AtHand) -> Outcome:
        mode = at_hand.mode
        warning = at_hand.remark or warning_of(mode)
        trace = at_hand.transcript
        trace = at_hand.place if trace is None else trace
        return cls(cause, mode, None, error, trace, warning)


class Restored(Outcome):
    """A success of an earlier run, with its ``result`` as it was recorded then."""

    __slots__ = ("result",)

    def __init__(self, result: Result) -> None:
        super().__init__(SUCCESS, result["execution_mode"], result["output"])
        self.result: Result = result

    def emptied(self) -> Outcome:
        """See `Outcome.emptied`; all else that was recorded stays."""
        if self.value is None:
            return self
        return Restored({**self.result, "result": None, "output": None})


#: Successes without a value, by the mode.
_SUCCESSES: Dict[Optional[ExecutionMode], Outcome] = {}


class SkipError:
    """The text of a skip, made when it is asked for: labels are the user's code."""

    __slots__ = ("labels", "root")

    def __init__(self, labels: Sequence[Hashable], root: Hashable) -> None:
        self.labels = labels
        self.root = labels[0] if root is None else root

    def __str__(self) -> str:
        names = ", ".join(map(show, self.labels))
        return f"RuntimeError: Skipped: dependency [{names}] failed or was terminated"


def warning_of(mode: Optional[ExecutionMode]) -> Optional[str]:
    """What is to be noted of a task that was terminated after it began in this mode."""
    return FALLBACK_WARNING if mode == "thread_fallback" else None
