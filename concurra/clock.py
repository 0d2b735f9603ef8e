"""The clock on which everything is measured."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable


def monotonic(read: Callable[[], float] = time.monotonic) -> float:
    """Seconds on the monotonic clock.

    Tools that freeze the time for a test replace `time.monotonic` in all modules, but
    not the defaults of functions. So this is the clock of `Scheduler`, come what may.
    """
    return read()
