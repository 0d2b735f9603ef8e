"""The cost of a task against tasks, dependencies and workers, as a drawing."""

from __future__ import annotations

from typing import Callable

from .catalogue import PLOTS, ROWS
from .graphs import PLOTTED as GRAPH
from .measure import Bench
from .threads import PLOTTED as FLAT

TASKS = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
DEPENDENCIES = (0, 1, 2, 4, 8, 16, 32, 64)
WORKERS = (1, 2, 4, 8, 16, 32, 64)

Curves = dict[str, dict[int, float]]


def plot(bench: Bench, path: str, scale: float) -> None:
    """Measure, and draw to ``path``.

    :raises ImportError: there is no matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "concurra"
    from matplotlib import pyplot

    figure, (tasks, needs, workers) = pyplot.subplots(
        1, 3, figsize=(13, 4.2), sharey=True, layout="constrained"
    )

    steps = [step for step in TASKS if step <= scale * TASKS[-1]] or [TASKS[0]]
    for name, style in (("threads", "o-"), ("dag", "s--"), ("chain", "^:")):
        curves = _per_task(bench.scan(ROWS[name], steps), lambda n: n)
        _draw(tasks, {f"{each}, {name}": line for each, line in curves.items()}, style)
    tasks.set_xlabel("tasks")
    tasks.set_ylabel("microseconds a task")

    rows = (
        (needs, PLOTS["dependencies"], DEPENDENCIES, GRAPH, "dependencies a task"),
        (workers, PLOTS["workers"], WORKERS, FLAT, "workers"),
    )
    for axes, row, steps_of, many, label in rows:
        curves = _per_task(bench.scan(row, steps_of), lambda step, many=many: many)
        _draw(axes, curves, "o-")
        axes.set_xlabel(label)

    tasks.set_xscale("log")
    needs.set_xscale("symlog", base=2, linthresh=1)
    workers.set_xscale("log", base=2)
    for axes in (tasks, needs, workers):
        axes.set_yscale("log")
        axes.grid(True, which="major", alpha=0.3)
        axes.legend(fontsize="x-small")
    figure.savefig(path, format="svg", metadata={"Date": None})


def _per_task(curves: Curves, many: Callable[[int], int]) -> Curves:
    return {
        name: {step: 1e6 * seconds / many(step) for step, seconds in curve.items()}
        for name, curve in curves.items()
    }


def _draw(axes, curves: Curves, style: str) -> None:  # type: ignore[no-untyped-def]
    for name, curve in curves.items():
        if curve:
            colour = "tab:blue" if name.startswith("concurra") else "tab:orange"
            axes.plot(
                list(curve), list(curve.values()), style, color=colour, label=name, ms=4
            )
