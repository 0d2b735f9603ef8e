"""Compute a picture, first in one process, then with one for each processor.

Each row is a task. Rows through the middle take longest; whichever process is free
takes the next row, so none waits for the others.
"""

from __future__ import annotations

import os
import time

import concurra

WIDTH, HEIGHT, DEPTH = 76, 24, 5_000
SHADES = " .:-=+*%#@"


def mandelbrot_row(y: int) -> str:
    """For each point, count the steps until it escapes; the darkest never do."""
    row = ""
    for x in range(WIDTH):
        c = complex(-2.1 + 2.8 * x / (WIDTH - 1), 1.2 - 2.4 * y / (HEIGHT - 1))
        z, steps = c, 0
        while abs(z) < 2 and steps < DEPTH:
            z, steps = z * z + c, steps + 1
        row += SHADES[-1 if steps == DEPTH else min(steps // 2, len(SHADES) - 2)]
    return row.rstrip()


def render(processes: int) -> tuple[list[str], float]:
    """Return the rows, and the seconds that it took, start of processes included."""
    runner = concurra.TaskRunner(
        processes, use_multiprocessing=True, progress_stats=False
    )
    for y in range(HEIGHT):
        runner.add_task(mandelbrot_row, y, label=y)
    started = time.perf_counter()
    results = runner.run(raise_exception=True)
    seconds = time.perf_counter() - started
    return [result["result"] for result in results.values()], seconds


if __name__ == "__main__":
    processors = os.cpu_count() or 1
    picture, alone = render(processes=1)
    same_picture, together = render(processes=processors)
    assert picture == same_picture
    print("\n".join(picture))
    print(f"1 process: {alone:.2f} s; {processors} processes: {together:.2f} s")
    print(f"speed-up: {alone / together:.2f}")
