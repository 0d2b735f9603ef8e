"""The runner on real dask workers: processes on this machine, killed and missed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from concurra import TaskRunner, task
from tests.engines.scripted import BOUND
from tests.helpers import alive, wait_until

distributed = pytest.importorskip(
    "distributed", reason="dask is not installed: pip install concurra[dask]"
)

pytestmark = [
    pytest.mark.hang_after(120),
    pytest.mark.filterwarnings("ignore"),  # of dask and what it uses, on the way down
]


@pytest.fixture(autouse=True)
def leak_guard() -> None:
    """Dask starts threads and opens connections of its own, and replaces workers."""


def cluster(**options: Any) -> Any:
    """Two processes with one thread each, on loopback."""
    given = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    return distributed.LocalCluster(host="127.0.0.1", **{**given, **options})


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    """A client of a cluster that no test does any harm to."""
    with cluster() as made, distributed.Client(made) as client:
        yield client


@pytest.fixture
def client(shared: Any) -> Iterator[Any]:
    """After each test nothing of ours is left, here and at the scheduler."""
    yield shared
    wait_until(lambda: not shared.futures, BOUND, "no futures")
    wait_until(lambda: not keys(shared), BOUND, "no keys at the scheduler")


@pytest.fixture
def own() -> Iterator[Any]:
    """A client of a cluster that the test may harm; no nanny restarts its workers."""
    with cluster() as made, distributed.Client(made) as client:
        yield client


def keys(client: Any) -> list[str]:
    found: list[str] = client.run_on_scheduler(
        lambda dask_scheduler: list(map(str, dask_scheduler.tasks))
    )
    return found


def runner(executor: Any, many: int = 4, **options: Any) -> TaskRunner:
    options = {"timeout": 60, **options}
    return TaskRunner(many, executor=executor, progress_stats=False, **options)


def results_of(made: TaskRunner) -> dict[Any, Any]:
    return made.run(verify=False)


def add(first: int, second: int = 0) -> int:
    return first + second


def stay(path: str) -> str:
    """Leave the process id, and stay until the file is gone."""
    Path(f"{path}.part").write_text(str(os.getpid()))
    os.replace(f"{path}.part", path)
    until = time.monotonic() + BOUND
    while os.path.exists(path) and time.monotonic() < until:
        time.sleep(0.01)
    return "was let go"


def die_once(path: str) -> int:
    """Kill the worker, but for the second time."""
    if os.path.exists(path):
        return 2
    Path(path).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return 1


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave() -> None:
    sys.exit(3)


def failing() -> None:
    raise ValueError("of mine")


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


# What is kept -------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["client", "get_executor"])
def test_a_run(client: Any, how: str) -> None:
    """Functions, coroutines, commands, what is shipped by value, and dependencies."""
    executor = client if how == "client" else client.get_executor()
    made = runner(executor, task_retries=1)
    refs = [made.add_task(add, 1) for _ in range(8)]  # equal calls, all of them run
    made.add_task(sum, refs, label="sum")
    made.add_task(os.getpid, label="pid")
    made.add_task(task(os.getpid, local=True), label="here")
    made.add_task(double, 4, label="double")
    made.add_task(lambda: how, label="lambda")
    made.add_task(failing, label="failing")
    made.add_task(leave, label="leave")
    made.add_command(["echo", "5"], label="command")
    names = dict.fromkeys(("key", "workers", "retries", "priority", "pure"), 1)
    made.add_function(dict, kwargs=names, key="names")
    results = results_of(made)
    assert results["sum"]["result"] == 8
    assert results["here"]["result"] == os.getpid() != results["pid"]["result"]
    assert results["double"]["result"] == 8 and results["lambda"]["result"] == how
    assert results["failing"]["retry_errors"] == ["ValueError: of mine"] * 2
    assert results["leave"]["error"] == "SystemExit: 3"
    assert results["command"]["result"]["stdout"] == "5\n"
    assert results["names"]["result"] == names
    assert client.submit(add, 1, pure=False).result() == 1  # it was not shut down


def test_data_of_the_engine(client: Any) -> None:
    """A future of dask, and what was scattered, is found among the arguments."""
    data = client.scatter([1, 2, 3])
    before = client.submit(add, 20, pure=False)
    made = runner(client)
    made.add_task(sum, data, label="list")
    made.add_task(add, before, second=data[0], label="keyword")
    results = results_of(made)
    assert results["list"]["result"] == 6 and results["keyword"]["result"] == 21
    del data, before


def test_a_thousand_in_flight(client: Any) -> None:
    """Each gets its own result, and no thread waits for one."""
    made = runner(client, 1000)
    for number in range(1000):
        made.add_task(add, number)
    assert [each["result"] for each in results_of(made).values()] == list(range(1000))


def test_an_abort_withdraws_what_waits(client: Any, tmp_path: Path) -> None:
    """What has begun goes on: a function cannot be killed there."""
    path = tmp_path / "pid"
    made = runner(client, 200)
    made.add_task(stay, str(path), label="a")
    for _ in range(199):
        made.add_task(time.sleep, 0.5)
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the first task")
    began = time.monotonic()
    results = made.abort(verify=False)
    assert time.monotonic() - began < 2  # where one call for each takes a second
    assert {each["status"] for each in results.values()} <= {"Terminated", "Successful"}
    assert path.exists()
    path.unlink()


def test_a_timeout_withdraws_one(client: Any) -> None:
    """Its clock starts when it is submitted."""
    made = runner(client)
    made.add_task(task(time.sleep, timeout=0.3), 2, label="a")
    made.add_task(add, 1, label="b")
    results = results_of(made)
    assert "exceeded timeout of 0.3" in str(results["a"]["error"])
    assert results["b"]["result"] == 1


def test_arguments_that_cannot_be_sent(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Dask says so at once: as of a task that never began."""
    # Its log has tracebacks, which pytest keeps, and with them dask's futures.
    caplog.set_level(logging.CRITICAL + 1, "distributed.protocol.pickle")
    made = runner(client)
    made.add_task(id, threading.Lock(), label="a")
    made.add_task(add, 1, label="b")
    results = results_of(made)
    assert "serialize" in str(results["a"]["error"])
    assert results["a"]["attempts"] == 0 and results["b"]["result"] == 1


# What is lost -------------------------------------------------------------------------


def test_a_lost_worker_has_its_tasks_done_again(own: Any, tmp_path: Path) -> None:
    """By dask, and by nobody's leave: not at most once, and nothing tells."""
    made = runner(own, 1)
    made.add_task(die_once, str(tmp_path / "died"), label="a")
    result = results_of(made)["a"]
    assert result["result"] == 2 and result["attempts"] == 1
    assert result["warning"] is None


def test_a_task_that_kills_each_worker(own: Any) -> None:
    """Dask gives up after `allowed-failures`; the task fails with its error."""

    def bound(dask_scheduler: Any) -> None:
        dask_scheduler.allowed_failures = 0

    own.run_on_scheduler(bound)
    made = runner(own, 1, task_retries=3)
    made.add_task(die, label="a")
    made.add_task(add, 1, label="b")
    results = results_of(made)
    assert str(results["a"]["error"]).startswith("KilledWorker: ")
    assert results["a"]["status"] == "Failed" and results["a"]["attempts"] == 1
    assert results["b"]["result"] == 1


def test_a_result_is_not_made_again_once_it_is_here(own: Any, tmp_path: Path) -> None:
    """Its future is let go first: workers may go, while the run is on and after it."""
    path, count = tmp_path / "pid", tmp_path / "count"

    def once() -> None:
        with open(count, "a") as file:
            file.write("x")

    made = runner(own)
    made.add_task(once, label="a")
    made.add_task(stay, str(path), label="b", depends_on=["a"])
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the second task")
    for pid in own.run(os.getpid).values():
        if pid != int(path.read_text()):
            os.kill(pid, signal.SIGKILL)
    path.unlink()
    results = made.get_background_results(verify=False)
    assert results["b"]["result"] == "was let go"
    for pid in own.run(os.getpid).values():
        os.kill(pid, signal.SIGKILL)
    own.wait_for_workers(2, timeout=60)
    assert own.submit(add, 1, pure=False).result() == 1
    assert count.read_text() == "x"


def test_a_command_dies_with_its_worker(own: Any, tmp_path: Path) -> None:
    """And is run again on another, as functions are."""
    path = tmp_path / "pid"
    made = runner(own, 1)
    line = f"echo $$ > {path}.part; mv {path}.part {path}; exec sleep 60"
    made.add_shell_command(line, label="a")
    made.execute_in_background()
    wait_until(path.exists, BOUND, "the command")
    first = int(path.read_text())
    parent = int(Path(f"/proc/{first}/stat").read_text().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: not alive(first), BOUND, "the end of the command")
    wait_until(lambda: int(path.read_text()) != first, BOUND, "the second time")
    assert made.abort(verify=False)["a"]["status"] == "Terminated"
    assert alive(int(path.read_text()))  # an abort does not reach it
    os.kill(int(path.read_text()), signal.SIGKILL)


# What goes wrong ----------------------------------------------------------------------


def test_no_workers() -> None:
    """The tasks wait, and a timeout ends them."""
    with cluster(n_workers=0) as made, distributed.Client(made) as client:
        run = runner(client, timeout=0.5)
        run.add_task(add, 1, label="a")
        assert "exceeded timeout" in str(results_of(run)["a"]["error"])
        wait_until(lambda: not keys(client), BOUND, "no keys at the scheduler")


@pytest.mark.parametrize("what", ["client", "scheduler"])
def test_the_engine_goes_in_the_midst(what: str, tmp_path: Path) -> None:
    """Every task ends, none is a success that was none, and nothing hangs."""
    path = tmp_path / "pid"
    made = cluster()
    client = distributed.Client(made, timeout=5)
    try:
        run = runner(client, 2, timeout=20, terminate_timeout=0.5)
        run.add_task(stay, str(path), label="a")
        run.add_task(add, 1, label="b", depends_on=["a"])
        run.add_task(stay, str(path), label="c")
        run.execute_in_background()
        wait_until(path.exists, BOUND, "the first task")
        client.close() if what == "client" else made.close()
        results = run.get_background_results(verify=False)
        assert {each["status"] for each in results.values()} <= {"Failed", "Terminated"}
    finally:
        with contextlib.suppress(Exception):
            path.unlink()
        with contextlib.suppress(Exception):
            client.close()
        made.close()


def test_workers_without_concurra(tmp_path: Path) -> None:
    """Their processes live on, and the tasks fail at once, with what is missing."""
    program = tmp_path / "play.py"
    program.write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'concurra':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "def dask_setup(worker):\n"
        "    sys.meta_path.insert(0, Missing())\n"
        "    for name in [n for n in sys.modules if n.startswith('concurra')]:\n"
        "        del sys.modules[name]\n"
    )
    with cluster(preload=[str(program)]) as made, distributed.Client(made) as client:
        run = runner(client)
        run.add_task(add, 1, label="a")
        began = time.monotonic()
        error = str(results_of(run)["a"]["error"])
        assert error.startswith("ModuleNotFoundError: No module named 'concurra")
        assert "must be installed wherever" in error
        assert time.monotonic() - began < 20
        assert client.submit(os.getpid, pure=False).result(timeout=BOUND)


def test_a_module_of_the_user_is_missing(client: Any, tmp_path: Path) -> None:
    """The task fails with the name, and with where that was."""
    (tmp_path / "only_here.py").write_text("def f():\n    return 1\n")
    sys.path.insert(0, str(tmp_path))
    try:
        import only_here  # type: ignore[import-not-found]

        made = runner(client)
        made.add_task(only_here.f, label="a")
        error = str(results_of(made)["a"]["error"])
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("only_here", None)
    assert "ModuleNotFoundError: No module named 'only_here' (where the exec" in error


def test_a_run_within_a_task(client: Any) -> None:
    """With `worker_client` the task makes room for what it waits for."""

    def inner() -> Any:
        from distributed import worker_client

        with worker_client() as within:
            made = TaskRunner(2, executor=within, progress_stats=False, run_timeout=30)
            refs = [made.add_task(max, n, n) for n in range(3)]
            made.add_task(sum, refs, label="sum")
            return made.run(verify=False)["sum"]["result"]

    made = runner(client)
    made.add_task(inner, label="a")
    result = results_of(made)["a"]
    assert result["result"] == 3, result["error"]


def test_concurra_does_not_import_dask() -> None:
    """Nor cloudpickle: what is not used is not imported."""
    program = (
        "import sys, concurra\n"
        "runner = concurra.TaskRunner(progress_stats=False)\n"
        "runner.add_task(print)\n"
        "runner.run(verify=False)\n"
        "print({'dask', 'distributed', 'cloudpickle'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    assert done.stdout.decode().split() == ["set()"], done.stderr


def run_in_processes(number: int) -> Any:
    """What comes of a run with processes that a task of dask starts."""
    inner = TaskRunner(1, use_multiprocessing=True, progress_stats=False)
    inner.add_task(abs, -number, label="a")
    try:
        return inner.run(verify=False)["a"]["result"]
    except RuntimeError as error:
        return str(error)


@pytest.mark.parametrize("daemon", [True, False])
def test_processes_within_a_dask_worker(daemon: bool) -> None:
    """Are refused with the name of dask's setting; with that set, they work."""
    dask = pytest.importorskip("dask")
    with dask.config.set({"distributed.worker.daemon": daemon}):
        with cluster(n_workers=1) as made, distributed.Client(made) as client:
            found = client.submit(run_in_processes, 3).result(BOUND)
    assert "distributed.worker.daemon: False" in found if daemon else found == 3
