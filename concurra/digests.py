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
    from typing import Any, Dict, Final, List, Optional, Tuple

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
        return _Digests().of(value)
    except _EndlessError:
        return _digest(value, None, False, math.inf)


class _Digests:
    """Those of one value and of the members of its sets, each of which is asked once.

    Members may share what they have, so there may be many more ways than sets.
    """

    __slots__ = ("_sets",)

    def __init__(self) -> None:
        # By the id of a set: that, so that no other gets its id, and the digests of its
        # members; None as long as they are not known.
        self._sets: Dict[int, Tuple[Any, Optional[List[bytes]]]] = {}

    def of(self, value: Any) -> bytes:
        """The digest of a value.

        :raises _EndlessError: a set is a part of its member, or it is too deep.
        """
        try:
            return _digest(value, self, True, WRITTEN_OUT)
        except (_LargeError, ValueError, RecursionError):
            pass
        try:
            return _digest(value, self, False, math.inf)
        except RecursionError:  # who asks is not to try twice as well
            raise _EndlessError from None

    def of_members(self, members: Any) -> List[bytes]:
        """Those of the members of a set, in order."""
        found = self._sets.get(id(members))
        if found is None:
            self._sets[id(members)] = members, None
            made = sorted(map(self.of, members))
            self._sets[id(members)] = members, made
            return made
        if found[1] is None:
            raise _EndlessError
        return found[1]


def _digest(
    value: Any, digests: Optional[_Digests], written_out: bool, most: float
) -> bytes:
    """The digest of a value.

    :param digests: for members of sets; None to take these in the order they are in.
    """
    written = _Written(most)
    pickler = _Pickler(written, 4)
    pickler.digests = digests
    pickler.fast = written_out
    pickler.dump(value)
    return written.hash.digest()


class _EndlessError(Exception):
    """Sets within sets have no end, or none that can be reached."""


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
    digests: Optional[_Digests]

    def persistent_id(self, value: Any) -> Any:
        """What is pickled in the place of a value; None for the value itself."""
        kind = type(value)
        if kind is set or kind is frozenset:
            digests = self.digests
            return None if digests is None else (kind, digests.of_members(value))
        if kind is Task or kind is TaskRef:
            return TaskRef, value.label
        return None

    def reducer_override(self, value: Any) -> Any:
        """How a set of the user's own kind is pickled; all else is as ever."""
        kind, digests = type(value), self.digests
        if digests is None or not issubclass(kind, (set, frozenset)):
            return NotImplemented
        if (kind.__reduce_ex__, kind.__reduce__) not in _AS_SETS_ARE:
            return NotImplemented
        _, _, *state = value.__reduce__()
        return (kind, (digests.of_members(value),), *state)


_AS_SETS_ARE = [(kind.__reduce_ex__, kind.__reduce__) for kind in (set, frozenset)]
