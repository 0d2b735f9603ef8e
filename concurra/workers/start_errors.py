"""Words for what the system says if nothing can be started that calls functions."""

from __future__ import annotations

import errno
import os

from ..outcomes import UNAVAILABLE, Outcome
from ..wording import hinted
from .command_errors import SCARCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Optional

#: What `multiprocessing` says of a `__main__`, `socket` and `tempfile` of a path.
NO_SPEC: Final = "module '__main__' has no attribute '__spec__'"
NO_PLACE: Final = ("AF_UNIX path too long", "No usable temporary directory")


def unavailable(error: BaseException) -> Outcome:
    """The job never began, because of ``error``; with what helps to understand it."""
    outcome = Outcome.raised(None, error, UNAVAILABLE)
    why = _why(error)
    if why is not None:
        told = str(outcome.error), str(outcome.trace)
        outcome.error, outcome.trace = hinted(*told, why)
    return outcome


def _why(error: BaseException) -> Optional[str]:
    if isinstance(error, AttributeError) and error.args[:1] == (NO_SPEC,):
        return "up to Python 3.12, pdb takes that away: fork, or use threads"
    if not isinstance(error, OSError):
        return None
    if any(isinstance(each, str) and each.startswith(NO_PLACE) for each in error.args):
        return "where a fork server has its socket: see TMPDIR"
    if error.errno == errno.ENOENT and error.filename is None and _is_nowhere():
        return "the working directory has been deleted"
    return SCARCE.get(error.errno or 0)


def _is_nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False
