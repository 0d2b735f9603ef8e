"""A typical program: type checkers accept it, and know the types of what it gets.

It runs as well, so that nothing is promised here that does not work.
"""

# pyright: strict

from __future__ import annotations

import asyncio
import io
import logging
import math
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Hashable, List, Literal, Mapping
from typing import Optional, Tuple, Union

import concurra
from concurra import reports

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value: object, kind: object) -> object:
        """What it does in Python 3.11."""
        return value


def power(base: int, exponent: int = 2) -> int:
    """A task."""
    return base * exponent


async def greet(name: str) -> str:
    """Another, that is awaited."""
    return f"hello {name}"


class Point:
    """A label of the user's own."""


def add_everything(runner: concurra.TaskRunner) -> None:
    """All ways to add a task, with all that they take."""
    assert_type(runner.add_task(power, 3), concurra.TaskRef)
    runner.add_task(power, 3, exponent=3, label="cube")
    runner.add_task(greet, "you", label=("a", 1), depends_on="cube")
    runner.add_task(Point, label=Point(), depends_on=["cube", ("a", 1), 0])
    runner.add_task(lambda: None, label=7, depends_on={"cube"}, task_retries=2)
    runner.add_func(power, 4, key="four", exponent=1)
    runner.add_function(power, (2,), {"exponent": 10}, key="kilo", depends_on=("cube",))
    runner.add_function(power, args=[2], key="two", log_exception=False)
    runner.add_work([(power, (5,)), (power, (6,), {"exponent": 1}, "six")])
    doubled = runner.map(power, [1, 2], chunksize=1, label="map", depends_on="cube")
    assert_type(doubled, concurra.TaskRef)
    runner.map(power, doubled, return_exceptions=True)
    assert_type(runner.partial("map"), Dict[int, Any])
    command = [sys.executable, "-c", "print('done')"]
    runner.add_command(command, label="list", cwd=Path("."), env={"LANG": "C"})
    runner.add_command((sys.executable, "-c", ""), "tuple", text=False, check=False)
    runner.add_shell_command("exit 3", label="shell", cwd=".", capture_output=False)
    runner.add_command([Path("/bin/cat"), b"-"], input="text", env={"LANG": None})
    runner.add_command(["true"], stop_signal=signal.SIGINT, stderr="stdout")
    runner.add_shell_command("true", executable="/bin/sh", pass_fds=[], input=b"")
    runner.add_command(["true"], output="grouped", max_output=9, stdout=os.devnull)
    runner.add_shell_command("true", stdout=Path(os.devnull), max_output=math.inf)


def refer(runner: concurra.TaskRunner) -> None:
    """What adders return, as arguments of others."""
    a = runner.add_task(power, 3, label="referred")
    assert_type(a.label, Hashable)
    assert_type(concurra.ref("referred"), concurra.TaskRef)
    assert_type(runner.add_work([(power, (3,))]), List[concurra.TaskRef])
    runner.add_task(max, [a, 1], depends_on=[a, "referred"], label="max")
    runner.add_func(power, base=a, key="by name")
    runner.add_function(power, [a], {"exponent": a}, key="both", depends_on=a)
    b = runner.add_command(["echo", a, Path(".")], env={"A": a, "B": None}, input=a)
    runner.add_shell_command('echo "$A"', env={"A": b}, input=concurra.ref("both"))


class Bar(concurra.Observer):
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.facts: List[concurra.Fact] = []

    def on_task_end(self, fact: concurra.Fact) -> None:
        """A task has ended."""
        assert_type(fact.moment, float)
        assert_type(fact.label, Hashable)
        assert_type(fact.attempt, int)
        assert_type(fact.mode, Optional[str])
        assert_type(fact.result, Optional[Mapping[str, Any]])
        self.facts.append(fact)


async def follow(runner: concurra.TaskRunner) -> int:
    """In an event loop."""
    async for label, result in runner.as_completed_async():
        assert_type(label, Any)
        assert_type(result, concurra.Result)
    other = concurra.TaskRunner(logger=runner.log, keep_results=False)
    assert_type(await other.run_async(verify=False), Dict[Any, concurra.Result])
    return len(runner)


def follow_everything(logger: logging.Logger) -> None:
    """References, observers, and results as they come."""
    bar = Bar()
    runner = concurra.TaskRunner(observers=[bar], keep_results=True, logger=logger)
    refer(runner)
    for label, result in runner.as_completed():
        assert_type(label, Any)
        assert_type(result, concurra.Result)
        assert not result["has_failed"], result["error"]
    assert len(bar.facts) == asyncio.run(follow(runner))


def look_at(result: concurra.Result) -> str:
    """Every field of a result."""
    assert_type(result["task_name"], str)
    assert_type(result["start_time"], str)
    assert_type(result["end_time"], str)
    assert_type(result["duration"], str)
    assert_type(result["duration_seconds"], float)
    assert_type(result["result"], Any)
    assert_type(result["error"], Optional[str])
    assert_type(result["trace"], Optional[str])
    assert_type(result["status"], Literal["Successful", "Failed", "Terminated"])
    assert_type(result["has_failed"], bool)
    assert_type(result["output"], Any)
    assert_type(
        result["execution_mode"],
        Literal["thread", "process", "thread_fallback", "subprocess", "executor", None],
    )
    assert_type(result["warning"], Optional[str])
    assert_type(result["attempts"], int)
    assert_type(result["task_retries"], int)
    assert_type(result["retried"], bool)
    assert_type(result["retry_errors"], List[str])
    if result["status"] == "Failed" and result["execution_mode"] == "subprocess":
        return (result["error"] or "").upper()
    return result["status"]


def look_at_command(result: concurra.Result) -> int:
    """Every field of a command's result, once it is said to be one."""
    done: concurra.CommandResult = result["result"]
    assert_type(done["command"], Union[str, List[str]])
    assert_type(done["shell"], bool)
    assert_type(done["returncode"], int)
    assert_type(done["cwd"], Optional[str])
    lines: List[str] = done["stdout"].splitlines()
    return len(lines) + done["returncode"]


@concurra.task(task_retries=concurra.Retry(2, on=OSError, delay=1), priority=1)
def load(url: str, *, times: int = 1) -> str:
    """It keeps its signature when it is decorated."""
    return url * times


@concurra.task
def load_bare(url: str) -> str:
    """A task of which nothing is chosen."""
    return url


@concurra.task(timeout=60)
async def load_later(url: str) -> str:
    """So does one that is awaited."""
    return url


def choose_options(runner: concurra.TaskRunner) -> None:
    """Options, wherever they can be said."""
    assert_type(load("a", times=2), str)
    assert_type(load_bare("a"), str)
    assert_type(concurra.task(power, priority=2, timeout=5)(3, exponent=2), int)
    runner.add_task(load, "a", label="decorated")
    runner.add_task(concurra.task(load_later, name="later"), "a", label="later")
    runner.add_task(load, "a", label="again", task_retries=concurra.Retry(1))
    runner.add_func(concurra.task(power, resources={"db": 1}), 2, key="holds")
    runner.add_work([(concurra.task(power, trigger_rule="all_done"), (2,))])
    runner.add_function(load, ["a"], key="kept", timeout=1.5, priority=-1, name="x")
    needed = ["kept"]
    runner.add_command(
        ["true"], "clean", needed, trigger_rule="all_done", resources={"db": 1}
    )
    runner.add_shell_command("true", "off", needed, trigger_rule="one_failed")
    retry = concurra.Retry(
        3,
        on=(OSError, ValueError),
        delay=lambda attempts: attempts * 0.5,
        backoff=2,
        max_delay=30,
        jitter=0.1,
        attempt_timeout=5,
    )
    concurra.Retry(1, on=lambda error: "reset" in str(error))
    concurra.Retry(1, on=[OSError])
    assert_type(retry.retries, int)
    assert_type(retry.wait(2), float)


def ask(runner: concurra.TaskRunner) -> None:
    """What a run can be asked."""
    assert_type(runner.done(), bool)
    assert_type(runner.wait(1), bool)
    assert_type(runner.counts(), Dict[str, int])
    assert_type(runner.snapshot(), concurra.Snapshot)
    assert_type(runner.snapshot().rest, Optional[float])
    assert_type(runner.exit_code, int)
    assert_type(runner.cancel("kept"), bool)
    assert_type(runner.exception("kept"), Optional[BaseException])
    assert_type(concurra.current_task(), Optional[concurra.CurrentTask])
    assert_type(runner.resources, Mapping[str, int])


def run_with_options(logger: logging.Logger) -> None:
    """All of it."""
    with concurra.TaskRunner(
        2,
        logger=logger,
        task_retries=concurra.Retry(1),
        run_timeout=60,
        resources={"db": 2},
        initializer=power,
        initargs=(2,),
    ) as runner:
        assert_type(runner, concurra.TaskRunner)
        choose_options(runner)
        results = runner.run()
        assert results["decorated"]["result"] == "a"
        assert results["off"]["has_failed"] is False
        ask(runner)
    assert_type(runner.abort(verify=False), Dict[Any, concurra.Result])
    with ThreadPoolExecutor() as pool:
        other = concurra.TaskRunner(4, executor=pool)
        other.add_task(concurra.task(power, local=True), 2)
        other.add_function(power, (2,), keep_remote=True)
        other.add_command(["true"], local=True)


def change(results: Dict[Any, concurra.Result]) -> Dict[Any, Dict[str, object]]:
    """Results are the caller's: values in place, keys in a dict without a form."""
    for label, result in results.items():
        result["task_name"] = str(label)
        result["result"] = None
        result["retry_errors"].append("seen")
        assert_type(result.get("error"), Optional[str])
    free: Dict[str, object] = dict(results["cube"])
    free["name"] = free.pop("task_name")
    return {"cube": free}


def read_only(results: Mapping[str, Mapping[str, object]]) -> int:
    """Functions that know nothing of concurra take results as well."""
    return sum(bool(result["has_failed"]) for result in results.values())


class Quiet(concurra.TaskRunner):
    """A subclass that overrides what users override."""

    def __init__(self, workers: int = 2, logger: Optional[logging.Logger] = None):
        super().__init__(workers, "Quiet", 60, False, logger=logger, task_retries=1)

    def execute(
        self,
        verify: bool = False,
        raise_exception: bool = False,
        error_message: Optional[str] = None,
    ) -> Dict[Any, concurra.Result]:
        """Without a report, unless asked for."""
        return self.run(verify, raise_exception, error_message)


def look_around(runner: concurra.TaskRunner) -> None:
    """Attributes, and methods that tell something."""
    assert_type(len(runner), int)
    assert_type(runner.max_concurrency, int)
    assert_type(runner.name, str)
    assert_type(runner.timeout, Optional[float])
    assert_type(runner.fast_fail, bool)
    assert_type(runner.use_multiprocessing, bool)
    assert_type(runner.is_running(), bool)
    assert_type(runner.get_active_runner_count(), int)
    assert_type(runner.results_registry["cube"], Dict[str, Any])
    assert_type(runner.show_progress(), None)


def report(runner: concurra.TaskRunner) -> None:
    """Written down, of the runner or of a record, to a path or an open file."""
    record = reports.record(runner)
    assert_type(record, reports.RunRecord)
    assert_type(record.tasks[0].depends_on, Tuple[int, ...])
    assert_type(record.tasks[0].started, Optional[float])
    file = io.StringIO()
    reports.write_json(runner, file)
    assert reports.load(io.StringIO(file.getvalue())).tasks == record.tasks
    reports.write_junit_xml(record, io.BytesIO(), suite="all", hostname="here")
    reports.write_chrome_trace(record, file)
    assert_type(reports.to_mermaid(record, max_tasks=3), str)
    assert_type(reports.to_dot(runner), str)


def main() -> None:
    """Run it all."""
    silent = logging.getLogger("silent")
    silent.disabled = True
    runner = Quiet(logger=silent)
    add_everything(runner)
    results = runner.execute()
    assert_type(results, Dict[Any, concurra.Result])
    assert [look_at(result) for result in results.values()].count("Successful") == 19
    assert look_at_command(results["list"]) == 1
    assert results["cube"]["result"] == 9
    assert read_only(results) == 1
    look_around(runner)
    follow_everything(silent)
    assert_type(runner.abort(), Dict[Any, concurra.Result])
    assert_type(runner.get_background_results(), Dict[Any, concurra.Result])
    try:
        runner.verify(raise_exception=True, error_message="see")
    except concurra.ExecutionError as error:
        assert_type(error.results, Dict[Any, concurra.Result])
        assert_type(error.failed, Dict[Any, concurra.Result])
        assert_type(error.exceptions, Dict[Any, BaseException])
        assert list(error.failed) == list(error.exceptions) == ["shell"]
    report(runner)
    change(results)
    run_with_options(silent)

    other = concurra.TaskRunner(timeout=0.5, use_multiprocessing=True, logger=silent)
    try:
        other.add_task(power, 2, label="a", depends_on=["a"])
    except concurra.CircularDependencyError as error:
        assert error.cycle == ("a", "a")
    assert_type(other.execute_in_background(), None)
    assert other.get_background_results(verify=False) == {}
    failure = concurra.CommandExecutionError({"returncode": 3, "stdout": b""})
    assert_type(failure.returncode, Optional[int])
    assert_type(failure.stdout, Union[str, bytes, None])


if __name__ == "__main__":
    main()
