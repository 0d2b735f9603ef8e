"""Check a famous claim, and stop everything at the first number that refutes it.

In 1644 Mersenne wrote that 2**p - 1 is prime for these p, and for some more. He was
wrong about 67. Once that is known, nobody waits for the check that takes hours.

The exit status is 1, as it should be for a check that failed.
"""

from __future__ import annotations

import sys

import concurra

CLAIMED = [19, 31, 67, 127, 257]
LONG = 216091  # 2**216091 - 1 is prime, but to prove that takes this script hours


def check(p: int) -> str:
    """The Lucas-Lehmer test: a last remainder of 0 proves that 2**p - 1 is prime."""
    mersenne, remainder = 2**p - 1, 4
    for _ in range(p - 2):
        remainder = (remainder**2 - 2) % mersenne
    if remainder:
        raise ValueError(f"2**{p} - 1 is not prime")
    return f"2**{p} - 1 is prime"


def main() -> int:
    runner = concurra.TaskRunner(
        max_concurrency=2,
        progress_stats=False,
        fast_fail=True,
        use_multiprocessing=True,  # a process can be stopped in the middle of a sum
    )
    for p in [LONG, *CLAIMED]:
        runner.add_task(check, p, label=p)
    try:
        runner.run(raise_exception=True, error_message="The claim does not hold")
    except concurra.ExecutionError as error:
        print(str(error).splitlines()[0])  # a table and the errors would follow
        for p, result in error.results.items():
            begun = "begun" if result["attempts"] else "not begun"
            told = result["error"] or result["result"]
            print(f"{p}: {result['status']} ({begun}), {told}")
        print("Not confirmed:", *error.failed)
        return 1
    print("All claims hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
