"""Digests that are the same, in every process, for values that are equal.

A pickle alone is not. Sets come in the order of their hashes, which differ from process
to process, and it matters whether two equal parts are one object.
"""

from __future__ import annotations

import math
import pickle
from hashlib import sha256

from .tasks import Task, TaskRef

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: Bytes up to which parts of a value are written as often as they occur in it.
WRITTEN_OUT: Final = 1 << 20


def digest(value: Any) -> bytes:
    """The digest of whatever can be pickled; a reference counts by its label.

    Dicts count with their order, functions and classes by their names.

    If values are large, or have themselves as a part, equal ones may have different
    digests: what occurs in them more than once is not written out each time.

    :raises Exception: it cannot be pickled.
    """
    try:
        return _digest(value, True, WRITTEN_OUT)
    except (_LargeError, ValueError, RecursionError):
        return _digest(value, False, math.inf)


def _digest(value: Any, written_out: bool, most: float) -> bytes:
    written = _Written(most)
    pickler = _Pickler(written, 4)
    pickler.fast = written_out
    pickler.dump(value)
    return written.hash.digest()


class _LargeError(Exception):
    """There is more to write than there may be."""


class _Written:
    """A file of which nothing is kept but its hash."""

    def __init__(self, most: float) -> None:
        self.hash = sha256()
        self._left = most

    def write(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise _LargeError
        self.hash.update(data)


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Any:
        """What is pickled in the place of a value; None for the value itself."""
        kind = type(value)
        if kind is set or kind is frozenset:
            return kind, sorted(map(digest, value))
        if kind is Task or kind is TaskRef:
            return TaskRef, value.label
        return None
