"""What runs tasks is loaded with the first runner: it takes longer than all the rest.

Not later: a signal handler that aborts a run would find half a module.
"""

from __future__ import annotations

import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Seconds after which a thread that computes lets others go on, meanwhile. Of Python's
#: 5 ms one goes by for each of some hundred reads of files, which makes seconds.
TURN: Final = 1e-5

_loading = threading.Lock()
_loaded = False


def load_engine() -> None:
    """Import what runs tasks; after the first time there is nothing to do.

    Beside other threads the switch interval is short for as long as that takes.
    """
    global _loaded
    if _loaded:
        return
    # Without waiting: one thread is to change the interval, and a signal handler that
    # has come in between finds the lock taken.
    mine = threading.active_count() > 1 and _loading.acquire(False)
    interval = sys.getswitchinterval()
    try:
        if mine:
            sys.setswitchinterval(min(TURN, interval))
        from . import followers, lifecycle, plan, results, run_options  # noqa: F401

        _loaded = True
    finally:
        if mine:
            sys.setswitchinterval(interval)
            _loading.release()
