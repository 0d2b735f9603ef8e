"""Where a worker process was: the file in which it tells."""

from __future__ import annotations

import os
import threading
from typing import Any

import pytest

from concurra.workers.dumps import SILENCE, Dump, can_dump

DUMP = """\
Current thread 0x00007f00 (most recent call first):
  File "/home/me/job.py", line 7 in wait
  File "/home/me/job.py", line 3 in work
"""

pytestmark = pytest.mark.skipif(
    not can_dump(), reason="needs a system on which workers tell where they are"
)


class Exit:
    """The end of a process that has come."""

    def wait(self, seconds: float) -> bool:
        return True


def stopped() -> Dump:
    dump = Dump()
    dump.stopped(Exit(), ready=True)  # type: ignore[arg-type]
    return dump


def fill(dump: Dump) -> None:
    assert dump._fd is not None
    os.write(dump._fd, DUMP.encode())


@pytest.mark.parametrize("early", [True, False])
def test_it_is_there_before_and_after_the_end(early: bool) -> None:
    """The outermost function first; and without a file once it is closed."""
    dump = stopped()
    fill(dump)
    before = str(dump) if early else None
    dump.close()
    assert "line 3, in work" in str(dump) and before in (None, str(dump))
    assert str(dump).index("in work") < str(dump).index("in wait")


def test_what_was_not_told() -> None:
    """Is said."""
    dump = stopped()
    assert str(dump) == SILENCE
    dump.close()
    assert str(dump) == SILENCE


def test_a_process_that_has_gone_while_its_end_was_awaited_in_vain() -> None:
    """Did not tell, and will not."""

    class Late:
        """An end that comes when nobody waits for it any more."""

        def wait(self, seconds: float) -> bool:
            dump.close()
            return False

    dump = Dump()
    dump.stopped(Late(), ready=True)  # type: ignore[arg-type]
    assert str(dump) == SILENCE == str(dump)


def test_a_file_that_is_closed_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who closes it waits, or else its number could be another file's."""
    dump = stopped()
    fill(dump)
    closer = threading.Thread(target=dump.close)
    fstat = os.fstat

    def fstat_and_close(fd: Any) -> os.stat_result:
        found = fstat(fd)
        if fd == dump._fd and not closer.ident:
            closer.start()
            closer.join(0.1)
        return found

    monkeypatch.setattr(os, "fstat", fstat_and_close)
    told = str(dump)
    closer.join()
    assert "in wait" in told and str(dump) == told
    assert dump._fd is None
