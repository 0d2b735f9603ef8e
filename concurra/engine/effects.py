"""What is to be done outside of the lock: the answers of `state` to what happened."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, Optional, Tuple

    from .slots import Slot

    #: What is to be done, to which slot, and how.
    Effect = Tuple[str, Optional[Slot], Any]

START: Final = "start"  # let the slot come: its worker may have to be hired first
STOP: Final = "stop"  # ask its worker to stop, or force it
ABANDON: Final = "abandon"  # nobody waits for its worker any more
DELAY: Final = "delay"  # find out how long a task waits for its next attempt
AT: Final = "at"  # look again at the moment
KILL_ALL: Final = "kill"  # kill all that is left, without any grace
FINISH: Final = "finish"  # everything has ended
