"""All rows, in the order of the table."""

from __future__ import annotations

from . import checkpoints, commands, features, graphs, output, processes, startup
from . import threads, waiting
from .rows import Row

#: The rows of the table.
ROWS: dict[str, Row] = {
    row.name: row
    for family in (
        *(threads, graphs, processes, commands, output),
        *(waiting, startup, checkpoints, features),
    )
    for row in family.ROWS
}

#: Rows that are measured for the plot only.
PLOTS: dict[str, Row] = {row.name: row for row in [*graphs.PLOTS, *threads.PLOTS]}
