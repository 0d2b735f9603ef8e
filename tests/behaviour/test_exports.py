"""What the package exports, the signatures users rely on, and subclassing."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import threading

import pytest

import concurra
import concurra.core
from tests.helpers import wait_until

from .support import BOUND

EXPORTED = [
    "CheckpointError",
    "CircularDependencyError",
    "CommandExecutionError",
    "CommandResult",
    "ConcurraError",
    "CurrentTask",
    "DuplicateLabelError",
    "ExecutionError",
    "Fact",
    "LabelFilter",
    "LifeCycleError",
    "LiveBoard",
    "MapError",
    "Observer",
    "RemoteTraceback",
    "Result",
    "Retry",
    "Snapshot",
    "TaskRef",
    "TaskRunner",
    "UnknownDependencyError",
    "__version__",
    "current_task",
    "ref",
    "task",
]


# Names ------------------------------------------------------------------------


def test_exported_names():
    """Public is what is listed here; adding to it is a decision."""
    assert sorted(concurra.__all__) == EXPORTED
    assert all(hasattr(concurra, name) for name in EXPORTED)


def test_star_import():
    """`from concurra import *` brings just that."""
    names = {}
    exec("from concurra import *", names)
    assert sorted(set(names) - {"__builtins__"}) == EXPORTED


def test_what_is_offered_for_completion():
    """The public names, and neither modules nor what we import for ourselves."""
    assert sorted(dir(concurra)) == EXPORTED


def test_names_in_core():
    """`concurra.core` has the two that it always had."""
    assert concurra.core.TaskRunner is concurra.TaskRunner
    assert concurra.core.CommandExecutionError is concurra.CommandExecutionError


def test_version():
    """Three numbers."""
    assert re.match(r"\d+\.\d+\.\d+", concurra.__version__)


ERRORS = {
    "CircularDependencyError": ValueError,
    "CommandExecutionError": RuntimeError,
    "DuplicateLabelError": ValueError,
    "ExecutionError": Exception,
    "LifeCycleError": RuntimeError,
    "MapError": RuntimeError,
    "UnknownDependencyError": ValueError,
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_have_one_base_and_a_builtin(name):
    """`except ConcurraError` catches them all, and so does what users caught before."""
    assert issubclass(getattr(concurra, name), concurra.ConcurraError)
    assert issubclass(getattr(concurra, name), ERRORS[name])
    assert issubclass(concurra.ConcurraError, Exception)


# Signatures -------------------------------------------------------------------

SIGNATURES = {
    "add_task": (
        "(self, task, *args, label=None, depends_on=None, task_retries=None, **kwargs)"
    ),
    "add_func": "(self, func, *args, **kwargs)",
    "add_work": "(self, workload)",
    "run": "(self, verify=True, raise_exception=False, error_message=None)",
    "execute": "(self, verify=True, raise_exception=False, error_message=None)",
    "execute_in_background": "(self)",
    "get_background_results": (
        "(self, verify=True, raise_exception=False, error_message=None)"
    ),
    "is_running": "(self)",
    "abort": "(self, verify=True)",
    "verify": "(self, raise_exception=False, error_message=None)",
    "get_active_runner_count": "(self)",
    "show_progress": "(self)",
}

# These may grow, by keyword-only parameters.
GROWING = {
    "__init__": (
        "(self, max_concurrency=None, name=None, timeout=None, progress_stats=True,"
        " fast_fail=False, use_multiprocessing=False, logger=None, log_errors=False,"
        " fallback_to_thread_on_pickle_error=False, task_retries=0)"
    ),
    "add_function": (
        "(self, func, args=None, kwargs=None, key=None, log_exception=True,"
        " depends_on=None, task_retries=None)"
    ),
    "add_command": (
        "(self, command, label=None, depends_on=None, cwd=None, env=None, check=True,"
        " capture_output=True, text=True, task_retries=None)"
    ),
    "add_shell_command": (
        "(self, command, label=None, depends_on=None, cwd=None, env=None, check=True,"
        " capture_output=True, text=True, task_retries=None)"
    ),
}


def signature(method, growing=False):
    """The parameters with their defaults, without annotations."""
    parameters = inspect.signature(getattr(concurra.TaskRunner, method)).parameters
    kept = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in parameters.values()
        if not growing or parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    text = str(inspect.Signature(kept))
    return text.replace("/, ", "").replace(", /", "")


@pytest.mark.parametrize("method", SIGNATURES)
def test_signatures(method):
    """Names, order and defaults as documented, and nothing else."""
    assert signature(method) == SIGNATURES[method]


@pytest.mark.parametrize("method", GROWING)
def test_signatures_that_grow(method):
    """The documented parameters in their order; what is new is keyword-only."""
    assert signature(method, growing=True) == GROWING[method]


def test_new_parameters_of_the_constructor():
    """Three keywords of ours, with their defaults."""
    parameters = inspect.signature(concurra.TaskRunner).parameters
    added = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    assert added == {
        "mp_context": None,
        "max_tasks_per_child": None,
        "terminate_timeout": 1,
        "run_timeout": None,
        "resources": None,
        "initializer": None,
        "initargs": (),
        "observers": (),
        "keep_results": True,
        "checkpoint": None,
        "forward_logs": None,
        "output": None,
        "max_output": None,
        "progress_every": None,
        "executor": None,
    }


def test_public_methods_are_documented():
    """Each has a docstring."""
    for name in [*SIGNATURES, *GROWING]:
        if name != "__init__":
            assert getattr(concurra.TaskRunner, name).__doc__, name
    assert concurra.TaskRunner.__doc__


# Errors -----------------------------------------------------------------------


def test_an_execution_error_has_results_and_failed():
    """`results` are all, `failed` those that were not successful."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    runner.add_task(int, "x", label="b")
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.run(raise_exception=True)
    assert list(caught.value.results) == ["a", "b"]
    assert list(caught.value.failed) == ["b"]
    assert caught.value.failed["b"]["error"].startswith("ValueError: ")


RESULT = {
    "command": ["tool", "-x"],
    "shell": False,
    "returncode": 7,
    "stdout": "some out\n",
    "stderr": "some err\n",
    "cwd": None,
}


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        ({}, ": some err"),
        ({"stderr": ""}, ": some out"),
        ({"stderr": "", "stdout": ""}, ""),
        ({"stderr": None, "stdout": None}, ""),
    ],
    ids=["stderr", "stdout", "silence", "not captured"],
)
def test_a_command_execution_error_has_its_facts(changes, end):
    """Made from a command's result, whose entries are its attributes."""
    result = {**RESULT, **changes}
    error = concurra.CommandExecutionError(result)
    for each in (error, pickle.loads(pickle.dumps(error))):
        assert str(each) == f"Command exited with return code 7{end}"
        assert each.command == ["tool", "-x"]
        assert each.returncode == 7
        assert each.stdout == result["stdout"]
        assert each.stderr == result["stderr"]
    assert isinstance(error, RuntimeError)


# Subclasses -------------------------------------------------------------------


class Executor(concurra.TaskRunner):
    """Overrides `execute`, calls `run`, and changes the results, as users do."""

    def __init__(self, max_workers=2, **options):
        super().__init__(max_concurrency=max_workers, **options)
        self.executed = False

    def add(self, func, *args, **kwargs):
        self.add_func(func, *args, **kwargs)

    def execute(self, verify=True, raise_exception=False, error_message=None):
        self.executed = True
        results = self.run(
            verify=verify,
            raise_exception=raise_exception,
            error_message=error_message,
        )
        for label, result in results.items():
            result["name"] = result.pop("task_name")
            result["label"] = label
            result["retry_errors"].append("seen")
        return results


def test_a_subclass_may_override_execute():
    """`run` does not come back to it, and result dicts are the subclass's to change."""
    runner = Executor(name="Executor")
    runner.add(abs, -1, key="a")
    runner.add(int, "x", key="b")
    results = runner.execute(verify=False)
    assert runner.executed is True
    assert runner.max_concurrency == 2
    assert results["a"]["name"] == "abs"
    assert [result["label"] for result in results.values()] == ["a", "b"]
    assert results["a"]["retry_errors"] == ["seen"]
    assert "task_name" not in results["a"]


def test_a_subclass_whose_results_are_changed_can_be_asked_again():
    """The report and `abort` do not stumble over what users did to the dicts."""
    runner = Executor()
    runner.add(int, "x", key="b")
    runner.execute(verify=False)
    assert list(runner.abort()) == ["b"]
    with pytest.raises(concurra.ExecutionError, match="Task 'b' failed with error: "):
        runner.verify(raise_exception=True)


def test_a_subclass_may_use_the_public_attributes(own_log):
    """`log`, `name` and the others are there for it."""

    class Talking(concurra.TaskRunner):
        def run(self, *args, **kwargs):
            self.log.info("%s runs %d of %d", self.name, len(self), 1)
            return super().run(*args, **kwargs)

    runner = Talking(name="Talker", logger=own_log.logger, progress_stats=False)
    runner.add_task(str, label="a")
    runner.run(verify=False)
    assert own_log.lines() == ["Talker runs 1 of 1"]


def test_a_subclass_may_have_its_own_progress_and_report(log):
    """The run comes to them, and what they call of the runner's is exact."""
    calls = []

    class Dashboard(concurra.TaskRunner):
        def show_progress(self):
            calls.append("progress")
            super().show_progress()

        def verify(self, *args, **kwargs):
            calls.append("report")
            super().verify(*args, **kwargs)

    runner = Dashboard(max_concurrency=1)
    for number in range(3):
        runner.add_task(abs, number)
    runner.run()
    assert calls == ["progress"] * 3 + ["report"]
    assert [line.split()[3] for line in log.progress()] == ["1/3", "2/3", "3/3"]
    runner.abort()
    assert calls[4:] == ["report"]


def test_a_subclass_whose_progress_fails_spoils_no_run(capsys):
    """The error is printed, as that of a log handler is."""

    class Broken(concurra.TaskRunner):
        def show_progress(self):
            raise ValueError("my own mistake")

    runner = Broken()
    runner.add_task(abs, -1, label="a")
    assert runner.run()["a"]["result"] == 1
    assert "ValueError: my own mistake" in capsys.readouterr().err


def test_progress_that_is_asked_for_meanwhile_is_of_the_moment(log):
    """Also while a line about an earlier moment is being written."""
    asked, may_go_on = threading.Event(), threading.Event()

    class Slow(concurra.TaskRunner):
        def show_progress(self):
            if threading.current_thread() is not threading.main_thread():
                asked.set()
                assert may_go_on.wait(BOUND)
            super().show_progress()

    runner = Slow(max_concurrency=2)
    runner.add_task(abs, -1, label="first")
    runner.add_task(abs, -2, label="second", depends_on="first")
    runner.add_task(abs, -3, label="third", depends_on="first")
    runner.execute_in_background()
    assert asked.wait(BOUND)
    wait_until(lambda: all(runner.results_registry.values()), what="all results")
    runner.show_progress()
    may_go_on.set()
    runner.get_background_results(verify=False)
    assert [line.split()[3] for line in log.progress()] == ["3/3", "1/3", "2/3", "3/3"]


def test_a_runner_is_neither_copied_nor_sent():
    """Least of all unseen, with a method of an object that has one."""
    runner = concurra.TaskRunner()
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="^A TaskRunner cannot be copied, nor sent"):
            duplicate(runner)
