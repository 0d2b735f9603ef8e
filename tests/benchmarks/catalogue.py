"""All rows, in the order of the table."""

from __future__ import annotations

from . import checkpoints, commands, graphs, output, processes, startup, threads
from . import waiting
from .rows import Row

#: The rows of the table.
ROWS: dict[str, Row] = {
    row.name: row
    for family in (
        *(threads, graphs, processes, commands, output),
        *(waiting, startup, checkpoints),
    )
    for row in family.ROWS
}

#: Rows that are measured for the plot only.
PLOTS: dict[str, Row] = {row.name: row for row in [*graphs.PLOTS, *threads.PLOTS]}
