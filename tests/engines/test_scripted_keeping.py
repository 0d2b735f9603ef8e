"""Results that an executor keeps, with one that does what the test says."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

from concurra import TaskRunner, reports, task
from concurra.remote_results import NotKept, RemoteResult
from tests.engines.scripted import BOUND, Engine, Job
from tests.engines.test_scripted import add, ended, failing, running
from tests.helpers import wait_until


class Keeper(Engine):
    """It finds its own futures among the arguments, as a client of dask does."""

    fails = False

    def __init__(self, at_once: bool = False) -> None:
        super().__init__(at_once)
        self.cancels: list[list[Job]] = []
        self.gate = threading.Event()
        self.gate.set()

    def submit(self, function: Any, *args: Any) -> Job:
        job = KeeperJob(function, args)
        self.jobs.append(job)
        if self.at_once:
            job.run()
        return job

    def gather(self) -> None:
        """Not called: it tells what this is."""

    scatter = gather

    def cancel(self, jobs: list[Job]) -> None:
        self.cancels.append(list(jobs))
        assert self.gate.wait(BOUND)
        if self.fails:
            raise OSError("gone")


class KeeperJob(Job):
    status = "pending"
    fetched = 0

    def __init__(self, function: Any, args: tuple[Any, ...]) -> None:
        super().__init__(function, args)
        self.gate = threading.Event()
        self.gate.set()

    def run(self) -> None:
        args = [a.peek() if isinstance(a, KeeperJob) else a for a in self.args]
        try:
            self.end(self.function(*args))
        except NotKept as error:
            self.end(error=error)

    def end(self, value: Any = None, error: BaseException | None = None) -> None:
        self.status = "finished" if error is None else "error"
        super().end(value, error)

    def peek(self) -> Any:
        assert self._come is not None
        return self._come()

    def result(self) -> Any:
        self.fetched += 1
        assert self.gate.wait(BOUND)
        return super().result()


def kept(function: Any, **options: Any) -> Any:
    return task(function, keep_remote=True, **options)


def runner(engine: Any, many: int = 4, **options: Any) -> TaskRunner:
    return TaskRunner(many, executor=engine, progress_stats=False, **options)


def test_the_future_is_the_argument() -> None:
    """The value is not asked for, and who needs it gets what stands for it there."""
    engine = Keeper(at_once=True)
    made = runner(engine)
    ref = made.add_task(kept(add), 20, 1)
    made.add_task(add, ref, label="plain")
    made.add_task(add, 1, second=ref, label="keyword")
    made.add_task(sum, [ref, 5], label="list")
    made.add_task(dict, {"a": 1}, b=ref, label="no list")
    results = made.run(verify=False)
    first = engine.jobs[0]
    assert [each.args for each in engine.jobs[1:]] == [
        *((first,), (1, first), ([first, 5],), ({"a": 1}, first))
    ]
    assert results["plain"]["result"] == 21
    assert isinstance(first, KeeperJob) and first.fetched == 0


@pytest.mark.parametrize("kind", ["local", "command", "local command"])
def test_who_needs_the_value_here_has_it_fetched(kind: str) -> None:
    """Once for each."""
    engine = Keeper(at_once=True)
    made = runner(engine)
    ref = made.add_task(kept(add), 5)
    if kind == "local":
        made.add_task(task(str, local=True), ref, label="a")
    else:
        made.add_command(["echo", ref], label="a", local=kind != "command")
    result = made.run(verify=False)["a"]["result"]
    assert (result if kind == "local" else result["stdout"].strip()) == "5"
    assert isinstance(engine.jobs[0], KeeperJob) and engine.jobs[0].fetched == 1


def test_a_fetch_that_blocks_holds_up_nobody() -> None:
    """A command that waits for a value is alone in that."""
    engine = Keeper()
    made = runner(engine)
    ref = made.add_task(kept(add), 5, label="kept")
    made.add_command(["echo", ref], label="command")
    made.add_task(add, 1, label="after", depends_on=["kept"])
    with running(made):
        first: Any = engine.job(0)
        first.gate.clear()  # to ask for the value blocks
        first.run()
        engine.job(1).run()
        assert ended(made, "after")["result"] == 1
        assert not made.results_registry["command"] and len(engine.jobs) == 2
        first.gate.set()
        engine.job(2).run()
        assert ended(made, "command")["result"]["stdout"] == "5\n"


def test_it_goes_with_the_last_that_needs_it() -> None:
    """As soon as that has ended: while the run goes on, and whoever holds a result."""
    engine = Keeper()
    made = runner(engine)
    ref = made.add_task(kept(add), 5, label="kept")
    made.add_task(add, ref, label="one")
    made.add_task(add, ref, label="two")
    made.add_task(add, 1, label="other")
    with running(made):
        engine.job(0)
        job: Any = next(each for each in engine.jobs if each.args == (5,))
        future = weakref.ref(job)
        job.run()
        result = ended(made, "kept")["result"]
        assert "kept by the executor" in repr(result) and future() is job
        engine.job(3)
        users = [each for each in engine.jobs if each.args == (job,)]
        users[0].run()
        there = made.results_registry
        wait_until(lambda: there["one"] or there["two"], BOUND, "the end of a user")
        assert "kept by the executor" in repr(result)
        users[1].run()
        wait_until(lambda: "released" in repr(result), BOUND, "the release")
        for each in engine.jobs:
            each.args = ()
        engine.jobs.remove(job)
        del job, users, each
        gc.collect()
        assert future() is None


def test_what_nobody_needs_goes_at_once() -> None:
    engine = Keeper()
    made = runner(engine)
    made.add_task(kept(add), 5, label="kept")
    made.add_task(add, 1, label="other")
    with running(made):
        engine.job(0).run()
        result = ended(made, "kept")["result"]
        wait_until(lambda: "released" in repr(result), BOUND, "the release")


def test_a_failure_is_told_and_tried_again() -> None:
    """The executor raises it, and it is that of the task all the same."""
    engine = Keeper(at_once=True)
    made = runner(engine, task_retries=1)
    made.add_task(kept(failing), "of mine", label="a")
    result = made.run(verify=False)["a"]
    assert result["retry_errors"] == ["ValueError: of mine"] * 2
    assert "in failing" in str(result["trace"]) and len(engine.jobs) == 2


def test_an_engine_that_fails() -> None:
    """What it raises itself is its fault, as without that."""
    engine = Keeper()
    made = runner(engine, task_retries=3)
    made.add_task(kept(add), 1, label="a")
    with running(made):
        engine.job(0).end(error=CancelledError())
        result = ended(made, "a")
        assert result["error"].endswith("the executor has dropped the task")
        assert result["attempts"] == 1


@pytest.mark.parametrize("keeps", [True, False])
def test_a_value_that_cannot_be_made_again(keeps: bool) -> None:
    """Who needs it fails with what happened, and not as if it had done that."""
    engine = Keeper()
    made = runner(engine, task_retries=1)
    ref = made.add_task(kept(add), 1, label="a")
    made.add_task(task(add, keep_remote=keeps), ref, label="b")
    with running(made):
        engine.job(0).run()
        reply = ("error", None, "ValueError: the second time", None, None, None, False)
        engine.job(1).end(error=NotKept("of another", reply))
        result = ended(made, "b")
    assert result["status"] == "Failed" and result["attempts"] == 1
    assert result["error"] == (
        "RuntimeError: the result of a task that it depends on was lost with its "
        "worker, and could not be made again: ValueError: the second time"
    )


def test_it_comes_after_the_end() -> None:
    """What was stopped leaves nothing, also if it ends well then."""
    engine = Keeper()
    made = runner(engine)
    made.add_task(kept(add, timeout=0.2), 5, label="a")
    made.add_task(add, 1, label="other")
    with running(made):
        engine.job(1)
        job: Any = next(each for each in engine.jobs if each.args == (5,))
        assert ended(made, "a")["status"] == "Terminated"
        future = weakref.ref(job)
        wait_until(lambda: engine.cancels, BOUND, "the cancel")
        engine.jobs.remove(job)
        engine.cancels.clear()
        job.run()
        del job
        wait_until(
            lambda: gc.collect() and not future(), BOUND, "the end of the future"
        )


def test_a_wide_graph_counts_its_users_once() -> None:
    """A task that was ended before the one that it needs is one of them, too."""
    engine = Keeper()
    made = runner(engine, 3)
    ref = made.add_task(kept(add), 5, label="kept")
    for number in range(50):
        made.add_task(add, ref, number, label=number)
    made.execute_in_background()
    engine.job(0)
    made.cancel(7)
    engine.at_once = True
    engine.jobs[0].run()
    results = made.get_background_results(verify=False)
    assert results[7]["status"] == "Terminated" and results[49]["result"] == 54
    assert "released" in repr(results["kept"]["result"])


def test_reports_say_what_it_is(tmp_path: Path) -> None:
    made = runner(Keeper(at_once=True))
    made.add_task(kept(add), 5, label="kept")
    made.run(verify=False)
    reports.write_json(made, tmp_path / "run.json")
    assert reports.load(tmp_path / "run.json").tasks[0].status == "Successful"


def test_other_executors_are_refused() -> None:
    """At the start, by name; it can be mended then."""
    made = runner(Engine(at_once=True))
    made.add_task(kept(add), 5, label="kept")
    with pytest.raises(ValueError, match="^executor must be a client of dask for keep"):
        made.run()
    made.executor = Keeper(at_once=True)
    assert type(made.run(verify=False)["kept"]["result"]) is RemoteResult


def test_add_function_has_it_too() -> None:
    made = runner(Keeper(at_once=True))
    made.add_function(add, (5,), key="kept", keep_remote=True)
    assert type(made.run(verify=False)["kept"]["result"]) is RemoteResult


@pytest.mark.parametrize("fails", [False, True])
def test_many_are_cancelled_in_few_calls(fails: bool) -> None:
    """Each would take as long as all of them; also if it fails, nobody waits for it."""
    engine = Keeper()
    engine.fails = fails
    engine.gate.clear()
    made = runner(engine, 100, terminate_timeout=0.1)
    for number in range(120):
        made.add_task(add, number)
    made.execute_in_background()
    engine.job(99)
    engine.jobs[0].run()
    ended(made, 0)
    engine.job(100)
    results = made.abort(verify=False)
    engine.gate.set()
    assert [each["status"] for each in results.values()].count("Terminated") == 119
    wait_until(lambda: sum(map(len, engine.cancels)) == 100, BOUND, "all cancels")
    cancelled = [job for jobs in engine.cancels for job in jobs]
    assert set(map(id, cancelled)) == set(map(id, engine.jobs[1:]))
    assert all(not job.cancels for job in engine.jobs)
    assert len(engine.cancels) <= 2


def test_what_waits_is_withdrawn_one_by_one_elsewhere() -> None:
    """Other engines have no such call, or one that means something else."""
    engine = Engine()
    engine.cancel = None  # type: ignore[attr-defined]
    made = runner(engine, 2)
    made.add_task(add, 1)
    made.execute_in_background()
    engine.job(0)
    made.abort(verify=False)
    wait_until(lambda: engine.jobs[0].cancels, BOUND, "the cancel")
