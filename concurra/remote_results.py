"""A result that stays where the executor has made it."""

from __future__ import annotations

from .wording import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Tuple

    Reply = Tuple[Any, ...]


class RemoteResult:
    """Stands for the result of a task that is kept by the executor.

    It is kept until the last task that depends on it has ended.

    :param name: of what has made it.
    :param future: the executor's.
    """

    __slots__ = ("_name", "_future", "__weakref__")

    def __init__(self, name: str, future: Any) -> None:
        self._name = name
        self._future = future

    @property
    def future(self) -> Any:
        """What the executor takes for the value, as an argument.

        :raises RuntimeError: it has been released.
        """
        future = self._future
        if future is None:
            raise RuntimeError(f"{self!r}: it is needed by no task any more")
        return future

    def fetch(self) -> Any:
        """The value; this may block.

        :raises RuntimeError: it is there no more.
        """
        try:
            return self.future.result()
        except NotKept as error:
            error.__traceback__ = None  # which holds the future
            told = error.told_to_others
        raise RuntimeError(told)

    def release(self) -> None:
        """Let the executor let go of it; idempotent, for any thread."""
        self._future = None

    def __repr__(self) -> str:
        state = "kept" if self._future is not None else "released"
        return f"<RemoteResult of {quote(self._name)}, {state} by the executor>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: its value is not here")


class NotKept(Exception):
    """Raised where an executor runs a task that has no result to keep.

    Executors log and cut the texts of errors, so that of this one is short.

    :param token: of the attempt. The executor ends other tasks with this error, too, if
        the value is their argument, and could not be made again.
    :param reply: what it would have returned.
    """

    def __init__(self, token: str, reply: Reply) -> None:
        self.token, self.reply = token, reply
        super().__init__(str(reply[2])[:200])

    @property
    def told_to_others(self) -> str:
        """What is said of tasks that were to have the value."""
        return (
            "the result of a task that it depends on was lost with its worker, and "
            f"could not be made again: {self}"
        )

    def __reduce__(self) -> Any:
        return NotKept, (self.token, self.reply)
