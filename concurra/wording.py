"""Words for what users read: values, errors, ends of processes, warnings."""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Callable, List, Optional, Tuple

PICKLE_WARNING = "Task was not picklable and thread fallback is disabled"
PICKLE_HINT = """\
(What goes to a process must be picklable: a function at the top level of a module, with
arguments of that kind, and the `on` of a Retry, too. With
fallback_to_thread_on_pickle_error=True the rest is run in threads.)
"""
FALLBACK_WARNING = "Task was not picklable; ran in thread fallback"
GENERATOR_WARNING = "returned a generator: nothing of its body has run"
#: Characters of a value that a refusal shows.
SHOWN = 60

COPY = "This is the copy of a runner that a fork has made"

#: What has exceptions in it: from Python 3.11 on there is such a thing.
_GROUP: Any = getattr(builtins, "BaseExceptionGroup", ())

#: The packages whose frames are left out of tracebacks.
OWN = (
    "concurra",
    *(f"concurra.{name}" for name in ("adders", "engine", "live", "logs", "maps")),
    *(f"concurra.{name}" for name in ("output", "plan", "workers")),
)

#: The functions of ours that call users' functions, or have their values pickled and
#: unpickled. Builtins have no frames below, so these are the last of an error then.
_CALLERS = (
    *("perform", "_call", "_await", "_pull"),
    *("pack", "arrive", "receive", "_load", "find"),
    *("_dumps_code", "_dumps_value", "_prove", "_outcome", "outcome_of"),
)


def show(value: object) -> str:
    """``repr(value)``, also of a value whose ``__repr__`` fails."""
    return _text(repr, value)


def brief(value: object) -> str:
    """A value as refusals show it: cut, and of a container no more than its type.

    What it holds may be secret, and is not what is wrong.
    """
    holds = hasattr(type(value), "__iter__") and not isinstance(value, (str, bytes))
    text = show(value)
    if holds and len(text) > 2:  # an empty one has no secret
        return f"a value of type {kind(value)}"
    return cut(text)


def cut(text: str, most: int = SHOWN) -> str:
    """The beginning of a text that is too long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def name(value: object) -> str:
    """``str(value)``, also of a value whose ``__str__`` fails."""
    return _text(str, value)


def _text(make: Callable[[object], str], value: object) -> str:
    try:
        return make(value)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return f"<unprintable {kind(value)}>"


def kind(value: object) -> str:
    """The name of a value's class, whatever its metaclass makes of that."""
    getter = type.__dict__["__name__"].__get__
    return str(getter(type(value)))


def quote(label: object) -> str:
    """A label between quotes, as messages show it."""
    return f"'{name(label)}'"


def describe(error: BaseException) -> Tuple[str, str]:
    """The text ``"ExcType: message"`` of an error, and its traceback; never raises."""
    text, trace = outline(error)
    return text, str(trace)


def hinted(text: str, trace: str, hint: str) -> Tuple[str, str]:
    """What `describe` has told of an error, with what helps to understand it."""
    return f"{text} ({hint})", f"{trace.rstrip()} ({hint})\n"


def outline(error: BaseException) -> Tuple[str, Trace]:
    """As `describe`, of a traceback that may not be read."""
    try:
        text = f"{kind(error)}: {name(error)}"
    except BaseException:  # the error's __str__ raises KeyboardInterrupt
        text = f"{kind(error)}: <unprintable {kind(error)}>"
    return text, Trace(error, text)


class Trace:
    """The traceback of an error; made into text, which takes long, when it is read.

    Never raises, and holds no frame. Concurra's own frames, the outermost, are left
    out, unless the error is their own: of one without other frames the traceback is its
    text alone.
    """

    __slots__ = ("_text", "_found")

    def __init__(self, error: BaseException, text: str) -> None:
        self._text = text
        self._found: Any = None
        try:
            from traceback import TracebackException

            frames, caller = _foreign(error)
            if frames is None and caller not in _CALLERS:
                frames = error.__traceback__
            how: Any = {"lookup_lines": False}
            if sys.version_info >= (3, 10):
                how["compact"] = True  # nothing that is not shown
            self._found = found = TracebackException(type(error), error, frames, **how)
            before = found.__context__
            if not found.stack and before is not None and not before.stack:
                found.__context__ = None  # of the same call, which was not Python's
        except BaseException:  # this calls the user's code, and may lack memory
            pass

    def __str__(self) -> str:
        found = self._found
        if found is not None:
            try:
                self._text = "".join(found.format())
            except BaseException:
                pass
            self._found = None
        return self._text


def _foreign(error: BaseException) -> Tuple[Optional[TracebackType], str]:
    """The traceback of an error without concurra's own frames, the outermost.

    :return: and the name of the function of the last of these.
    """
    frames, caller = error.__traceback__, ""
    while frames and frames.tb_frame.f_globals.get("__package__") in OWN:
        caller = frames.tb_frame.f_code.co_name
        frames = frames.tb_next
    return frames, caller


def stripped(error: BaseException) -> BaseException:
    """The same error without tracebacks: each frame would keep all of its callers.

    Their variables have the arguments of the job, and the run. Never raises.
    """
    try:
        chain: List[Optional[BaseException]] = [error]
        seen = set()
        while chain:
            each = chain.pop()
            if each is None or id(each) in seen:
                continue
            seen.add(id(each))
            BaseException.with_traceback(each, None)
            chain += (each.__cause__, each.__context__)
            if isinstance(each, _GROUP):
                chain += each.exceptions
    except BaseException:  # the user's own attributes may do anything
        pass
    return error


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
