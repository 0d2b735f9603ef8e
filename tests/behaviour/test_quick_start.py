"""Quick start: create a runner, add tasks, run, read results."""

from __future__ import annotations

import pytest

import concurra


def say_hello():
    return "Hello World"


def say_universe():
    return "Hello Universe"


def greeting_runner():
    runner = concurra.TaskRunner(max_concurrency=2)
    runner.add_task(say_hello, label="greet_world")
    runner.add_task(say_universe, label="greet_universe")
    return runner


def test_three_steps_print_both_greetings(capsys):
    """The documented first program prints what its comments say."""
    results = greeting_runner().run()
    print(results["greet_world"]["result"])
    print(results["greet_universe"]["result"])
    assert capsys.readouterr().out == "Hello World\nHello Universe\n"


def test_a_runner_runs_only_once():
    """A second run is refused, and leaves the results of the first alone."""
    runner = greeting_runner()
    results = runner.run()
    with pytest.raises(RuntimeError):
        runner.run()
    assert results["greet_world"]["status"] == "Successful"


@pytest.mark.parametrize("start", ["run", "execute_in_background"])
def test_no_task_joins_after_the_start(start):
    """Once started, in the foreground or not, a runner takes no more tasks."""
    runner = greeting_runner()
    getattr(runner, start)()
    with pytest.raises(RuntimeError):
        runner.add_task(say_hello, label="late")
    if start == "execute_in_background":
        assert "late" not in runner.get_background_results()
    assert len(runner) == 2


def test_a_new_batch_takes_a_new_runner():
    """Runners are independent: the same labels may be used in the next one."""
    first, second = greeting_runner().run(), greeting_runner().run()
    assert first["greet_world"]["result"] == second["greet_world"]["result"]
    assert first["greet_world"] is not second["greet_world"]
