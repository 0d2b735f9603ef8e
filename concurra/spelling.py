"""What may have been meant by names that do not exist: keywords, labels, methods."""

from __future__ import annotations

from functools import lru_cache

from .wording import show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from inspect import Parameter
    from typing import Any, Collection, Dict, Hashable, Iterable, Iterator, Mapping
    from typing import Optional, Sequence, Tuple

#: What `add_task` takes itself.
TAKEN = ("label", "depends_on", "task_retries")

#: Options of `task` whose names mean little else.
MISTAKABLE = ("timeout", "priority", "resources", "trigger_rule")

#: All of its options that `add_task` does not take.
OPTIONS = (*MISTAKABLE, "name", "version", "local", "keep_remote")

#: What only `add_function` takes.
CONTAINERS = ("args", "kwargs")

#: What is meant where the function takes no such keyword, and would raise.
MISPLACED = {**{name: name for name in OPTIONS + CONTAINERS}, "retries": "task_retries"}

#: Among so many labels others are looked for that are like one; it takes 10 ms each.
MOST_LABELS = 10_000


def suspects(func: Any, keywords: Iterable[str], own: str) -> Iterator[Tuple[str, str]]:
    """The keywords that are no parameters of ``func``, each with what was meant.

    An option under its very name is one only if ``func`` does not take it at all.

    :param own: what forwards them: ``"add_task"``, or ``"add_func"``, which takes none
        of `TAKEN`.
    """
    for keyword in keywords:
        meant = _meant(keyword, own)
        misplaced = MISPLACED.get(keyword)
        if keyword == "key" and own == "add_task":
            misplaced = "label"
        if meant is not None and not _has_parameter(func, keyword):
            yield keyword, meant
        elif misplaced is not None and not _takes(func, keyword):
            yield keyword, misplaced


def hints(func: Any, keywords: Iterable[str], own: str) -> Iterator[Tuple[str, str]]:
    """See `suspects`; with a question or an advice."""
    for keyword, meant in suspects(func, keywords, own):
        option = "the option " if meant in OPTIONS else ""
        hint = f"did you mean {option}'{meant}'{' of task()' if option else ''}?"
        if meant in CONTAINERS:
            hint = "add_function() takes 'args' and 'kwargs'"
        elif not option and own == "add_func" and meant != "key":
            hint = f"add_func() takes 'key' alone, add_task() takes '{meant}'"
        yield keyword, hint


@lru_cache(maxsize=512)
def _meant(keyword: str, own: str) -> Optional[str]:
    if own == "add_func" and keyword in TAKEN:
        return keyword
    for name in TAKEN + MISTAKABLE:
        if _are_close(keyword, name):
            return name
    return "key" if own == "add_func" and keyword in ("kye", "yek", "keys") else None


def _are_close(keyword: str, name: str) -> bool:
    """Whether it is the name with a slip, or begins as the name does."""
    if keyword == name or f"{keyword}s" == name or keyword == f"{name}s":
        return False  # a likely name by itself
    one, other = _plain(keyword), _plain(name)
    start = _common(one, other)
    if is_slip(keyword, name):
        return True
    return start >= 6 and start * 3 >= len(other) * 2 and len(one) - len(other) < 4


def is_slip(word: str, name: str) -> bool:
    """Whether it is the name, but for one letter, or for the order of some."""
    one, other = _plain(word), _plain(name)
    start = _common(one, other)
    end = min(_common(one[::-1], other[::-1]), len(one) - start, len(other) - start)
    rest, missing = one[start : len(one) - end], other[start : len(other) - end]
    return len(rest) < 2 and len(missing) < 2 or sorted(rest) == sorted(missing)


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
    parameters = _parameters(func)
    return parameters is None or keyword in parameters


def _takes(func: Any, keyword: str) -> bool:
    """Whether it can be called with this keyword; true if that cannot be known."""
    parameters = _parameters(func)
    if parameters is None or keyword in parameters:
        return True
    return any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _parameters(func: Any) -> Optional[Mapping[str, Parameter]]:
    from inspect import signature

    try:
        return signature(func).parameters
    except Exception:
        return None


def question(
    unknown: Mapping[Hashable, Sequence[Hashable]],
    labels: Collection[Hashable],
    named: Iterable[Sequence[Hashable]],
) -> str:
    """What may have been meant by labels that do not exist; "" if nothing is like them.

    A label that reads the same and is of another type, or one that reads much like it;
    or the tuple of several, if that is a label.

    :param unknown: by the label of each task, those that it depends on.
    :param labels: of all tasks.
    :param named: all that tasks depend on, of each task.
    """
    from difflib import get_close_matches

    for whole in map(tuple, named):
        if len(whole) > 1 and whole in labels:
            return f"A label that is a tuple has to be in a list: [{show(whole)}]."
    texts = {str(label): label for label in labels if type(label) in (str, int)}
    meant: Dict[Hashable, None] = {}
    for missing in unknown.values():
        for each in missing if len(texts) <= MOST_LABELS else ():
            if type(each) in (str, int) and len(meant) < 3:
                for text in get_close_matches(str(each), texts, 1, 0.75):
                    meant[texts[text]] = None
    return f"Did you mean {' and '.join(map(show, meant))}?" if meant else ""
