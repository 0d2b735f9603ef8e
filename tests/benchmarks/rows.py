"""What a row of the table is: work, the systems that can do it, and a bar."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

import concurra

#: The system that all others are held against.
OURS = "concurra"


class Missing(Exception):
    """A system is not there, for the reason that is its message."""


def fork() -> int:
    """`os.fork`, where there is one."""
    try:
        return os.fork()
    except AttributeError:
        raise Missing("this system does not fork") from None


@dataclass(frozen=True)
class Measured:
    """What a system returns that holds the clock itself.

    :param seconds: counts instead of the time that the whole system took.
    """

    seconds: float
    value: object = None


@dataclass(frozen=True)
class System:
    """A way to do the work of a row.

    :param run: called with what the row gives; returns what the row checks.
    :param needs: modules that are imported before the clock starts.
    :param limit: whether this is no rival, but a bound that none can pass.
    :param published: whether it runs in the interpreter that has the published
        concurra.
    """

    name: str
    run: Callable[[Any], Any]
    needs: Sequence[str] = ()
    limit: bool = False
    published: bool = False


@dataclass(frozen=True)
class Faster:
    """The best peer is to take at least ``ratio`` times as long as concurra."""

    ratio: float


@dataclass(frozen=True)
class Within:
    """Concurra is to take at most ``seconds``, beyond what ``floor`` takes."""

    seconds: float
    floor: Optional[str] = None


def same(n: int) -> int:
    """Gives the systems nothing but the number of tasks."""
    return n


@dataclass(frozen=True)
class Row:
    """A row of the table.

    :param name: for the command line.
    :param work: says what is done, with ``{n}`` for the number of tasks.
    :param tasks: how many there are at full scale.
    :param bar: what concurra has to reach; None for rows that are only plotted.
    :param systems: concurra first.
    :param check: called with what was given and what a system has returned; raises if
        that is wrong.
    :param given: makes, from the number of tasks, what the systems are called with.
    :param setting: what is to be going on around the system; not measured.
    :param most_bytes: how much memory concurra may hold for a task when all is done.
    :param grows: whether to compare with a tenth of the tasks.
    """

    name: str
    work: str
    tasks: int
    bar: Union[Faster, Within, None]
    systems: Sequence[System]
    check: Callable[[Any, Any], None]
    given: Callable[[int], Any] = same
    setting: Callable[[], AbstractContextManager[object]] = nullcontext
    most_bytes: Optional[int] = None
    grows: bool = True

    def system(self, name: str) -> System:
        """The system of that name."""
        return next(system for system in self.systems if system.name == name)

    def at(self, scale: float) -> int:
        """The number of tasks at a scale."""
        return max(1, round(self.tasks * scale))


Results = Mapping[Any, Mapping[str, Any]]


def run(runner: concurra.TaskRunner) -> Results:
    """Run to the last result dict, without a report."""
    results: Results = runner.run(verify=False)
    return results


def expect(condition: object, what: str) -> None:
    """Raise if a system has returned something wrong."""
    if not condition:
        raise AssertionError(f"wrong result: {what}")


def values(results: Any) -> list[Any]:
    """The values of the tasks, from result dicts or from what peers return."""
    if not isinstance(results, Mapping):
        return list(results)
    found = list(results.values())
    if found and isinstance(found[0], dict) and "status" in found[0]:
        for result in found:
            expect(result["status"] == "Successful", result["error"])
        return [result["result"] for result in found]
    return found
