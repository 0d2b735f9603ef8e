"""Runs in an event loop: it is not blocked, and to cancel is to abort."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import signal
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType

import pytest

import concurra
from tests.helpers import start_script, wait_until

from .modes import FAIL, KILLABLE, MODES, STAYS, SUCCEED, runner_in
from .support import BOUND, SAME_LIBRARY, Gate, check, read, statuses, wait_for_end_of


def loops():
    """The event loops that can be had here."""
    yield pytest.param(asyncio.run, id="asyncio")
    if importlib.util.find_spec("uvloop"):
        import uvloop

        uvloop.run(asyncio.sleep(0))  # what it opens once, and keeps
        yield pytest.param(uvloop.run, id="uvloop")


every_loop = pytest.mark.parametrize("run", tuple(loops()))


async def bounded(awaitable):
    """What it returns; or an error, if that takes too long."""
    return await asyncio.wait_for(awaitable, BOUND)


async def until(condition):
    """Let others go on until it is so."""
    for _ in range(int(BOUND / 0.005)):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come to be so")


@every_loop
@pytest.mark.parametrize("mode", MODES)
def test_a_run_is_awaited(mode, run):
    """Its results are those of `run`."""
    runner = runner_in(mode, 2)
    SUCCEED.add(runner, mode, label="a")
    FAIL.add(runner, mode, label="b")
    results = run(bounded(runner.run_async(verify=False)))
    for result in results.values():
        check(result)
    assert statuses(results) == {"a": "Successful", "b": "Failed"}
    assert runner.done() and not runner.is_running()


@every_loop
def test_the_loop_goes_on_meanwhile(run):
    """A task of the run waits for something that happens in the loop."""

    async def main():
        gate = Gate()
        runner = runner_in("thread")
        runner.add_task(gate.wait, 7, label="a")
        awaited = asyncio.ensure_future(runner.run_async(verify=False))
        await until(lambda: runner.get_active_runner_count())
        assert not awaited.done()
        gate.open()
        return await bounded(awaited)

    assert run(main())["a"]["result"] == 7


@every_loop
def test_a_loop_whose_own_threads_are_busy(run):
    """With what waits for the end of the run, say: it needs none of them."""

    async def main():
        over = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            asyncio.get_running_loop().set_default_executor(pool)
            waits = asyncio.get_running_loop().run_in_executor(None, over.wait, BOUND)
            runner = concurra.TaskRunner(progress_stats=False)
            runner.add_task(str, label="a")
            results = await bounded(runner.run_async())
            over.set()
            assert await waits
        return results

    assert statuses(run(main())) == {"a": "Successful"}


@every_loop
def test_the_error_of_a_run_holds_nothing(run):
    """No cycle of it keeps the runner."""

    async def main():
        runner = concurra.TaskRunner(progress_stats=False)
        FAIL.add(runner, "thread", label="a")
        known = weakref.ref(runner)
        with pytest.raises(concurra.ExecutionError):
            await runner.run_async(raise_exception=True)
        return known

    gc.collect()
    gc.disable()
    try:
        known = run(main())
        wait_until(lambda: known() is None, what="the end of the runner")
    finally:
        gc.enable()


def test_the_report(log):
    """Is logged, or raised, as by `run`."""
    runner = runner_in("thread")
    runner.add_task(lambda: 1 / 0, label="a")

    async def main():
        with pytest.raises(concurra.ExecutionError, match="Oh") as caught:
            await runner.run_async(raise_exception=True, error_message="Oh")
        return caught.value

    assert list(asyncio.run(main()).failed) == ["a"]
    assert log.lines() == []
    runner = runner_in("thread")
    runner.add_task(str, label="a")
    asyncio.run(runner.run_async())
    assert "| a " in log.text()


def test_what_is_wrong_is_raised_before_the_start():
    """And can be mended."""
    runner = runner_in("thread")
    runner.add_task(str, label="a", depends_on=["b"])

    async def main():
        with pytest.raises(TypeError):
            await runner.run_async(verify="yes")
        with pytest.raises(concurra.UnknownDependencyError):
            await runner.run_async()
        with pytest.raises(concurra.UnknownDependencyError):
            runner.as_completed_async()
        runner.add_task(str, label="b")
        return await runner.run_async(verify=False)

    assert len(asyncio.run(main())) == 2
    started = "already been started: .*as_completed_async"
    with pytest.raises(RuntimeError, match=started):
        asyncio.run(runner.run_async())


def test_what_breaks_the_run_reaches_who_awaits_it(monkeypatch):
    """An error of ours does not look like an abort."""
    from concurra.workers.pool import Pool

    def prepare(self, stopped):
        raise MemoryError("no more")

    monkeypatch.setattr(Pool, "prepare", prepare)

    async def follow(runner):
        return [label async for label, _ in runner.as_completed_async()]

    for await_it in (lambda runner: runner.run_async(verify=False), follow):
        runner = runner_in("thread")
        runner.add_task(str, label="a")
        with pytest.raises(MemoryError, match="no more"):
            asyncio.run(await_it(runner))
        assert runner.results_registry["a"]["status"] == "Terminated"


def test_many_runs_at_once():
    """In one loop, each with its own results."""

    async def main():
        runners = []
        for number in range(20):
            runner = runner_in("thread", 2)
            runner.add_task(abs, number, label="a")
            runners.append(runner.run_async(verify=False))
        return await bounded(asyncio.gather(*runners))

    found = [results["a"]["result"] for results in asyncio.run(main())]
    assert found == list(range(20))


def test_a_run_in_a_thread_of_its_own():
    """With a loop of its own, beside the program's main thread."""
    found = []

    def work():
        runner = runner_in("thread")
        runner.add_task(abs, -1, label="a")
        found.append(asyncio.run(runner.run_async(verify=False))["a"]["result"])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(BOUND)
    assert found == [1]


# -- results as they come ----------------------------------------------------------


@every_loop
@pytest.mark.parametrize("mode", MODES)
def test_each_result_once(mode, run):
    """In the order of ending."""
    runner = runner_in(mode, 1)
    for number in range(3):
        SUCCEED.add(runner, mode, label=number)

    async def main():
        return [(label, r["status"]) async for label, r in runner.as_completed_async()]

    assert run(bounded(main())) == [(number, "Successful") for number in range(3)]
    assert runner.done() and not runner.is_running()


def test_each_as_soon_as_it_is_there():
    """While the others are at work."""

    async def main():
        gates = {label: Gate() for label in "abc"}
        runner = runner_in("thread", 3)
        for label, gate in gates.items():
            runner.add_task(gate.wait, label, label=label)
        found = runner.as_completed_async()
        for label in "bca":
            gates[label].open()
            assert (await bounded(found.__anext__()))[0] == label
        with pytest.raises(StopAsyncIteration):
            await bounded(found.__anext__())

    asyncio.run(main())


def test_two_loops_at_once():
    """Each has all results; what is not kept, they share."""

    async def main(keep):
        runner = runner_in("thread", 4, keep_results=keep)
        for number in range(300):
            runner.add_task(abs, number, label=number)

        async def follow():
            found = []
            async for label, result in runner.as_completed_async():
                found.append(result["result"])
            return found

        return await bounded(asyncio.gather(follow(), follow()))

    one, other = asyncio.run(main(True))
    assert sorted(one) == sorted(other) == list(range(300))
    one, other = asyncio.run(main(False))
    assert sorted(one + other) == list(range(300))


def test_to_leave_it_leaves_the_run_at_work():
    """It can be awaited by whatever else there is."""

    async def main():
        with Gate() as gate:
            runner = runner_in("thread", 2)
            runner.add_task(str, label="a")
            runner.add_task(gate.wait, label="b")
            async for label, _ in runner.as_completed_async():
                assert label == "a"
                break
            assert runner.is_running() and not runner.done()
            gate.open()
            return [label async for label, _ in runner.as_completed_async()]

    assert asyncio.run(bounded(main())) == ["a", "b"]


def test_a_loop_in_a_task_of_the_run():
    """Would wait for itself, and so would another run of it."""
    runner = runner_in("thread", 2)

    async def follow():
        async for _ in runner.as_completed_async():
            pass

    async def again():
        await runner.run_async()

    runner.add_task(follow, label="follow")
    runner.add_task(again, label="again")
    results = asyncio.run(bounded(runner.run_async(verify=False)))
    assert results["follow"]["error"] == (
        "LifeCycleError: A task cannot wait for the end of its own run"
    )
    assert "already been started" in results["again"]["error"]


# -- cancelling --------------------------------------------------------------------


async def follow_to_the_end(runner):
    async for _ in runner.as_completed_async():
        pass


AWAITING = {
    "run": lambda runner: runner.run_async(verify=False),
    "loop": follow_to_the_end,
}
every_way = pytest.mark.parametrize("way", AWAITING)


@every_loop
@every_way
@pytest.mark.parametrize("mode", KILLABLE)
def test_to_cancel_is_to_abort(mode, way, run, tmp_path):
    """The end is awaited, and nothing is left."""
    runner = runner_in(mode, 2, terminate_timeout=0.2)
    STAYS.add(runner, mode, tmp_path / "pid", label="a")
    SUCCEED.add(runner, mode, label="b", depends_on=["a"])

    async def main():
        awaiting = asyncio.ensure_future(AWAITING[way](runner))
        await until(lambda: os.path.exists(tmp_path / "pid"))
        awaiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await bounded(awaiting)
        assert runner.done() and not runner.is_running()

    run(main())
    wait_for_end_of(read(tmp_path / "pid"))
    assert {each["status"] for each in runner.results_registry.values()} == {
        "Terminated"
    }


@every_loop
@every_way
def test_to_cancel_again_and_again(way, run, tmp_path):
    """It is being done; nobody goes on before the end."""
    runner = runner_in("thread", 2, terminate_timeout=0.3)
    runner.add_shell_command(
        f"trap '' TERM; touch {tmp_path}/here; sleep 30; sleep 30", label="a"
    )

    async def main():
        awaiting = asyncio.ensure_future(AWAITING[way](runner))
        await until(lambda: os.path.exists(tmp_path / "here"))
        for _ in range(20):
            awaiting.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await bounded(awaiting)
        return runner.done()

    assert run(main())


@every_way
def test_a_time_limit_of_the_loop(way):
    """Is one for the run."""

    async def main():
        with Gate() as gate:
            runner = runner_in("thread")
            runner.add_task(gate.wait, label="a")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(AWAITING[way](runner), 0.05)
            return runner.results_registry["a"]["status"]

    assert asyncio.run(main()) == "Terminated"


@pytest.mark.parametrize("verify", [True, False])
def test_the_log_of_a_cancelled_run(log, verify):
    """Says how far it had come, and has the report if that is wanted."""

    async def main():
        with Gate() as gate:
            runner = runner_in("thread", 2)
            runner.add_task(gate.wait, label="a")
            awaiting = asyncio.ensure_future(runner.run_async(verify))
            await until(lambda: runner.get_active_runner_count())
            awaiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await awaiting
            assert runner.done()

    asyncio.run(main())
    first, *reports = log.lines()
    assert first == "TaskRunner was ended by CancelledError: 0 of 1 tasks had ended"
    starts = [report.splitlines()[0] for report in reports]
    assert starts == (["Execution Failed"] if verify else [])


@every_way
def test_a_cancel_after_the_last_end(way, log):
    """Has ended nothing, and the log does not say so; the caller hears of it."""

    async def main():
        runner = runner_in("thread")
        runner.add_task(str, label="a")
        awaiting = asyncio.ensure_future(AWAITING[way](runner))
        while not runner.is_running():
            await asyncio.sleep(0)
        assert runner.wait(BOUND)  # the loop has not heard of it
        awaiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await awaiting

    asyncio.run(main())
    assert "CancelledError" not in log.text()


def test_who_awaits_it_is_dropped():
    """With its loop, say: the run is aborted, and nobody waits for that."""
    with Gate() as gate:
        runner = runner_in("thread")
        runner.add_task(gate.wait, label="a")
        coroutine = runner.run_async()
        loop = asyncio.new_event_loop()

        async def main():
            asyncio.ensure_future(coroutine)
            await until(lambda: runner.get_active_runner_count())

        loop.run_until_complete(main())
        coroutine.close()
        loop.close()
        gc.collect()
        assert runner.wait(BOUND)
        assert runner.results_registry["a"]["status"] == "Terminated"


def test_an_end_that_comes_after_the_loop_was_closed():
    """Harms nothing: who is to be told is not there any more."""
    with Gate() as gate:
        runner = runner_in("thread", 2)
        runner.add_task(str, label="a")
        runner.add_task(gate.wait, label="b")

        async def main():
            async for _ in runner.as_completed_async():
                break

        asyncio.run(main())
        gate.open()
        assert runner.wait(BOUND)
    assert len(runner.get_background_results(verify=False)) == 2


SCRIPT = """
import asyncio, logging, sys
import concurra

logging.basicConfig(level=logging.INFO)
runner = concurra.TaskRunner(2, progress_stats=False)
runner.add_shell_command("echo busy; exec sleep 60", label="a", capture_output=False)

async def main():
    if sys.argv[1] == "run":
        await runner.run_async()
    else:
        async for label, result in runner.as_completed_async():
            pass

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", runner.done(), runner.counts()["terminated"], flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@every_way
def test_ctrl_c(way):
    """Cancels what awaits the run, and so ends it."""
    with start_script(SCRIPT, way, env=SAME_LIBRARY) as script:
        script.wait_for("busy\n")
        script.send_signal(signal.SIGINT)
        assert script.wait() == 0
        assert "interrupted True 1" in script.stdout()
        assert not script.survivors()


# -- notebooks ---------------------------------------------------------------------


@contextmanager
def interrupting(handler, condition):
    """A SIGINT as soon as that is so and the event loop of this thread is asleep.

    :param handler: called by it, and by nothing else.
    """
    me = threading.get_ident()

    def asleep():
        return sys._current_frames()[me].f_code.co_name == "select"

    def interrupt():
        wait_until(lambda: condition() and asleep(), BOUND)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, lambda *_: handler())
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
@every_way
def test_an_interrupt_of_a_notebook(way, monkeypatch):
    """The kernel's handler cancels the cell, and does not wake the loop."""
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))

    async def main():
        cell = asyncio.ensure_future(AWAITING[way](runner))
        with interrupting(cell.cancel, runner.get_active_runner_count):
            with pytest.raises(asyncio.CancelledError):
                await cell

    with Gate() as gate:
        runner = runner_in("thread")
        runner.add_task(gate.wait, label="a")
        asyncio.run(main())
        assert runner.results_registry["a"]["status"] == "Terminated"


@pytest.mark.parametrize("notebook", [False, True])
@every_way
def test_only_a_notebook_wakes_the_loop(way, notebook, monkeypatch):
    """Elsewhere nobody does without a reason; and in a notebook nothing is left."""
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    timers = []

    async def main():
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def noted(*args):
            timers.append(call_later(*args))
            return timers[-1]

        monkeypatch.setattr(loop, "call_later", noted)
        runner = runner_in("thread")
        runner.add_task(str, label="a")
        await AWAITING[way](runner)

    asyncio.run(main())
    assert bool(timers) == notebook
    assert all(timer.cancelled() for timer in timers)


# -- anyio -------------------------------------------------------------------------


@every_way
def test_a_scope_of_anyio_that_is_cancelled(way):
    """Cancels again and again, until who awaits the run has gone."""
    anyio = pytest.importorskip("anyio")
    gate = Gate()
    runner = runner_in("thread", 2)
    runner.add_task(gate.wait, label="a")

    async def main():
        with anyio.move_on_after(0.05) as scope:
            await AWAITING[way](runner)
        assert scope.cancelled_caught and runner.done()

    with gate:
        anyio.run(main)
    wait_until(runner.done, BOUND)
