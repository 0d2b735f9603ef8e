"""Adding tasks by add_task, add_func, add_function and add_work."""

from __future__ import annotations

import functools
import logging
import re
import sys
import threading

import pytest

import concurra

from .support import BOUND


def collect(*args, **kwargs):
    return args, kwargs


def fine():
    return "fine"


def runner_and_results(*steps):
    """Apply each step to a new runner, run it, return the tasks' results by label."""
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    for step in steps:
        step(runner)
    results = runner.run(verify=False)
    errors = [result["error"] for result in results.values() if result["error"]]
    assert errors == []
    return {label: result["result"] for label, result in results.items()}


# add_task ---------------------------------------------------------------------


def test_add_task_forwards_arguments():
    """Positional and keyword arguments arrive in order and by name."""
    assert runner_and_results(
        lambda runner: runner.add_task(collect, 1, "two", label="a", three=[3])
    ) == {"a": ((1, "two"), {"three": [3]})}


def test_add_task_keeps_only_its_three_keywords():
    """Every keyword but `label`, `depends_on`, `task_retries` is the function's own."""
    names = (
        *("args", "kwargs", "key", "func", "function", "fn", "name", "timeout"),
        *("cwd", "env", "check", "text", "command", "log_exception", "max_concurrency"),
        *("retries", "delay", "priority", "resources", "logger", "task_name"),
    )
    own = dict.fromkeys(names, "mine")
    assert runner_and_results(
        lambda runner: runner.add_task(collect, label="a", **own)
    ) == {"a": ((), own)}


def test_add_task_does_not_forward_its_three_keywords():
    """`label`, `depends_on` and `task_retries` never reach the function."""
    assert runner_and_results(
        lambda runner: runner.add_task(collect, label="a"),
        lambda runner: runner.add_task(
            collect, label="b", depends_on=["a"], task_retries=1
        ),
    ) == {"a": ((), {}), "b": ((), {})}


def test_add_task_takes_a_task_by_name():
    """The parameter is called `task`, as documented."""
    assert runner_and_results(
        lambda runner: runner.add_task(task=collect, label="a", x=1)
    ) == {"a": ((), {"x": 1})}


def test_arguments_arrive_as_the_same_objects():
    """In a thread nothing is copied: a task can change what it was given."""
    basket = []
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(list.append, basket, "egg", label="a")
    runner.run()
    assert basket == ["egg"]


# add_func ---------------------------------------------------------------------


def test_add_func_takes_its_label_from_key():
    """`key` is the label, and is not forwarded."""
    assert runner_and_results(
        lambda runner: runner.add_func(collect, "arg1", key="task1", some_kwarg=1)
    ) == {"task1": (("arg1",), {"some_kwarg": 1})}


def test_add_func_keeps_only_key():
    """All other keywords are forwarded, those with a meaning in `add_task` included."""
    names = (
        *("label", "depends_on", "task_retries", "task", "args", "kwargs", "name"),
        *("timeout", "log_exception", "cwd", "env", "check", "retries", "delay"),
        *("priority", "resources", "logger", "task_name", "fn", "max_concurrency"),
    )
    own = dict.fromkeys(names, "mine")
    assert runner_and_results(
        lambda runner: runner.add_func(collect, key="a", **own)
    ) == {"a": ((), own)}


def test_add_func_without_key_is_labelled_by_index():
    """`key` may be left out, like a label."""
    assert runner_and_results(
        lambda runner: runner.add_func(fine),
        lambda runner: runner.add_func(fine),
    ) == {0: "fine", 1: "fine"}


# add_function -----------------------------------------------------------------


def test_add_function_takes_containers():
    """Arguments come in an `args` and a `kwargs` container."""
    assert runner_and_results(
        lambda runner: runner.add_function(fine, key="task0"),
        lambda runner: runner.add_function(
            collect, args=(1, 2), kwargs={"x": 3}, key="task1", depends_on=["task0"]
        ),
    ) == {"task0": "fine", "task1": ((1, 2), {"x": 3})}


def test_add_function_forwards_any_name():
    """Names that mean something to an adder are just names in `kwargs`."""
    names = (
        *("key", "label", "depends_on", "task_retries", "args", "kwargs"),
        *("task", "func", "self", "log_exception", "timeout"),
    )
    kwargs = dict.fromkeys(names, "mine")
    assert runner_and_results(
        lambda runner: runner.add_function(collect, kwargs=kwargs, key="a")
    ) == {"a": ((), kwargs)}


def test_add_function_positional_order():
    """All seven may be given by position; the fifth, `log_exception`, has no effect."""
    assert runner_and_results(
        lambda runner: runner.add_function(fine, None, None, "first"),
        lambda runner: runner.add_function(
            collect, (1,), {"x": 2}, "second", False, ["first"], 3
        ),
    ) == {"first": "fine", "second": ((1,), {"x": 2})}


@pytest.mark.parametrize("log_exception", [True, False, None])
def test_add_function_log_exception_has_no_effect(log, log_exception):
    """Whatever it is, an error is logged or not by `log_errors` alone."""
    runner = concurra.TaskRunner(log_errors=True)
    runner.add_function(int, ("x",), key="a", log_exception=log_exception)
    assert runner.run(verify=False)["a"]["status"] == "Failed"
    assert "ValueError: invalid literal" in log.text()


@pytest.mark.parametrize("args", [[1, 2], (1, 2), range(1, 3), iter([1, 2])])
def test_add_function_takes_any_iterable(args):
    """`args` is any iterable, as behind a `*`."""
    assert runner_and_results(
        lambda runner: runner.add_function(collect, args, key="a")
    ) == {"a": ((1, 2), {})}


@pytest.mark.parametrize("text", ["report.csv", b"report.csv"])
def test_add_function_takes_no_string_for_its_letters(text):
    """It is refused, with what was meant."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError, match=f"such as .{re.escape(repr(text))},."):
        runner.add_function(collect, text)
    assert len(runner) == 0


def test_containers_are_read_when_they_are_given():
    """What happens to the containers afterwards changes nothing."""
    args, kwargs, needed = [1], {"x": 1}, ["first"]

    def add(runner):
        runner.add_function(fine, key="first")
        runner.add_function(collect, args, kwargs, key="a", depends_on=needed)
        args.append(2)
        kwargs["y"] = 2
        needed.append("unknown")

    assert runner_and_results(add)["a"] == ((1,), {"x": 1})


# add_work ---------------------------------------------------------------------


def test_add_work_takes_four_forms():
    """Tuples of a function, arguments, keyword arguments and a label."""
    assert runner_and_results(
        lambda runner: runner.add_work(
            [
                (fine,),
                (collect, (1, 2)),
                (collect, (1,), {"x": 2}),
                (collect, (), {}, "label_d"),
            ]
        )
    ) == {
        0: "fine",
        1: ((1, 2), {}),
        2: ((1,), {"x": 2}),
        "label_d": ((), {}),
    }


def test_add_work_forwards_any_name():
    """Keyword arguments in an item never collide with parameters of an adder."""
    kwargs = {"label": 1, "depends_on": 2, "task_retries": 3, "key": 4, "task": 5}
    assert runner_and_results(
        lambda runner: runner.add_work([(collect, (), kwargs, "a")])
    ) == {"a": ((), kwargs)}


def test_add_work_takes_other_iterables():
    """The items may come in a tuple; arguments in any iterable."""
    assert runner_and_results(
        lambda runner: runner.add_work(((collect, [1]), (collect, range(2))))
    ) == {0: ((1,), {}), 1: ((0, 1), {})}


def test_add_work_of_nothing():
    """An empty list adds nothing."""
    assert runner_and_results(lambda runner: runner.add_work([])) == {}


def test_add_work_adds_to_what_is_there():
    """It may be called again, before and after other adders; indices go on."""
    assert runner_and_results(
        lambda runner: runner.add_task(fine),
        lambda runner: runner.add_work([(fine,)]),
        lambda runner: runner.add_work([(fine,), (fine,)]),
        lambda runner: runner.add_task(fine),
    ) == dict.fromkeys(range(5), "fine")


BAD_ITEMS = {
    "no tuple": (fine, TypeError),
    "a list": ([fine], TypeError),
    "a string": ("fine", TypeError),
    "empty": ((), ValueError),
    "five elements": ((fine, (), {}, "label", []), ValueError),
    "args of no iterable": ((fine, 3), TypeError),
    "kwargs of no mapping": ((fine, (), [1]), TypeError),
    "kwargs with keys that are no names": ((fine, (), {1: 2}), TypeError),
    "not callable": ((3,), TypeError),
    "label twice": ((fine, (), {}, "first"), ValueError),
    "label of an earlier call": ((fine, (), {}, "before"), ValueError),
    "label not hashable": ((fine, (), {}, []), TypeError),
}


@pytest.mark.parametrize("bad", BAD_ITEMS)
def test_add_work_with_a_bad_item_adds_nothing(bad):
    """A clear error, and no item was added: not the good ones before it either."""
    item, error = BAD_ITEMS[bad]

    def add(runner):
        runner.add_task(fine, label="before")
        with pytest.raises(error) as caught:
            runner.add_work([(fine, (), {}, "first"), item, (fine, (), {}, "last")])
        assert str(caught.value)
        assert len(runner) == 1
        runner.add_work([(fine, (), {}, "first"), (fine,)])

    assert runner_and_results(add) == {"before": "fine", "first": "fine", 2: "fine"}


def test_add_work_says_which_item_is_bad():
    """The message names the position of the bad item."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError, match="2"):
        runner.add_work([(fine,), (fine,), (fine, 3), (fine,)])


def test_add_work_of_no_iterable():
    """Something that holds no items at all is a TypeError."""
    with pytest.raises(TypeError):
        concurra.TaskRunner().add_work(5)


# What every adder refuses -----------------------------------------------------


@pytest.mark.parametrize("thing", [3, "text", None, ["list"]])
@pytest.mark.parametrize("adder", ["add_task", "add_func", "add_function"])
def test_a_task_must_be_callable(adder, thing):
    """Anything else is a TypeError at the call, and is not added."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError):
        getattr(runner, adder)(thing)
    assert len(runner) == 0


@pytest.mark.parametrize("args", [3, 1.5, fine])
def test_args_must_be_iterable(args):
    """A TypeError at the call, not in the task."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError):
        runner.add_function(fine, args)
    assert len(runner) == 0


@pytest.mark.parametrize("kwargs", [3, [1], "text"])
def test_kwargs_must_be_a_mapping(kwargs):
    """A TypeError at the call, not in the task."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError):
        runner.add_function(fine, (), kwargs)
    assert len(runner) == 0


ADDERS = {
    "add_task": lambda runner, label: runner.add_task(fine, label=label),
    "add_func": lambda runner, label: runner.add_func(fine, key=label),
    "add_function": lambda runner, label: runner.add_function(fine, key=label),
    "add_work": lambda runner, label: runner.add_work([(fine, (), {}, label)]),
    "add_command": lambda runner, label: runner.add_command(["true"], label=label),
    "add_shell_command": lambda runner, label: runner.add_shell_command(
        "exit 0", label=label
    ),
}


@pytest.mark.parametrize("adder", ADDERS)
def test_labels_are_unique_for_every_adder(adder):
    """Reusing a label is a ValueError that names it; the first task stays."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(fine, label="taken")
    with pytest.raises(ValueError, match="'taken'"):
        ADDERS[adder](runner, "taken")
    assert len(runner) == 1
    assert runner.run()["taken"]["result"] == "fine"


@pytest.mark.parametrize("adder", ADDERS)
def test_labels_are_hashable_for_every_adder(adder):
    """A label that cannot be a key is a TypeError at the call."""
    runner = concurra.TaskRunner()
    with pytest.raises(TypeError):
        ADDERS[adder](runner, ["list"])
    assert len(runner) == 0


@pytest.mark.parametrize("adder", ADDERS)
def test_labels_may_be_left_out_for_every_adder(adder):
    """Without a label, it is the task's index."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(fine, label="first")
    ADDERS[adder](runner, None)
    assert list(runner.run()) == ["first", 1]


@pytest.mark.parametrize("adder", ADDERS)
def test_the_length_counts_what_was_added(adder):
    """`len(runner)` is the number of tasks."""
    runner = concurra.TaskRunner()
    for count in range(3):
        assert len(runner) == count
        ADDERS[adder](runner, f"task {count}")
    assert len(runner) == 3


# What may be a task -----------------------------------------------------------


class Greeter:
    def __init__(self, greeting):
        self.greeting = greeting

    def __call__(self, name="all"):
        return f"{self.greeting} {name}"

    def shout(self):
        return self.greeting.upper()

    @classmethod
    def polite(cls):
        return "good day"


@pytest.mark.parametrize(
    ("task", "args", "result"),
    [
        (lambda: 1, (), 1),
        (len, ("four",), 4),
        (Greeter("hi"), ("you",), "hi you"),
        (Greeter("hi").shout, (), "HI"),
        (Greeter.polite, (), "good day"),
        (str, (5,), "5"),
        (functools.partial(pow, 2), (5,), 32),
        (functools.partial(Greeter("hey"), name="you"), (), "hey you"),
    ],
)
def test_everything_callable_is_a_task(task, args, result):
    """Functions, builtins, methods, classes, partials and callable objects."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(task, *args, label="a")
    outcome = runner.run()["a"]
    assert outcome["result"] == result
    assert isinstance(outcome["task_name"], str)


@pytest.mark.parametrize(
    ("task", "name"),
    [(fine, "fine"), (lambda: 1, "<lambda>"), (len, "len"), (Greeter.polite, "polite")],
)
def test_the_task_name_is_the_functions_name(task, name):
    """`task_name` is `__name__`, whatever the label is."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(task, label="some label")
    if task is len:
        runner.add_task(task, "text", label="with argument")
    results = runner.run(verify=False)
    assert {result["task_name"] for result in results.values()} == {name}


def take_everything(*args, **kwargs):
    return args, kwargs


def test_a_misspelt_option_is_warned_of(log):
    """It goes to the function all the same, as every other keyword does."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(take_everything, depend_on=["b"], label="a", other=1)
    runner.add_func(take_everything, key="b", label="c")
    assert log.lines(logging.WARNING) == [
        "add_task() passes 'depend_on' on to 'take_everything', which has no such "
        "parameter: did you mean 'depends_on'?",
        "add_func() passes 'label' on to 'take_everything', which has no such "
        "parameter: add_func() takes 'key' alone, add_task() takes 'label'",
    ]
    results = runner.run(verify=False)
    assert results["a"]["result"] == ((), {"depend_on": ["b"], "other": 1})
    assert results["b"]["result"] == ((), {"label": "c"})


def test_arguments_in_containers_are_for_another_adder(log):
    """Who passes them as `threading.Thread` takes them is told who takes them here."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(abs, args=(-1,), label="a")
    runner.add_func(abs, kwargs={})
    runner.add_task(take_everything, args=(-1,))
    assert log.lines(logging.WARNING) == [
        "add_task() passes 'args' on to 'abs', which has no such parameter: "
        "add_function() takes 'args' and 'kwargs'",
        "add_func() passes 'kwargs' on to 'abs', which has no such parameter: "
        "add_function() takes 'args' and 'kwargs'",
    ]


# -- several threads -------------------------------------------------------------------


@pytest.fixture
def hasty():
    """Threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def in_threads(*calls):
    """Make the calls at once, each in a thread."""
    barrier = threading.Barrier(len(calls), timeout=BOUND)

    def begin(call):
        barrier.wait()
        call()

    threads = [threading.Thread(target=begin, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BOUND)


@pytest.mark.parametrize("adder", ["add_function", "map", "add_command", "add_work"])
def test_python_tells_of_a_wrong_call_by_the_name_in_the_docs(adder):
    """Not by that of the class that it is written in; 3.9 tells none."""
    owner = "" if sys.version_info < (3, 10) else r"TaskRunner\."
    with pytest.raises(TypeError, match=rf"^{owner}{adder}\(\) got an unexpected"):
        getattr(concurra.TaskRunner(1), adder)("x", nothing=1)


@pytest.mark.usefixtures("hasty")
def test_several_threads_add_at_once():
    """Each label is given once, and every task runs after what it depends on."""
    runner = concurra.TaskRunner(2)
    refs = []

    def add(name):
        ref = runner.add_task(collect, name)
        for number in range(100):
            runner.add_task(collect, label=(name, number), depends_on=[(name, "end")])
            ref = runner.add_task(collect, ref)
            runner.map(len, ["ab"], label=(name, number, "map"))
        runner.add_work([(fine, (), {}, (name, "end"))])
        refs.append(ref)

    in_threads(*(functools.partial(add, name) for name in "abcd"))
    results = runner.run(verify=False)
    assert len(results) == len(runner) == 4 * 302
    assert {each["status"] for each in results.values()} == {"Successful"}
    assert len({ref.label for ref in refs}) == 4
    for ref in refs:
        assert len(re.findall(r"\(\(", str(results[ref.label]["result"]))) == 101


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("many", [None, 3])
def test_a_thread_adds_while_another_starts_the_run(many):
    """What it could add is run, and then it is refused."""
    for _ in range(20):
        runner = concurra.TaskRunner(2)
        added, refused, results = [], [], []

        def add():
            try:
                while True:
                    refs = (
                        runner.add_work([(fine,)] * many)
                        if many
                        else [runner.add_task(fine)]
                    )
                    added.extend(ref.label for ref in refs)
            except RuntimeError as error:
                refused.append(str(error))

        in_threads(add, lambda: results.append(runner.run(verify=False)))
        assert len(refused) == 1 and "create a new TaskRunner" in refused[0]
        assert list(results[0]) == added
        assert {each["status"] for each in results[0].values()} <= {"Successful"}
