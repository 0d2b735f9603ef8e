"""The standard streams of this program, and what stands in for them in its threads.

While a run shows what its tasks print, a `StandIn` is in the place of `sys.stdout` and
`sys.stderr`: what the thread of a task writes goes to what shows that task, and all
else is passed on. Whatever is shown goes to the streams that are there at that moment,
so that others can still capture it.
"""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

    #: Takes what was written to a stream, of which it gets the number.
    Write = Callable[[int, str], None]

#: By their numbers.
NAMES = "stdout", "stderr"

#: By the thread, what takes the texts that it writes.
_writers: Dict[int, Write] = {}

#: What takes the texts that all other threads write.
_leading: Optional[Write] = None

_changing = threading.Lock()
_users = 0

#: The attribute of a stream for what has stood in for it.
_KEPT = "_concurra_stand_ins"

#: The same for streams that can have no attribute, by their identities.
_others: Dict[int, Tuple[Any, List[Any]]] = {}


class StandIn:
    """Stands in for a standard stream.

    :param number: of the stream.
    :param beneath: what it stands in for.
    """

    def __init__(self, number: int, beneath: Any) -> None:
        self.number = number
        self.beneath = beneath

    def write(self, text: str) -> int:
        """Write a text, as every stream does."""
        writer = _writers.get(threading.get_ident(), _leading)
        if writer is None:
            count: int = self.beneath.write(text)
            return count
        if not isinstance(text, str):
            kind = type(text).__name__
            raise TypeError(f"write() argument must be str, not {kind}")
        writer(self.number, text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """The same for several."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.beneath, name)


def stand_in(stream: Any, fits: Callable[[Any], bool], make: Callable[[], Any]) -> Any:
    """What stood in for a stream before, if it fits, or what is made; it is kept.

    It lives as long as the stream. Up to Python 3.13.2, `print` writes to the stream
    that it has found without holding it. If that was taken away and freed meanwhile,
    the interpreter crashes: https://github.com/python/cpython/issues/130163
    """
    try:
        kept: List[Any] = vars(stream).setdefault(_KEPT, [])
    except (TypeError, AttributeError):
        kept = _others.setdefault(id(stream), (stream, []))[1]
    for each in kept:
        if fits(each):
            return each
    made = make()
    kept.append(made)
    return made


def is_terminal(stream: Any) -> bool:
    """Whether a stream is a terminal, and still open."""
    try:
        return bool(stream.isatty())
    except Exception:  # None, closed, or not much of a stream
        return False


def real(number: int) -> Any:
    """The stream that is there now, beneath all that stands in for it."""
    upper = _lowest(number)
    return getattr(sys, NAMES[number]) if upper is None else upper.beneath


def put(number: int, stream: Any) -> None:
    """Put a stream where the `real` one is, beneath all that stands in for that."""
    with _changing:
        upper = _lowest(number)
        if upper is None:
            setattr(sys, NAMES[number], stream)
        else:
            upper.beneath = stream


def _lowest(number: int) -> Optional[StandIn]:
    """The last of what stands in for a stream; None if nothing does."""
    found, stream = None, getattr(sys, NAMES[number])
    while type(stream) is StandIn:
        found, stream = stream, stream.beneath
    return found


def exchange(writer: Optional[Write]) -> Optional[Write]:
    """Let ``writer`` take what the calling thread writes; the one before.

    :param writer: None: it goes where all else goes.
    """
    me = threading.get_ident()
    before = _writers.pop(me, None)
    if writer is not None:
        _writers[me] = writer
    return before


def lead(writer: Optional[Write]) -> None:
    """Let ``writer`` take what is written by threads that have none of their own.

    :param writer: None if it goes where all else goes.
    """
    global _leading
    _leading = writer


def leader() -> Optional[Write]:
    """What takes that now: see `lead`."""
    return _leading


def _stand_in(number: int, stream: Any) -> Any:
    def fits(kept: Any) -> bool:
        return type(kept) is StandIn and kept.number == number

    return stand_in(stream, fits, lambda: StandIn(number, stream))


def install() -> None:
    """Have something stand in for the streams until `uninstall`, its counterpart."""
    global _users
    with _changing:
        _users += 1
        for number, name in enumerate(NAMES):
            stream = getattr(sys, name)
            if stream is not None and type(stream) is not StandIn:
                upper = _stand_in(number, stream)
                upper.beneath = stream  # instead of what was `put` there before
                setattr(sys, name, upper)


def uninstall() -> None:
    """Put the streams back, unless somebody else still needs what stands in for them.

    What others have put there meanwhile stays.
    """
    global _users
    with _changing:
        _users -= 1
        for name in NAMES:
            stream = getattr(sys, name)
            if not _users and type(stream) is StandIn:
                setattr(sys, name, stream.beneath)


def _in_child() -> None:
    """In a fork nothing takes what is written."""
    global _changing, _leading
    _changing, _leading = threading.Lock(), None
    _writers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
