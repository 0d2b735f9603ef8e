"""What is checked before functions run in processes: whether they can, here and now."""

from __future__ import annotations

import sys

from .. import checks
from ..errors import LifeCycleError
from ..wording import quote
from ..workers.imports import being_imported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Collection, Union

    from ..tasks import Task


def check_processes(
    tasks: Collection[Task], start_method: Union[str, BaseContext, None]
) -> None:
    """Refuse to run tasks in processes where that would never end, or not work.

    :param tasks: all of the run.
    :raises LifeCycleError: what is to be changed.
    """
    _check_guard(start_method)
    _check_children(tasks)
    _check_fork(tasks, start_method)
    _check_imports(tasks)


def _check_guard(start_method: Union[str, BaseContext, None]) -> None:
    """Refuse to start processes in one that is still being started itself.

    There, the script is imported once more, to find the functions of the tasks.
    """
    from multiprocessing.process import current_process

    starting = getattr(current_process(), "_inheriting", False)
    if starting and checks.context(start_method).get_start_method() != "fork":
        raise LifeCycleError(
            "A worker process that imports the script must not start a run: start the "
            "runner under `if __name__ == '__main__':`"
        )


def _check_children(tasks: Collection[Task]) -> None:
    """Refuse functions for processes in a process that Python lets have none."""
    from multiprocessing.process import current_process

    # A command has no module, and is a process of another kind.
    if current_process().daemon and any(hasattr(t.job, "module") for t in tasks):
        raise LifeCycleError(
            "A daemonic process, such as a worker of multiprocessing.Pool, celery or "
            "dask, cannot have processes for functions: run them in threads "
            "(use_multiprocessing=False), or start the run where it is not daemonic: "
            "in a concurrent.futures.ProcessPoolExecutor instead of a Pool, in a "
            "celery worker with --pool=threads, in a dask worker that was started "
            "with distributed.worker.daemon: False in dask's configuration, or in a "
            "program of its own"
        )


def _check_fork(
    tasks: Collection[Task], start_method: Union[str, BaseContext, None]
) -> None:
    """Refuse to fork workers for functions where threads are greenlets of gevent.

    A fork has a copy of every greenlet, and these would go on in the worker.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return
    import multiprocessing

    # To ask for the default would settle it; the first of all is the platform's.
    method = checks.context(start_method).get_start_method(allow_none=True)
    method = method or multiprocessing.get_all_start_methods()[0]
    if method == "fork" and any(hasattr(task.job, "module") for task in tasks):
        raise LifeCycleError(
            "Where gevent has patched threads, workers cannot be forked, as greenlets "
            "of this program would go on in them: take mp_context='forkserver' or "
            "'spawn'"
        )


def _check_imports(tasks: Collection[Task]) -> None:
    """Refuse functions that no process could import before the run has ended."""
    waiting = being_imported()
    for task in tasks if waiting else ():
        module = getattr(task.job, "module", None)  # a command has none
        if module in waiting:
            raise LifeCycleError(
                f"Task {quote(task.label)} is a function of the module '{module}', "
                "whose import waits for the run: no process could import it. Start "
                "the run in a function that is called later"
            )
