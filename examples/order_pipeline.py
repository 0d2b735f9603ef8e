"""Orders of a shop, several at once; each step waits for the steps that it needs.

Ben's card is declined: his order goes no further, the others are not held up.
"""

from __future__ import annotations

import threading

import concurra

ORDERS = {71: ("Ada", "desk"), 72: ("Ben", "desk"), 73: ("Cleo", "lamp")}
PRICES = {"desk": 240, "lamp": 35}

credit = {"Ada": 500, "Ben": 100, "Cleo": 80}
stock = {"desk": 2, "lamp": 1}
shop = threading.Lock()  # guards both: steps run side by side


def charge(customer: str, item: str) -> str:
    with shop:
        if credit[customer] < PRICES[item]:
            raise ValueError(f"card declined, only {credit[customer]} left on it")
        credit[customer] -= PRICES[item]
    return f"{PRICES[item]} paid by {customer}"


def reserve(item: str) -> str:
    with shop:
        stock[item] -= 1
    return f"a {item} put aside"


def pack(item: str) -> str:
    return f"the {item} is in its box"


def ship(customer: str) -> str:
    return f"on the way to {customer}"


def add_order(runner: concurra.TaskRunner, number: int, who: str, item: str) -> None:
    """Charge and reserve first, side by side; then pack, then ship."""
    runner.add_task(charge, who, item, label=(number, "charge"))
    runner.add_task(reserve, item, label=(number, "reserve"))
    both = [(number, "charge"), (number, "reserve")]
    runner.add_task(pack, item, label=(number, "pack"), depends_on=both)
    runner.add_task(ship, who, label=(number, "ship"), depends_on=[(number, "pack")])


if __name__ == "__main__":
    runner = concurra.TaskRunner(max_concurrency=4)
    for number, (who, item) in ORDERS.items():
        add_order(runner, number, who, item)
    for (number, step), result in runner.run(verify=False).items():
        print(f"{number} {step:<8} {result['error'] or result['result']}")
