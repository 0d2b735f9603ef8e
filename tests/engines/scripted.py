"""An executor that does what the test says, when the test says it."""

from __future__ import annotations

import pickle
import threading
from typing import Any, Callable

from tests.helpers import wait_until

BOUND = 20.0


class Engine:
    """What is submitted waits for the test, or is run at once, if that is said."""

    def __init__(self, at_once: bool = False) -> None:
        self.at_once = at_once
        self.jobs: list[Job] = []

    def submit(self, function: Any, *args: Any) -> Job:
        job = Job(pickle.loads(pickle.dumps(function)), args)
        self.jobs.append(job)
        if self.at_once:
            job.run()
        return job

    def job(self, number: int) -> Job:
        """Wait until so many jobs have come before, and one more; that one."""
        wait_until(lambda: len(self.jobs) > number, BOUND, f"job {number}")
        return self.jobs[number]


class Job:
    """A future of which the test is the executor."""

    def __init__(self, function: Any, args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args
        self.cancels = 0
        self.callbacks: list[Callable[[Any], object]] = []
        self._come: Callable[[], Any] | None = None
        self._done = threading.Event()

    def add_done_callback(self, callback: Callable[[Any], object]) -> None:
        self.callbacks.append(callback)
        if self._done.is_set():
            callback(self)

    def result(self) -> Any:
        assert self._done.wait(BOUND) and self._come is not None
        return self._come()

    def cancel(self) -> bool:
        self.cancels += 1
        return True  # some say so of whatever it is

    def run(self) -> None:
        """Do it, as a process elsewhere would."""
        self.end(self.function(*self.args))

    def end(self, value: Any = None, error: BaseException | None = None) -> None:
        """Have an end, and call back."""

        def come() -> Any:
            if error is not None:
                raise error
            return value

        self._come = come
        self._done.set()
        for callback in list(self.callbacks):
            callback(self)
