"""What a worker of a pool has for each kind of job, and what it asks of that."""

from __future__ import annotations

from ..steps import TERMINATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Protocol

    from ..current import Note
    from ..outcomes import AtHand, Outcome
    from ..types import ExecutionMode
    from . import Done
else:
    Protocol = object


class Backend(Protocol):
    """What does jobs of one kind, one after another, for a `PooledWorker`."""

    mode: ExecutionMode

    #: Whether it can do no more jobs.
    spent: bool

    #: Whether ``done`` is called for the last job, whatever has become of `run`. Its
    #: owner sets it to False before `run`.
    sent: bool

    #: The thread that calls `run`. Its owner sets it before that.
    thread: Optional[int]

    #: What goes with the next job, see `Worker.remote`. Its owner sets it before `run`.
    note: Optional[Note]

    def is_quick(self, job: Any) -> bool:
        """See `Worker.is_quick`."""

    def present(self, job: Any) -> AtHand:
        """What is at hand when this job is run next."""

    def run(self, job: Any, at_hand: AtHand, done: Done) -> Optional[Outcome]:
        """Do the job; its outcome, or None if ``done`` is called with it.

        Never raises. Once it has been stopped, no job begins.

        :param at_hand: what `present` returned for this job.
        """

    def is_starting(self) -> bool:
        """See `Worker.is_starting`."""

    def has_ended(self) -> bool:
        """See `Worker.has_ended`."""

    def stop(self, force: int = TERMINATE) -> bool:
        """See `Worker.stop`."""

    def retire(self) -> None:
        """See `Worker.retire`."""

    def abandon(self) -> None:
        """Nobody waits for the job at hand any more, which was stopped by force.

        What is still running is noted in what is at hand. This may take its time.
        """

    def close(self) -> None:
        """See `Worker.close`."""
