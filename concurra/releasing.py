"""Results that an executor keeps are released when nobody needs them any more."""

from __future__ import annotations

from .events import END, Reader
from .remote_results import RemoteResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict

    from .events import Event
    from .tasks import Task


class ReleaseReader(Reader):
    """Releases each kept result when the last task that depends on it has ended.

    :param users: how many depend on a task.
    """

    step = 1

    def __init__(self, users: Callable[[Task], int]) -> None:
        self._users_of = users
        self._kept: Dict[Task, RemoteResult] = {}
        self._users: Dict[Task, int] = {}  # that have not ended

    def read(self, event: Event) -> None:
        """See `Reader.read`."""
        if event.kind != END or event.outcome is None:
            return
        task, value = event.task, event.outcome.value
        if type(value) is RemoteResult:
            self._kept[task] = value
            self._release(task, 0)
        for needed in task.needs:
            if needed.options.keep_remote:
                self._release(needed, 1)

    def _release(self, task: Task, ended: int) -> None:
        users = self._users.get(task, self._users_of(task)) - ended
        self._users[task] = users
        if not users and task in self._kept:
            self._kept.pop(task).release()

    def quick(self, event: Event) -> bool:
        """See `Reader.quick`: it only counts."""
        return True
