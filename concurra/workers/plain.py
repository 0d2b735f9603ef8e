"""What is packed and unpacked without a call of anybody's code, and at once.

A function at the top level of a module goes by its name. That is what `pickle` sends,
too, but it would import the module at both ends each time, which takes longer than all
else that is done to a small message.
"""

from __future__ import annotations

import io
import pickle
import sys
from types import BuiltinFunctionType, FunctionType, ModuleType

from ..tasks import Call
from .pieces import CHUNK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Optional, Tuple

    #: The names of a module, and of what is at its top level.
    Place = Tuple[str, str]

# The types of values that `pickle` packs and unpickles by itself, known by identity: to
# hash or to compare the type of a value may call its metaclass.
_PLAIN = frozenset(map(id, (type(None), bool, int, float, str, bytes)))


def is_plain(values: Iterable[Any]) -> bool:
    """Whether a message of these values is plain, and small."""
    size = 0
    for value in values:
        if id(type(value)) not in _PLAIN:
            return False
        size += value.__sizeof__()
    return size < CHUNK


class Names:
    """Names of functions; the last one is remembered."""

    def __init__(self) -> None:
        self._func: Any = None
        self._place: Place = "", ""
        self._module: Dict[str, Any] = {}

    def place(self, call: Call) -> Optional[Place]:
        """Where the function of a simple call is; None if the call is not simple.

        That is one of a function that is where its names say, with small arguments of
        the simplest types.
        """
        if call.refers:
            return None  # its arguments are made anew whenever they are asked for
        func, args, kwargs = call.func, call.args, call.kwargs
        place = self._place
        if func is not self._func or self._module.get(place[1]) is not func:
            found = self._look(func)
            if found is None:
                return None
            place = found
        if type(args) is not tuple and type(args) is not list:
            return None
        if kwargs is None:
            return place if is_plain(args) else None
        if type(kwargs) is not dict:
            return None
        return place if is_plain([*args, *kwargs, *kwargs.values()]) else None

    def _look(self, func: Any) -> Optional[Place]:
        if type(func) is not FunctionType and type(func) is not BuiltinFunctionType:
            return None
        name, full, origin = func.__name__, func.__qualname__, func.__module__
        if not (type(name) is type(full) is type(origin) is str):
            return None  # the user's own strings may compare as they like
        module = sys.modules.get(origin)
        if full != name or type(module) is not ModuleType:
            return None
        names = module.__dict__
        if names.get(name) is not func:
            return None
        self._func, self._place, self._module = func, (origin, name), names
        return self._place


def find(place: Place) -> Any:
    """What is at a place in this process; raises what `pickle` would."""
    module, name = place
    try:
        return sys.modules[module].__dict__[name]
    except (AttributeError, KeyError):
        pass  # what is raised below has no other error behind it
    return pickle.Unpickler(io.BytesIO()).find_class(module, name)
