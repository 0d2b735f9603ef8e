"""Those who do the work, behind one narrow seam.

=========  ==========================  =======================================
worker     runs a job                  stops it
=========  ==========================  =======================================
thread     in the calling thread       cannot: it is left alone
process    in a process of its own     SIGTERM, then SIGKILL, to its group
command    as a program of its own     SIGTERM, then SIGKILL, to its group
=========  ==========================  =======================================

A worker knows its job and nothing else: no label, no timeout, no other task.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Protocol

    from ..tasks import Outcome
    from ..types import ExecutionMode
else:
    Protocol = object


class Worker(Protocol):
    """What runs one job after another, for one thread of the scheduler."""

    @property
    def mode(self) -> Optional[ExecutionMode]:
        """How the job at hand is run, or was: the result's ``execution_mode``.

        None until a job begins, if a worker can run jobs in several ways.
        """

    @property
    def spent(self) -> bool:
        """Whether it can do no more jobs, and is to be closed and replaced."""

    @property
    def transcript(self) -> Optional[object]:
        """What the job at hand has printed so far, by ``str()``; None for nothing."""

    def run(self, job: Any) -> Outcome:
        """Do the job and say how it ended; never raises.

        Once `stop` was called, it does not begin, and returns anything.
        """

    def stop(self, force: bool = False) -> bool:
        """Make `run` return soon; False if that is not possible.

        Total, idempotent, and for any thread at any moment, also before `run`
        and after `close`.

        :param force: stop what would not stop when it was asked to.
        """

    def close(self) -> None:
        """Let go of everything; called once, by the thread that called `run`."""
