"""Results that stay on dask's workers: who gets them from there, and until when."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concurra import TaskRunner, task
from concurra.remote_results import RemoteResult
from tests.engines.scripted import BOUND
from tests.helpers import wait_until

distributed = pytest.importorskip(
    "distributed", reason="dask is not installed: pip install concurra[dask]"
)

from tests.engines import test_dask  # noqa: E402
from tests.engines.test_dask import add, keys, results_of, runner, stay  # noqa: E402

pytestmark = test_dask.pytestmark
leak_guard, shared, own = test_dask.leak_guard, test_dask.shared, test_dask.own

MANY = 2_000_000


@pytest.fixture
def client(shared: Any) -> Iterator[Any]:
    """When the run has returned nothing of ours is left, here and at the scheduler."""
    yield shared
    wait_until(lambda: not shared.futures, BOUND, "no futures")
    wait_until(lambda: not keys(shared), BOUND, "no keys at the scheduler")


def load(value: int = 1) -> bytes:
    return bytes([value]) * MANY


def where(value: int = 1) -> tuple[str, bytes]:
    return distributed.get_worker().address, load(value)


def failing(times: str, many: int = 1) -> bytes:
    """Fail so many times."""
    with open(times, "a+") as file:
        file.write("x")
        file.flush()
        file.seek(0)
        if len(file.read()) <= many:
            raise ValueError("of mine")
    return load(7)


class Watched(bytes):
    """Bytes that tell by a file that they were unpickled, and in which process."""

    path = ""

    def __reduce__(self) -> Any:
        return _unpickled, (bytes(self), self.path)


def _unpickled(value: bytes, path: str) -> Watched:
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return watched(path, value)


def watched(path: str, value: bytes = b"1") -> Watched:
    made = Watched(value)
    made.path = path
    return made


# Where the value goes -----------------------------------------------------------------


def test_the_value_never_comes_here(client: Any, tmp_path: Path) -> None:
    """It is an argument where it was made, or goes from worker to worker."""
    path = tmp_path / "unpickled"
    path.touch()
    made = runner(client)
    first = made.add_task(task(watched, keep_remote=True), str(path), label="first")
    made.add_task(len, first, label="len")
    results = results_of(made)
    assert results["len"]["result"] == 1
    assert str(os.getpid()) not in path.read_text().split()
    assert results["first"]["status"] == "Successful"
    assert results["first"]["execution_mode"] == "executor"


def test_what_its_own_result_is(client: Any) -> None:
    """A small object that says what it is, and cannot pass for the value elsewhere."""
    made = runner(client)
    made.add_task(task(load, keep_remote=True), label="a")
    value = results_of(made)["a"]["result"]
    assert type(value) is RemoteResult
    assert repr(value) == "<RemoteResult of 'load', released by the executor>"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(value)
    with pytest.raises(RuntimeError, match="needed by no task any more"):
        value.fetch()


@pytest.mark.parametrize("kind", [list, tuple, set])
def test_in_containers(client: Any, kind: Any) -> None:
    """As other references: as arguments, keywords, and directly within containers."""
    made = runner(client)
    refs = [made.add_task(task(add, keep_remote=True), n) for n in (1, 2, 4)]
    made.add_task(sum, kind(refs), label="sum")
    made.add_task(add, refs[0], second=refs[1], label="add")
    made.add_task(dict, {"a": refs[2], "b": 5}, label="dict")
    results = results_of(made)
    assert results["sum"]["result"] == 7 and results["add"]["result"] == 3
    assert results["dict"]["result"] == {"a": 4, "b": 5}


def test_in_a_frozenset(client: Any) -> None:
    """Dask does not look there: it is said, and nothing is run."""
    made = runner(client)
    ref = made.add_task(task(add, keep_remote=True), 1, label="a")
    made.add_task(sum, frozenset([ref]), label="sum")
    error = results_of(made)["sum"]["error"]
    assert "a frozenset cannot have such a result in it" in str(error)


def test_a_chain(client: Any) -> None:
    """What is made of what was kept can be kept, too."""
    made = runner(client)
    ref = made.add_task(task(add, keep_remote=True), 1)
    for _ in range(5):
        ref = made.add_task(task(add, keep_remote=True), ref, 1)
    made.add_task(add, ref, label="last")
    assert results_of(made)["last"]["result"] == 6


def test_none_is_a_value(client: Any) -> None:
    made = runner(client)
    ref = made.add_task(task(time.sleep, keep_remote=True), 0)
    made.add_task(repr, ref, label="repr")
    assert results_of(made)["repr"]["result"] == "None"


def test_who_is_here_has_it_fetched(client: Any) -> None:
    """Tasks with `local=True`, and all commands, which need a text."""
    made = runner(client)
    ref = made.add_task(task(add, keep_remote=True), 5)
    made.add_task(task(add, local=True), ref, 1, label="local")
    made.add_command(["echo", ref], label="there")
    made.add_command(["echo", ref], label="here", local=True)
    results = results_of(made)
    assert results["local"]["result"] == 6
    assert results["there"]["result"]["stdout"] == "5\n"
    assert results["here"]["result"]["stdout"] == "5\n"


def test_results_as_they_come(client: Any) -> None:
    """A result that was handed out, and is kept no more, is there for who needs it."""
    made = runner(client, 1, keep_results=False)
    ref = made.add_task(task(load, keep_remote=True), label="a")
    made.add_task(len, ref, label="b")
    got = {label: each["result"] for label, each in made.as_completed()}
    assert got["b"] == MANY and type(got["a"]) is RemoteResult


# Until when ---------------------------------------------------------------------------


def test_it_is_released_with_the_last_dependent(client: Any, tmp_path: Path) -> None:
    """While the run goes on; and what nobody depends on, at once."""
    path = tmp_path / "pid"
    made = runner(client)
    ref = made.add_task(task(load, keep_remote=True), label="kept")
    made.add_task(task(load, keep_remote=True), label="for nobody")
    first = made.add_task(len, ref, label="first")
    second = made.add_task(len, ref, label="second", depends_on=[first])
    made.add_task(stay, str(path), label="long", depends_on=[second])
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the long task")
    wait_until(lambda: len(keys(client)) == 1, BOUND, "the key of the long task alone")
    assert len(client.futures) == 1
    path.unlink()
    results = made.get_background_results(verify=False)
    assert results["second"]["result"] == MANY


def test_it_is_there_while_somebody_waits_for_it(client: Any, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    made = runner(client)
    ref = made.add_task(task(load, keep_remote=True), label="kept")
    long = made.add_task(stay, str(path), label="long")
    made.add_task(len, ref, label="first")
    made.add_task(len, ref, label="second", depends_on=[long])
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the long task")
    wait_until(lambda: made.results_registry["first"], BOUND, "the first")
    assert "kept" in repr(made.results_registry["kept"]["result"])
    path.unlink()
    assert made.get_background_results(verify=False)["second"]["result"] == MANY


@pytest.mark.parametrize("how", ["abort", "timeout", "failure", "skip", "cancel"])
def test_it_is_released_at_every_end(client: Any, tmp_path: Path, how: str) -> None:
    """Nothing is left, however the tasks end that depend on it."""
    path = tmp_path / "pid"
    options = {"run_timeout": 3} if how == "timeout" else {}
    made = runner(client, fast_fail=how == "failure", **options)
    ref = made.add_task(task(load, keep_remote=True), label="kept")
    long = made.add_task(stay, str(path), label="long", depends_on=[ref])
    made.add_task(len, ref, label="waiting", depends_on=[long])
    if how in ("failure", "skip"):
        bad = made.add_task(len, 1, label="bad", depends_on=[ref])
        made.add_task(len, ref, label="skipped", depends_on=[bad])
    made.execute_in_background()
    if how != "failure":
        wait_until(path.exists, BOUND, "the long task")
    if how == "abort":
        made.abort(verify=False)
    elif how == "cancel":
        made.cancel("waiting")
    if how in ("cancel", "skip"):
        path.unlink()
    results = made.get_background_results(verify=False)
    expected = "Successful" if how == "skip" else "Terminated"
    assert results["waiting"]["status"] == expected, results["waiting"]
    assert "released" in repr(results["kept"]["result"])
    wait_until(path.exists, BOUND, "the long task") if how == "failure" else None
    path.unlink(missing_ok=True)


def test_one_that_is_stopped_while_it_runs(client: Any, tmp_path: Path) -> None:
    """Its result comes late, and nobody keeps it."""
    path = tmp_path / "pid"
    made = runner(client)
    made.add_task(task(stay, keep_remote=True, timeout=1), str(path), label="a")
    made.add_task(add, 1, label="b")
    results = results_of(made)
    assert results["a"]["status"] == "Terminated" and results["b"]["result"] == 1
    wait_until(path.exists, BOUND, "the task")
    path.unlink()


# What went wrong is told --------------------------------------------------------------


def test_a_failure_is_told_in_full(client: Any) -> None:
    """As that of every other task, however long its text is."""

    def bad() -> None:
        raise ValueError("long " * 10_000)

    made = runner(client)
    ref = made.add_task(task(bad, keep_remote=True), label="a")
    made.add_task(len, ref, label="b")
    results = results_of(made)
    assert results["a"]["error"] == "ValueError: " + "long " * 10_000
    assert "in bad" in str(results["a"]["trace"])
    assert results["b"]["status"] == "Terminated" and results["b"]["attempts"] == 0


def test_retries(client: Any, tmp_path: Path) -> None:
    """Each attempt is another one for dask, too."""
    made = runner(client)
    configured = task(failing, keep_remote=True, task_retries=2)
    ref = made.add_task(configured, str(tmp_path / "times"), 2, label="a")
    made.add_task(len, ref, label="b")
    results = results_of(made)
    assert results["a"]["retry_errors"] == ["ValueError: of mine"] * 2
    assert results["a"]["attempts"] == 3 and results["b"]["result"] == MANY


def test_what_cannot_go_from_worker_to_worker(client: Any) -> None:
    """Is no success: dask would try for ever."""
    made = runner(client)
    made.add_task(task(threading.Lock, keep_remote=True), label="lock")
    made.add_task(task(lambda: (n for n in ()), keep_remote=True), label="generator")
    results = results_of(made)
    assert "pickle" in str(results["lock"]["error"])
    assert "generator" in str(results["generator"]["error"])


def lose(client: Any, address: str) -> None:
    """Kill a worker, and wait for another one in its place."""
    pids = client.run(os.getpid)
    os.kill(pids[address], signal.SIGKILL)
    gone = address
    wait_until(lambda: gone not in client.scheduler_info()["workers"], BOUND, "the end")
    client.wait_for_workers(2, timeout=60)


def holders(client: Any, path: Path) -> list[str]:
    """The workers that have something of ours, and do nothing."""
    pids = client.run(os.getpid)
    busy = path.read_text() if path.exists() else ""
    held = {where for each in client.who_has().values() for where in each}
    return [where for where in held if str(pids[where]) != busy]


@pytest.mark.parametrize("again", ["it works", "it fails"])
def test_it_is_made_again_when_its_worker_is_lost(
    own: Any, tmp_path: Path, again: str
) -> None:
    """In silence, as dask does; if that fails, who needs it fails, and says so."""
    path, times = tmp_path / "pid", tmp_path / "times"

    def once() -> str:
        with open(times, "a") as file:
            file.write("x")
        if again == "it fails" and times.stat().st_size > 1:
            raise ValueError("of mine")
        return "made"

    made = runner(own)
    long = made.add_task(stay, str(path), label="long")
    ref = made.add_task(task(once, keep_remote=True), label="kept")
    made.add_task(str.upper, ref, label="user", depends_on=[long])
    made.add_task(task(str.upper, local=True), ref, label="local", depends_on=[long])
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the long task")
    wait_until(lambda: made.results_registry["kept"], BOUND, "what is kept")
    wait_until(lambda: holders(own, path), BOUND, "its worker")
    lose(own, holders(own, path)[0])
    path.unlink()
    results = made.get_background_results(verify=False)
    assert set(times.read_text()) == {"x"} and len(times.read_text()) > 1
    assert results["kept"]["status"] == "Successful"
    for label in ("user", "local"):
        result = results[label]
        if again == "it works":
            assert result["result"] == "MADE", result
        else:
            assert str(result["error"]) == (
                "RuntimeError: the result of a task that it depends on was lost with "
                "its worker, and could not be made again: ValueError: of mine"
            )
    wait_until(lambda: not own.futures and not keys(own), BOUND, "no keys")


@pytest.mark.parametrize("what", ["client", "scheduler"])
def test_the_engine_goes_in_the_midst(what: str, tmp_path: Path) -> None:
    """With what is kept: who needs that ends, wherever it is, and nothing hangs."""
    path = tmp_path / "pid"
    made = test_dask.cluster()
    client = distributed.Client(made, timeout=5)
    try:
        run = runner(client, timeout=10, terminate_timeout=0.5)
        ref = run.add_task(task(load, keep_remote=True), label="kept")
        run.add_task(stay, str(path), label="long", depends_on=["kept"])
        run.add_task(task(len, local=True), ref, label="local", depends_on=["after"])
        run.add_task(len, ref, label="there", depends_on=["after"])
        gone = threading.Event()
        run.add_task(task(gone.wait, local=True), BOUND, label="after")
        run.execute_in_background()
        wait_until(path.exists, BOUND, "the long task")
        client.close() if what == "client" else made.close()
        gone.set()
        results = run.get_background_results(verify=False)
        assert results["kept"]["status"] == "Successful"
        for label in ("long", "local", "there"):
            assert results[label]["status"] != "Successful", results[label]
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(Exception):
            client.close()
        made.close()


# Where it makes no sense --------------------------------------------------------------


def test_without_such_an_executor(client: Any, tmp_path: Path) -> None:
    """It is refused at the start; dask's own executor gives plain futures."""
    for executor in (None, client.get_executor()):
        made = TaskRunner(2, executor=executor)
        made.add_task(task(load, keep_remote=True))
        with pytest.raises(ValueError, match="a client of dask for keep_remote=True"):
            made.run()
    made = TaskRunner(2, executor=client, checkpoint=tmp_path / "checkpoint")
    made.add_task(task(load, keep_remote=True))
    with pytest.raises(ValueError, match="does not go with checkpoint"):
        made.run()


def test_beside_local() -> None:
    """The two do not go together: that is said at the call, and nothing is added."""
    made = TaskRunner()
    with pytest.raises(ValueError, match="does not go with local=True"):
        made.add_task(task(load, keep_remote=True, local=True))
    assert len(made) == 0
