"""What a line of the log tells, as attributes of its record.

===================  ===============================================================
attribute            what it is
===================  ===============================================================
concurra_event       what the line is about: see ``EVENTS``
concurra_label       of the task: as it is if it is plain, else its text
concurra_status      of the task, or of the run
concurra_duration    seconds, of the task, or of the run so far
concurra_attempt     the number of attempts that the task had
concurra_ended       how many tasks had ended
concurra_total       how many tasks there are
===================  ===============================================================

Each record has all of them; None stands for what is not known, or does not apply.
"""

from __future__ import annotations

import logging

from ..current import is_plain
from ..wording import name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Final, Mapping

EVENTS: Final = (
    *("progress", "status", "failure", "fast_fail", "warning", "report"),
    *("interrupted", "note"),
)

NAMES: Final = ("event", "label", "status", "duration", "attempt", "ended", "total")


def write(log: Any, level: str, text: str, attributes: Mapping[str, Any]) -> None:
    """Log a text, with attributes if the logger can take them.

    :param level: the name of the logger's method.
    """
    if isinstance(log, logging.Logger):
        getattr(log, level)(text, extra=_extra(attributes))
    elif isinstance(log, logging.LoggerAdapter) and _is_plain(log, level):
        # An adapter puts its own in place of those that it is given.
        _through(log, level, text, _extra(attributes))
    else:
        getattr(log, level)(text)


def _extra(attributes: Mapping[str, Any]) -> Dict[str, Any]:
    found = {f"concurra_{each}": attributes.get(each) for each in NAMES}
    label = found["concurra_label"]
    if label is not None and not is_plain(label):
        found["concurra_label"] = name(label)
    return found


def _is_plain(adapter: Any, level: str) -> bool:
    """Whether an adapter changes nothing but texts and attributes, by ``process``."""
    own, base = type(adapter), logging.LoggerAdapter
    return all(getattr(own, each) is getattr(base, each) for each in (level, "log"))


def _through(adapter: Any, level: str, text: str, extra: Mapping[str, Any]) -> None:
    """Log what an adapter makes of a text, and these attributes beside its own."""
    changed, options = adapter.process(text, {"extra": dict(extra)})
    options["extra"] = {**extra, **(options.get("extra") or {})}
    getattr(adapter.logger, level)(changed, **options)
