"""What stands in for pytest in the workers of the tests.

A worker that is not forked imports the test module whose function it is to call, and
with it pytest, which takes longer than all the rest of its start. There it has nothing
to do but to decorate functions that nobody calls as tests.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def decorate(*args: Any, **kwargs: Any) -> Any:
    """A decorator that leaves functions alone, or what returns one."""
    if len(args) == 1 and callable(args[0]) and not kwargs:
        return args[0]
    return decorate


class Mark:
    """All marks."""

    def __getattr__(self, name: str) -> Any:
        return decorate


class Inert(ModuleType):
    """Marks, fixtures and parameters do nothing; for all else pytest is imported."""

    mark = Mark()
    fixture = staticmethod(decorate)
    param = staticmethod(decorate)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # somebody looks through all modules
            raise AttributeError(name)
        if sys.modules.get("pytest") is self:
            del sys.modules["pytest"]
        return getattr(importlib.import_module("pytest"), name)


def install() -> None:
    """Let it stand in, unless pytest is there."""
    sys.modules.setdefault("pytest", Inert("pytest"))
