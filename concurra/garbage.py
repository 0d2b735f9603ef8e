"""When the garbage collector is of no use."""

from __future__ import annotations

import gc
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

#: Objects that are made without the collector coming by.
MANY = 1000


@contextmanager
def collection_paused(objects: int) -> Iterator[None]:
    """Make many objects, none of which is garbage.

    The collector would go through all that there are, again and again, and find
    nothing: that can take longer than to make them. For few objects it is left alone,
    and so it is where the program has switched it off.
    """
    paused = objects >= MANY and gc.isenabled()
    if paused:
        gc.disable()
    try:
        yield
    finally:
        if paused:
            gc.enable()
