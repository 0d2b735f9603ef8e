"""Who follows a run: the lines of the log, the checkpoint, observers."""

from __future__ import annotations

from functools import partial

from .logs import messages
from .logs.readers import ErrorReader, ProgressReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List

    from .events import Reader
    from .lifecycle import LifeCycle
    from .results import Registry
    from .run_options import RunOptions


class Followers:
    """Those who follow one run.

    :param life: of the run.
    :param offset: what makes seconds since the epoch of a moment.
    """

    def __init__(self, life: LifeCycle, registry: Registry, offset: float) -> None:
        self._life = life
        self._registry = registry
        self.offset = offset
        # Of each start that was tried: two threads may be at it, and one of them wins.
        self._progress: List[ProgressReader] = []
        self._statuses: List[Reader] = []

    def chosen(
        self, options: RunOptions, show: Callable[[], object], plain: bool
    ) -> List[List[Reader]]:
        """Those that the options ask for, in groups that do not wait for each other.

        :param show: what shows the progress.
        :param plain: whether all that does is to log it at INFO.
        """
        readers: List[Reader] = [ErrorReader(options, self._registry)]
        if options.progress_stats and self._life.total:
            log = options.log if plain else None
            progress = ProgressReader(show, self._life.total, log)
            self._progress.append(progress)
            readers.append(progress)
        if options.progress_every is not None:
            from .logs.status_line import StatusReader

            look = partial(self._life.snapshot, options.name)
            status = StatusReader(options.log, look)
            self._statuses.append(status)
            readers.append(status)
        others = (self._releasing, self._checkpoint, self._observers)
        return [readers, *(group for find in others for group in find(options))]

    def mute(self) -> None:
        """Log no more progress, as the run has been cut short."""
        for each in (*self._progress, *self._statuses):
            each.close()

    def told(self, now: int) -> int:
        """The number of ended tasks that this thread shows the progress for.

        :param now: that, if it is not shown for one.
        """
        told = (each.told(-1) for each in self._progress)
        return next((ended for ended in told if ended >= 0), now)

    def _releasing(self, options: RunOptions) -> List[List[Reader]]:
        if options.executor is None or not self._life.keeps_remote:
            return []
        from .releasing import ReleaseReader

        return [[ReleaseReader(self._registry.users)]]

    def _checkpoint(self, options: RunOptions) -> List[List[Reader]]:
        chosen = options.checkpoint
        if chosen is None:
            return []
        from .checkpoint import CheckpointReader

        def inform(note: str) -> None:
            messages.emit(options.log, "info", lambda: note)

        warn = partial(messages.warn, options.log)
        about = self._registry, self._life.mapped
        return [[CheckpointReader(chosen, *about, inform, warn)]]

    def _observers(self, options: RunOptions) -> List[List[Reader]]:
        if not options.observers:
            return []
        from .observers import ObserverReader

        warn = partial(messages.warn, options.log)
        look = partial(self._life.snapshot, options.name)
        about = self._registry, self.offset, look
        return [[ObserverReader(each, warn, *about)] for each in options.observers]
