"""What a task can ask about itself, wherever it runs."""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Final, Hashable, Optional, Tuple

    #: Label, number of the attempt, deadline, and the errors after which there may be
    #: another one: what goes with a job to another process.
    Note = Tuple[Hashable, int, Optional[float], Any]

    Source = Callable[[], Optional["CurrentTask"]]

#: By the thread, who knows what it is at.
_sources: Dict[int, Source] = {}

_PLAIN: Final = (str, int, float, bool, bytes)


class CurrentTask:
    """A task that is at work.

    :param label: its label. In a process, a label that is no string, bytes, number, or
        tuple of these is its text.
    :param attempt: the number of the attempt, from 1 on.
    :param deadline: when it is terminated at the latest, by `time.monotonic`; None if
        there is no timeout.
    """

    __slots__ = ("label", "attempt", "deadline")

    def __init__(
        self, label: Hashable, attempt: int, deadline: Optional[float] = None
    ) -> None:
        self.label = label
        self.attempt = attempt
        self.deadline = deadline

    def __repr__(self) -> str:
        return f"<CurrentTask {self.label!r}, attempt {self.attempt}>"


def current_task() -> Optional[CurrentTask]:
    """The task that the calling thread is at; None if it is at none.

    Threads that a task has started itself are at none.
    """
    source = _sources.get(threading.get_ident())
    return None if source is None else source()


def at_work() -> Optional[CurrentTask]:
    """The task that this worker process is at, whichever of its threads asks."""
    source = _sources.get(threading.main_thread().ident or 0)
    return None if source is None else source()


def exchange(source: Optional[Source]) -> Optional[Source]:
    """From now on, ask ``source`` what the calling thread is at; the one before.

    :param source: None if it is at nothing.
    """
    me = threading.get_ident()
    before = _sources.pop(me, None)
    if source is not None:
        _sources[me] = source
    return before


def is_plain(label: Hashable) -> bool:
    """Whether a label can be sent to another process as it is."""
    if type(label) is tuple:
        return all(type(each) in _PLAIN for each in label)
    return type(label) in _PLAIN
