"""What is known of a logger: whether it was disabled, what can be written there."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Set


def is_disabled(log: Any) -> bool:
    """Whether a logger was switched off, as `logging.config` may have done."""
    return bool(getattr(_behind(log), "disabled", False))


def encodable(log: Any, text: str) -> str:
    """The text, with what some stream behind the logger could not encode escaped."""
    if text.isascii():
        return text
    for encoding in _encodings(log):
        try:
            text = text.encode(encoding, "backslashreplace").decode(encoding)
        except LookupError:  # no codec of Python's
            pass
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
    encoding = getattr(getattr(handler, "stream", None), "encoding", None)
    if encoding is None and hasattr(handler, "baseFilename"):  # not opened yet
        encoding = getattr(handler, "encoding", None)
        if encoding in (None, "locale"):
            from ..encoding import encoding as default

            encoding = default()
    return encoding if isinstance(encoding, str) else ""
