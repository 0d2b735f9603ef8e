"""What is chosen for a run: a snapshot of a runner's attributes, each checked."""

from __future__ import annotations

import os

from . import checks
from .options import check_resources, how_to_retry

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from multiprocessing.context import BaseContext
    from typing import Any, Callable, List, Optional, Tuple, Union

    from .checks import StrPath
    from .observers import Observer
    from .options import Options
    from .retries import Retry


class RunOptions:
    """What is chosen for a run: a copy of a runner's attributes, each checked.

    :param chosen: has an attribute for each parameter of `TaskRunner`. Its logger is
        its ``log``.
    :raises TypeError: an attribute is of the wrong type.
    :raises ValueError: an attribute is out of its range.
    """

    #: What is copied, and can be written back.
    NAMES = (
        *("log", "name", "timeout", "terminate_timeout"),
        *("progress_stats", "fast_fail", "use_multiprocessing", "log_errors"),
        *("fallback_to_thread_on_pickle_error", "task_retries"),
        *("max_tasks_per_child", "mp_context", "max_concurrency", "forward_logs"),
        *("resources", "run_timeout", "progress_every", "initializer", "initargs"),
        *("observers", "keep_results", "checkpoint", "output", "max_output"),
        "executor",
    )

    __slots__ = (*NAMES, "warning")

    def __init__(self, chosen: Any) -> None:
        self.log: logging.Logger = checks.logger(chosen.log)
        self.name: str = checks.text("name", chosen.name, "TaskRunner")
        # All as they were given, since that is how messages show them.
        self.timeout: Optional[float] = chosen.timeout
        self.run_timeout: Optional[float] = chosen.run_timeout
        self.terminate_timeout: float = chosen.terminate_timeout
        self.progress_every: Optional[float] = chosen.progress_every
        for name in ("timeout", "run_timeout", "progress_every"):
            if getattr(self, name) is not None:
                checks.seconds(name, getattr(self, name))
        checks.seconds("terminate_timeout", self.terminate_timeout, zero=True)
        self.progress_stats = _flag(chosen, "progress_stats")
        self.fast_fail = _flag(chosen, "fast_fail")
        self.use_multiprocessing = _flag(chosen, "use_multiprocessing")
        self.log_errors = _flag(chosen, "log_errors")
        self.fallback_to_thread_on_pickle_error = _flag(
            chosen, "fallback_to_thread_on_pickle_error"
        )
        self.task_retries: Union[int, Retry] = chosen.task_retries
        how_to_retry(self.task_retries)
        self.max_tasks_per_child: Optional[int] = chosen.max_tasks_per_child
        if self.max_tasks_per_child is not None:
            self.max_tasks_per_child = checks.whole(
                "max_tasks_per_child", self.max_tasks_per_child, least=1
            )
        self.forward_logs: Optional[bool] = None
        if chosen.forward_logs is not None:
            self.forward_logs = _flag(chosen, "forward_logs")
        self.output = checks.output(chosen.output)
        self.max_output = checks.max_output(chosen.max_output)
        self.mp_context: Union[str, BaseContext, None] = chosen.mp_context
        if self.mp_context is not None:  # to look at the default would settle it
            checks.context(self.mp_context)
        self.resources = checks.amounts(
            "resources", {} if chosen.resources is None else chosen.resources
        )
        self.initializer: Optional[Callable[..., Any]] = chosen.initializer
        if self.initializer is not None and not callable(self.initializer):
            raise checks.wrong(
                TypeError, "initializer", "a function, or None", self.initializer
            )
        self.initargs: Tuple[Any, ...] = tuple(
            checks.arguments("initargs", chosen.initargs)
        )
        self.keep_results = _flag(chosen, "keep_results")
        self.checkpoint: Optional[Checkpoint] = None
        if chosen.checkpoint is not None:
            given = chosen.checkpoint
            known = isinstance(given, Checkpoint)
            self.checkpoint = given if known else Checkpoint(given)
        self.observers: List[Observer] = []
        if checks.is_given(chosen.observers):
            from .observers import check

            self.observers = check(chosen.observers)
        self.executor = chosen.executor
        if self.executor is not None:
            _check_executor(chosen)
        self.max_concurrency = checks.concurrency(chosen.max_concurrency)
        #: What is to be said of it in the log.
        self.warning = ""
        if self.max_concurrency < 1:
            self.max_concurrency = 1
            self.warning = (
                "max_concurrency is less than 1: tasks will run one after another"
            )

    @property
    def forks(self) -> bool:
        """Whether this process is forked for workers; not to be asked before a run."""
        if not self.use_multiprocessing:
            return False
        return checks.context(self.mp_context).get_start_method() == "fork"

    def share(self, shared: Options) -> None:
        """Let the options of tasks that have none of their own be as they are here."""
        shared.retries, shared.retry = how_to_retry(self.task_retries)

    def check_tasks(self, options: List[Options]) -> None:
        """Refuse tasks that could never start.

        :param options: of all tasks that have some of their own.
        """
        for each in options:
            check_resources(each.resources, self.resources)
        if any(each.keep_remote for each in options):
            _check_keeping(self)


def _check_executor(chosen: Any) -> None:
    """Refuse what is no executor, and what does not go with one."""
    given = chosen.executor
    if isinstance(given, type) or not callable(getattr(given, "submit", None)):
        expected = "an object with a method submit(), such as a client of dask"
        raise checks.wrong(TypeError, "executor", expected, given)
    if chosen.max_concurrency is None:
        raise ValueError(
            "executor needs max_concurrency: how many tasks it may have at once, those "
            "that wait in its queue included"
        )
    for name, instead in _NOT_BESIDE_AN_EXECUTOR.items():
        value = getattr(chosen, name)
        if value not in (None, False, "captured"):
            raise ValueError(
                f"{name} does not go with executor, which starts its workers by "
                f"itself{instead}"
            )


def _check_keeping(chosen: RunOptions) -> None:
    """Refuse that results stay with an executor, where that is not possible."""
    given = chosen.executor
    if not checks.takes_own_futures(given):
        expected = (
            "a client of dask for keep_remote=True, or have methods gather() and "
            "scatter() as that has"
        )
        raise checks.wrong(ValueError, "executor", expected, given)
    if chosen.checkpoint is not None:
        raise ValueError(
            "keep_remote=True does not go with checkpoint: a result that is not here "
            "cannot be recorded, nor can those of the tasks that depend on it"
        )


#: Options for workers of this process, each with what to do instead.
_NOT_BESIDE_AN_EXECUTOR = {
    "use_multiprocessing": "",
    "mp_context": "",
    "max_tasks_per_child": "",
    "fallback_to_thread_on_pickle_error": ": use local=True for what is to stay here",
    "initializer": ": tell it of the function",
    "forward_logs": ": tell it where to log",
    "output": ", and prints there",
}


class Checkpoint:
    """A file in which a run records what has succeeded: a ``checkpoint`` of a runner.

    :param path: of the file, which need not exist.
    :param max_age: seconds; what was recorded longer ago is run again. None: whatever
        its age, it is not.
    :raises TypeError, ValueError: an argument is of the wrong type or out of its range.
    """

    def __init__(self, path: StrPath, max_age: Optional[float] = None) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise checks.wrong(TypeError, "checkpoint", "the path of a file", path)
        self.path = os.fsdecode(path)
        if not self.path or "\0" in self.path:
            raise checks.wrong(ValueError, "checkpoint", "the path of a file", path)
        self.max_age = max_age
        if max_age is not None:
            checks.seconds("max_age", max_age, zero=True)

    def __repr__(self) -> str:
        return f"Checkpoint({self.path!r}, max_age={self.max_age!r})"


def _flag(chosen: Any, name: str) -> bool:
    return checks.flag(name, getattr(chosen, name))
