"""A function that each worker calls before its first task."""

from __future__ import annotations

import threading

from ..outcomes import Outcome
from ..tasks import Call
from .thread import perform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Final, Optional, Tuple

#: Added to its error, which is told of tasks that were not called.
NOTE: Final = " (raised by the initializer)"


class Initializer:
    """Calls a function once in each thread that asks for it.

    What it has raised is kept: a worker that could not be initialized does no task, and
    it does not try again.
    """

    def __init__(self, function: Callable[..., Any], args: Tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self._local = threading.local()

    def __reduce__(self) -> Any:
        return Initializer, (self._function, self._args)

    def __call__(self) -> Optional[Outcome]:
        """See to it that the calling thread is initialized; how that has failed."""
        local = self._local
        try:
            failure: Optional[Outcome] = local.failure
            return failure
        except AttributeError:
            pass
        failure = local.failure = None
        try:
            perform(Call(self._function, self._args))
        except BaseException as error:
            failure = local.failure = Outcome.raised(None, error)
            failure.refuse(NOTE)
        return failure
