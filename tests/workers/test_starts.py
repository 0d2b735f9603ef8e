"""Whether new processes come to be ready at all."""

from __future__ import annotations

import pytest

from concurra.workers.starts import MANY, Hopeless, Starts


def failed(many: int, exitcode: int | None = 1) -> Starts:
    starts = Starts()
    for number in range(many):
        starts.failed(f"exited, the {number + 1}. time", exitcode)
    return starts


def test_after_some_that_failed_it_is_hopeless() -> None:
    """With what is known of the last of them."""
    failed(MANY - 1).check()
    with pytest.raises(Hopeless, match=f"^exited, the {MANY}. time$"):
        failed(MANY).check()


def test_a_server_that_has_ended_counts_once() -> None:
    """However many have waited for it; and not at all if it was killed."""
    starts = Starts()
    for pid in (1, 1, 1, 2, 2, 3, 4, 4):
        starts.server_failed(f"server {pid}", pid, killed=pid in (1, 3))
    starts.check()
    starts.server_failed("server None", None, killed=False)
    with pytest.raises(Hopeless, match="^server None$"):
        starts.check()


def test_it_is_not_if_one_was_ready() -> None:
    """Before or after the failures."""
    starts = failed(MANY)
    starts.good = True
    starts.check()


@pytest.mark.parametrize("exitcode", [-9, 0, None])
def test_what_was_killed_does_not_count(exitcode: int | None) -> None:
    """The next one may not be."""
    failed(10 * MANY, exitcode).check()
