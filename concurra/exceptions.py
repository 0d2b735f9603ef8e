"""The exception behind an outcome."""

from __future__ import annotations

from .errors import RemoteTraceback
from .outcomes import Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


def exception_of(outcome: Outcome) -> Optional[BaseException]:
    """What a task has raised, or an error that says what befell it; None for success.

    It has the traceback as ``__cause__``, unless it has been given another one. Where
    the exception could not be sent, and where there was none, one is made of the text.
    """
    if not outcome.failed:
        return None
    trace = None if outcome.trace is None else str(outcome.trace)
    if type(outcome.exception) is bytes:
        outcome.exception = _unpickled(outcome.exception)
    error = outcome.exception
    if not isinstance(error, BaseException):
        error = _error(str(outcome.error))
    _set_cause(error, trace)
    return error


#: These are read and set directly, whatever the class of an error makes of them.
_CAUSE: Any = BaseException.__dict__["__cause__"]
_CONTEXT: Any = BaseException.__dict__["__context__"]


def _set_cause(error: BaseException, trace: Optional[str]) -> None:
    """Let an error have its traceback, as text: below all that it was raised from."""
    seen = {id(error)}
    while True:
        deeper = _CAUSE.__get__(error)
        if deeper is None:  # it may well be false
            deeper = _CONTEXT.__get__(error)
        if deeper is None:
            break
        if id(deeper) in seen or isinstance(deeper, RemoteTraceback):
            return
        seen.add(id(deeper))
        error = deeper
    if trace:
        _CAUSE.__set__(error, RemoteTraceback(trace))


def _unpickled(pickled: bytes) -> Optional[BaseException]:
    import pickle

    try:
        error = pickle.loads(pickled)
    except BaseException:  # the user's own __init__ takes other arguments, say
        return None
    return error if isinstance(error, BaseException) else None


def _error(text: str) -> BaseException:
    """The error that a text of the form ``"ExcType: message"`` is about."""
    kind, _, message = text.partition(": ")
    if kind == "TimeoutError":
        return TimeoutError(message)
    if kind == "CancelledError":
        from concurrent.futures import CancelledError

        return CancelledError(message)
    return RuntimeError(message if kind == "RuntimeError" else text)
