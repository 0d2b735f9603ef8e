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

    It can be made before, during and after the run. What tasks have written stands in
    it as text, whatever it is; long texts are cut, so that the page can be used. A file
    that has the path is replaced once all is written.

    :param run: a runner, or a record of one.
    :param file: a path, or a file that is open for writing, as text or as bytes.
    :raises ImportError: Jinja2 is missing: ``pip install "concurra[report]"``.
    """
    write(file, [render(record(run))])
