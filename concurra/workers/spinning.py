"""How the two ends of a pipe wait for each other: awake, if it is not for long.

To go to sleep and to be woken costs more than a small task does, at both ends: system
calls, a core that has to come back from idling, cold caches. So whoever waits looks for
a moment whether something has come, and sleeps only if nothing has. That pays only
where messages follow one another closely, so it is done only if the last one came as
soon.
"""

from __future__ import annotations

import os
import time

from ..clock import clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Final, Optional, Tuple, TypeVar

    T = TypeVar("T")

#: Seconds: longer than a small task takes on its way there and back, and shorter than
#: anybody would notice.
MOMENT: Final = 50e-6

#: More looks than fit into that: the clock stands still if a test has stopped it before
#: this was imported.
LOOKS: Final = 500

_now = clock()


def _sleep_for_nothing() -> None:
    time.sleep(0)


#: Lets another thread have the core, if one waits for it.
give_way: Final[Callable[[], object]] = getattr(os, "sched_yield", _sleep_for_nothing)


def wait(
    look: Callable[[], Optional[T]], sleep: Callable[[], Optional[T]], spins: bool
) -> Tuple[Optional[T], bool]:
    """Wait for something; what has come, and whether to spin the next time.

    :param look: returns what has come, or None. Never blocks.
    :param sleep: returns what has come, once it has.
    :param spins: whether to look for a moment first; what this returned the last time.
    """
    start, left = _now(), LOOKS
    found = look() if spins else sleep()
    while found is None:
        left -= 1
        if left > 0 and _now() - start < MOMENT:
            give_way()
            found = look()
        else:
            found = sleep()
    return found, _now() - start < MOMENT
