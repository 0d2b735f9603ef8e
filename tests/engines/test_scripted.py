"""What an executor may do, and an executor that does the wrong thing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextvars import Context, ContextVar
from pathlib import Path
from typing import Any

import pytest

from concurra import Retry, TaskRunner, current_task, task
from concurra.workers import envelope
from concurra.workers.executor import RECEIVERS
from tests.engines.scripted import BOUND, Engine, Job
from tests.helpers import wait_until


def add(first: int, second: int = 0) -> int:
    return first + second


def keywords(**given: Any) -> dict[str, Any]:
    return given


def failing(text: str) -> None:
    raise ValueError(text)


def about() -> Any:
    found = current_task()
    assert found is not None
    left = None if found.deadline is None else found.deadline - time.monotonic()
    return found.label, found.attempt, left


def runner(engine: Any, many: int = 4, **options: Any) -> TaskRunner:
    return TaskRunner(many, executor=engine, progress_stats=False, **options)


@contextlib.contextmanager
def running(made: TaskRunner) -> Iterator[TaskRunner]:
    """Run it in the background; it has ended when the block has."""
    made.execute_in_background()
    try:
        yield made
    finally:
        made.abort(verify=False)


def ended(made: TaskRunner, label: Any) -> dict[str, Any]:
    """Wait for the result of a task."""
    wait_until(lambda: made.results_registry[label], BOUND, f"the end of {label}")
    return dict(made.results_registry[label])


# What is kept -------------------------------------------------------------------------


def test_all_that_a_result_says() -> None:
    """Values, dependencies, modes, retries and their rule, as anywhere else."""
    made = runner(Engine(at_once=True), task_retries=1)
    first = made.add_task(add, 1, second=2, label="first")
    made.add_task(add, first, 4, label="second")
    made.add_task(failing, "a", label="again")
    made.add_task(failing, "b", label="never", task_retries=Retry(3, on=KeyError))
    made.add_command(["echo", "5"], label="command")
    made.add_command(["false"], label="false")
    made.add_task(add, made.add_task(failing, "c", label="c"), label="skipped")
    results = made.run(verify=False)
    assert {label: each["status"] for label, each in results.items()} == {
        **dict.fromkeys(("first", "second", "command"), "Successful"),
        **dict.fromkeys(("again", "never", "false", "c"), "Failed"),
        "skipped": "Terminated",
    }
    assert results["second"]["result"] == 7
    assert results["command"]["result"]["stdout"] == "5\n"
    assert results["false"]["error"].startswith("CommandExecutionError: Command exited")
    assert results["again"]["retry_errors"] == ["ValueError: a"] * 2
    assert results["never"]["attempts"] == 1
    assert results["skipped"]["execution_mode"] is None
    assert {each["execution_mode"] for each in results.values()} == {"executor", None}
    trace = results["again"]["trace"]
    assert "in failing" in trace and "concurra" not in trace.replace(__file__, "")


def test_the_order_of_submission() -> None:
    """That of the plan: by priority, then by order of adding; as many as may be."""
    engine = Engine()
    made = runner(engine, 2)
    for number in range(4):
        made.add_task(task(add, priority=number), number)
    with running(made):
        assert [engine.job(number).args for number in range(2)] == [(3,), (2,)]
        engine.jobs[1].run()
        assert engine.job(2).args == (1,)
        assert len(engine.jobs) == 3


def test_what_stays_here() -> None:
    """`local=True` keeps functions and commands in this process."""
    engine = Engine(at_once=True)
    made = runner(engine)
    made.add_task(task(os.getpid, local=True), label="function")
    made.add_task(task(threading.Lock, local=True), label="lock")
    made.add_command(["true"], label="command", local=True)
    results = made.run(verify=False)
    assert results["function"]["result"] == os.getpid() and engine.jobs == []
    modes = [each["execution_mode"] for each in results.values()]
    assert modes == ["thread", "thread", "subprocess"]


def test_arguments_are_left_to_the_executor() -> None:
    """As they are, keywords too, whatever an executor's own are called."""
    engine, own = Engine(at_once=True), object()
    made = runner(engine)
    names = ("fn", "key", "retries", "workers", "priority", "pure", "self")
    made.add_function(keywords, kwargs=dict.fromkeys(names, 1), key="names")
    made.add_task(id, own, label="own")
    results = made.run(verify=False)
    assert results["names"]["result"] == dict.fromkeys(names, 1)
    assert results["own"]["result"] == id(own)


def test_equal_calls_are_different_ones() -> None:
    """Some executors run equal calls once: each attempt has a token of its own."""
    engine = Engine()
    made = runner(engine)
    made.add_task(add, 1)
    made.add_task(add, 1)
    submitted: list[Any] = []

    def submit(function: Any, *args: Any) -> Job:
        submitted.append(function)
        return Job(function, args)

    engine.submit = submit  # type: ignore[method-assign]
    with running(made):
        wait_until(lambda: len(submitted) == 2, BOUND, "two jobs")
    one, other = submitted
    assert one.__dask_tokenize__() != other.__dask_tokenize__()
    assert pickle.dumps(one) != pickle.dumps(other)
    assert one.__name__ == "add"


def test_what_a_task_knows() -> None:
    """Label, attempt, and how much time there was when it was submitted."""
    made = runner(Engine(at_once=True), timeout=50)
    made.add_task(about, label=("a", 1))
    label, attempt, left = made.run(verify=False)["a", 1]["result"]
    assert (label, attempt) == (("a", 1), 1) and 0 < left <= 50


def test_how_much_is_kept_of_what_a_command_prints() -> None:
    """The runner's `max_output` goes with it, or its own."""
    made = runner(Engine(at_once=True), max_output=100)
    line = "yes | head -c 5000"
    made.add_shell_command(line, label="few")
    made.add_shell_command(line, label="more", max_output=2000)
    sizes = {
        label: len(each["result"]["stdout"])
        for label, each in made.run(verify=False).items()
    }
    assert 100 <= sizes["few"] < 1000 < sizes["more"] < 4000


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def test_an_executor_with_an_event_loop_in_the_thread() -> None:
    """`async def` is awaited all the same, in a thread next to it."""
    engine = Engine()
    made = runner(engine)
    made.add_task(double, 4, label="a")
    with running(made):
        job = engine.job(0)

        async def work() -> None:
            job.run()

        asyncio.run(work())
        assert ended(made, "a")["result"] == 8


NUMBER: ContextVar[int] = ContextVar("number")


def number() -> int:
    return NUMBER.get(0)


def test_the_context_of_the_executor() -> None:
    """It is the function's, as dask looks there for the worker; ours stays here."""
    engine = Engine()
    made = runner(engine)
    NUMBER.set(1)
    made.add_task(number, label="a")
    made.add_task(number, label="b")
    with running(made):
        engine.job(0).run()
        assert ended(made, "a")["result"] == 1
        Context().run(engine.job(1).run)
        assert ended(made, "b")["result"] == 0


def test_nothing_waits_in_a_thread() -> None:
    """A thousand tasks in flight, and no more threads than before."""
    engine = Engine()
    made = runner(engine, 1000)
    for number in range(1000):
        made.add_task(add, number)
    with running(made):
        engine.job(999)
        wait_until(lambda: threading.active_count() < 12, BOUND, "threads to rest")
        for job in list(engine.jobs):
            job.run()
        results = made.get_background_results(verify=False)
        assert [each["result"] for each in results.values()] == list(range(1000))


def test_futures_are_let_go_before_outcomes_are_told() -> None:
    """Some executors do again what somebody still holds when a machine is lost."""
    engine = Engine()
    made = runner(engine, 1)
    held: list[Any] = []
    alive: list[bool] = []

    def submit(function: Any, *args: Any) -> Job:
        alive.extend(each() is not None for each in held)
        job = Job(function, args)
        held.append(weakref.ref(job))
        threading.Thread(target=job.run).start()
        del function
        return job

    engine.submit = submit  # type: ignore[method-assign]
    for number in range(20):
        made.add_task(failing if number % 2 else add, number)
    gc.disable()
    try:
        made.run(verify=False)
        wait_until(lambda: not any(each() for each in held), BOUND, "no future")
    finally:
        gc.enable()


# What goes wrong on the way there -----------------------------------------------------


def test_submit_raises() -> None:
    """The task fails with that, as one that never began; the others go on."""
    engine = Engine(at_once=True)
    submit, calls = engine.submit, []

    def sometimes(function: Any, *args: Any) -> Job:
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("cannot schedule new futures after shutdown")
        return submit(function, *args)

    engine.submit = sometimes  # type: ignore[method-assign]
    made = runner(engine, 1, task_retries=2)
    made.add_task(add, 1, label="a")
    made.add_task(add, 2, label="b")
    results = made.run(verify=False)
    assert results["a"]["error"].startswith("RuntimeError: cannot schedule new futures")
    assert results["a"]["execution_mode"] is None and results["a"]["attempts"] == 0
    assert results["b"]["result"] == 2 and len(calls) == 2


@pytest.mark.parametrize("what", [None, 5, object()])
def test_submit_returns_no_future(what: Any) -> None:
    """Each task fails, with an error that names the executor and what it returned."""
    engine = Engine()
    engine.submit = lambda *args: what  # type: ignore
    made = runner(engine)
    made.add_task(add, 1, label="a")
    result = made.run(verify=False)["a"]
    assert result["error"] == (
        f"TypeError: submit() of executor {engine!r} must return a future, with "
        f"add_done_callback() and result(), not {what!r}"
    )
    assert result["trace"] == f"{result['error']}\n"  # nothing of ours


@pytest.mark.parametrize("what", [None, 5, (1, 2), tuple("abcdefg"), ([], *"bcdefg")])
def test_a_result_that_is_not_what_was_returned(what: Any) -> None:
    """Fails the task, with an error that names the executor and the result."""
    engine = Engine()
    made = runner(engine, task_retries=1)
    made.add_task(add, 1, label="a")
    with running(made):
        engine.job(0).end(what)
        result = ended(made, "a")
    shown = f"a value of type {type(what).__name__}" if type(what) is tuple else what
    assert result["error"] == (
        f"TypeError: executor {engine!r} must give back what the submitted function "
        f"returns, not {shown}"
    )
    assert result["trace"] == f"{result['error']}\n"
    assert (result["attempts"], result["execution_mode"]) == (1, "executor")


def test_what_cannot_be_pickled_is_not_submitted() -> None:
    """Nor is what refers to a descriptor of this process."""
    engine, lock = Engine(), threading.Lock()
    made = runner(engine)
    made.add_task(lambda: lock, label="function")
    made.add_command(["true"], pass_fds=[3], label="command")
    results = made.run(verify=False)
    assert "pickle" in str(results["function"]["error"])
    assert results["function"]["execution_mode"] is None
    assert "local=True" in results["command"]["error"]
    assert engine.jobs == []


def test_submit_blocks() -> None:
    """No abort waits for it, and the future that comes late is cancelled."""
    engine, entered, go = Engine(), threading.Event(), threading.Event()
    submit = engine.submit

    def slow(function: Any, *args: Any) -> Job:
        entered.set()
        assert go.wait(BOUND)
        return submit(function, *args)

    engine.submit = slow  # type: ignore[method-assign]
    made = runner(engine, terminate_timeout=0.2)
    made.add_task(add, 1, label="a")
    made.execute_in_background()
    try:
        assert entered.wait(BOUND)
        began = time.monotonic()
        result = made.abort(verify=False)["a"]
        assert time.monotonic() - began < 5
    finally:
        go.set()
    assert result["status"] == "Terminated"
    wait_until(lambda: engine.job(0).cancels, BOUND, "the cancel")


# And on the way back ------------------------------------------------------------------


class Odd(BaseException):
    """Neither an `Exception` nor known to anybody."""


@pytest.mark.parametrize("error", [OSError("gone"), Odd("odd"), KeyboardInterrupt()])
def test_the_future_raises(error: BaseException) -> None:
    """That is the executor's own fault; the task is not tried again."""
    engine = Engine()
    made = runner(engine, task_retries=3)
    made.add_task(add, 1, label="a")
    with running(made):
        engine.job(0).end(error=error)
        result = ended(made, "a")
    assert result["status"] == "Failed" and result["attempts"] == 1
    assert str(result["error"]).startswith(type(error).__name__)
    assert result["execution_mode"] == "executor"


def test_the_executor_drops_a_task() -> None:
    """It says so, as the error of a future that was cancelled says nothing."""
    engine = Engine()
    made = runner(engine)
    made.add_task(add, 1, label="a")
    with running(made):
        engine.job(0).end(error=CancelledError())
        error = ended(made, "a")["error"]
    assert error == "CancelledError: the executor has dropped the task"


@pytest.mark.parametrize("value", [None, 5, ("success",), ("x",) * 7])
def test_the_future_returns_what_is_no_answer(value: Any) -> None:
    """Never a success."""
    engine = Engine()
    made = runner(engine)
    made.add_task(add, 1, label="a")
    with running(made):
        engine.job(0).end(value)
        assert ended(made, "a")["status"] == "Failed"


def test_a_callback_comes_twice() -> None:
    """From two threads; it counts once."""
    engine = Engine()
    made = runner(engine)
    made.add_task(add, 1, label="a")
    made.add_task(add, made.add_task(add, 2, label="b"), label="c")
    with running(made):
        job = engine.job(0)
        threads = [threading.Thread(target=job.run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(BOUND)
        assert ended(made, "a")["result"] == 1
        engine.job(1).run()
        engine.job(2).run()
        assert made.get_background_results(verify=False)["c"]["result"] == 2


def test_a_callback_never_comes() -> None:
    """A timeout ends that."""
    made = runner(Engine(), timeout=0.2)
    made.add_task(add, 1, label="a")
    result = made.run(verify=False)["a"]
    assert result["status"] == "Terminated" and result["execution_mode"] == "executor"


def test_a_result_that_blocks_holds_up_no_other() -> None:
    """Nor the abort: each is asked for in a thread, unless it is known to be there."""
    engine, go = Engine(), threading.Event()
    made = runner(engine)
    made.add_task(add, 1, label="a")
    made.add_task(add, 2, label="b")
    with running(made):
        slow = engine.job(0)
        slow.result = lambda: go.wait(BOUND)  # type: ignore[method-assign]
        slow.end()
        engine.job(1).run()
        assert ended(made, "b")["result"] == 2
        began = time.monotonic()
        assert made.abort(verify=False)["a"]["status"] == "Terminated"
        assert time.monotonic() - began < 5
        go.set()


def test_results_come_in_a_burst() -> None:
    """There are not more threads than so many, however many results there are."""
    engine, go = Engine(), threading.Event()
    receiving: set[int] = set()
    made = runner(engine, 300)
    for number in range(300):
        made.add_task(add, number)
    with running(made):
        engine.job(299)
        for job in engine.jobs:
            value = job.function(*job.args)

            def result(value: Any = value) -> Any:
                receiving.add(threading.get_ident())
                assert go.wait(BOUND)
                return value

            job.result = result  # type: ignore[method-assign]
            job.end()
        most = RECEIVERS + 1  # the last one for all others
        wait_until(lambda: len(receiving) == most, BOUND, "all of them")
        go.set()
        results = made.get_background_results(verify=False)
    assert [each["result"] for each in results.values()] == list(range(300))
    assert len(receiving) == most


def test_standard_futures() -> None:
    """Their results are there when they call back: one thread receives them all."""
    futures: list[Future[Any]] = []

    class Standard:
        def submit(self, function: Any, *args: Any) -> Future[Any]:
            futures.append(Future())
            futures[-1].set_result(function(*args))
            return futures[-1]

    made = runner(Standard())
    for number in range(100):
        made.add_task(add, number)
    assert [each["result"] for each in made.run(verify=False).values()] == [*range(100)]


# The end ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["tells", "raises", "blocks"])
def test_cancel(how: str) -> None:
    """What it says is not believed; how long it takes is bounded."""
    engine, go, called = Engine(), threading.Event(), threading.Event()
    made = runner(engine, 2, terminate_timeout=0.3)
    for number in range(4):
        made.add_task(add, number)

    def cancel() -> bool:
        called.set()
        if how == "raises":
            raise OSError("no connection")
        return how == "tells" or go.wait(BOUND)

    with running(made):
        engine.job(1)
        for job in engine.jobs:
            job.cancel = cancel  # type: ignore[method-assign]
        began = time.monotonic()
        results = made.abort(verify=False)
        assert time.monotonic() - began < 5
        assert called.wait(BOUND)
        go.set()
    assert {each["status"] for each in results.values()} == {"Terminated"}
    assert len(engine.jobs) == 2


def test_everything_is_cancelled_before_the_run_returns() -> None:
    """At a failure, and at an abort: two hundred in flight."""
    engine = Engine()
    made = runner(engine, 200, fast_fail=True)
    for number in range(300):
        made.add_task(failing if number == 7 else add, number)
    made.execute_in_background()
    engine.job(199)
    began = time.monotonic()
    engine.jobs[7].run()
    results = made.get_background_results(verify=False)
    assert time.monotonic() - began < 5
    assert [job.cancels for job in engine.jobs] == [1] * 7 + [0] + [1] * 192
    statuses = [each["status"] for each in results.values()]
    assert statuses.count("Failed") == 1 and statuses.count("Terminated") == 299


def test_what_ends_after_it_was_cancelled_counts_no_more() -> None:
    """Its place has been taken by another meanwhile."""
    engine = Engine()
    made = runner(engine, 1)
    made.add_task(add, 1, label="a")
    made.add_task(add, 2, label="b")
    with running(made):
        engine.job(0)
        assert made.cancel("a")
        engine.job(1)
        engine.jobs[0].run()
        engine.jobs[1].run()
        results = made.get_background_results(verify=False)
    assert results["a"]["status"] == "Terminated" and results["b"]["result"] == 2


def test_a_command_is_killed_there_at_its_timeout(tmp_path: Path) -> None:
    """The time that is left goes with it, as nobody can kill it from here."""
    engine, pid = Engine(), tmp_path / "pid"
    made = runner(engine, timeout=3, terminate_timeout=0.2)
    line = f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done"
    made.add_shell_command(line, label="a")
    with running(made):
        job = engine.job(0)
        thread = threading.Thread(target=job.run)
        thread.start()
        assert ended(made, "a")["status"] == "Terminated"
        thread.join(BOUND)
        assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


# There --------------------------------------------------------------------------------


def test_where_concurra_is_missing(tmp_path: Path) -> None:
    """An envelope is unpickled, and pickled by a scheduler; only its call fails."""
    made = envelope.Envelope("f", "token", b"", "1")
    program = (
        "import pickle, sys\n"
        "call = pickle.loads(sys.stdin.buffer.read())\n"
        "assert 'concurra' not in sys.modules\n"
        "try:\n    call(1)\nexcept ModuleNotFoundError as error:\n    print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        input=pickle.dumps(made),
        capture_output=True,
        cwd=tmp_path,
        env={},
    )
    assert done.stdout.decode().strip() == "No module named 'concurra'", done.stderr

    engine = Engine()
    failing = runner(engine)
    failing.add_task(add, 1, label="a")
    with running(failing):
        error = ModuleNotFoundError("No module named 'concurra'")
        engine.job(0).end(error=error)
        assert "must be installed wherever" in str(ended(failing, "a")["error"])


def test_another_version_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses, and names both."""
    engine = Engine()
    made = runner(engine)
    made.add_task(add, 1, label="a")
    with running(made):
        job = engine.job(0)
        monkeypatch.setattr("concurra.__version__", "0.1")
        job.run()
        error = str(ended(made, "a")["error"])
    assert "concurra 0.1 runs where the executor does" in error


def test_a_module_of_the_user_is_missing_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and with which Python, on which host."""
    engine = Engine()
    made = runner(engine)
    made.add_task(add, 1, label="a")

    def load(packed: bytes) -> Any:
        raise ModuleNotFoundError("No module named 'mine'")

    with running(made):
        job = engine.job(0)
        with monkeypatch.context() as patch:
            patch.setattr(envelope.pickle, "loads", load)
            job.run()
        result = ended(made, "a")
    assert "ModuleNotFoundError: No module named 'mine' (where" in str(result["error"])
    assert "cloudpickle" in str(result["trace"])
    assert result["execution_mode"] == "executor"


class OneWay:
    """Can be pickled, but not unpickled."""

    def __reduce__(self) -> Any:
        return failing, ("one way",)


@pytest.mark.parametrize("value", ["lock", "generator", "one way"])
def test_results_that_cannot_be_sent(value: str) -> None:
    """That is proved there: some executors lose that error, and wait for ever."""
    made: dict[str, Any] = {
        "lock": threading.Lock,
        "generator": (lambda: (each for each in ())),
        "one way": OneWay,
    }
    engine = Engine()
    runs = runner(engine)
    runs.add_task(task(add), 1, label="a")
    with running(runs):
        job = engine.job(0)
        call = envelope.Call(made[value])
        outcome = envelope.ThreadWorker(envelope.MODE).begin(call)
        job.end(envelope._reply(outcome))
        result = ended(runs, "a")
    assert result["status"] == "Failed"
    assert "Could not record task result" in str(result["error"])


class Unfit(Exception):
    """Cannot be unpickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__("unfit")


class Full(Exception):
    """Cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("full")
        self.lock = threading.Lock()


def raise_unfit() -> None:
    raise Unfit("a", "b")


def raise_full() -> None:
    raise Full


def leave() -> None:
    sys.exit(4)


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (raise_unfit, "Unfit: unfit"),
        (raise_full, "Full: full"),
        (leave, "SystemExit: 4"),
        (interrupt, "KeyboardInterrupt: "),
    ],
)
def test_errors_come_as_text(function: Any, text: str) -> None:
    """Whatever they are; the executor never sees them."""
    made = runner(Engine(at_once=True))
    made.add_task(function, label="a")
    result = made.run(verify=False)["a"]
    assert result["error"] == text and function.__name__ in result["trace"]
