"""Workers for the tests, and a guardian that outlives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from concurra.workers.guardian import Guardian
from tests.workers.support import KINDS, Closing, Backend, guarded


@pytest.fixture
def guardian() -> Iterator[Guardian]:
    """Closed when the test ends."""
    with guarded() as made:
        yield made


@pytest.fixture(params=KINDS.values(), ids=KINDS.keys())
def kind(request: pytest.FixtureRequest) -> Backend:
    """Runs the test once for each kind of worker."""
    found: Backend = request.param
    return found


@pytest.fixture
def worker(kind: Backend, guardian: Guardian) -> Any:
    """A worker of each kind."""
    return kind.make(guardian)


@pytest.fixture(autouse=True)
def close(request: pytest.FixtureRequest) -> Iterator[Closing | None]:
    """Closes the worker: when the test says so, or when it ends."""
    if "worker" not in request.fixturenames:
        yield None
        return
    worker: Any = request.getfixturevalue("worker")
    closing = Closing(worker)
    yield closing
    worker.stop(force=True)
    closing()
