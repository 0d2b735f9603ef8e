"""Texts of tasks, as the page shows them: visible, and not endless."""

from __future__ import annotations

from ..texts import block, line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List

    from ..record import RunRecord

#: At most so many characters of a text are shown, and so many of all texts together:
#: where they are more, each is cut sooner.
_LIMITS = (32_000, 16_000, 8_000, 4_000, 2_000, 1_000)
_ALL = 24_000_000


def limit_of(record: RunRecord) -> int:
    """How many characters of each text can be shown, so that the page stays usable."""
    lengths = [
        len(text)
        for task in record.tasks
        for text in (
            *(task.label, task.error, task.trace, task.stdout, task.stderr),
            *((task.result,) if isinstance(task.result, str) else ()),
            *task.retry_errors,
        )
        if text
    ]
    for limit in _LIMITS:
        if sum(min(length, limit) for length in lengths) <= _ALL:
            break
    return limit


def shower(limit: int) -> Callable[[str], str]:
    """What makes a text visible: at most ``limit`` characters of it."""

    def shown(text: str) -> str:
        left = len(text) - limit
        if left > 0:
            begin = limit // 4
            note = f"\n[... {left:,} characters left out ...]\n"
            text = text[:begin] + note + text[begin + left :]
        return block(text)

    return shown


def brief(text: str, limit: int = 500) -> str:
    """The beginning of a text, in one line."""
    text = line(text[: limit + 1])
    return text[:limit] + "…" if len(text) > limit else text


def beginning_and_end(text: str) -> str:
    """The first line and the last ones: tools say at the end what was wrong."""
    lines = [brief(each, 300) for each in block(text[-8000:]).strip().split("\n")]
    if len(lines) > 4:
        lines[1:-2] = ["…"]
    if len(text) > 8000:
        lines[0] = brief(text, 300)
    return "\n".join(lines)


def seconds(value: float) -> str:
    """A span of time in words: ``"3 ms"``, ``"1.25 s"``, ``"2 min 05 s"``."""
    if value < 0.9995:
        return f"{value * 1000:.0f} ms" if value >= 0.0005 or not value else "< 1 ms"
    if value < 59.95:
        return f"{value:.{2 if value < 9.995 else 1}f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    parts: List[str] = [f"{whole // 3600} h", f"{whole % 3600 // 60:02} min"]
    return " ".join(parts)
