"""The steps of a stop, each with more force than the one before."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: As Ctrl-C in a terminal asks; what knows nothing of that is terminated.
INTERRUPT: Final = -1

#: With the signal that was chosen for a stop.
TERMINATE: Final = 0

#: With SIGKILL.
KILL: Final = 1
