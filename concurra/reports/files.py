"""Reports are written whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress

from ..checks import wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, Iterable, Union

    from ..checks import StrPath

    #: The path of a file, or a file that is open for writing, as text or as bytes.
    Target = Union[StrPath, IO[Any]]


def write(target: Target, pieces: Iterable[str]) -> None:
    """Write a text, in UTF-8.

    If there is a file at the path, it is replaced once all is written: until then, and
    if this fails, the old one stays.

    :raises TypeError, ValueError: the target is neither a path nor a file.
    :raises OSError: it cannot be written.
    """
    if hasattr(target, "write"):
        _write_to(target, pieces)
        return
    path = _path(target)
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a pipe, or a terminal
            with open(path, "wb") as file:
                _write_to(file, pieces)
        else:
            _replace(os.path.realpath(path), pieces)  # of a link, what it leads to
    except OSError as error:
        if error.errno is None:
            raise
        # With the path that was asked for: nobody knows of the other file.
        raise OSError(error.errno, error.strerror, path) from None


def _replace(path: str, pieces: Iterable[str]) -> None:
    """Write a file anew, with the rights that it had."""
    part = os.path.join(os.path.dirname(path), f".concurra-{os.urandom(8).hex()}.tmp")
    try:
        with open(part, "xb") as file:
            with suppress(OSError):  # there is none yet, or no rights are known there
                os.chmod(part, os.stat(path).st_mode & 0o777)
            _write_to(file, pieces)
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(part)
        raise


def read(source: Union[StrPath, IO[Any]]) -> Union[str, bytes]:
    """The whole content of a file.

    :raises TypeError, ValueError: it is neither a path nor a file.
    :raises OSError: it cannot be read.
    """
    if hasattr(source, "read"):
        content: Union[str, bytes] = source.read()
        return content
    with open(_path(source), "rb") as file:
        return file.read()


def _path(target: Any) -> str:
    if not isinstance(target, (str, os.PathLike)):
        raise wrong(TypeError, "file", "a path or an open file", target)
    path: str = os.fsdecode(target)
    if not path or "\0" in path:
        raise wrong(ValueError, "file", "a path or an open file", target)
    return path


def _write_to(file: Any, pieces: Iterable[str]) -> None:
    import io

    binary = isinstance(file, (io.RawIOBase, io.BufferedIOBase)) or (
        "b" in str(getattr(file, "mode", ""))
        and not isinstance(getattr(file, "encoding", None), str)  # of `codecs.open`
    )
    for piece in pieces:
        file.write(piece.encode("utf-8") if binary else piece)
