"""What has succeeded, in a file: a run that goes on where the last one stopped.

::

    start    file ──> tasks whose call is the same, and all that they depend on
                      have succeeded: they are not run again
    an end   a success ──> one transaction

A success is recorded only if everything that the task depends on is. If a dependency
was recorded later than the task, the task has used an older value of it, and is run
again. The list of a map that has exceptions in it is a success, but not recorded.

The file has pickles in it: use only files that you trust.
"""

from __future__ import annotations

import os
import pickle
import time
from operator import itemgetter
from sys import intern

from . import checks
from .checkpoint_file import CheckpointFile
from .collector import collection_paused
from .digests import digest
from .events import END, Reader
from .outcomes import SUCCESS, Outcome, Restored
from .run_options import Checkpoint
from .tasks import TaskRef, label_of
from .wording import describe, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Dict, Final, Hashable, Iterable
    from typing import Mapping, Optional, Set, Tuple

    from .checks import StrPath
    from .events import Event
    from .maps.values import Values
    from .results import Registry
    from .tasks import Task

    Tell = Callable[[str], None]

_UNRECORDED: Final = (
    "Task {} cannot be recorded in the checkpoint, so it is run each time with all "
    "that depends on it, as may others be"
)
_UNREAD: Final = (
    "Task {} is run again, as may others be, since its result cannot be read from the "
    "checkpoint"
)
_UNWRITTEN: Final = (
    "Checkpoint {} cannot be written, so the next run may run again what has succeeded"
)

#: What the user's own classes raise when they are pickled and unpickled; what else is
#: raised then is meant for somebody else.
_BAD: Final = (Exception, SystemExit)


def clear(path: StrPath, labels: Optional[Iterable[Hashable]] = None) -> None:
    """Remove recorded successes from a file, so that these tasks are run again.

    :param path: of the file. If there is none, nothing is done.
    :param labels: the labels of these tasks, or what adders have returned; a string is
        one label. None for all tasks.
    :raises CheckpointError: a run has the file, or it is no checkpoint, or damaged.
    :raises TypeError, ValueError: an argument is of the wrong type or out of its range.
    """
    path = Checkpoint(path).path
    keys = None
    if labels is not None:
        given = [labels] if isinstance(labels, TaskRef) else labels
        named = checks.some_labels("labels", given)
        keys = [digest(label_of(each)) for each in named]
    if os.path.exists(path):
        file = CheckpointFile(path)
        try:
            file.open()
            file.forget(keys)
        finally:
            file.close()


class CheckpointReader(Reader):
    """Records successes, and knows those of earlier runs.

    :param mapped: what is known of the items of each map.
    :param inform: logs a line at INFO.
    :param warn: logs a warning.
    """

    step = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        registry: Registry,
        mapped: Mapping[Task, Values],
        inform: Tell,
        warn: Tell,
    ) -> None:
        self._checkpoint = checkpoint
        self._registry = registry
        self._mapped = mapped
        self._inform = inform
        self._warn = warn
        self._file: Optional[CheckpointFile] = None
        # The tasks that are not recorded, with their keys; None if they cannot be.
        self._missing: Dict[Task, Optional[Tuple[bytes, bytes]]] = {}
        self._told: Set[str] = set()

    def restore(
        self, tasks: Collection[Task], cancelled: Collection[Task]
    ) -> Mapping[Task, Outcome]:
        """See `Reader.restore`."""
        self._file = file = CheckpointFile(self._checkpoint.path)
        file.open()
        self._missing = {task: self._key(task) for task in tasks}
        known = file.known(self._checkpoint.max_age)
        found: Dict[Task, int] = {}
        for task, key in self._missing.items():
            if key in known and task not in cancelled:
                found[task] = known[key]
        _drop_orphans(found)
        restored = self._load(file, found)
        for task in restored:
            del self._missing[task]
        if restored:
            path, many = self._checkpoint.path, f"{len(restored)} of {len(tasks)}"
            self._inform(f"Restored from checkpoint {path!r}: {many} tasks")
        return restored

    def _key(self, task: Task) -> Optional[Tuple[bytes, bytes]]:
        try:
            call = task.job and (task.job.kind, task.job.identity)
            return digest(task.label), digest((call, task.options.version))
        except _BAD as error:
            self._tell(self._warn, _UNRECORDED, quote(task.label), error)
            return None

    def _load(
        self, file: CheckpointFile, found: Dict[Task, int]
    ) -> Dict[Task, Outcome]:
        """The outcomes of tasks, as far as what was recorded can be read."""
        outcomes: Dict[Task, Outcome] = {}
        with collection_paused(len(found)):
            for task, number in tuple(found.items()):
                moment, pickled = file.result(number)
                try:
                    outcomes[task] = Restored(_result(moment, pickled))
                except _BAD as error:  # the user's own classes may have changed
                    del found[task]
                    self._tell(self._inform, _UNREAD, quote(task.label), error)
        _drop_orphans(found)
        return {task: outcomes[task] for task in found}

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        task, outcome = event.task, event.outcome
        if event.kind != END or outcome is None or outcome.cause is not SUCCESS:
            return
        key = self._missing.get(task)
        if key is None or any(needed in self._missing for needed in task.needs):
            return
        if task in self._mapped and self._mapped[task].failures:
            return
        try:
            result = pickle.dumps(self._registry.anew(task, outcome), 4)
        except _BAD as error:
            return self._tell(self._warn, _UNRECORDED, quote(task.label), error)
        assert self._file is not None
        try:
            self._file.record(*key, result)
        except Exception as error:
            path = repr(self._checkpoint.path)
            return self._tell(self._warn, _UNWRITTEN, path, error)
        del self._missing[task]

    def close(self) -> None:
        """See `Reader.close`."""
        if self._file is not None and not self._file.in_place:
            self._warn(
                f"Checkpoint {self._checkpoint.path!r} was moved or removed during the "
                "run: what has succeeded since may be lost"
            )
        self.abandon()

    def abandon(self) -> None:
        """See `Reader.abandon`."""
        file, self._file = self._file, None
        self._missing = {}
        if file is not None:
            file.close()

    def _tell(self, tell: Tell, text: str, of: str, error: BaseException) -> None:
        """Say, the first time, that something cannot be done."""
        if text not in self._told:
            self._told.add(text)
            tell(f"{text.format(of)}: {describe(error)[0]}")


def _result(moment: float, pickled: bytes) -> Any:
    """A result that was recorded at that moment.

    Texts of concurra's own are shared by all results that have them.
    """
    recorded = pickle.loads(pickled)
    value = recorded["result"]
    result = {
        intern(key): intern(each) if type(each) is str and each is not value else each
        for key, each in recorded.items()
    }
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
    result["warning"] = intern(f"Restored from checkpoint of {when}")
    return result


def _drop_orphans(found: Dict[Task, int]) -> None:
    """Leave only tasks all of whose dependencies were recorded before them."""
    # By their numbers, so that those that a task depends on come before it.
    for task, number in sorted(found.items(), key=itemgetter(1)):
        if not all(found.get(needed, number) < number for needed in task.needs):
            del found[task]
