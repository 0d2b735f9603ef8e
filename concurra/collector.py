"""When the garbage collector is of no use, or does harm: see `stacks`."""

from __future__ import annotations

import gc

#: Objects that are made without the collector coming by.
MANY = 1000


class collection_paused:
    """Make many objects, none of which is garbage.

    The collector would go through all that there are, again and again, and find
    nothing: that can take longer than to make them. For few objects it is left alone,
    and so it is where the program has switched it off.
    """

    def __init__(self, objects: int = MANY) -> None:
        self._paused = objects >= MANY and gc.isenabled()

    def __enter__(self) -> None:
        if self._paused:
            gc.disable()

    def __exit__(self, *exc_info: object) -> None:
        if self._paused:
            gc.enable()
