"""Reports of a run, for people and machines.

Each is made of one record of the run, before, during or after it: `record`.
"""

from __future__ import annotations

from .dot import to_dot
from .html import write_html
from .json_file import write_json
from .junit import write_junit_xml
from .loading import load
from .mermaid import to_mermaid
from .record import RunRecord, TaskRecord, record
from .trace import write_chrome_trace

__all__ = [
    "RunRecord",
    "TaskRecord",
    "load",
    "record",
    "to_dot",
    "to_mermaid",
    "write_chrome_trace",
    "write_html",
    "write_json",
    "write_junit_xml",
]
