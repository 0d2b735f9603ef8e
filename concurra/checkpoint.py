"""What has succeeded, in a file: a run that goes on where the last one stopped.

::

    start    file ──> tasks whose call is the same, and all that they depend on
                      have succeeded: they are not run again
    an end   a success ──> one transaction

The file is an SQLite database. A run holds it until it has ended, by whatever means, so
that no other run uses it meanwhile. What was committed is there after a SIGKILL. It has
pickles in it: use only files that you trust.
"""

from __future__ import annotations

import os
import time

from .errors import CheckpointError
from .events import END, Reader
from .outcomes import SUCCESS, Outcome
from .references import ReferringCall
from .run_options import Checkpoint
from .tasks import Command, TaskRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from typing import Any, Callable, Dict, Final, Hashable, Iterable, Mapping
    from typing import Optional, Tuple

    from .checks import StrPath
    from .events import Event
    from .results import Registry
    from .tasks import Task

#: By which SQLite files are told apart, and how this one is laid out.
APPLICATION: Final = 0x636F6E63
VERSION: Final = 1

_TABLE = """
CREATE TABLE IF NOT EXISTS successes (
    label BLOB PRIMARY KEY,  -- pickled
    call BLOB NOT NULL,      -- a digest
    moment REAL NOT NULL,    -- seconds since the epoch
    result BLOB NOT NULL     -- pickled
)
"""


def clear(path: StrPath, labels: Optional[Iterable[Hashable]] = None) -> None:
    """Forget what a file has recorded, so that it is run again.

    :param labels: of these tasks; None for all.
    :raises CheckpointError: a run has the file, or it is no checkpoint.
    """
    if not os.path.exists(path):
        return
    file = _open(os.fspath(path))
    try:
        if labels is None:
            file.execute("DELETE FROM successes")
        else:
            keys = [(_pickled(label),) for label in labels]
            file.executemany("DELETE FROM successes WHERE label = ?", keys)
    finally:
        file.close()


class CheckpointReader(Reader):
    """Records successes, and knows those of earlier runs.

    :param inform: logs a line at INFO.
    """

    step = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        registry: Registry,
        inform: Callable[[str], None],
    ) -> None:
        self._checkpoint = checkpoint
        self._registry = registry
        self._inform = inform
        self._file: Optional[sqlite3.Connection] = None
        self._keys: Dict[Task, Tuple[bytes, bytes]] = {}  # of what can be recorded
        self._told = False

    def restore(self, tasks: Mapping[Hashable, Task]) -> Dict[Task, Outcome]:
        """See `Reader.restore`."""
        self.close()
        self._file = file = _open(self._checkpoint.path)
        try:
            for task in tasks.values():
                try:
                    self._keys[task] = _pickled(task.label), _digest(task)
                except Exception as error:
                    self._tell_of(task, error)
            rows = file.execute("SELECT label, call, moment FROM successes")
            known = {label: (call, moment) for label, call, moment in rows}
        except BaseException:
            self.close()
            raise
        found: Dict[Task, float] = {}
        age = self._checkpoint.max_age
        oldest = None if age is None else time.time() - float(age)
        for task, (label, digest) in self._keys.items():
            call, moment = known.get(label, (None, 0.0))
            if call == digest and (oldest is None or moment >= oldest):
                found[task] = moment
        _drop_orphans(found)
        return self._outcomes(found)

    def _outcomes(self, found: Dict[Task, float]) -> Dict[Task, Outcome]:
        """What was recorded of tasks, as far as it can be read."""
        import pickle

        assert self._file is not None
        outcomes: Dict[Task, Outcome] = {}
        for task in found:
            query = "SELECT result FROM successes WHERE label = ?"
            row = self._file.execute(query, self._keys[task][:1]).fetchone()
            try:
                result = pickle.loads(row[0])
            except Exception as error:  # the user's own classes may have changed
                self._tell_of(task, error)
                continue
            outcomes[task] = Outcome(
                SUCCESS, result["execution_mode"], result["output"]
            )
            when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found[task]))
            result["warning"] = f"Restored from checkpoint of {when}"
            self._registry.restore(task.label, result)
        if len(outcomes) < len(found):
            _drop_orphans(outcomes)
        for task in outcomes:
            self._keys.pop(task)  # it has been recorded
        return outcomes

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        import pickle

        if event.kind != END or self._file is None:
            return
        task = event.task
        keys = self._keys.pop(task, None)
        outcome = event.outcome
        if keys is None or outcome.cause is not SUCCESS:
            return
        try:
            result = pickle.dumps(dict(self._registry.at_end(task, outcome)), 4)
        except Exception as error:
            return self._tell_of(task, error)
        self._file.execute(
            "INSERT OR REPLACE INTO successes VALUES (?, ?, ?, ?)",
            (*keys, time.time(), result),
        )

    def close(self) -> None:
        """See `Reader.close`."""
        file, self._file = self._file, None
        if file is not None:
            file.close()

    def _tell_of(self, task: Task, error: Exception) -> None:
        """Say, once, that something cannot be recorded."""
        if not self._told:
            self._told = True
            self._inform(
                f"Task {task!r} cannot be recorded in the checkpoint, and is run each "
                f"time, as may others be: {type(error).__name__}: {error}"
            )


def _drop_orphans(found: Dict[Task, Any]) -> None:
    """Leave only tasks all of whose dependencies are among them."""
    wave = [task for task in found if not all(each in found for each in task.needs)]
    while wave:
        for task in wave:
            found.pop(task, None)
        dependents = [each for task in wave for each in task.dependents]
        wave = [each for each in dependents if each in found]


def _open(path: str) -> sqlite3.Connection:
    """Open a file for this run alone.

    :raises CheckpointError: another run has it, or it is no checkpoint.
    """
    import sqlite3

    try:
        file = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise CheckpointError(
            f"Checkpoint {path!r} cannot be opened: {error}"
        ) from None
    try:
        _prepare(file, path)
    except sqlite3.OperationalError as error:
        file.close()
        if "locked" in str(error):
            raise CheckpointError(
                f"Checkpoint {path!r} is used by another run"
            ) from None
        raise CheckpointError(f"Checkpoint {path!r} cannot be used: {error}") from None
    except sqlite3.DatabaseError as error:
        file.close()
        raise CheckpointError(f"File {path!r} is no checkpoint: {error}") from None
    except BaseException:
        file.close()
        raise
    return file


def _prepare(file: sqlite3.Connection, path: str) -> None:
    # The lock is taken with the first access, and kept until the file is closed.
    file.execute("PRAGMA locking_mode = EXCLUSIVE")
    file.execute("BEGIN EXCLUSIVE")
    application = file.execute("PRAGMA application_id").fetchone()[0]
    version = file.execute("PRAGMA user_version").fetchone()[0]
    used = file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if used and application != APPLICATION:
        raise CheckpointError(f"File {path!r} is no checkpoint, but another database")
    if used and version != VERSION:
        raise CheckpointError(
            f"Checkpoint {path!r} is of version {version}, and this concurra writes "
            f"version {VERSION}: remove it to begin anew"
        )
    file.execute(f"PRAGMA application_id = {APPLICATION}")
    file.execute(f"PRAGMA user_version = {VERSION}")
    file.execute(_TABLE)
    file.execute("COMMIT")
    file.execute("PRAGMA journal_mode = WAL")
    file.execute("PRAGMA synchronous = NORMAL")
    file.execute("BEGIN EXCLUSIVE")
    file.execute("COMMIT")


# -- what a task is known by -----------------------------------------------------------


def _digest(task: Task) -> bytes:
    """What is the same as long as a task does the same.

    :raises Exception: something of it cannot be pickled.
    """
    from hashlib import sha256

    job, version = task.job, task.options.version
    if isinstance(job, Command):
        slots = [getattr(job, name) for name in Command.__slots__]
        what: Any = ("command", slots)
    elif isinstance(job, ReferringCall):
        what = (job.func, _plain(job.given_args), _plain(job.given_kwargs))
    else:
        assert job is not None  # it has not ended
        what = (job.func, _plain(job.args), _plain(job.kwargs or {}))
    return sha256(_pickled((what, version))).digest()


def _plain(value: Any, depth: int = 0) -> Any:
    """The same, without what differs from run to run."""
    if isinstance(value, TaskRef):
        return "concurra.ref", value.label
    kind = type(value)
    if kind in (set, frozenset):
        return kind.__name__, sorted(_pickled(_plain(each)) for each in value)
    if depth > 2:
        return value
    if kind in (list, tuple):
        return kind(_plain(each, depth + 1) for each in value)
    if kind is dict:
        return {key: _plain(each, depth + 1) for key, each in value.items()}
    return value


def _pickled(value: Any) -> bytes:
    """The pickle of a value, the same for equal ones."""
    import io
    import pickle

    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, 4)
    # Without it, it would matter whether two equal parts are one object.
    pickler.fast = True
    pickler.dump(value)
    return buffer.getvalue()
