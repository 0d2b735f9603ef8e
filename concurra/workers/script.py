"""What a worker that was not forked can know of the program's ``__main__``.

It imports that anew, as ``__mp_main__``, if it has the name of a module or the path of
a file. A notebook's cell, ``python -c``, ``-i``, a zip and ``python -m package`` have
neither.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager

from ..clock import monotonic
from .groups import await_end, has_ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.context import BaseContext
    from types import ModuleType
    from typing import Iterator, Optional, Tuple

    from .starts import Starts

#: Seconds that a fork server has to end once it has closed its pipe.
DYING = 0.1

#: The exit code of a process that was to execute a program, and could not.
NO_PROGRAM = 255

ADVICE = "put the function into a module"
GUARD = "`if __name__ == '__main__':`"


def obstacle() -> Optional[str]:
    """Why workers cannot import ``__main__``, or None if they can try."""
    main, module = _main()
    if module is not None:
        named = module != "__main__" and not module.endswith(".__main__")
        return None if named else f"workers cannot import this __main__: {ADVICE}"
    path = getattr(main, "__file__", None)
    if path is None:
        return f"workers cannot import this __main__: {ADVICE}"
    if not os.path.exists(path):
        return f"workers cannot import this __main__, as '{path}' is no file: {ADVICE}"
    return None


def doubt(method: str, code: Optional[int]) -> str:
    """What is most likely wrong if a process cannot even begin; "" if it was forked.

    :param method: how it was started.
    :param code: its exit code, if that is known.
    """
    if method == "fork":
        return ""
    if method == "spawn" and code == NO_PROGRAM:
        from multiprocessing.spawn import get_executable

        return f" (could {os.fsdecode(get_executable() or '')!r} be executed?)"
    why = obstacle() or f"does the script start its runner under {GUARD}?"
    return f" ({why})"


@contextmanager
def explained(context: BaseContext, starts: Starts) -> Iterator[None]:
    """Say what is most likely wrong if a fork server has ended when it began.

    From Python 3.14 on it imports the script, too, before any worker does.
    """
    try:
        yield
    except (EOFError, ConnectionError) as error:
        if context.get_start_method() != "forkserver":
            raise
        pid, killed, code = _server()
        why = doubt("spawn", code)  # which is how a server is started
        ended = f"The server that starts worker processes has ended{why}"
        starts.server_failed(f"RuntimeError: {ended}", pid, killed)
        raise RuntimeError(ended) from error


def _server() -> Tuple[Optional[int], bool, Optional[int]]:
    """The id of the fork server that has ended, and how it did.

    That is whether it is known to be killed, and its exit code, if that is known.
    Another thread may have found that out, and started the next one.
    """
    from multiprocessing import forkserver

    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is None:
        return None, False, None
    until = monotonic() + DYING
    while not has_ended(pid) and monotonic() < until:
        time.sleep(0.001)
    end = await_end(pid) if has_ended(pid) else None
    if end is None:
        return pid, False, None
    killed = end.si_code != os.CLD_EXITED
    return pid, killed, None if killed else end.si_status


def unknown(error: str) -> Optional[str]:
    """What helps against an ``error`` (words) with which a worker found no function."""
    if "'__main__'" in error:
        return obstacle()
    if "'__mp_main__'" in error or f"<module '{_main()[1]}'" in error:
        return f"workers import the script, and it is not there outside of {GUARD}"
    return None


def _main() -> Tuple[Optional[ModuleType], Optional[str]]:
    """The module, and the name by which it was started, if it has one."""
    main = sys.modules.get("__main__")
    return main, getattr(getattr(main, "__spec__", None), "name", None)
