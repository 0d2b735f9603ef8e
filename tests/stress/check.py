"""One scenario: carried out, and judged."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .conduct import conduct
from .oracle import problems
from .scenario import Scenario, generate


def replay(scenario: Scenario) -> str:
    """The command line that runs the scenario again."""
    where = f"--seed {scenario.seed} --modes {scenario.mode}"
    return f"python -m tests.stress {where} --count 1 --repeat 20"


def failure(seed: int, mode: str) -> str:
    """Run a scenario; everything that is wrong with it, or an empty string."""
    scenario = generate(seed, mode)
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        try:
            record = conduct(scenario, Path(folder))
            wrong = problems(scenario, record)
            events = record.events
        except Exception as error:
            wrong, events = [f"{type(error).__name__}: {error}"], []
    if not wrong:
        return ""
    told = [f"seed {seed}, mode {mode}; again: {replay(scenario)}"]
    told += [f"- {each}" for each in wrong]
    told += ["the scenario:", str(scenario)]
    told += ["the events:", "\n".join(" ".join(map(str, each)) for each in events)]
    return "\n".join(told)
