"""What is known of a logger: whether it was disabled, what can be written there."""

from __future__ import annotations

import io
import locale
import logging
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from concurra import encoding
from concurra.logs import loggers

TEXT = "d\xe9j\xe0 vu \u65e5\u672c"
IN_ASCII = r"d\xe9j\xe0 vu \u65e5\u672c"
IN_LATIN = "d\xe9j\xe0 vu " + r"\u65e5\u672c"


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger that nobody else has, and whose parent has no handlers."""
    log = logging.Logger("own")
    log.parent = logging.Logger("parent")
    yield log
    for handler in log.handlers:
        handler.close()


def stream(encoding: str) -> logging.Handler:
    return logging.StreamHandler(io.TextIOWrapper(io.BytesIO(), encoding))


def test_nothing_is_escaped_that_can_be_encoded(log: logging.Logger) -> None:
    """Nor where it is not known what can be, or where there is nobody."""
    assert loggers.loggable(log, TEXT) == TEXT
    log.addHandler(logging.NullHandler())
    log.addHandler(logging.StreamHandler(io.StringIO()))
    log.addHandler(stream("utf-8"))
    assert loggers.loggable(log, TEXT) == TEXT


def test_what_one_stream_cannot_encode_is_escaped(log: logging.Logger) -> None:
    """For all of them: they get the same record."""
    log.addHandler(stream("latin-1"))
    assert loggers.loggable(log, TEXT) == IN_LATIN
    assert log.parent is not None
    log.parent.addHandler(stream("ascii"))
    assert loggers.loggable(log, TEXT) == IN_ASCII
    log.propagate = False
    assert loggers.loggable(log, TEXT) == IN_LATIN


def with_utf8_mode(mode: int) -> Any:
    """What stands for `sys` where that is asked for."""
    return SimpleNamespace(flags=SimpleNamespace(utf8_mode=mode))


def test_a_file_that_is_not_open_yet(
    log: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its encoding is the one that was given, or that of the system."""
    given = logging.FileHandler(tmp_path / "given", encoding="latin-1", delay=True)
    log.addHandler(given)
    assert loggers.loggable(log, TEXT) == IN_LATIN
    for name in ("getencoding", "getpreferredencoding"):
        monkeypatch.setattr(locale, name, lambda *args: "ascii", raising=False)
    monkeypatch.setattr(encoding, "sys", with_utf8_mode(0))
    default = logging.FileHandler(tmp_path / "default", delay=True)
    default.encoding = None  # which Python 3.15 replaces at once
    log.addHandler(default)
    assert loggers.loggable(log, TEXT) == IN_ASCII
    log.handlers.remove(given)
    monkeypatch.setattr(encoding, "sys", with_utf8_mode(1))
    assert loggers.loggable(log, TEXT) == TEXT


@pytest.mark.parametrize("encoding", ["no such codec", 7, None])
def test_an_encoding_that_does_not_exist(log: logging.Logger, encoding: Any) -> None:
    """It is the handler's own business."""
    handler: Any = logging.NullHandler()
    handler.stream = SimpleNamespace(encoding=encoding)
    log.addHandler(handler)
    assert loggers.loggable(log, TEXT) == TEXT


def test_an_adapter_is_as_its_logger(log: logging.Logger) -> None:
    """Also one of an adapter."""
    adapter: Any = logging.LoggerAdapter(logging.LoggerAdapter(log, {}), {})
    log.addHandler(stream("ascii"))
    assert loggers.loggable(adapter, TEXT) == IN_ASCII
    assert not loggers.is_disabled(adapter)
    log.disabled = True
    assert loggers.is_disabled(adapter)


def test_a_logger_of_another_kind() -> None:
    """Nothing is known of it: it takes what it is given."""
    other: Any = SimpleNamespace()
    assert not loggers.is_disabled(other)
    assert loggers.loggable(other, TEXT) == TEXT


def test_a_level_is_no_reason_to_be_called_disabled(log: logging.Logger) -> None:
    """It was chosen."""
    log.setLevel(logging.CRITICAL + 1)
    assert not loggers.is_disabled(log)
