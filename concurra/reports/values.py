"""Values and texts of tasks, in a form that every report can take."""

from __future__ import annotations

import math
import re
import reprlib

from ..encoding import encodable
from ..sanitize import shorten
from ..wording import name, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, List, Optional, Tuple

#: Characters of a text, and of a result, that a record keeps.
TEXT: Final = 100_000
RESULT: Final = 10_000

#: Characters that a number or a bracket counts as; and how deep a value may be.
_SMALL: Final = 4
_DEPTH: Final = 50


def text(value: object) -> str:
    """``str(value)`` as valid Unicode, with the middle left out if it is too long.

    Lone surrogates are escaped: ``\\udcff``.
    """
    return valid(shorten(decoded(value), TEXT))


def label(value: object) -> str:
    """``str(value)`` as valid Unicode, whole."""
    return valid(name(value))


def optional(value: object) -> Optional[str]:
    """The same as `text`; None for what is None."""
    return None if value is None else text(value)


def decoded(value: object) -> str:
    """The text of what a command has printed, or of any other value."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return name(value)


def valid(string: str) -> str:
    """The string with its lone surrogates escaped."""
    return encodable(string, "utf-8")


def result(value: Any) -> Tuple[Any, bool]:
    """What a task returned as JSON has it, and whether that is no more than its repr.

    JSON has a form of None, booleans, strings, finite numbers (integers of 64 bits),
    and of lists, tuples and dicts with strings as keys that hold nothing else. Of
    anything else, and of what is longer than `RESULT`, there is the repr, cut.
    """
    try:
        return _Form().of(value), False
    except Exception:  # another thread may be changing it
        pass
    try:
        told = _Repr().whole(value)
    except Exception:
        told = show(value)
    return valid(shorten(told, RESULT)), True


class _Form:
    """Makes a copy of a value that JSON has a form of."""

    def __init__(self) -> None:
        self._left = RESULT

    def of(self, value: Any, depth: int = 0) -> Any:
        """The copy.

        :raises Exception: there is no such form, or it is too long.
        """
        kind = type(value)
        if kind is str:
            self._pay(len(value))
            return valid(value)
        self._pay(_SMALL)
        if value is None or kind is bool:
            return value
        if kind is int and -(2**63) <= value < 2**64:
            return value
        if kind is float and value - value == 0:
            return value
        depth += 1
        if (kind is list or kind is tuple) and depth <= _DEPTH:
            return [self.of(each, depth) for each in value]
        if kind is dict and depth <= _DEPTH and all(type(key) is str for key in value):
            return {self.of(key): self.of(each, depth) for key, each in value.items()}
        raise ValueError(f"JSON has no form of a value of type {kind}")

    def _pay(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise ValueError("The form is too long")


class _Repr(reprlib.Repr):
    """A repr that does not look at the whole of what is long; for one value."""

    def __init__(self) -> None:
        super().__init__()
        self._left = RESULT
        self.maxlevel = 8
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 500
        self.maxfrozenset = self.maxdeque = self.maxarray = 500
        self.maxstring = self.maxlong = self.maxother = RESULT

    def whole(self, value: Any) -> str:
        """The repr of the value."""
        told = self.repr(value)
        return told if self._left >= 0 else _BEYOND.sub("...", told)

    def repr1(self, value: Any, level: int) -> str:
        """The repr of a part; of one that is beyond the end no more than dots."""
        before = self._left
        if before < 0:
            return "..."
        told = super().repr1(value, level)
        self._left = before - len(told)
        return told

    def repr_bytes(self, value: bytes, level: int) -> str:
        return show(value) if len(value) <= RESULT else f"{value[:RESULT]!r}..."

    repr_bytearray = repr_bytes

    def repr_instance(self, value: object, level: int) -> str:
        return show(value)


#: Parts that are beyond the end, one after the other.
_BEYOND = re.compile(r"\.\.\.(: \.\.\.)?(, \.\.\.(: \.\.\.)?)+")


def strings(values: Any) -> List[str]:
    """The texts of what should be a list."""
    return [text(each) for each in values] if isinstance(values, list) else []


def clean(value: Any) -> Any:
    """A value that strict JSON has a form of, whatever it was."""
    if isinstance(value, str):
        return valid(value)
    if isinstance(value, (list, tuple)):
        return [clean(each) for each in value]
    if isinstance(value, dict):
        return {valid(str(key)): clean(each) for key, each in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return text(value)
