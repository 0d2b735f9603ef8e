"""Run Python functions and external commands side by side, in the right order.

>>> import concurra
>>> runner = concurra.TaskRunner()
>>> runner.add_task(sum, [1, 2], label="sum")
>>> runner.run()["sum"]["result"]
3
"""

from __future__ import annotations

from .core import TaskRunner
from .errors import (
    CircularDependencyError,
    CommandExecutionError,
    ConcurraError,
    DuplicateLabelError,
    ExecutionError,
    LifeCycleError,
    UnknownDependencyError,
)

# To type checkers this is true. Importing `typing` takes longer than all the rest of
# concurra, so no module that is always loaded does it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .types import CommandResult, Result

__version__ = "2.0.0"

__all__ = [
    "CircularDependencyError",
    "CommandExecutionError",
    "CommandResult",
    "ConcurraError",
    "DuplicateLabelError",
    "ExecutionError",
    "LifeCycleError",
    "Result",
    "TaskRunner",
    "UnknownDependencyError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in ("CommandResult", "Result"):
        from . import types

        return getattr(types, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
