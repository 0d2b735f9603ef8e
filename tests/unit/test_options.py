"""What is chosen for a task and for a run: checked, and taken once."""

from __future__ import annotations

import functools
import inspect
import logging
import math
import os
import pickle
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Callable
from unittest.mock import MagicMock, Mock

import pytest

from concurra import task
from concurra.options import DEFAULTS, Chosen, Options, OwnOptions, choose, split
from concurra.retries import Retry
from concurra.run_options import RunOptions

GIVEN: dict[str, Any] = {
    "log": logging.getLogger("tests"),
    "name": "Nightly",
    "timeout": 5,
    "terminate_timeout": 0,
    "progress_stats": True,
    "fast_fail": False,
    "use_multiprocessing": False,
    "log_errors": True,
    "fallback_to_thread_on_pickle_error": False,
    "task_retries": 2,
    "max_tasks_per_child": 7,
    "resources": {"db": 2},
    "run_timeout": 60,
    "initializer": print,
    "initargs": ("a",),
    "observers": [],
    "keep_results": True,
    "checkpoint": None,
    "forward_logs": None,
    "output": "prefixed",
    "max_output": 1000,
    "progress_every": 30,
    "executor": None,
    "mp_context": "spawn",
    "max_concurrency": 3,
}


def chosen(**changes: Any) -> SimpleNamespace:
    """Somebody with the attributes of a runner."""
    return SimpleNamespace(**{**GIVEN, **changes})


def test_options_of_a_task() -> None:
    """Nothing chosen is no retry."""
    assert DEFAULTS.retries == Options().retries == 0
    assert Options(3).retries == 3


def test_the_names_are_those_that_are_copied() -> None:
    """Each attribute of a runner that is a parameter, and no other."""
    assert set(RunOptions.NAMES) == set(GIVEN)


def test_a_copy() -> None:
    """What is changed afterwards comes too late."""
    runner = chosen()
    options = RunOptions(runner)
    for name in GIVEN:
        setattr(runner, name, "changed")
    assert {name: getattr(options, name) for name in GIVEN} == GIVEN
    assert options.warning == ""


def test_what_stands_for_a_default() -> None:
    """None is the logger, the name and the number of processors that are documented."""
    options = RunOptions(chosen(log=None, name=None, max_concurrency=None))
    assert options.log is logging.getLogger("concurra.core")
    assert options.name == "TaskRunner"
    assert options.max_concurrency == os.cpu_count()


def test_nothing_is_chosen() -> None:
    """None stays where it means that there is no limit, or nothing chosen."""
    names = "timeout", "max_tasks_per_child", "mp_context", "output", "max_output"
    options = RunOptions(chosen(**dict.fromkeys(names)))
    assert [getattr(options, name) for name in names] == [None] * 5
    assert RunOptions(chosen(max_output=math.inf)).max_output == math.inf


@pytest.mark.parametrize("name", [name for name in GIVEN if type(GIVEN[name]) is bool])
def test_switches_are_truth_values(name: str) -> None:
    """What defines its own truth becomes it; a string is refused, by name."""
    for value in (1, 0, None):
        kept = getattr(RunOptions(chosen(**{name: value})), name)
        assert kept is bool(value)
    with pytest.raises(TypeError, match=f"^{name} must be True or False, not 'no'"):
        RunOptions(chosen(**{name: "no"}))


@pytest.mark.parametrize("number", [0, -5])
def test_less_than_one_at_a_time(number: int) -> None:
    """Counts as one, and the log is to be told."""
    options = RunOptions(chosen(max_concurrency=number))
    assert options.max_concurrency == 1
    assert options.warning.startswith("max_concurrency is less than 1")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("log", "x", "logger must be a logging.Logger, not 'x'"),
        ("name", 5, "name must be a string, not 5"),
        ("timeout", "5", "timeout must be a number of seconds, not '5'"),
        ("timeout", 0, "timeout must be a number of seconds, more than 0, not 0"),
        ("terminate_timeout", None, "terminate_timeout must be a number of seconds"),
        ("terminate_timeout", -1, "terminate_timeout must be a number of seconds, 0"),
        ("task_retries", "2", "task_retries must be an integer or a Retry, not '2'"),
        ("task_retries", -1, "task_retries must be at least 0, not -1"),
        ("max_tasks_per_child", 0, "max_tasks_per_child must be at least 1, not 0"),
        ("mp_context", 5, "mp_context must be a start method or a context, not 5"),
        ("max_concurrency", "2", "max_concurrency must be an integer, not '2'"),
        ("run_timeout", 0, "run_timeout must be a number of seconds, more than 0"),
        ("run_timeout", "60", "run_timeout must be a number of seconds, not '60'"),
        ("resources", 5, "resources must be a mapping of names to numbers, not 5"),
        ("resources", [], "resources must be a mapping of names to numbers"),
        ("resources", {5: 1}, "resources must be named by strings, not 5"),
        ("resources", {"db": -1}, r"resources\['db'\] must be at least 0, not -1"),
        ("resources", {"db": 0.5}, r"resources\['db'\] must be an integer, not 0.5"),
        ("initializer", "f", "initializer must be a function, or None, not 'f'"),
        ("initargs", "ab", "initargs must be an iterable of arguments, such as"),
        ("initargs", 5, "initargs must be an iterable of arguments"),
        (
            "output",
            "all",
            "output must be one of 'captured', 'prefixed', 'grouped', or",
        ),
        ("output", True, "output must be one of 'captured', 'prefixed', 'grouped', or"),
        ("max_output", 0, "max_output must be at least 1, not 0"),
        ("max_output", "1M", "max_output must be an integer, not '1M'"),
        ("max_output", 1.5, "max_output must be an integer, not 1.5"),
    ],
)
def test_what_is_refused(name: str, value: Any, error: str) -> None:
    """By the name of the parameter, with the value."""
    with pytest.raises((TypeError, ValueError), match=f"^{error}"):
        RunOptions(chosen(**{name: value}))


def test_the_retries_of_a_run() -> None:
    """A number, or a `Retry`; those of tasks that have none of their own follow."""
    shared, retry = Options(), Retry(4, delay=1)
    RunOptions(chosen(task_retries=retry)).share(shared)
    assert (shared.retries, shared.retry) == (4, retry)
    RunOptions(chosen(task_retries=2)).share(shared)
    assert (shared.retries, shared.retry) == (2, None)


def test_more_than_there_is() -> None:
    """Is refused at the start, too: the runner's may have been changed."""
    options = RunOptions(chosen(resources={"db": 2, "gpu": 0}))
    options.check_tasks([OwnOptions(DEFAULTS, choose(resources={"db": 2}))])
    for asked, error in (
        ({"db": 3}, "resources: 3 of 'db' is more than the runner has, which is 2"),
        ({"gpu": 1}, "resources: 1 of 'gpu' is more than the runner has, which is 0"),
        ({"x": 1}, "resources: there is no 'x' in the .*, which has 'db', 'gpu'"),
    ):
        with pytest.raises(ValueError, match=f"^{error}"):
            options.check_tasks([OwnOptions(DEFAULTS, choose(resources=asked))])


# What is chosen for a task ------------------------------------------------------------


def test_nothing_is_chosen_for_a_task() -> None:
    """None is no choice, by whatever name."""
    names = inspect.signature(choose).parameters
    assert choose() == choose(**dict.fromkeys(names)) == {}


def test_what_is_chosen() -> None:
    """Each is checked once; a timeout stays as it was given."""
    retry = Retry(2)
    assert choose(
        timeout=Decimal("1.50"),  # type: ignore[arg-type]
        task_retries=retry,
        priority=-3,
        resources={"db": 2, "gpu": 0},
        trigger_rule="all_done",
        name="load",
        local=1,  # type: ignore[arg-type]
        keep_remote=False,
    ) == {
        "timeout": Decimal("1.50"),
        "task_retries": (2, retry),
        "priority": -3,
        "resources": {"db": 2},
        "trigger_rule": "all_done",
        "name": "load",
        "local": True,
        "keep_remote": False,
    }


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("timeout", 0, "timeout must be a number of seconds, more than 0, not 0"),
        ("timeout", "5", "timeout must be a number of seconds, not '5'"),
        ("timeout", math.nan, "timeout must be a number of seconds, more than 0"),
        ("task_retries", -1, "task_retries must be at least 0, not -1"),
        ("task_retries", True, "task_retries must be an integer, not True"),
        ("local", "no", "local must be True or False, not 'no'"),
        ("keep_remote", "no", "keep_remote must be True or False, not 'no'"),
        ("task_retries", 1.0, "task_retries must be an integer or a Retry, not 1.0"),
        ("task_retries", Retry, "task_retries must be an integer or a Retry, not <cl"),
        ("priority", 0.5, "priority must be an integer, not 0.5"),
        ("priority", "high", "priority must be an integer, not 'high'"),
        ("priority", False, "priority must be an integer, not False"),
        ("priority", (), r"priority must be an integer, not \(\)"),
        ("resources", "db", "resources must be a mapping of names to numbers"),
        ("resources", [], "resources must be a mapping of names to numbers"),
        ("resources", {"db": -1}, r"resources\['db'\] must be at least 0, not -1"),
        ("resources", {"db": True}, r"resources\['db'\] must be an integer, not True"),
        ("resources", {1: 1}, "resources must be named by strings, not 1"),
        ("trigger_rule", "never", "trigger_rule must be one of 'all_success', 'all_d"),
        ("trigger_rule", [], "trigger_rule must be one of"),
        ("trigger_rule", "", "trigger_rule must be one of"),
        ("name", 5, "name must be a string, not 5"),
    ],
)
def test_what_is_refused_of_a_task(name: str, value: Any, error: str) -> None:
    """Wherever it is chosen: for a call, or at a definition."""
    for choice in (choose, task, functools.partial(task, print)):
        with pytest.raises((TypeError, ValueError), match=f"^{error}"):
            choice(**{name: value})


@pytest.mark.parametrize("name", ["label", "depends_on"])
def test_what_is_said_of_one_call(name: str) -> None:
    """It is no option of a function; the error says who takes it."""
    with pytest.raises(TypeError, match=f"no option '{name}': add_task.. takes it$"):
        task(print, **{name: "a"})


def test_options_of_ones_own() -> None:
    """What was not chosen is the runner's, as it is at the start."""
    shared = Options(1)
    own = OwnOptions(shared, choose(priority=5))
    shared.retries, shared.retry = 3, Retry(3)
    assert (own.retries, own.retry) == (3, shared.retry)
    assert (own.priority, own.timeout, own.trigger_rule) == (5, None, "all_success")
    assert (own.resources, own.name) == ({}, None)
    assert OwnOptions(shared, choose(task_retries=0)).retries == 0


def test_a_number_of_ones_own_takes_the_place_of_the_runners_retry() -> None:
    """All of it: neither its delay nor its errors are left."""
    own = OwnOptions(Options(3, Retry(3, delay=5)), choose(task_retries=2))
    assert (own.retries, own.retry) == (2, None)


# `task` -------------------------------------------------------------------------------


@task(task_retries=2, priority=1)
def fetch(url: str, *, times: int = 1) -> str:
    """A function with options."""
    return url * times


class Client:
    """Has functions of all kinds with options."""

    @task(priority=2)
    def fetch(self) -> Client:
        return self

    @classmethod
    @task(priority=3)
    def make(cls) -> type:
        return cls

    @staticmethod
    @task(priority=4)
    def check() -> str:
        return "checked"

    @task(priority=5)
    def __call__(self) -> str:
        return "called"


def call(function: Any, *args: Any) -> tuple[Any, Chosen]:
    """What comes of a call of what an adder would call, and its options."""
    inner, options = split(function)
    return inner(*args), options


def test_a_definition() -> None:
    """It is the same function as before; it can be called, and pickled by its name."""
    assert fetch("a", times=2) == "aa"
    assert fetch.__name__ == "fetch"
    assert str(inspect.signature(fetch)) == "(url: 'str', *, times: 'int' = 1) -> 'str'"
    assert pickle.loads(pickle.dumps(fetch)) is fetch
    assert split(fetch) == (fetch, {"task_retries": (2, None), "priority": 1})


def test_a_call() -> None:
    """The function is not changed; what comes back can be called in its place."""
    configured = task(print_nothing, priority=7)
    assert configured is not print_nothing
    assert split(configured) == (print_nothing, {"priority": 7})
    assert split(print_nothing) == (print_nothing, {})
    assert configured() == "nothing"
    assert repr(configured) == f"task({print_nothing!r}, **{{'priority': 7}})"


def print_nothing() -> str:
    """A function without options."""
    return "nothing"


@task
def bare(url: str) -> str:
    """A definition for which nothing is chosen."""
    return url


def test_nothing_is_chosen_by_a_bare_decorator() -> None:
    """The function itself comes back, so that it is still pickled by its name."""
    assert bare("a") == "a" and split(bare) == (bare, {})
    assert pickle.loads(pickle.dumps(bare)) is bare
    assert task(print_nothing) is print_nothing
    assert task(fetch, timeout=None) is fetch
    configured = task(fetch, priority=7)
    assert task(configured) is configured


def test_a_call_goes_before_the_definition() -> None:
    """For what it chooses; the rest is kept. Also what would be the default."""
    assert split(task(fetch, timeout=5))[1] == {
        "task_retries": (2, None),
        "priority": 1,
        "timeout": 5,
    }
    assert split(task(fetch, priority=0))[1]["priority"] == 0
    assert split(task(fetch, priority=None))[1]["priority"] == 1
    greedy = task(print_nothing, resources={"db": 1}, trigger_rule="all_done")
    modest = task(greedy, resources={}, trigger_rule="all_success")
    assert split(modest)[1] == {"resources": {}, "trigger_rule": "all_success"}
    assert split(fetch)[1] == {"task_retries": (2, None), "priority": 1}


def test_one_in_another() -> None:
    """The outer goes before the inner, and the function is called without detours."""
    nested = task(task(task(print_nothing, priority=1), timeout=2), priority=3)
    assert split(nested) == (print_nothing, {"priority": 3, "timeout": 2})


def test_two_decorators() -> None:
    """They are one, of which the outer goes first."""

    @task(priority=1, timeout=9)
    @task(priority=2, name="inner")
    def work() -> None: ...

    assert split(work)[1] == {"priority": 1, "timeout": 9, "name": "inner"}


@pytest.mark.parametrize(
    ("function", "value", "priority"),
    [
        (Client().fetch, Client, 2),
        (Client.make, type, 3),
        (Client.check, str, 4),
    ],
)
def test_methods(function: Any, value: type, priority: int) -> None:
    """Bound or not; each can be called, and has the options of its definition."""
    returned, options = call(function)
    assert isinstance(returned, value) and options == {"priority": priority}


def test_what_is_callable_by_its_class() -> None:
    """Options of ``__call__`` are those of the class's method, not of the object."""
    assert split(Client())[1] == {}
    assert split(Client().__call__)[1] == {"priority": 5}


def test_partials() -> None:
    """They have the options of what they wrap, however deep."""
    inner = functools.partial(functools.partial(fetch, "a"), times=3)
    assert call(inner) == ("aaa", {"task_retries": (2, None), "priority": 1})
    outer = functools.partial(task(fetch, priority=8), "b", times=2)
    assert call(outer) == ("bb", {"task_retries": (2, None), "priority": 8})
    assert pickle.loads(pickle.dumps(split(outer)[0]))() == "bb"
    assert call(task(outer, priority=9))[1]["priority"] == 9


def test_what_wraps_a_function_has_its_options() -> None:
    """With `functools.wraps`, and in a cache."""

    @functools.wraps(fetch)
    def wrapper(*args: Any) -> str:
        return fetch(*args)

    assert split(wrapper)[1]["priority"] == 1
    assert split(functools.lru_cache(fetch))[1]["priority"] == 1
    assert split(task(priority=4)(functools.lru_cache(print_nothing)))[1] == {
        "priority": 4
    }


def test_objects_and_classes() -> None:
    """Whatever can be called, and can have attributes, can have options."""

    class Work:
        def __call__(self) -> str:
            return "done"

    class Metaclass(type):
        pass

    class Strange(metaclass=Metaclass):
        pass

    work = Work()
    assert task(priority=3)(work) is work
    assert call(work) == ("done", {"priority": 3})
    assert split(Work())[1] == {}
    for kind in (Work, Strange):
        task(priority=6)(kind)
        assert split(kind) == (kind, {"priority": 6})


@pytest.mark.parametrize(
    "function",
    [
        len,
        Client().fetch,
        functools.partial(fetch, "a"),
        staticmethod(print_nothing),
        task(print_nothing, timeout=1),
        int,
    ],
)
def test_what_cannot_be_decorated(function: Any) -> None:
    """It is refused, instead of being forgotten; for a call it can have options."""
    with pytest.raises(TypeError, match="^(what is decorated|the task) must be"):
        task(priority=1)(function)
    if callable(function):
        assert split(task(function, priority=1))[1]["priority"] == 1


@pytest.mark.parametrize("bad", [5, "fetch", [], object()])
def test_what_is_no_function(bad: Any) -> None:
    """Is refused, in both forms."""
    for use in (lambda: task(bad, priority=1), lambda: task(priority=1)(bad)):
        with pytest.raises(TypeError, match="^the task must be callable"):
            use()


def test_a_name_that_is_no_option() -> None:
    """Is refused by name."""
    for use in (lambda: task(fetch, prioriti=1), lambda: task(prioriti=1)):
        with pytest.raises(TypeError, match="prioriti"):
            use()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", [Mock, MagicMock])
def test_mocks(kind: Callable[..., Any]) -> None:
    """They have any attribute, but no options; none is asked for, or made."""
    mock = kind(return_value=5)
    assert call(mock) == (5, {})
    assert split(task(mock, priority=2)) == (mock, {"priority": 2})
    assert [each for each in vars(mock) if "concurra" in each] == []


def test_none_of_the_users_code_is_called() -> None:
    """Nor is what it raises of any interest."""

    class Hostile:
        def __getattribute__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> str:
            return "called"

    assert call(Hostile()) == ("called", {})


def test_a_copy_of_what_a_call_has_chosen() -> None:
    """It can go to another process, and is the same there."""
    copy = pickle.loads(pickle.dumps(task(fetch, priority=9, task_retries=Retry(1))))
    function, options = split(copy)
    assert function is fetch and options["priority"] == 9
    assert repr(options["task_retries"]) == "(1, Retry(1))"


def test_whether_logs_are_forwarded_may_be_left_open() -> None:
    """None stays, as what it means depends on the processes; all else is a switch."""
    assert RunOptions(chosen(forward_logs=None)).forward_logs is None
    assert RunOptions(chosen(forward_logs=0)).forward_logs is False
    with pytest.raises(TypeError, match="^forward_logs must be True or False"):
        RunOptions(chosen(forward_logs="no"))


# An executor --------------------------------------------------------------------------


class Engine:
    """As little of an executor as there has to be."""

    def submit(self, function: Any, *args: Any) -> Any:
        raise AssertionError("options do not submit anything")


#: What goes with an executor.
ALONE = dict.fromkeys(("mp_context", "max_tasks_per_child", "initializer", "output"))


def test_an_executor_is_kept_as_it_is() -> None:
    """It is the user's; nothing of it is called."""
    engine = Engine()
    assert RunOptions(chosen(executor=engine, **ALONE)).executor is engine


@pytest.mark.parametrize(
    "given", [5, "dask", Engine, SimpleNamespace(submit=None), lambda: None]
)
def test_what_is_no_executor(given: Any) -> None:
    """What has no method `submit`, and a class, whose objects have one."""
    with pytest.raises(TypeError, match=r"^executor must be an object with a method "):
        RunOptions(chosen(executor=given, **ALONE))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("use_multiprocessing", True),
        ("mp_context", "spawn"),
        ("max_tasks_per_child", 1),
        ("fallback_to_thread_on_pickle_error", True),
        ("initializer", print),
        ("forward_logs", True),
        ("output", "grouped"),
    ],
)
def test_what_does_not_go_with_an_executor(name: str, value: Any) -> None:
    """What tells this program how to treat workers of its own."""
    with pytest.raises(ValueError, match=f"^{name} does not go with executor"):
        RunOptions(chosen(executor=Engine(), **{**ALONE, name: value}))


def test_an_executor_needs_a_number() -> None:
    """The processors of this machine say nothing about it."""
    with pytest.raises(ValueError, match="^executor needs max_concurrency"):
        RunOptions(chosen(executor=Engine(), **ALONE, max_concurrency=None))
