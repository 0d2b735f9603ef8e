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
    MapError,
    RemoteTraceback,
    UnknownDependencyError,
)
from .options import task
from .tasks import TaskRef

# To type checkers this is true. Importing `typing` takes longer than all the rest of
# concurra, so no module that is always loaded does it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from .adders.references import ref
    from .current import CurrentTask, current_task
    from .engine.snapshot import Snapshot
    from .label_filter import LabelFilter
    from .live.board import LiveBoard
    from .observers import Fact, Observer
    from .retries import Retry
    from .types import CommandResult, Result

__version__ = "2.1.0"

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
    "MapError",
    "Observer",
    "RemoteTraceback",
    "Result",
    "Retry",
    "Snapshot",
    "TaskRef",
    "TaskRunner",
    "UnknownDependencyError",
    "__version__",
    "current_task",
    "ref",
    "task",
]


#: What is imported when it is first asked for, and where it is.
_LATER = {
    "CommandResult": "types",
    "CurrentTask": "current",
    "Fact": "observers",
    "LabelFilter": "label_filter",
    "LiveBoard": "live.board",
    "Observer": "observers",
    "Result": "types",
    "Retry": "retries",
    "Snapshot": "engine.snapshot",
    "checkpoint": None,
    "current_task": "current",
    "ref": "adders.references",
    "reports": None,
}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = _LATER[name]
    if module is None:
        return import_module(f".{name}", __name__)
    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value  # for the next time
    return value


def __dir__() -> list[str]:
    return __all__
