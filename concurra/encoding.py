"""How text is encoded where nobody has said it: in files, pipes and streams."""

from __future__ import annotations

import sys


def encoding() -> str:
    """The locale's encoding, as files have it; never warns, as other ways to ask do."""
    if sys.flags.utf8_mode:
        return "utf-8"
    import locale

    if hasattr(locale, "getencoding"):
        return locale.getencoding()
    return locale.getpreferredencoding(False)
