"""Log records of worker processes, given to the program's handlers."""

from __future__ import annotations

import sys
import threading

from ..threads import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from typing import Optional, Set

    from .log_records import Packed


class LogForwarding:
    """Passes records on, in the calling threads, and knows which are at it.

    :param wanted: whether to do so; None for where handlers are not inherited, or are
        those of a worker, of which a fork has no use.
    """

    def __init__(self, wanted: Optional[bool] = None) -> None:
        self._wanted = wanted
        self._threads: Set[int] = set()

    def is_wanted(self, context: BaseContext) -> bool:
        """Whether records of processes that are started like that are to come here."""
        if self._wanted is None:
            return context.get_start_method() != "fork" or _is_forwarded()
        return self._wanted

    def is_at_it(self) -> bool:
        """Whether the calling thread is in a handler."""
        return threading.get_ident() in self._threads

    def __call__(self, packed: Packed) -> None:
        """Pass a record on; what a handler raises is reported."""
        from .log_records import pass_on

        me = threading.get_ident()
        inside = me in self._threads  # a handler has ended the run, and reads the rest
        self._threads.add(me)
        try:
            pass_on(packed)
        except BaseException as error:  # a filter, or a handler unlike any other
            report(error)
        finally:
            if not inside:
                self._threads.discard(me)


def _is_forwarded() -> bool:
    """Whether what this process logs goes to another one."""
    records = sys.modules.get("concurra.workers.log_records")
    return records is not None and records.is_installed()
