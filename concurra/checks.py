"""Checks of what users pass in.

Each returns the value in the form in which it is kept, or raises a ``TypeError`` or
``ValueError`` that names the parameter, the value, and what was expected.
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Hashable, Iterable, Mapping
from functools import partial

from .wording import brief

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from multiprocessing.context import BaseContext
    from typing import Any, Dict, List, Optional, Tuple, Union

    StrPath = Union[str, os.PathLike[str]]
    CallParts = Tuple[Any, Tuple[Any, ...], Dict[str, Any]]

#: Types of most labels, which can be hashed, always.
_PLAIN = frozenset((str, int))

#: What can be said of the output of tasks.
OUTPUTS = "captured", "prefixed", "grouped"


def text(parameter: str, value: Any, default: Optional[str] = None) -> str:
    """A string; ``default`` for None."""
    if value is None and default is not None:
        return default
    if not isinstance(value, str):
        raise wrong(TypeError, parameter, "a string", value)
    return value


def flag(parameter: str, value: Any) -> bool:
    """True or False, or what defines its own truth, as numbers and None do.

    A string has none of its own: ``"no"`` and ``"False"`` would count as true. An array
    has one, and does not tell it.
    """
    if isinstance(value, bool):
        return value
    cause: Optional[Exception] = None
    try:
        if any("__bool__" in vars(each) for each in type(value).__mro__):
            return bool(value)
    except Exception as error:
        cause = error
    raise wrong(TypeError, parameter, "True or False", value) from cause


def is_given(value: Any) -> bool:
    """Whether something was given: not None, nor what is false or empty."""
    try:
        return bool(value)
    except Exception:
        return True


def whole(parameter: str, value: Any, least: Optional[int] = None) -> int:
    """An integer, of at least ``least`` if that is given."""
    try:
        number = operator.index(value)
    except Exception:
        number = None
    if number is None or isinstance(value, bool):
        raise wrong(TypeError, parameter, "an integer", value)
    if least is not None and number < least:
        raise wrong(ValueError, parameter, f"at least {least}", value)
    return number


def concurrency(value: Any) -> int:
    """An integer; the number of processors for None."""
    if value is None:
        return os.cpu_count() or 1
    return whole("max_concurrency", value)


def report_options(
    verify: Any, raise_exception: Any, error_message: Any
) -> Tuple[bool, bool, Optional[str]]:
    """What a caller wants at the end of a run."""
    given = is_given(error_message)
    message = text("error_message", error_message) if given else None
    raises = flag("raise_exception", raise_exception)
    return flag("verify", verify), raises, message


def seconds(parameter: str, value: Any, *, zero: bool = False) -> float:
    """A positive number of seconds, as a float; with ``zero``, that may be 0.

    Any kind of number will do: `Decimal`, `Fraction`, those of numpy.
    """
    number = None
    if hasattr(type(value), "__float__") and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer beyond all floats
            number = math.nan
        except Exception:
            pass
    if number is None:
        raise wrong(TypeError, parameter, "a number of seconds", value)
    if not (number > 0 or (zero and number == 0)):
        expected = "a number of seconds, " + ("0 or more" if zero else "more than 0")
        raise wrong(ValueError, parameter, expected, value)
    return number


def number(parameter: str, value: Any, least: float, most: float = math.inf) -> float:
    """A number within bounds, as a float."""
    if isinstance(value, bool) or not hasattr(type(value), "__float__"):
        raise wrong(TypeError, parameter, "a number", value)
    try:
        found = float(value)
    except Exception:
        found = math.nan
    if not least <= found <= most:
        expected = f"from {least} to {most}" if most < math.inf else f"at least {least}"
        raise wrong(ValueError, parameter, expected, value)
    return found


def output(value: Optional[str]) -> Optional[str]:
    """How output is shown; None if nothing is said of it."""
    if value is None or isinstance(value, str) and value in OUTPUTS:
        return value
    kind = ValueError if isinstance(value, str) else TypeError
    expected = f"one of {', '.join(map(repr, OUTPUTS))}, or None"
    raise wrong(kind, "output", expected, value)


def max_output(value: Any) -> Optional[float]:
    """Bytes of a stream that are kept: infinite for all; None if nothing is said."""
    if value is None:
        return None
    try:
        if value == math.inf:
            return math.inf
    except Exception:  # it is compared in a way of its own
        pass
    return whole("max_output", value, least=1)


def logger(value: Any) -> logging.Logger:
    """Something that logs, like a `logging.Logger` or `logging.LoggerAdapter`.

    None for the one to which runners log that were given none.
    """
    if value is None:
        import logging

        return logging.getLogger("concurra.core")
    methods = ("info", "warning", "error")
    known = all(callable(getattr(value, method, None)) for method in methods)
    if isinstance(value, type) or not known:
        raise wrong(TypeError, "logger", "a logging.Logger", value)
    checked: logging.Logger = value
    return checked


def context(value: Union[str, BaseContext, None]) -> BaseContext:
    """The multiprocessing context for a start method's name; None: the default."""
    import multiprocessing
    from multiprocessing.context import BaseContext

    if isinstance(value, BaseContext):
        return value
    if value is None or isinstance(value, str):
        methods = multiprocessing.get_all_start_methods()
        if value is None or value in methods:
            return multiprocessing.get_context(value)
        expected = f"one of {', '.join(methods)} (or a context)"
        raise wrong(ValueError, "mp_context", expected, value)
    raise wrong(TypeError, "mp_context", "a start method or a context", value)


def plain_labels(value: Any) -> Optional[Tuple[Hashable, ...]]:
    """The same as `labels`; None if it is no list of strings and numbers alone."""
    if type(value) is not list:
        return None
    named = tuple(value)
    for each in named:
        if type(each) is not int and type(each) is not str:
            return None
    many = len(named)
    if many < 2 or (named[0] != named[1] if many == 2 else len(set(named)) == many):
        return named
    return tuple(dict.fromkeys(named))


def labels(value: Any) -> Tuple[Hashable, ...]:
    """The labels of ``depends_on``, each once, in order; a string is one label.

    False is none, as None is: it may come from ``condition and [...]``.
    """
    if value is None or value is False:
        return ()
    return some_labels("depends_on", value)


def some_labels(parameter: str, value: Any) -> Tuple[Hashable, ...]:
    """Labels, each once, in order; a string is one label."""
    if type(value) is not list:
        if isinstance(value, (str, bytes)):
            return (value,)
        if not isinstance(value, Iterable):
            raise wrong(TypeError, parameter, "a collection of labels", value)
    named = tuple(value)
    for each in named:
        if type(each) not in _PLAIN and (each is None or not _is_hashable(each)):
            index = [other is each for other in named].index(True)
            expected = "a hashable label other than None"
            raise wrong(TypeError, f"{parameter}[{index}]", expected, each)
    return named if len(named) < 2 else tuple(dict.fromkeys(named))


def label(value: Any) -> Hashable:
    """Something hashable, as a label has to be."""
    if type(value) not in _PLAIN and not _is_hashable(value):
        raise wrong(TypeError, "label", "hashable", value)
    checked: Hashable = value
    return checked


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except Exception:
        return False
    return True


def function(value: Any) -> Any:
    """Something that can be called."""
    if not callable(value):
        expected = "callable (a function, not what it returns)"
        raise wrong(TypeError, "the task", expected, value)
    return value


#: What is expected of a function that must have run when its call returns.
PROMPT = (
    "a function that runs when it is called, neither async def nor a generator function"
)


def prompt(parameter: str, value: Any) -> Any:
    """A function that has run when its call returns."""
    if is_deferred(value):
        raise wrong(TypeError, parameter, PROMPT, value)
    return value


def is_deferred(function: Any) -> bool:
    """Whether nothing of a function runs when it is called."""
    from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction

    while isinstance(function, partial):
        function = function.func
    tests = (iscoroutinefunction, isgeneratorfunction, isasyncgenfunction)
    called = getattr(type(function), "__call__", None)  # of an object
    try:
        return any(test(each) for test in tests for each in (called, function))
    except Exception:  # it has attributes of its own making
        return False


def call(func: Any, args: Any = None, kwargs: Any = None) -> CallParts:
    """A function, its arguments, its keywords; from any containers."""
    function(func)
    args = () if args is None else arguments("args", args)
    if kwargs is None:
        kwargs = {}
    elif not isinstance(kwargs, Mapping):
        raise wrong(TypeError, "kwargs", "a mapping of names to arguments", kwargs)
    for key in kwargs:
        if not isinstance(key, str):
            raise wrong(TypeError, "kwargs", "named by strings", key)
    return func, tuple(args), dict(kwargs)


def items(parameter: str, value: Any) -> Any:
    """What can be iterated; it is not asked to be."""
    if not (hasattr(type(value), "__iter__") or hasattr(type(value), "__getitem__")):
        raise wrong(TypeError, parameter, "an iterable of items", value)
    return value


def arguments(parameter: str, value: Any) -> Iterable[Any]:
    """The arguments of a function."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        hint = "an iterable of arguments"
        if not isinstance(value, Mapping):
            hint = f"{hint}, such as ({brief(value)},)"
        raise wrong(TypeError, parameter, hint, value)
    return value


def amounts(parameter: str, value: Any) -> Dict[str, int]:
    """How much there is, or is asked for, of each kind."""
    if not isinstance(value, Mapping):
        raise wrong(TypeError, parameter, "a mapping of names to numbers", value)
    checked = {}
    for kind, amount in value.items():
        if not isinstance(kind, str):
            raise wrong(TypeError, parameter, "named by strings", kind)
        checked[kind] = whole(f"{parameter}[{kind!r}]", amount, least=0)
    return checked


def work(items: Any) -> List[Tuple[CallParts, Optional[Hashable]]]:
    """The calls of a workload, each as `call` gives it, with its label or None."""
    if isinstance(items, (str, bytes, Mapping)) or not isinstance(items, Iterable):
        raise wrong(TypeError, "workload", "a list of tuples", items)
    checked: List[Tuple[CallParts, Optional[Hashable]]] = []
    for index, item in enumerate(items):
        where = f"workload item {index}"
        expected = "a tuple (func[, args[, kwargs[, label]]])"
        if not isinstance(item, tuple):
            raise wrong(TypeError, where, expected, item)
        if not 1 <= len(item) <= 4:
            raise wrong(ValueError, where, f"{expected} of 1 to 4 elements", len(item))
        func, args, kwargs, name = (*item, None, None, None)[:4]
        try:
            name = None if name is None else label(name)
            checked.append((call(func, args, kwargs), name))
        except TypeError as error:
            raise TypeError(f"{where}: {error}") from None
    return checked


def takes_own_futures(executor: Any) -> bool:
    """Whether an executor finds its futures among arguments, as a client of dask does.

    It is known by methods that make sense only where values are kept elsewhere.
    """
    names = ("gather", "scatter")
    return all(callable(getattr(executor, name, None)) for name in names)


def wrong(kind: type, parameter: str, expected: str, value: Any) -> Exception:
    """The error that says what a parameter must be, and what it is."""
    error: Exception = kind(f"{parameter} must be {expected}, not {brief(value)}")
    return error
