"""Where a scenario's output is shown, and what must be there."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from concurra.colours import clean
from concurra.sanitize import one_line

from .scenario import Scenario


class Sink(io.StringIO):
    """A stream that keeps what was written, call by call."""

    encoding = "utf-8"  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def write(self, text: str) -> int:
        """Keep a part."""
        self.parts.append(text)
        return len(text)


@contextlib.contextmanager
def shown(output: Optional[str]) -> Iterator[Sink]:
    """Stands for stdout, and is there again, and alone, when the run has ended."""
    sink = Sink()
    if output is None:
        yield sink
        return
    with contextlib.redirect_stdout(sink):
        yield sink
        assert sys.stdout is sink, "stdout was not put back"


def check(scenario: Scenario, sink: Sink, results: Mapping[Any, Any]) -> None:
    """Lines are whole, and those of each command that succeeded are there."""
    if scenario.output is None:
        assert sink.parts == []
        return
    begin = "[" if scenario.output == "prefixed" else "== "
    for part in sink.parts:
        assert part.startswith(begin) and part.endswith("\n"), part
        if begin == "[":
            assert all(line.startswith("[") for line in part.splitlines()), part
    seen = set("".join(sink.parts).splitlines())
    for spec in scenario.specs:
        result = results.get(spec.label)
        told = spec.kind in ("exec", "shell") and spec.capture and spec.text
        if not told or not result or result["status"] != "Successful":
            continue
        before = f"[{one_line(str(spec.label))}] " if begin == "[" else ""
        for line in result["result"]["stdout"].split("\n")[:-1]:
            assert len(line) > 8000 or before + clean(line, False) in seen, line
