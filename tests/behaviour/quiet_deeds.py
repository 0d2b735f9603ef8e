"""Tasks of a module that imports no `logging`, and of a package that imports none."""

from __future__ import annotations

import sys


def nothing() -> bool:
    """Whether `logging` is there, though nobody has asked for it."""
    return "logging" in sys.modules


def log_lazily(name: str, text: str) -> bool:
    """Import `logging` in the midst of a task, and use it at once."""
    before = "logging" in sys.modules
    import logging

    logging.getLogger(name).warning(text)
    return before
