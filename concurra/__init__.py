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
from .results import Result
from .tasks import CommandResult

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
