"""Imports that a fork cuts in two.

A module that another thread of the program is importing is half of one in a forked
child, with a lock that nobody will ever give back there: whoever imports it waits for
ever. So a forked worker forgets such modules, and imports them anew when it needs them.

Modules that wait for the run themselves, as it was started in the midst of their
import, are another matter: imported anew, they would start it anew. They stay as they
are, as in a circular import: what they have defined so far is there.
"""

from __future__ import annotations

import sys
from importlib import _bootstrap
from importlib.machinery import ExtensionFileLoader
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Collection, FrozenSet, Optional


def being_imported() -> FrozenSet[str]:
    """The names of the modules whose import the calling thread is in the midst of."""
    names = set()
    frame: Optional[FrameType] = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            spec: Any = frame.f_globals.get("__spec__")
            if getattr(spec, "_initializing", False):
                names.add(spec.name)
        frame = frame.f_back
    return frozenset(names)


def mend_imports(kept: Collection[str]) -> None:
    """Let this process, which has just been forked, import whatever it needs.

    There is no public way to do that. Where this one leads nowhere, nothing is changed.

    :param kept: the names of the modules that are not to be imported anew.
    """
    locks = getattr(_bootstrap, "_module_locks", None)
    forgotten = []
    # While a module is being imported its lock is held, and is in this table.
    # To look at all modules would make this process copy the memory that they are in.
    for name in list(sys.modules if locks is None else locks):
        spec = _spec(name)
        if getattr(spec, "_initializing", False):
            if name in kept:
                spec._initializing = False
            else:
                del sys.modules[name]
                forgotten.append(f"{name}.")
    # A package has its modules as attributes, which are set when they are imported.
    for name in list(sys.modules) if forgotten else ():
        if name.startswith(tuple(forgotten)) and name not in kept:
            # Some extensions refuse to be loaded twice.
            if not isinstance(
                getattr(_spec(name), "loader", None), ExtensionFileLoader
            ):
                del sys.modules[name]
    if locks is not None:
        locks.clear()


def _spec(name: str) -> Any:
    """How a module was found; None if it is not known, or not loaded."""
    module = sys.modules.get(name)
    if not issubclass(type(module), ModuleType):
        return None
    # Past what the module itself makes of it: to ask a lazy one would load it.
    return object.__getattribute__(module, "__dict__").get("__spec__")
