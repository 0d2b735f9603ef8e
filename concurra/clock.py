"""The clock on which everything is measured."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


def clock(read: Callable[[], float] = time.monotonic) -> Callable[[], float]:
    """What tells the seconds on the monotonic clock.

    Tools that freeze the time for a test replace `time.monotonic` in all modules, but
    not the defaults of functions. So this is the one that was there at first.
    """
    return read


def monotonic() -> float:
    """Seconds on the monotonic clock."""
    return clock()()
