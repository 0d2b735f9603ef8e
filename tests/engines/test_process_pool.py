"""The runner on the executor that every Python has."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from concurra import TaskRunner
from tests.engines.scripted import BOUND
from tests.helpers import START_METHODS, alive, wait_until


def add(first: int, second: int = 0) -> int:
    return first + second


def die(pid: int = 0) -> None:
    os.kill(pid or os.getpid(), signal.SIGKILL)


def vanish() -> None:
    os._exit(3)


def stay(path: str) -> None:
    """Leave the process id, and stay until the file is gone."""
    Path(path).write_text(str(os.getpid()))
    wait_until(lambda: not os.path.exists(path), BOUND, "leave to go")


def unfit() -> Any:
    raise ValueError("not here")


class Unfit:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return unfit, ()


@pytest.fixture(params=START_METHODS)
def pool(request: pytest.FixtureRequest) -> Iterator[ProcessPoolExecutor]:
    """Two processes, by each start method; they have begun."""
    context = multiprocessing.get_context(request.param)
    with ProcessPoolExecutor(2, context) as made:
        made.submit(os.getpid).result(BOUND)
        yield made


def runner(executor: Any, many: int = 4, **options: Any) -> TaskRunner:
    return TaskRunner(many, executor=executor, progress_stats=False, **options)


def results_of(made: TaskRunner) -> dict[Any, Any]:
    return made.run(verify=False)


def test_a_run(pool: ProcessPoolExecutor) -> None:
    """Elsewhere, in order of dependencies; the pool is there after it."""
    made = runner(pool)
    refs = [made.add_task(add, number) for number in range(20)]
    made.add_task(os.getpid, label="pid", depends_on=refs)
    made.add_task(sum, refs, label="sum")
    made.add_command(["echo", "5"], label="command")
    results = results_of(made)
    assert results["sum"]["result"] == 190
    assert results["pid"]["result"] != os.getpid()
    assert results["command"]["result"]["stdout"] == "5\n"
    assert pool.submit(add, 1).result(BOUND) == 1


def test_a_broken_pool(pool: ProcessPoolExecutor) -> None:
    """What is in flight fails with its error, and so does the rest; nothing hangs."""
    made = runner(pool, 2, timeout=BOUND)
    made.add_task(die, label="dies")
    for number in range(10):
        made.add_task(add, number, label=number, depends_on=())
    made.add_task(add, 1, label="after", depends_on=["dies"])
    results = results_of(made)
    assert results["dies"]["status"] == "Failed"
    assert str(results["dies"]["error"]).startswith("BrokenProcessPool: ")
    assert results["dies"]["attempts"] == 1
    assert results["after"]["status"] == "Terminated"
    last = results[9]
    if last["status"] == "Failed":  # the pool was broken before it was submitted
        assert str(last["error"]).startswith("BrokenProcessPool: ")
    with pytest.raises(Exception, match="terminated abruptly"):
        pool.submit(add, 1)


def test_a_process_that_vanishes_is_not_tried_again(pool: ProcessPoolExecutor) -> None:
    """What it has done is not known."""
    made = runner(pool, 1, task_retries=3)
    made.add_task(vanish, label="a")
    result = results_of(made)["a"]
    assert result["status"] == "Failed" and result["attempts"] == 1


def test_an_executor_that_is_shut_down_in_the_midst(tmp_path: Path) -> None:
    """What it has goes on; what comes then fails, and says why."""
    pool, path = ThreadPoolExecutor(1), tmp_path / "pid"
    made = runner(pool, 1)
    made.add_task(stay, str(path), label="a")
    made.add_task(add, 1, label="b")
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the first task")
    pool.shutdown(wait=False)
    path.unlink()
    results = made.get_background_results(verify=False)
    assert results["a"]["status"] == "Successful"
    error = str(results["b"]["error"])
    assert error == "RuntimeError: cannot schedule new futures after shutdown"


def test_queued_tasks_are_dropped_with_the_executor(tmp_path: Path) -> None:
    """`shutdown(cancel_futures=True)` ends them; they are not taken for successes."""
    pool, path = ThreadPoolExecutor(1), tmp_path / "pid"
    made = runner(pool, 3)
    made.add_task(stay, str(path), label="a")
    made.add_task(add, 1, label="b")
    made.add_task(add, 1, label="c")
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the first task")
    wait_until(lambda: pool._work_queue.qsize() == 2, BOUND, "a queue")
    pool.shutdown(wait=False, cancel_futures=True)
    path.unlink()
    results = made.get_background_results(verify=False)
    assert results["a"]["status"] == "Successful"
    for label in "bc":
        error = str(results[label]["error"])
        assert error == "CancelledError: the executor has dropped the task"


def test_an_abort_withdraws_what_waits(tmp_path: Path) -> None:
    """What has begun goes on to its end, and nobody waits for it."""
    pool, path = ThreadPoolExecutor(1), tmp_path / "pid"
    made = runner(pool, 100)
    made.add_task(stay, str(path), label="a")
    for number in range(150):
        made.add_task(add, number)
    made.execute_in_background()
    wait_until(lambda: pool._work_queue.qsize() == 99, BOUND, "a queue")
    began = time.monotonic()
    results = made.abort(verify=False)
    assert time.monotonic() - began < 5
    assert {each["status"] for each in results.values()} == {"Terminated"}
    wait_until(path.exists, BOUND, "the first task")
    path.unlink()
    pool.shutdown()


def test_a_command_dies_with_its_process(tmp_path: Path) -> None:
    """The worker of the executor is killed: so is what it has started."""
    path = tmp_path / "pid"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        worker = pool.submit(os.getpid).result(BOUND)
        made = runner(pool, 1)
        line = f"echo $$ > {path}.part; mv {path}.part {path}; exec sleep 60"
        made.add_shell_command(line, label="a")
        made.execute_in_background()
        wait_until(path.exists, BOUND, "the command")
        die(worker)
        error = str(made.get_background_results(verify=False)["a"]["error"])
        assert error.startswith("BrokenProcessPool: ")
        pid = int(path.read_text())
        wait_until(lambda: not alive(pid), BOUND, "the end of the command")


def test_arguments_that_cannot_be_sent(pool: ProcessPoolExecutor) -> None:
    """They are left to the executor: the task fails with its error."""
    made = runner(pool)
    made.add_task(add, threading.Lock(), label="a")
    made.add_task(add, 1, label="b")
    results = results_of(made)
    assert "pickle" in str(results["a"]["error"])
    assert results["b"]["result"] == 1


def test_arguments_that_cannot_be_received(pool: ProcessPoolExecutor) -> None:
    """The standard pool breaks at that, and says so; no hang."""
    made = runner(pool, timeout=BOUND)
    made.add_task(id, Unfit(), label="a")
    assert str(results_of(made)["a"]["error"]).startswith("BrokenProcessPool: ")


def test_a_thousand_in_flight() -> None:
    """Each gets its own result."""
    with ProcessPoolExecutor(2) as pool:
        pool.submit(os.getpid).result(BOUND)
        made = runner(pool, 1000)
        for number in range(3000):
            made.add_task(add, number, 1)
        results = results_of(made)
    values = [each["result"] for each in results.values()]
    assert values == [number + 1 for number in range(3000)]


def test_no_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run goes on with those that there are."""
    start = threading.Thread.start

    def there() -> int:
        return [each.name for each in threading.enumerate()].count("concurra")

    most = there() + 4

    def limited(thread: threading.Thread) -> None:
        if thread.name == "concurra" and there() >= most:
            raise RuntimeError("can't start new thread")
        start(thread)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(os.getpid).result(BOUND)
        monkeypatch.setattr(threading.Thread, "start", limited)
        made = runner(pool, 50, timeout=BOUND)
        for number in range(200):
            made.add_task(add, number)
        results = results_of(made)
    assert {each["error"] for each in results.values()} == {None}
    assert [each["result"] for each in results.values()] == list(range(200))


#: For a function that goes there by its name.
POOLS: list[ThreadPoolExecutor] = []


def run_within() -> Any:
    """A run on the pool whose only worker this is."""
    made = runner(POOLS[0], 1, run_timeout=1)
    made.add_task(add, 1, label="a")
    return results_of(made)["a"]["error"]


def test_a_run_within_a_task() -> None:
    """It waits for the worker that waits for it, as documented: a timeout ends that."""
    with ThreadPoolExecutor(1) as pool:
        POOLS[:] = [pool]
        made = runner(pool, 1)
        made.add_task(run_within, label="a")
        result = results_of(made)["a"]
    POOLS.clear()
    assert result["result"] == "TimeoutError: Run exceeded timeout of 1 seconds"
