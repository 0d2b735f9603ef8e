"""What does the jobs, behind one narrow seam.

=========  ==========================  =======================================
worker     runs a job                  stops it
=========  ==========================  =======================================
thread     in the calling thread       cannot: it is left alone
process    in a process of its own     SIGTERM, then SIGKILL, to its session
command    as a program of its own     the same, or another signal first
executor   wherever the user's does    withdraws it, if it has not begun there
=========  ==========================  =======================================

A worker does one job after another. It knows its job and nothing else: no label, no
timeout, no other task. Whoever owns it begins a job, and gets the outcome either at
once, from `Worker.begin`, or by a call of ``done`` from any thread::

    begin(job) ──> an outcome            it was done in the calling thread
               ──> None ... done(outcome, serving)      it is done elsewhere
"""

from __future__ import annotations

from ..steps import TERMINATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Protocol

    from ..current import Note
    from ..outcomes import AtHand, Outcome

    #: Called with the outcome of a job that was done elsewhere, once for each, and with
    #: whether the calling thread serves others, too, and must not be held up.
    Done = Callable[[Outcome, bool], None]
else:
    Protocol = object


class Worker(Protocol):
    """What does the jobs of one slot."""

    #: What it is at. The worker sets it when a job begins, and then checks whether it
    #: has been dismissed. Its owner sets it to `NOTHING` before the next job.
    at_hand: AtHand

    #: The thread that begins its jobs, unless they are quick; its owner sets it.
    thread: Optional[int]

    #: Whether jobs may be done elsewhere, and be quick to begin.
    elsewhere: bool

    #: Whether a note goes with each job, since it may be done where this process cannot
    #: be asked, or what it prints is shown with its label.
    remote: bool

    #: Whether something is left of the last job: `reap` comes before the next one.
    unreaped: bool

    def is_quick(self, job: Any) -> bool:
        """Whether `begin` would neither block nor call the user's code."""

    def begin(self, job: Any, note: Optional[Note] = None) -> Optional[Outcome]:
        """Do a job; its outcome, or None if ``done`` is called with it.

        Never raises. Once it has been dismissed or stopped, no job begins.
        """

    def reap(self) -> None:
        """Clear away what is left of the last job; this may take its time."""

    def retire(self) -> None:
        """Let what is idle end by itself; its time for that begins now. Never blocks.

        Called before `close`. Workers that are retired first, and closed one after the
        other then, have one period to end.
        """

    def dismiss(self) -> AtHand:
        """Begin no further job; what is at hand. Never blocks, for any thread."""

    def is_starting(self) -> bool:
        """Whether a process of its own is to do the first job, and is not ready yet.

        Never blocks, for any thread.
        """

    def has_ended(self) -> bool:
        """Whether the end of the job at hand can be seen, though it is not told yet.

        Its process has answered, say, or has ended. Never blocks, for any thread.
        """

    def stop(self, force: int = TERMINATE) -> bool:
        """Make the job at hand end soon; False if that is not possible.

        Total, idempotent, and for any thread at any moment, also before `begin` and
        after `close`. It never waits for what may not end.

        :param force: one of `steps`; each stops what has not heeded the one before.
        """

    def abandon(self) -> None:
        """Nobody waits for its job any more: release all else that it holds.

        This may take its time.
        """

    def close(self) -> None:
        """Let go of everything; called once, when no job is at hand."""


class Workers(Protocol):
    """Where the workers of a run come from."""

    #: How many it is best to begin with; None for as many as there may be.
    at_first: Optional[int]

    def is_passing_on(self) -> bool:
        """Whether the calling thread is in a handler of the log, for a worker.

        The end of the run has to wait for it.
        """

    def prepare(self, stopped: Callable[[], bool]) -> None:
        """Called once, before all else, on the first thread of the run.

        :param stopped: whether nothing is to be started any more.
        """

    def hire(self, done: Done) -> Worker:
        """A worker for any job of the run; called on any thread, takes no time."""

    def kill(self) -> None:
        """Kill all that is left, without any grace."""

    def close(self) -> None:
        """Called once, when all workers are closed or abandoned."""
