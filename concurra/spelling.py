"""Keywords that go to the user's function, and look as if they were meant for ours."""

from __future__ import annotations

from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable, Iterator, Optional, Tuple

#: What `add_task` takes itself.
TAKEN = ("label", "depends_on", "task_retries")

#: Options of `task` whose names mean little else.
OPTIONS = ("timeout", "priority", "resources", "trigger_rule")


def suspects(func: Any, keywords: Iterable[str], own: str) -> Iterator[Tuple[str, str]]:
    """The keywords that are no parameters of ``func``, each with what was meant.

    :param own: who forwards them: ``"add_task"``, or ``"add_func"``, which takes none
        of `TAKEN`.
    """
    for keyword in keywords:
        meant = _meant(keyword, own)
        if meant is not None and not _has_parameter(func, keyword):
            yield keyword, meant


def hints(func: Any, keywords: Iterable[str], own: str) -> Iterator[Tuple[str, str]]:
    """See `suspects`; with a question or an advice."""
    for keyword, meant in suspects(func, keywords, own):
        option = "the option " if meant in OPTIONS else ""
        hint = f"did you mean {option}'{meant}'{' of task()' if option else ''}?"
        if not option and own == "add_func" and meant != "key":
            hint = f"add_func() takes 'key' alone, add_task() takes '{meant}'"
        yield keyword, hint


@lru_cache(maxsize=512)
def _meant(keyword: str, own: str) -> Optional[str]:
    for name in TAKEN + OPTIONS:
        exact = own == "add_func" and keyword == name and name in TAKEN
        if exact or _are_close(keyword, name):
            return name
    return "key" if own == "add_func" and keyword in ("kye", "yek", "keys") else None


def _are_close(keyword: str, name: str) -> bool:
    """Whether it is the name with a slip, or begins as the name does."""
    if keyword == name or f"{keyword}s" == name or keyword == f"{name}s":
        return False  # a likely name by itself
    one, other = _plain(keyword), _plain(name)
    start = _common(one, other)
    end = min(_common(one[::-1], other[::-1]), len(one) - start, len(other) - start)
    rest, missing = one[start : len(one) - end], other[start : len(other) - end]
    if len(rest) < 2 and len(missing) < 2 or sorted(rest) == sorted(missing):
        return True
    return start >= 6 and start * 3 >= len(other) * 2 and len(one) - len(other) < 4


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def _common(one: str, other: str) -> int:
    """How many letters at the start are the same."""
    count = 0
    while count < min(len(one), len(other)) and one[count] == other[count]:
        count += 1
    return count


def _has_parameter(func: Any, keyword: str) -> bool:
    """Whether it has this parameter by name; true if that cannot be known."""
    from inspect import signature

    try:
        return keyword in signature(func).parameters
    except Exception:
        return True
