"""A run as a page for a browser: one file, which needs no network."""

from __future__ import annotations

from .files import write
from .page import render
from .record import RunRecord, record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Union

    from ..core import TaskRunner
    from .files import Target


def write_html(run: Union[TaskRunner, RunRecord], file: Target) -> None:
    """Write a run as one page of HTML, which has everything in it and loads nothing.

    It can be made before, during and after the run. Whatever tasks have written stands
    in it as text; long texts are cut, so that the page stays usable. A file at the path
    is replaced once all is written.

    :param run: a runner, or a record of one.
    :param file: a path, or a file that is open for writing, as text or as bytes.
    :raises ImportError: Jinja2 is missing: ``pip install "concurra[report]"``.
    :raises TypeError, ValueError: one of these is something else.
    :raises OSError: the file cannot be written.
    """
    write(file, [render(record(run))])
