"""The file of a checkpoint: an SQLite database, which one run has at a time.

What was committed survives a SIGKILL: that is what the file is for. Each success has a
number, higher than those that were recorded before it.
"""

from __future__ import annotations

import os
import sqlite3
import time

from .errors import CheckpointError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Final, Iterable, Optional, Sequence, Tuple

#: The id that tells these files from other SQLite databases, and their layout.
APPLICATION: Final = 0x636F6E63
VERSION: Final = 1

_TABLE = """
CREATE TABLE successes (
    number INTEGER PRIMARY KEY,
    label BLOB NOT NULL UNIQUE,  -- a digest
    call BLOB NOT NULL,          -- a digest
    moment REAL NOT NULL,        -- seconds since the epoch
    result BLOB NOT NULL         -- pickled
)
"""

# A row that is replaced gets a new number.
_RECORD = """
INSERT OR REPLACE INTO successes (label, call, moment, result) VALUES (?, ?, ?, ?)
"""


class CheckpointFile:
    """A file that its owner has for itself from `open` to `close`.

    Making and opening are two steps, so that what is cut short can be closed.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._absolute = os.path.abspath(path)  # never one of SQLite's special names
        self._file: sqlite3.Connection = None  # type: ignore[assignment]
        self._identity: Optional[Tuple[int, int]] = None

    def open(self) -> None:
        """Take the file; it is to be closed, also if that raises.

        :raises CheckpointError: another one has it, or it is no checkpoint.
        """
        try:
            self._file = sqlite3.connect(
                self._absolute,
                timeout=0,
                isolation_level=None,
                check_same_thread=False,  # it is used by one after the other
            )
            self._prepare()
        except sqlite3.Error as error:
            raise self._refusal(error) from None
        self._identity = self._look()

    def _prepare(self) -> None:
        execute = self._file.execute
        # The lock is taken with the first access, and kept until the file is closed.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("BEGIN EXCLUSIVE")
        if not execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            execute(f"PRAGMA application_id = {APPLICATION}")
            execute(f"PRAGMA user_version = {VERSION}")
            execute(_TABLE)
        elif execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            raise CheckpointError(
                f"File {self._path!r} is no checkpoint, but another database"
            )
        version = execute("PRAGMA user_version").fetchone()[0]
        if version != VERSION:
            raise CheckpointError(
                f"Checkpoint {self._path!r} is of version {version}, and this concurra "
                f"writes version {VERSION}: remove it to begin anew"
            )
        execute("COMMIT")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("BEGIN EXCLUSIVE")
        execute("COMMIT")

    def _refusal(self, error: sqlite3.Error) -> CheckpointError:
        """What is to be raised in the place of an error."""
        text, path = str(error), self._path
        if "locked" in text:
            return CheckpointError(f"Checkpoint {path!r} is used by another run")
        if not isinstance(error, sqlite3.OperationalError):
            return CheckpointError(f"File {path!r} is no checkpoint: {text}")
        folder = os.path.dirname(self._absolute)
        if os.path.isdir(self._absolute):
            text = "it is a directory"
        elif not os.path.isdir(folder):
            text = f"there is no directory {folder!r}"
        elif os.path.exists(self._absolute) and not _writable(self._absolute):
            text = f"the file cannot be read and written ({_reason(folder)})"
        elif not _writable(folder):  # SQLite keeps further files beside it
            text = f"directory {folder!r} cannot be written ({_reason(folder)})"
        return CheckpointError(f"Checkpoint {path!r} cannot be used: {text}")

    def _look(self) -> Optional[Tuple[int, int]]:
        try:
            found = os.stat(self._absolute)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    @property
    def in_place(self) -> bool:
        """Whether it is still the file at its path."""
        return self._look() == self._identity

    def known(self, max_age: Optional[float]) -> Dict[Tuple[bytes, bytes], int]:
        """The numbers of successes by label and call, as digests.

        :param max_age: seconds since they were recorded; None for any.
        :raises CheckpointError: it cannot be read.
        """
        oldest = 0.0 if max_age is None else time.time() - float(max_age)
        query = "SELECT label, call, number FROM successes WHERE moment >= ?"
        rows = self._read(query, oldest)
        return {(label, call): number for label, call, number in rows}

    def result(self, number: int) -> Tuple[float, bytes]:
        """When a success was recorded, and its result.

        :raises CheckpointError: it cannot be read.
        """
        query = "SELECT moment, result FROM successes WHERE number = ?"
        moment, result = next(iter(self._read(query, number)))
        return moment, result

    def _read(self, query: str, value: float) -> Iterable[Any]:
        try:
            return self._file.execute(query, (value,)).fetchall()
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: sqlite3.Error) -> CheckpointError:
        return CheckpointError(f"Checkpoint {self._path!r} cannot be read: {error}")

    def record(self, label: bytes, call: bytes, result: bytes) -> None:
        """Commit a success, instead of an earlier one of that label.

        :raises Exception: it cannot be written.
        """
        self._file.execute(_RECORD, (label, call, time.time(), result))

    def forget(self, labels: Optional[Sequence[bytes]]) -> None:
        """Remove successes; all of them, or none.

        :param labels: None for those of all labels.
        :raises CheckpointError: it cannot be read or written.
        """
        try:
            with self._file:
                self._file.execute("BEGIN")
                if labels is None:
                    self._file.execute("DELETE FROM successes")
                else:
                    query = "DELETE FROM successes WHERE label = ?"
                    self._file.executemany(query, [(label,) for label in labels])
        except sqlite3.Error as error:
            raise self._unreadable(error) from None

    def close(self) -> None:
        """Let others have it, if it was opened."""
        if self._file is not None:
            self._file.close()


def _writable(path: str) -> bool:
    """Whether this user, as whom files are opened, may read and write there."""
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.R_OK | os.W_OK, effective_ids=effective)


def _reason(folder: str) -> str:
    """Why nothing can be written there."""
    if hasattr(os, "statvfs") and os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    return "permission denied"
