"""Reports of a run, for people and machines.

Each is made of one record of the run, before, during or after it: `record`.
"""

from __future__ import annotations

from .json_file import write_json
from .junit import write_junit_xml
from .loading import load
from .record import RunRecord, TaskRecord, record

__all__ = ["RunRecord", "TaskRecord", "load", "record", "write_json", "write_junit_xml"]
