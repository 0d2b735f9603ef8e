"""Workers that do what the test says, and a clock that goes when it is told.

A task's job is a script: a function that gets the worker and returns an outcome. The
script `Meeting` holds the worker until the test lets it go, or until it is stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Callable

from concurra.outcomes import ERROR, NOTHING, SUCCESS, UNAVAILABLE, AtHand, Outcome
from concurra.tasks import Call, Task
from tests.unit.support import Planned

if TYPE_CHECKING:
    from concurra.workers import Done

#: Seconds until a wait fails that should have been over long ago.
BOUND = 10.0

Script = Callable[["ScriptedWorker"], Outcome]


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now


class ScriptedWorker:
    """Runs scripts, and writes down how it was stopped."""

    unreaped = False
    elsewhere = False
    remote = False

    def __init__(self, pool: ScriptedPool) -> None:
        self.pool = pool
        self.at_hand = NOTHING
        self.transcript: object | None = None
        self.stops: list[bool] = []
        self.meeting: Meeting | None = None
        self.closings = 0
        self.dismissed = False
        self.abandoned = False
        self.ending = False

    def is_quick(self, job: Any) -> bool:
        return False

    def begin(self, job: Any, note: Any = None) -> Outcome:
        self.at_hand = AtHand("scripted")  # type: ignore[arg-type]
        if self.stops or self.dismissed:
            return Outcome.stopped()
        with self.pool.at_work(self):
            return job.func(self)  # type: ignore[no-any-return]

    def print(self, transcript: object) -> None:
        """Have printed something."""
        self.at_hand = AtHand("scripted", transcript)  # type: ignore[arg-type]

    #: What there is to clear away, if anything.
    _litter: Callable[[ScriptedWorker], object] | None = None

    def litter(self, litter: Callable[[ScriptedWorker], object]) -> None:
        """Have something to clear away, which is then called."""
        self._litter = litter
        self.unreaped = True

    def is_starting(self) -> bool:
        return False

    def has_ended(self) -> bool:
        return self.ending

    def reap(self) -> None:
        if self._litter is not None:
            self._litter(self)
            self._litter = None
        self.unreaped = False

    def retire(self) -> None:
        pass

    def abandon(self) -> None:
        self.abandoned = True

    def dismiss(self) -> AtHand:
        self.dismissed = True
        return self.at_hand

    def stop(self, force: bool = False) -> bool:
        self.stops.append(force)
        if self.meeting is not None:
            self.meeting.heed(force)
        return self.pool.stoppable

    def close(self) -> None:
        self.closings += 1
        self.pool.events.append("worker closed")


class ScriptedPool:
    """Hires scripted workers, and writes down what happened.

    :param stoppable: what `stop` of its workers returns.
    """

    def __init__(self, stoppable: bool = True) -> None:
        self.stoppable = stoppable
        self.workers: list[ScriptedWorker] = []
        self.events: list[str] = []
        self.at_first: int | None = None
        self.unprepared: Exception | None = None
        self.busy = self.most = 0
        self._lock = threading.Lock()

    def prepare(self, stopped: Callable[[], bool]) -> None:
        self.events.append("pool prepared")
        if self.unprepared is not None:
            raise self.unprepared

    def hire(self, done: Done) -> ScriptedWorker:
        worker = ScriptedWorker(self)
        self.workers.append(worker)
        return worker

    def is_passing_on(self) -> bool:
        return False

    def kill(self) -> None:
        self.events.append("pool killed")

    def close(self) -> None:
        self.events.append("pool closed")

    def at_work(self, worker: ScriptedWorker) -> _Counted:
        return _Counted(self, self._lock)


class _Counted:
    def __init__(self, pool: ScriptedPool, lock: threading.Lock) -> None:
        self._pool = pool
        self._lock = lock

    def __enter__(self) -> None:
        with self._lock:
            self._pool.busy += 1
            self._pool.most = max(self._pool.most, self._pool.busy)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self._pool.busy -= 1


class Meeting:
    """A script that holds its worker, again with each attempt.

    :param heeds: the stop that ends it: False for any, True for a forced one only,
        None for none.
    """

    def __init__(self, heeds: bool | None = False) -> None:
        self.heeds = heeds
        self.worker: ScriptedWorker | None = None
        self._outcome = Outcome(SUCCESS, "scripted")
        self._reached = threading.Semaphore(0)
        self._end = threading.Semaphore(0)
        self._over = False

    def __call__(self, worker: ScriptedWorker) -> Outcome:
        self.worker = worker
        worker.meeting = self
        for force in worker.stops:  # one that came a moment earlier
            self.heed(force)
        self._reached.release()
        if not (self._end.acquire(timeout=BOUND) or self._over):
            raise AssertionError("nobody came to the meeting")
        worker.meeting = None
        return self._outcome

    def heed(self, force: bool) -> None:
        if self.heeds is not None and force >= self.heeds:
            self._end.release()

    def reached(self) -> ScriptedWorker:
        """Wait until a worker is here; that worker."""
        assert self._reached.acquire(timeout=BOUND), "no worker came to the meeting"
        assert self.worker is not None
        return self.worker

    def end(self, outcome: Outcome | None = None) -> None:
        """Let the worker go, with this outcome of the attempt."""
        self._outcome = outcome or Outcome(SUCCESS, "scripted")
        self._end.release()


class Block:
    """A callback that blocks when it is told something.

    :param at: what it has to be told for that; None for anything.
    """

    def __init__(self, at: object = None) -> None:
        self._at = at
        self._reached = threading.Event()
        self._end = threading.Event()

    def __call__(self, told: object) -> None:
        if self._at is None or self._at == told:
            self._reached.set()
            assert self._end.wait(BOUND), "nobody has ended the block"

    def reached(self) -> None:
        """Wait until it blocks."""
        assert self._reached.wait(BOUND), "nobody has called"

    def end(self) -> None:
        """Let it return, now and always."""
        self._end.set()


def play(
    label: Hashable, script: Script | Outcome, *needs: Hashable, retries: int = 0
) -> Task:
    """A task with a script, or with an outcome that it ends with at once."""
    if isinstance(script, Outcome):
        outcome = script
        return Planned(label, Call(lambda worker: outcome), needs, retries)
    return Planned(label, Call(script), needs, retries)


def well(value: Any = None) -> Outcome:
    return Outcome(SUCCESS, "scripted", value)


def badly(error: str = "ValueError: bad") -> Outcome:
    return Outcome(ERROR, "scripted", None, error, "trace")


def unable(error: str = "OSError: no more processes") -> Outcome:
    return Outcome(UNAVAILABLE, None, None, error, "trace")
