"""Trigger rules: tasks that run after a failure, or whatever became of the others."""

from __future__ import annotations

import pytest

import concurra
from concurra import task

from .modes import FAIL, MODES, SUCCEED, mode_of, runner_in
from .support import BEHIND_IT, TERMINATED, UNTRIGGERED, Gate, check, statuses

SKIPPED = "RuntimeError: Skipped: dependency ['{}'] failed or was terminated"


@pytest.mark.parametrize("mode", MODES)
def test_rules_in_every_mode(mode):
    """A failure, what it skips, and what runs in spite of it or because of it."""
    runner = runner_in(mode, 2)
    FAIL.add(runner, mode, label="bad")
    SUCCEED.add(runner, mode, label="good")
    SUCCEED.add(runner, mode, label="skipped", depends_on=["bad"])
    rule = {"trigger_rule": "all_done", "depends_on": ["skipped", "good"]}
    SUCCEED.add(runner, mode, label="clean", **rule)
    rule = {"trigger_rule": "one_failed", "depends_on": ["good", "bad"]}
    SUCCEED.add(runner, mode, label="repair", **rule)
    rule = {"trigger_rule": "one_failed", "depends_on": ["good"]}
    SUCCEED.add(runner, mode, label="idle", **rule)
    results = runner.run(verify=False)
    for result in results.values():
        check(result)
    assert statuses(results) == {
        "bad": "Failed",
        "good": "Successful",
        "skipped": "Terminated",
        "clean": "Successful",
        "repair": "Successful",
        "idle": "Terminated",
    }
    assert results["clean"]["execution_mode"] == mode_of(mode)
    assert results["skipped"]["error"] == SKIPPED.format("bad")


def test_what_was_not_called_for():
    """It is no failure, has no error, and says so; neither is what depends on it."""
    runner = concurra.TaskRunner(progress_stats=False)
    SUCCEED.add(runner, "thread", label="a")
    rule = {"trigger_rule": "one_failed"}
    SUCCEED.add(runner, "thread", label="repair", depends_on=["a"], **rule)
    SUCCEED.add(runner, "thread", label="report", depends_on=["repair"])
    results = runner.run(raise_exception=True)
    for label in ("repair", "report"):
        result = results[label]
        check(result)
        assert result["status"] == "Terminated"
        assert result["has_failed"] is False
        assert result["error"] is result["trace"] is result["execution_mode"] is None
        assert result["warning"] == (UNTRIGGERED if label == "repair" else BEHIND_IT)
        assert result["attempts"] == 0
        assert runner.exception(label) is None
    assert runner.exit_code == 0
    assert runner.counts()["terminated"] == 2


def test_the_report_of_a_run_without_failures(log):
    """What was not called for is in the table, and is nothing to complain of."""
    runner = concurra.TaskRunner(progress_stats=False)
    SUCCEED.add(runner, "thread", label="a")
    rule = {"trigger_rule": "one_failed", "depends_on": ["a"]}
    SUCCEED.add(runner, "thread", label="repair", **rule)
    runner.run()
    assert "Execution Failed" not in log.text()
    assert "| repair  |" in log.text() and "failed with error" not in log.text()


def test_one_failed_does_not_wait_for_the_others():
    """It starts as soon as one has not succeeded."""
    with Gate() as gate:
        runner = concurra.TaskRunner(3, progress_stats=False)
        runner.add_task(gate.wait, label="slow")
        FAIL.add(runner, "thread", label="bad")
        rule = {"trigger_rule": "one_failed"}
        opens = task(gate.open, **rule)
        runner.add_task(opens, label="repair", depends_on=["slow", "bad"])
        results = runner.run(verify=False)
    assert statuses(results) == {
        "slow": "Successful",
        "bad": "Failed",
        "repair": "Successful",
    }


def test_a_timeout_and_a_cancel_are_failures():
    """For what runs after one."""
    with Gate() as gate:
        runner = concurra.TaskRunner(3, progress_stats=False)
        runner.add_task(task(gate.wait, timeout=0.1), label="late")
        runner.add_task(str, label="off")
        rule = {"trigger_rule": "one_failed"}
        for label in ("late", "off"):
            needs = {"label": f"after {label}", "depends_on": [label]}
            SUCCEED.add(runner, "thread", **needs, **rule)
        runner.cancel("off")
        results = runner.run(verify=False)
    assert results["after late"]["status"] == "Successful"
    assert results["after off"]["status"] == "Successful"


def test_a_retry_that_helps_is_no_failure():
    """What waits for one waits for the last attempt."""
    errors = iter([ValueError("once")])

    def flaky():
        for error in errors:
            raise error

    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(flaky, label="a", task_retries=1)
    rule = {"trigger_rule": "one_failed", "depends_on": ["a"]}
    SUCCEED.add(runner, "thread", label="repair", **rule)
    results = runner.run(raise_exception=True)
    assert results["repair"]["warning"] == UNTRIGGERED


@pytest.mark.parametrize("way", ["abort", "fast_fail", "run_timeout"])
@pytest.mark.parametrize("rule", ["all_done", "one_failed"])
def test_what_ends_everything_ends_these_too(way, rule):
    """Nothing is started after it."""
    options = {"fast_fail": way == "fast_fail"}
    if way == "run_timeout":
        options["run_timeout"] = 0.2
    with Gate() as gate:
        runner = concurra.TaskRunner(2, progress_stats=False, **options)
        runner.add_task(gate.wait, label="a")
        ran = []
        last = task(ran.append, trigger_rule=rule)
        runner.add_task(last, 1, label="clean", depends_on=["a"])
        if way == "fast_fail":
            FAIL.add(runner, "thread", label="bad")
        runner.execute_in_background()
        if way == "abort":
            gate.reached_by(1)
            runner.abort(verify=False)
        results = runner.get_background_results(verify=False)
    assert not ran
    assert results["clean"]["status"] == "Terminated"
    if way != "run_timeout":
        assert results["clean"]["error"] == TERMINATED


def test_a_failure_of_a_clean_up_is_a_failure():
    """Of the run, and of what depends on it."""
    runner = concurra.TaskRunner(progress_stats=False)
    SUCCEED.add(runner, "thread", label="a")
    rule = {"trigger_rule": "all_done", "depends_on": ["a"]}
    FAIL.add(runner, "thread", label="clean", **rule)
    SUCCEED.add(runner, "thread", label="after", depends_on=["clean"])
    results = runner.run(verify=False)
    assert results["after"]["error"] == SKIPPED.format("clean")
    assert runner.exit_code == 1


def test_a_clean_up_that_depends_on_what_does_not_exist():
    """It is refused as for any other task."""
    runner = concurra.TaskRunner(progress_stats=False)
    rule = {"trigger_rule": "all_done", "depends_on": ["x"]}
    SUCCEED.add(runner, "thread", label="clean", **rule)
    with pytest.raises(ValueError, match="Unknown task dependency"):
        runner.run()
