"""Count primes on two workers of dask, and tell who did what.

The same runner, with `executor=`. Instead of a cluster of this machine `Client` takes
the address of a scheduler: Client("tcp://10.0.0.5:8786"). It needs concurra[dask].
"""

from __future__ import annotations

import os
from collections import Counter

from dask.distributed import Client, LocalCluster

import concurra
from concurra import task

STEP, STEPS = 5_000, 12


def primes(start: int) -> tuple[int, int]:
    """How many primes there are from `start` on, and which process has counted them."""
    numbers = range(max(start, 2), start + STEP)
    found = sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in numbers)
    return found, os.getpid()


def total(parts: list[tuple[int, int]]) -> int:
    """The sum of all parts."""
    return sum(found for found, _ in parts)


def main(client: Client) -> None:
    runner = concurra.TaskRunner(
        4, executor=client, timeout=300, task_retries=1, progress_stats=False
    )
    parts = [runner.add_task(primes, n * STEP, label=n) for n in range(STEPS)]
    runner.add_task(task(total, local=True), parts, label="total")
    results = runner.run(raise_exception=True)
    workers = Counter(results[n]["result"][1] for n in range(STEPS))
    for number, (_, many) in enumerate(workers.most_common(), 1):
        print(f"worker {number} has counted {many} parts")
    found, where = results["total"]["result"], results["total"]["execution_mode"]
    print(f"{found} primes below {STEP * STEPS}, added in a {where}")


if __name__ == "__main__":
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        main(client)
