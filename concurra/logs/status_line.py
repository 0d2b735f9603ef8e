"""A line of the log, now and then, that tells what is at work."""

from __future__ import annotations

from ..events import LOOK, Reader
from . import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Callable, Optional

    from ..engine.snapshot import Snapshot
    from ..events import Event


class StatusReader(Reader):
    """Logs how far the run has come, whenever it is time to look.

    :param look: how far it has come.
    """

    kinds = (LOOK,)

    def __init__(self, log: logging.Logger, look: Callable[[], Snapshot]) -> None:
        self._log = log
        self._look: Optional[Callable[[], Snapshot]] = look

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        if event.kind == LOOK and self._look is not None:
            messages.status(self._log, self._look())

    def quick(self, event: Event) -> bool:
        """See `Reader.quick`."""
        return event.kind != LOOK

    def close(self) -> None:
        """Log nothing more: the run has ended, or is being cut short."""
        self._look = None

    abandon = close
