"""Log records on their way from a worker process to the program's own handlers.

::

    worker                                     program
    ------                                     -------
    logger ──> level ──> Forwarder             pass_on ──> logger ──> level, filters,
                  │      text, plain values       ^                   handlers
               as in     └──────── the worker's ──┘
               the program         one pipe

What a record refers to may not be there in the program, so its message is made into
text where it was logged, as `logging.handlers.QueueHandler` does. What else was put
into it goes along if it can be pickled, and as its ``repr`` if not.
"""

from __future__ import annotations

import logging
import pickle

from .. import current
from ..wording import show
from .transfer import PROTOCOL, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Tuple

    #: What `logging.disable` was called with, and the level of each logger that has
    #: one; None for one that is disabled.
    Levels = Tuple[int, Dict[str, Any]]

    #: The plain attributes of a record, and the pickle of all others.
    Packed = Tuple[Dict[str, Any], bytes]

#: The attribute with the label of the task.
LABEL = "concurra_label"

_PLAIN = (type(None), bool, int, float, str)

#: Handlers that would write beside the program's own. They are kept, as what they have
#: not written yet is the program's to write.
_replaced: List[Any] = []


# -- in the program --------------------------------------------------------------------


def levels() -> Levels:
    """The levels as they are now."""
    found: Dict[str, Any] = {"": logging.root.level}
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and (logger.level or logger.disabled):
            found[name] = None if logger.disabled else logger.level
    return logging.root.manager.disable, found


def pass_on(packed: Packed) -> None:
    """Give a record to the logger of its name, as if it had been logged here."""
    plain, others = packed
    try:
        plain.update(pickle.loads(others))
    except Exception:  # of a class that only the worker knows
        pass
    record = logging.makeLogRecord(plain)
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


# -- in the worker ---------------------------------------------------------------------


def install(send: Callable[[Packed], None], levels: Levels) -> None:
    """From now on, send every record that the program may want; write none here."""
    disabled, known = levels
    logging.disable(disabled)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    for logger in loggers:
        if isinstance(logger, logging.Logger):
            _replaced.extend(logger.handlers)
            logger.handlers = []
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    for name, level in known.items():
        logger = logging.getLogger(name) if name else logging.root
        logger.disabled = level is None
        logger.setLevel(level or logging.NOTSET)
    logging.root.handlers = [Forwarder(send)]


def is_installed() -> bool:
    """Whether records are sent from this process."""
    return any(isinstance(each, Forwarder) for each in logging.root.handlers)


class Forwarder(logging.Handler):
    """Sends records to the program."""

    def __init__(self, send: Callable[[Packed], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record; one that cannot be made into text is told of on stderr."""
        try:
            packed = _packed(record)
        except Exception:
            self.handleError(record)
            return
        try:
            self._send(packed)
        except Ended:
            pass  # the program has gone, or a child of this process has logged


def _packed(record: logging.LogRecord) -> Packed:
    found = dict(record.__dict__)
    message = "".join([record.getMessage()])  # of no class that only this process has
    found.update(msg=message, args=None, exc_info=None)
    found.pop("message", None)
    if record.exc_info and not record.exc_text:
        found["exc_text"] = _formatter.formatException(record.exc_info)
    task = current.current_task() or current.at_work()
    found.setdefault(LABEL, None if task is None else task.label)
    plain = {key: value for key, value in found.items() if type(value) in _PLAIN}
    others = {key: value for key, value in found.items() if key not in plain}
    if not others:
        return plain, _NONE
    try:
        return plain, pickle.dumps(others, PROTOCOL)
    except Exception:
        return plain, pickle.dumps({k: _picklable(v) for k, v in others.items()})


def _picklable(value: Any) -> Any:
    try:
        pickle.dumps(value, PROTOCOL)
    except Exception:
        return show(value)
    return value


_formatter = logging.Formatter()
_NONE = pickle.dumps({}, PROTOCOL)
