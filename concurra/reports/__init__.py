"""Reports of a run, for people and machines.

Each is made of one record of the run, before, during or after it: `record`.
"""

from __future__ import annotations

from .record import RunRecord, TaskRecord, record

__all__ = ["RunRecord", "TaskRecord", "record"]
