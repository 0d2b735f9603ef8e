"""Random runs of maps, each with what must have become of it."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any, Optional

import concurra

from .scenario import MODES

#: What is done for an item, and how often each is drawn.
ACTS = ("value",) * 12 + ("raise", "once", "kill", "pause")


class Item:
    """What is done for an item: an act, by its number, with a file for its attempts."""

    def __init__(self, number: int, act: str, log: str) -> None:
        self.number = number
        self.act = act
        self.log = log


def do(item: Item) -> int:
    """Do it."""
    with open(item.log, "a") as file:
        file.write(".")
    if item.act == "raise":
        raise ValueError(item.number)
    if item.act == "once" and os.path.getsize(item.log) == 1:
        raise ConnectionError(item.number)
    if item.act == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if item.act == "pause":
        sum(range(20_000))
    return item.number


def undo(number: int) -> int:
    """What a map makes of the values of another."""
    return -number


class Maps:
    """A run, made of a seed.

    :param folder: an empty one.
    """

    def __init__(self, seed: int, mode: str, folder: Path) -> None:
        draw = random.Random(f"{seed} {mode}")
        self.draw = draw
        self.mode = mode
        self.process = mode not in ("thread",) and not mode.startswith("fallback")
        self.retries = draw.choice([0, 0, 1, 2])
        self.exceptions = draw.random() < 0.3
        options: dict[str, Any] = {"max_concurrency": draw.randint(1, 6)}
        if mode != "thread":
            options.update(
                use_multiprocessing=True,
                mp_context=mode.rpartition("-")[2],
                fallback_to_thread_on_pickle_error=mode.startswith("fallback"),
                max_tasks_per_child=draw.choice([None, None, 1, 3]),
            )
        self.runner = concurra.TaskRunner(
            progress_stats=False,
            task_retries=self.retries,
            terminate_timeout=0.5,
            **options,
        )
        self.items: dict[str, list[Item]] = {}
        self.chunks: dict[str, Optional[int]] = {}
        for place in range(draw.randint(1, 3)):
            self._add(f"map{place}", folder)
        self.runner.add_task(abs, -7, label="other")

    def _add(self, label: str, folder: Path) -> None:
        draw = self.draw
        clean = draw.random() < 0.3
        acts = ("value", "pause") if clean else ACTS
        items = []
        for number in range(draw.choice([0, 1, 2, 7, 40])):
            act = draw.choice(acts)
            if act == "kill" and not self.process:
                act = "raise"
            items.append(Item(number, act, str(folder / f"{label}.{number}")))
        self.items[label] = items
        self.chunks[label] = chunk = draw.choice([1, 2, 5, None])
        source = iter(items) if draw.random() < 0.5 else items
        func = (lambda item: do(item)) if self.mode.startswith("fallback") else do
        if draw.random() < 0.3:
            func = concurra.task(func, priority=draw.randint(-1, 1))
        made = self.runner.map(
            func,
            source,
            label=label,
            chunksize=chunk,
            return_exceptions=self.exceptions,
        )
        self.runner.map(
            undo, made, label=f"{label} undone", chunksize=draw.choice([1, 3])
        )

    def check(self, results: Any) -> None:
        """All of it is as it must be."""
        assert results["other"]["result"] == 7
        for label, items in self.items.items():
            self._check_map(label, items, results[label])
            above = results[f"{label} undone"]
            if results[label]["status"] == "Successful" and not self.exceptions:
                assert above["result"] == [-item.number for item in items]

    def _check_map(self, label: str, items: list[Item], result: Any) -> None:
        known = self.runner.partial(label)
        killed = [item.number for item in items if item.act == "kill"]
        failing = {item.number for item in items if self._fails(item)}
        assert not failing & set(known), (failing, known)
        assert all(place == value for place, value in known.items())
        lost = {item.number for item in items} - set(known) - failing
        most = len(killed) * (self.chunks[label] or sys.maxsize)
        assert len(lost) <= most, f"{lost} have no value"
        raised = bool(failing) and not (self.exceptions and not killed)
        assert result["status"] == ("Failed" if raised or killed else "Successful")
        if result["status"] == "Failed":
            # Where exceptions are values, only what was lost with a chunk has failed.
            least = len(lost | set(killed)) if self.exceptions else len(lost | failing)
            told = re.match(r"MapError: (\d+) of (\d+) items failed", result["error"])
            assert told and int(told[2]) == len(items), result["error"]
            assert least <= int(told[1]) <= len(lost | failing), (
                result["error"],
                least,
            )
        else:
            kinds = [
                value if type(value) is int else type(value).__name__
                for value in result["result"]
            ]
            assert kinds == list(map(self._shown, items))
        for item in items:
            self._check_calls(item, bool(killed), lost)

    def _fails(self, item: Item) -> bool:
        return item.act in ("raise", "kill") or (
            item.act == "once" and not self.retries
        )

    def _shown(self, item: Item) -> Any:
        if not self._fails(item):
            return item.number
        return "ValueError" if item.act == "raise" else "ConnectionError"

    def _check_calls(self, item: Item, crashed: bool, lost: set[int]) -> None:
        """It was called as often as it must be: what succeeded, once."""
        calls = len(Path(item.log).read_text()) if os.path.exists(item.log) else 0
        right = {"raise": self.retries + 1, "once": min(2, self.retries + 1)}
        most = right.get(item.act, 1)
        if item.number in lost or (crashed and self._fails(item)):
            assert calls <= most  # it may have been lost with its chunk
        else:
            assert calls == most, (item.number, item.act, calls)


def run_to_the_end(seed: int, mode: str, folder: Path) -> None:
    """Run it, and see that all is as it must be."""
    maps = Maps(seed, mode, folder)
    maps.check(maps.runner.run(verify=False))


def run_and_abort(seed: int, mode: str, folder: Path) -> None:
    """Cancel one of its maps, then all, at any moment: what had a value keeps it."""
    maps = Maps(seed, mode, folder)
    maps.runner.execute_in_background()
    label = maps.draw.choice(list(maps.items))
    threading.Event().wait(maps.draw.random() * 0.05)
    maps.runner.cancel(label)
    threading.Event().wait(maps.draw.random() * 0.05)
    results = maps.runner.abort(verify=False)
    for label, items in maps.items.items():
        known = maps.runner.partial(label)
        assert all(place == value for place, value in known.items())
        if results[label]["status"] == "Successful":
            assert len(known) == len([each for each in items if not maps._fails(each)])


def seeds(first: int, many: int) -> list[tuple[int, str]]:
    """Seeds, each with a mode."""
    return [(seed, MODES[seed % len(MODES)]) for seed in range(first, first + many)]
