"""How text is encoded in files, pipes and streams, and what an encoding lacks."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def encoding() -> str:
    """That of files for which none is given: the locale's.

    It never warns, as other ways to ask do.
    """
    if sys.flags.utf8_mode:
        return "utf-8"
    import locale

    if hasattr(locale, "getencoding"):
        return locale.getencoding()
    return locale.getpreferredencoding(False)


def encoding_of(stream: Any) -> str:
    """That of a stream; UTF-8 if it does not tell."""
    found = getattr(stream, "encoding", None)
    return found if found and isinstance(found, str) else "utf-8"


def encodable(text: str, encoding: str) -> str:
    """The text, with what an encoding lacks escaped; as it is, if there is no codec."""
    if text.isascii():
        return text
    try:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:
        return text
