"""A function that each worker calls before its first task."""

from __future__ import annotations

import threading

from ..tasks import Call
from .thread import perform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional, Tuple


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

    def __call__(self) -> Optional[BaseException]:
        """See to it that the calling thread is initialized; what that has raised."""
        local = self._local
        try:
            failure: Optional[BaseException] = local.failure
            return failure
        except AttributeError:
            pass
        local.failure = None
        try:
            perform(Call(self._function, self._args))
        except BaseException as error:
            local.failure = error
        failure = local.failure
        return failure
