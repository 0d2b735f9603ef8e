"""One record of a run, which every report is made of."""

from __future__ import annotations

import sys

from ..checks import wrong
from ..collector import collection_paused
from ..core import TaskRunner
from . import making, values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Final, Iterable, Optional, Sequence, Tuple, Union

    #: When an attempt began and ended, and its error.
    Try = Tuple[float, Optional[float], Optional[str]]

NOT_STARTED: Final = "not started"
RUNNING: Final = "running"
ENDED: Final = "ended"

#: What can be the status of a task, in the order in which it is shown.
STATUSES: Final = ("Waiting", "Running", "Successful", "Failed", "Terminated")


class _Value:
    """Equal to others of its type with equal fields; not hashable."""

    __slots__: Tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = self.__slots__
        return all(getattr(self, each) == getattr(other, each) for each in names)

    __hash__ = None  # type: ignore[assignment]


class TaskRecord(_Value):
    """What is known of a task. Its arguments, which may be secret, are not part of it.

    Times are seconds since the epoch. Texts are valid Unicode, and long ones are cut.

    :param index: its position in the order of adding, from 0.
    :param label: its label, as a text.
    :param name: its name, as in the table of the report.
    :param kind: ``"function"`` or ``"command"``.
    :param program: the name of a command's program, as far as it is known.
    :param status: one of `STATUSES`. What a user has forgiven (``has_failed``) is
        ``Successful``, and what a user has declared a failure is ``Failed``.
    :param status_text: the status as the table of the report shows it, maybe in the
        user's own words.
    :param cause: why it ended, one of those in `outcomes`; None until then.
    :param depends_on: the indexes of the tasks that it depends on.
    :param ready: when it could have started: at the start of the run, or when the last
        of its dependencies had ended; None if it never could, or is not known yet.
    :param started: the start of its first attempt; None if there was none.
    :param ended: when its outcome was recorded; None until then.
    :param duration: seconds from start to end, or until the record was made; None if it
        was never started.
    :param attempts: how many were started in this run.
    :param tries: of each attempt the start, the end and the error.
    :param mode: how it was run: the ``execution_mode`` of its result.
    :param error: why it failed. As ``trace``, ``warning``, ``retry_errors`` and
        ``task_retries``, this is the field of its result.
    :param result: what a function returned, as JSON has it; of a command a dict with
        its ``returncode``.
    :param result_is_repr: whether ``result`` is the repr of what the function returned,
        as JSON has no form of that.
    :param stdout, stderr: what a command has printed; None where it was not captured.
    :param lane: its lane in the timeline, from 0: there are only as many lanes as tasks
        were at work together, and a task that waits for another attempt keeps its lane.
        None if it was never started.
    :param skipped_because_of: the label of the task because of whose failure it was
        skipped.
    :param restored: whether a checkpoint had its result, so that it was not run.
    """

    __slots__ = (
        *("index", "label", "name", "kind", "program", "status", "status_text"),
        *("cause", "depends_on", "ready", "started", "ended", "duration", "attempts"),
        *("tries", "mode", "error", "trace", "warning", "retry_errors", "task_retries"),
        *("result", "result_is_repr", "stdout", "stderr", "lane"),
        *("skipped_because_of", "restored"),
    )

    def __init__(
        self,
        *,
        index: int,
        label: str,
        name: str,
        kind: str = "function",
        program: str = "",
        status: str = "Waiting",
        status_text: Optional[str] = None,
        cause: Optional[str] = None,
        depends_on: Iterable[int] = (),
        ready: Optional[float] = None,
        started: Optional[float] = None,
        ended: Optional[float] = None,
        duration: Optional[float] = None,
        attempts: int = 0,
        tries: Iterable[Sequence[Any]] = (),
        mode: Optional[str] = None,
        error: Optional[str] = None,
        trace: Optional[str] = None,
        warning: Optional[str] = None,
        retry_errors: Iterable[str] = (),
        task_retries: int = 0,
        result: Any = None,
        result_is_repr: bool = False,
        stdout: Optional[str] = None,
        stderr: Optional[str] = None,
        lane: Optional[int] = None,
        skipped_because_of: Optional[str] = None,
        restored: bool = False,
    ) -> None:
        self.index = index
        self.label = label
        self.name = name
        self.kind = kind
        self.program = program
        self.status = status
        self.status_text = status if status_text is None else status_text
        self.cause = cause
        self.depends_on = tuple(depends_on)
        self.ready = ready
        self.started = started
        self.ended = ended
        self.duration = duration
        self.attempts = attempts
        self.tries: Tuple[Try, ...] = tuple([(a, b, c) for a, b, c in tries])
        self.mode = mode
        self.error = error
        self.trace = trace
        self.warning = warning
        self.retry_errors = tuple(retry_errors)
        self.task_retries = task_retries
        self.result = result
        self.result_is_repr = result_is_repr
        self.stdout = stdout
        self.stderr = stderr
        self.lane = lane
        self.skipped_because_of = skipped_because_of
        self.restored = restored

    def __repr__(self) -> str:
        return f"<TaskRecord {self.label!r}: {self.status}>"


class RunRecord(_Value):
    """What is known of a run at a moment: before, during or after it.

    :param name: the runner's.
    :param state: ``"not started"``, ``"running"`` or ``"ended"``.
    :param max_concurrency: how many tasks may be at work together.
    :param started, ended: seconds since the epoch; None as long as it has not.
    :param moment: when the record was made.
    :param tasks: in the order of adding; the index of each is its position.
    :param counts: how many tasks have each of `STATUSES`; made of the tasks if None.
    :param concurra_version: the version of concurra that has made it.
    """

    __slots__ = (
        *("name", "state", "max_concurrency", "started", "ended", "moment", "tasks"),
        *("counts", "concurra_version"),
    )

    def __init__(
        self,
        *,
        name: str,
        state: str,
        max_concurrency: int,
        started: Optional[float] = None,
        ended: Optional[float] = None,
        moment: float,
        tasks: Iterable[TaskRecord] = (),
        counts: Optional[Dict[str, int]] = None,
        concurra_version: str = "",
    ) -> None:
        self.name = name
        self.state = state
        self.max_concurrency = max_concurrency
        self.started = started
        self.ended = ended
        self.moment = moment
        self.tasks = tuple(tasks)
        if counts is None:
            counts = dict.fromkeys(STATUSES, 0)
            for each in self.tasks:
                counts[each.status] += 1
        self.counts = counts
        self.concurra_version = concurra_version

    @property
    def until(self) -> float:
        """Until when it knows the run: to its end, or to when the record was made."""
        return self.moment if self.ended is None else self.ended

    def __repr__(self) -> str:
        return f"<RunRecord {self.name!r}: {self.state}, {len(self.tasks)} tasks>"

    @classmethod
    def of(cls, runner: TaskRunner) -> RunRecord:
        """The record of a runner as it is now; for any thread at any time.

        :raises TypeError: ``runner`` is none.
        :raises RuntimeError: this is the copy of a runner that a fork has made.
        """
        if not isinstance(runner, TaskRunner):
            raise wrong(TypeError, "runner", "a TaskRunner or a RunRecord", runner)
        seen = runner._engine_values()
        with collection_paused(len(seen.tasks)):
            tasks = [TaskRecord(**fields) for fields in making.tasks(seen)]
        ends = [each.ended for each in tasks if each.ended is not None]
        over = seen.begun and len(ends) == len(tasks)
        started = None if seen.started is None else seen.epoch(seen.started)
        return cls(
            name=values.label(seen.name),
            state=NOT_STARTED if not seen.begun else ENDED if over else RUNNING,
            max_concurrency=seen.max_concurrency,
            started=started,
            ended=max(ends, default=started) if over else None,
            moment=seen.epoch(seen.moment),
            tasks=tasks,
            concurra_version=sys.modules["concurra"].__version__,
        )


def record(run: Union[TaskRunner, RunRecord]) -> RunRecord:
    """The record of a runner as it is now; of a record, the record itself.

    For errors, see `RunRecord.of`.
    """
    return run if isinstance(run, RunRecord) else RunRecord.of(run)
