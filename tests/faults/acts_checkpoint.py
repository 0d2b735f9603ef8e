"""Runs with a checkpoint that are killed, again and again, until one comes to its end.

They run in forks of an interpreter of their own, which kills them.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import signal
import time
from pathlib import Path
from typing import Any

import concurra
from concurra.digests import digest
from tests.behaviour.support import recorded
from tests.faults.stage import make, set_up
from tests.helpers import START_METHODS

TASKS = 40


def work(label: str, flaky: bool, *values: Any) -> str:
    """Write down that it is done; a value that is made of what it gets."""
    with open(os.environ["JOURNAL"], "a") as journal:
        journal.write(f"{label}\n")
    time.sleep(int(label[1:]) % 4 / 1000)
    current = concurra.current_task()
    if flaky and current is not None and current.attempt == 1:
        raise ConnectionError("at first")
    return hashlib.sha256(repr((label, values)).encode()).hexdigest()


def build(runner: concurra.TaskRunner, mode: str, seed: int) -> None:
    """Add tasks that need each other's values, the same for the same seed."""
    chance = random.Random(seed)
    made: list[concurra.TaskRef] = []
    for number in range(TASKS):
        label = f"t{number}"
        needed = chance.sample(made, min(len(made), chance.randrange(3)))
        flaky = chance.random() < 0.1
        if mode == "command" and chance.random() < 0.5:
            line = f"echo {label} >> $JOURNAL; echo {label}"
            made.append(runner.add_shell_command(line, label, needed))
        else:
            retries = {"task_retries": 1}
            args = (label, flaky, *needed)
            made.append(runner.add_task(work, *args, label=label, **retries))


class Lives:
    """Runs of one job, in one folder, each in a process of its own.

    :param mode: how its tasks run.
    :param seed: of what they are.
    """

    def __init__(self, mode: str, seed: int, folder: Path) -> None:
        self._mode, self._seed, self._folder = mode, seed, folder
        self._count = 0

    def live(self, checkpoint: Path | None, kill_after: float | None = None) -> None:
        """One run, from its start to its end, or until it is killed."""
        self._count += 1
        pid = os.fork()
        if not pid:
            try:
                self._run(checkpoint)
            finally:
                os._exit(1)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        ended = os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0
        assert ended or kill_after is not None, f"it ended with status {status}"

    def _run(self, checkpoint: Path | None) -> None:
        os.environ["JOURNAL"] = str(self._journal)
        runner = make(self._mode, 3, checkpoint=checkpoint)
        build(runner, self._mode, self._seed)
        results = runner.run(verify=False)
        values = {label: result["result"] for label, result in results.items()}
        assert not any(result["has_failed"] for result in results.values()), results
        self._values.write_bytes(pickle.dumps(values))
        os._exit(0)

    @property
    def _journal(self) -> Path:
        return self._folder / f"journal{self._count}"

    @property
    def _values(self) -> Path:
        return self._folder / f"values{self._count}"

    @property
    def values(self) -> Any:
        """Of the last run, by label."""
        return pickle.loads(self._values.read_bytes())

    @property
    def done(self) -> list[str]:
        """The labels of what has begun in the last run."""
        return self._journal.read_text().split() if self._journal.exists() else []


def kill_and_go_on(mode: str, seed: int, kills: int, folder: str) -> None:
    """Kill runs at random moments, until there were so many kills."""
    set_up()  # no helper of multiprocessing: it would be of another process
    chance = random.Random(seed)
    killed = repeated = jobs = kept = 0
    while killed < kills:
        jobs += 1
        home = Path(folder, str(jobs))
        home.mkdir()
        lives = Lives(mode, seed + jobs, home)
        lives.live(None)
        undisturbed = lives.values
        began = time.monotonic()
        lives.live(home / "another.sqlite")
        takes = time.monotonic() - began
        checkpoint = home / "run.sqlite"
        labels = {digest(label): label for label in undisturbed}
        known: set[str] = set()
        done: list[str] = []
        for _ in range(chance.randint(1, 3)):
            lives.live(checkpoint, chance.uniform(0, takes * 1.1))
            killed += 1
            assert not known.intersection(lives.done), "what was recorded ran again"
            done += lives.done
            now = {labels[each] for each in recorded(checkpoint)}
            assert known <= now, "what was recorded is lost"
            known = now
        kept += len(known)
        lives.live(checkpoint)
        assert not known.intersection(lives.done), "what was recorded ran again"
        assert lives.values == undisturbed
        repeated += len(set(done) - known)
        lives.live(checkpoint)
        assert lives.done == []
        assert lives.values == undisturbed
    print(f"{killed} kills of {jobs} jobs of {TASKS} tasks; {kept} tasks were kept,")
    print(f"{repeated} were done without being recorded and began again")


if __name__ == "__main__":
    import sys
    import tempfile

    for each in sys.argv[3:] or ("thread", START_METHODS[0], "command"):
        with tempfile.TemporaryDirectory() as place:
            print(each, end=": ", flush=True)
            kill_and_go_on(each, int(sys.argv[1]), int(sys.argv[2]), place)
