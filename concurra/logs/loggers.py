"""What is known of a logger: whether it was disabled, what can be written there."""

from __future__ import annotations

from .. import encoding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Set


def is_disabled(log: Any) -> bool:
    """Whether a logger was switched off, as `logging.config` may have done."""
    return bool(getattr(_behind(log), "disabled", False))


def loggable(log: Any, text: str) -> str:
    """The text, with what some stream behind the logger could not encode escaped."""
    for each in () if text.isascii() else _encodings(log):
        text = encoding.encodable(text, each)
    return text


def _behind(log: Any) -> Any:
    """The logger behind any number of adapters."""
    import logging

    while isinstance(log, logging.LoggerAdapter):
        log = log.logger
    return log


def _encodings(log: Any) -> Set[str]:
    """The encodings of the files and streams behind a logger, as far as it is known."""
    found: Set[str] = set()
    log = _behind(log)
    while log is not None:
        found.update(map(_encoding, getattr(log, "handlers", ())))
        log = log.parent if getattr(log, "propagate", False) else None
    return found - {""}


def _encoding(handler: Any) -> str:
    found = getattr(getattr(handler, "stream", None), "encoding", None)
    if found is None and hasattr(handler, "baseFilename"):  # not opened yet
        found = getattr(handler, "encoding", None)
        if found in (None, "locale"):
            found = encoding.encoding()
    return found if isinstance(found, str) else ""
