"""The label of a task on the records that it logs in a thread."""

from __future__ import annotations

import logging

from .current import current_task

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class LabelFilter(logging.Filter):
    """Gives each record the label of the task that has logged it.

    For a handler, by its ``addFilter``, or for a logger that tasks use themselves. It
    lets all records pass. Those that were sent here from processes have it already.

    :param outside: the label of records that no task has logged.
    """

    def __init__(self, outside: Any = None) -> None:
        super().__init__()
        self._outside = outside

    def filter(self, record: logging.LogRecord) -> bool:
        """Set ``concurra_label``, unless it is there."""
        if getattr(record, "concurra_label", None) is None:
            task = current_task()
            record.concurra_label = self._outside if task is None else task.label
        return True
