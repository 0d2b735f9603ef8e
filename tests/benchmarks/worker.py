"""One measurement, in a process of its own: prints a JSON object for each system.

    python -m tests.benchmarks.worker [--memory] ROW SYSTEM[,SYSTEM...] TASKS

``{"seconds": ..., "cpu": ..., "rss": ...}``: the time, the CPU time of this process
and its children, and the largest resident size of this process in bytes. With
``--memory`` instead ``{"bytes": ..., "peak": ...}``: what is held in the end, and was
held at the most, by `tracemalloc`. ``{"missing": reason}`` if the system is not there.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import tracemalloc
from typing import Any

from .catalogue import PLOTS, ROWS
from .rows import OURS, Measured, Missing, Row, System


def measure(row: Row, system: System, n: int) -> dict[str, Any]:
    """Do the work once with the clock running."""
    given = row.given(n)
    with row.setting():
        gc.collect()
        cpu, start = _cpu(), time.perf_counter()
        value = system.run(given)
        seconds = time.perf_counter() - start
        cpu = _cpu() - cpu
    if isinstance(value, Measured):
        seconds, value = value.seconds, value.value
    row.check(given, value)
    return {"seconds": seconds, "cpu": cpu, "rss": _resident()}


def weigh(row: Row, system: System, n: int) -> dict[str, Any]:
    """Do the work once with all allocations being traced."""
    given = row.given(n)
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    value = system.run(given)
    gc.collect()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    row.check(given, value)
    return {"bytes": after - before, "peak": peak - before}


def _cpu() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _resident() -> int:
    try:
        import resource
    except ImportError:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """See the module."""
    arguments = sys.argv[1:]
    how = measure
    if arguments[0] == "--memory":
        how = weigh
        del arguments[0]
    name, systems, tasks = arguments
    row = ROWS.get(name) or PLOTS[name]
    for each in systems.split(","):
        system = row.system(each)
        try:
            if system.name == OURS:  # which the published one has not
                preloading = importlib.import_module("concurra.preloading")
                preloading.load_engine()  # as peers' modules: see `System.needs`
            for module in system.needs:
                importlib.import_module(module)
            found = how(row, system, int(tasks))
        except (ImportError, Missing) as error:
            found = {"missing": str(error)}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
