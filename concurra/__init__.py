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
    CheckpointError,
    CircularDependencyError,
    CommandExecutionError,
    ConcurraError,
    DuplicateLabelError,
    ExecutionError,
    LifeCycleError,
    RemoteTraceback,
    UnknownDependencyError,
)
from .current import CurrentTask, current_task
from .options import task
from .references import ref
from .tasks import TaskRef

# To type checkers this is true. Importing `typing` takes longer than all the rest of
# concurra, so no module that is always loaded does it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .board import LiveBoard
    from .label_filter import LabelFilter
    from .observers import Fact, Observer
    from .retries import Retry
    from .types import CommandResult, Result

__version__ = "2.0.0"

__all__ = [
    "CheckpointError",
    "CircularDependencyError",
    "CommandExecutionError",
    "CommandResult",
    "ConcurraError",
    "CurrentTask",
    "DuplicateLabelError",
    "ExecutionError",
    "Fact",
    "LabelFilter",
    "LifeCycleError",
    "LiveBoard",
    "Observer",
    "RemoteTraceback",
    "Result",
    "Retry",
    "TaskRef",
    "TaskRunner",
    "UnknownDependencyError",
    "__version__",
    "current_task",
    "ref",
    "task",
]


def __getattr__(name: str) -> object:
    if name == "Retry":
        from .retries import Retry

        return Retry
    if name == "LabelFilter":
        from .label_filter import LabelFilter

        return LabelFilter
    if name in ("checkpoint", "reports"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name in ("Fact", "Observer"):
        from . import observers

        return getattr(observers, name)
    if name == "LiveBoard":
        from .board import LiveBoard

        return LiveBoard
    if name in ("CommandResult", "Result"):
        from . import types

        return getattr(types, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
