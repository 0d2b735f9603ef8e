"""The modules that run tasks are imported with the first runner.

Not with the package, as they take longer than all the rest, and not later, as a signal
handler that aborts a run would find half a module. What a report needs takes as long
again, and is imported while tasks are at work.
"""

from __future__ import annotations

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: The switch interval meanwhile, in seconds. With Python's 5 ms, each of some hundred
#: reads of files would wait that long for a thread that computes.
TURN: Final = 1e-5

_loading = threading.Lock()
_loaded = False
#: Held while a thread imports beside tasks, and during a fork: see `load_report_soon`.
_importing = threading.RLock()


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
        from . import followers, lifecycle, results, run_options  # noqa: F401
        from .plan import plan  # noqa: F401

        _loaded = True
    finally:
        if mine:
            sys.setswitchinterval(interval)
            _loading.release()


def load_report_soon() -> None:
    """Import what a report needs in a thread of its own, beside tasks that are at work.

    Not in the caller's: a signal handler there that reports would find half a module.
    If a task forks meanwhile, that waits for the end of this. The child would have no
    thread that goes on with what is half imported, and wait for it for ever.
    """
    if "tabulate" in sys.modules:
        return
    try:
        from .threads import daemon

        daemon(_load_report).start()
    except RuntimeError:
        pass  # no more threads: the report does it


def _load_report() -> None:
    with _importing:
        from . import summary  # noqa: F401

        try:
            import tabulate  # noqa: F401
        except Exception:
            pass  # the report says what is wrong


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_importing.acquire,
        after_in_parent=_importing.release,
        after_in_child=_importing.release,
    )
