"""The lock around the state of a run, and decisions that were cut short.

The thread of a slot can be struck, at any line, by an exception that was meant for a
task which has ended: by the late timer of some library. What it has cut short is made
anew from what is known of the tasks and slots, and decided again. If that goes on
raising, the exception was not late: it is a bug of ours, or there is no memory left.
Then the run ends, and whoever waits for it is told.
"""

from __future__ import annotations

from ..outcomes import ERROR, LOST, Outcome
from .combining import CombiningLock
from .effects import FINISH
from .slots import AT_WORK, Slot
from .state import RunState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional


#: How often a decision that raises is made again before it is given up.
_TRIES = 3


class Decisions(CombiningLock):
    """Makes decisions, one at a time.

    :param state: not to be asked but through here, except for what can be read.
    :param clock: monotonic seconds.
    """

    def __init__(self, state: RunState, clock: Callable[[], float]) -> None:
        super().__init__(state.ended)
        self._state = state
        self._clock = clock
        #: What a decision has raised.
        self.failure: Optional[BaseException] = None

    def make(self, decision: Callable[..., Any], *args: Any) -> Any:
        """Make a decision of the state; its effects are still to be done."""
        with self:
            try:
                return decision(*args)
            except BaseException as error:
                return self._again(error, decision, *args)

    def record(self, slot: Slot, error: BaseException) -> None:
        """Record the end of what a slot is at, whose thread ``error`` has struck.

        An outcome that had come counts. A job that had begun fails with the error, and
        one that had not is given back.
        """
        while self.holds():
            self._state.rebuild(self._clock())
            self._state.withdraw(slot, self._clock())  # before others see it
            self.release()
        with self:
            pass  # what it has left to be decided is decided now
        self.make(self._state.withdraw, slot, self._clock())
        if slot.state == AT_WORK and slot.outcome is None and slot.worker is not None:
            mode = slot.worker.at_hand.mode
            slot.outcome = Outcome.raised(mode, error, ERROR if mode else LOST)
            slot.moment = self._clock()
        self.visit(slot)

    def failed(self, error: BaseException, slot: Slot) -> None:
        """See `CombiningLock.failed`: the outcome of a slot is recorded once more."""
        self._again(error, self._state.ended, slot)

    def _again(
        self, error: BaseException, decision: Callable[..., Any], *args: Any
    ) -> Any:
        """Make a decision again that ``error`` has cut short; under the lock."""
        state, now = self._state, self._clock()
        for _ in range(_TRIES):
            try:
                state.rebuild(now)
                return decision(*args)
            except BaseException:  # one exception seldom comes alone
                pass
        self.failure = self.failure or error
        try:
            state.rebuild(now)
            state.stop(now)
        except BaseException:  # an end without results is better than none
            state.over = True
            state.effects.append((FINISH, None, None))
