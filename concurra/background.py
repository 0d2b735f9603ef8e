"""Work in the background, which the program could end before."""

from __future__ import annotations

import atexit
import os
from weakref import WeakMethod

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict

#: What is to be called at the end, by the ids of the objects whose methods they are.
_methods: Dict[int, WeakMethod[Callable[[], object]]] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_methods.clear)


def call_at_end(method: Callable[[], object]) -> None:
    """Have a method of an object called when the program ends, if that still exists.

    Once for each object; a fork does not inherit it.
    """
    key = id(method.__self__)  # type: ignore[attr-defined]  # may have no hash
    _methods[key] = WeakMethod(method, lambda gone: _methods.pop(key, None))
    # What is registered last comes first: before the workers are ended, that is.
    atexit.unregister(_call)
    atexit.register(_call)


def _call() -> None:
    for reference in list(_methods.values()):
        method = reference()
        if method is not None:
            method()
