"""Warns if the program ends before a run in the background."""

from __future__ import annotations

import atexit
import os
from weakref import WeakValueDictionary

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class Runner(Protocol):
    """What has work in the background."""

    def _warn_of_exit(self) -> None:
        """Called when the program ends."""


#: The runners by their ids, as long as they exist. They need not be hashable.
_runners: WeakValueDictionary[int, Runner] = WeakValueDictionary()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_runners.clear)


def remember(runner: Runner) -> None:
    """Tell a runner when the program ends, if it still exists; but not in a fork."""
    _runners[id(runner)] = runner
    # What is registered last comes first: before the workers are ended, that is.
    atexit.unregister(_tell)
    atexit.register(_tell)


def _tell() -> None:
    for runner in list(_runners.values()):
        runner._warn_of_exit()
