"""What is chosen for a task, and for a run.

A task points to its `Options`. Most tasks share one such object, the runner's, whose
values are those at the start of the run.
"""

from __future__ import annotations

from . import checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from multiprocessing.context import BaseContext
    from typing import Any, Optional, Union


class Options:
    """What is chosen for a task.

    :param task_retries: how often it is tried again.
    """

    __slots__ = ("task_retries",)

    def __init__(self, task_retries: int = 0) -> None:
        self.task_retries = task_retries


#: Nothing was chosen.
DEFAULTS = Options()


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
        *("max_tasks_per_child", "mp_context", "max_concurrency"),
    )

    __slots__ = (*NAMES, "warning")

    def __init__(self, chosen: Any) -> None:
        self.log: logging.Logger = checks.logger(chosen.log)
        self.name: str = checks.text("name", chosen.name, "TaskRunner")
        # Both as they were given, since that is how messages show them.
        self.timeout: Optional[float] = chosen.timeout
        if self.timeout is not None:
            checks.seconds("timeout", self.timeout)
        self.terminate_timeout: float = chosen.terminate_timeout
        checks.seconds("terminate_timeout", self.terminate_timeout, zero=True)
        self.progress_stats = _flag(chosen, "progress_stats")
        self.fast_fail = _flag(chosen, "fast_fail")
        self.use_multiprocessing = _flag(chosen, "use_multiprocessing")
        self.log_errors = _flag(chosen, "log_errors")
        self.fallback_to_thread_on_pickle_error = _flag(
            chosen, "fallback_to_thread_on_pickle_error"
        )
        self.task_retries = checks.whole("task_retries", chosen.task_retries, least=0)
        self.max_tasks_per_child: Optional[int] = chosen.max_tasks_per_child
        if self.max_tasks_per_child is not None:
            self.max_tasks_per_child = checks.whole(
                "max_tasks_per_child", self.max_tasks_per_child, least=1
            )
        self.mp_context: Union[str, BaseContext, None] = chosen.mp_context
        if self.mp_context is not None:  # to look at the default would settle it
            checks.context(self.mp_context)
        self.max_concurrency = checks.concurrency(chosen.max_concurrency)
        #: What is to be said of it in the log.
        self.warning = ""
        if self.max_concurrency < 1:
            self.max_concurrency = 1
            self.warning = (
                "max_concurrency is less than 1: tasks will run one after another"
            )


def _flag(chosen: Any, name: str) -> bool:
    return checks.flag(name, getattr(chosen, name))
