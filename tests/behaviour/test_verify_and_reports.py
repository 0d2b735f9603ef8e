"""run, execute and verify: what they return, what they raise, what they report."""

from __future__ import annotations

import logging
import pickle

import pytest
from tabulate import tabulate

import concurra

from .support import Gate, statuses


def fail():
    raise ZeroDivisionError("division by zero")


def mixed_runner(**options):
    """One success, one failure, one skipped task."""
    options = {"progress_stats": False, "max_concurrency": 1, **options}
    runner = concurra.TaskRunner(**options)
    runner.add_task(str, label="fine")
    runner.add_task(fail, label="b")
    runner.add_task(str, label="skipped", depends_on=["b"])
    return runner


def fine_runner():
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="a")
    runner.add_task(abs, -1, label="b")
    return runner


def table(results):
    rows = [
        [label, result["task_name"], result["status"], result["duration"]]
        for label, result in results.items()
    ]
    headers = ["label", "task", "status", "duration"]
    return tabulate(rows, headers=headers, tablefmt="psql")


STARTS = ["run", "execute", "get_background_results"]


def start(runner, how, *args, **options):
    """Run to the end in one of three ways, with the same parameters."""
    if how == "get_background_results":
        runner.execute_in_background()
    return getattr(runner, how)(*args, **options)


# The report -------------------------------------------------------------------


@pytest.mark.parametrize("how", STARTS)
def test_success_is_reported_at_info(log, how):
    """An empty line and the table, nothing else."""
    results = start(fine_runner(), how)
    (record,) = log.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == "\n" + table(results)


@pytest.mark.parametrize("how", STARTS)
def test_failure_is_reported_at_error(log, how):
    """`Execution Failed`, the table, and for each failed task its error and trace."""
    results = start(mixed_runner(), how)
    (record,) = log.records
    assert record.levelno == logging.ERROR
    message = record.getMessage()
    assert message.startswith("Execution Failed\n" + table(results) + "\n")
    details = message[len("Execution Failed\n" + table(results)) :]
    lines = [line.rstrip() for line in details.splitlines()]
    assert "Task 'b' failed with error: ZeroDivisionError: division by zero" in lines
    assert (
        "Task 'skipped' failed with error: RuntimeError: "
        "Skipped: dependency ['b'] failed or was terminated"
    ) in lines
    trace = results["b"]["trace"].strip()
    assert details.index("Task 'b'") < details.index(trace)
    assert details.index(trace) < details.index("Task 'skipped'")
    assert "Task 'fine'" not in details


def test_the_table_shows_labels_that_are_no_strings(log):
    """Any label appears as its text."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str)
    runner.add_task(fail, label=("a", 1))
    runner.run()
    report = log.text(logging.ERROR)
    assert "| 0        | str    | Successful |" in report
    assert "| ('a', 1) | fail   | Failed     |" in report
    assert "Task '('a', 1)' failed with error: ZeroDivisionError" in report


def test_labels_that_look_like_numbers_stay_as_they_are(log):
    """ "007" and "1e3" are labels, not numbers."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(str, label="007")
    runner.add_task(str, label="1e3")
    runner.run()
    assert "007" in log.text()
    assert "1e3" in log.text()


@pytest.mark.parametrize("how", STARTS)
def test_error_message_replaces_the_first_line(log, how):
    """The custom message stands in the log report."""
    start(mixed_runner(), how, error_message="Pipeline failed")
    (report,) = log.lines(logging.ERROR)
    assert report.startswith("Pipeline failed\n+---")
    assert "Execution Failed" not in report


def test_error_message_is_not_used_for_success(log):
    """When all is well, nothing tells of an error."""
    fine_runner().run(error_message="Pipeline failed")
    assert "Pipeline failed" not in log.text()
    assert log.lines(logging.ERROR) == []


@pytest.mark.parametrize("how", STARTS)
def test_without_verify_nothing_is_reported(log, how):
    """`verify=False` returns the results and logs no report."""
    assert statuses(start(mixed_runner(), how, verify=False)) == {
        "fine": "Successful",
        "b": "Failed",
        "skipped": "Terminated",
    }
    assert log.lines() == []


# Exceptions -------------------------------------------------------------------


@pytest.mark.parametrize("how", STARTS)
def test_failures_are_logged_only_by_default(how):
    """Without `raise_exception`, the results are returned."""
    assert start(mixed_runner(), how)["b"]["status"] == "Failed"


@pytest.mark.parametrize("how", STARTS)
def test_raise_exception_raises_an_execution_error(how):
    """With the report as its message, and the results."""
    runner = mixed_runner()
    with pytest.raises(concurra.ExecutionError) as caught:
        start(runner, how, raise_exception=True)
    error = caught.value
    assert isinstance(error, concurra.ConcurraError)
    assert isinstance(error, Exception)
    assert error.results == runner.results_registry
    assert list(error.results) == ["fine", "b", "skipped"]
    assert error.failed == {label: error.results[label] for label in ("b", "skipped")}
    message = str(error)
    assert message.startswith("Execution Failed\n" + table(error.results) + "\n")
    lines = [line.rstrip() for line in message.splitlines()]
    assert "Task 'b' failed with error: ZeroDivisionError: division by zero" in lines
    assert error.results["b"]["trace"].strip() in message


@pytest.mark.parametrize("how", STARTS)
def test_raise_exception_with_an_error_message(how):
    """The custom message is the first line of the exception's."""
    with pytest.raises(concurra.ExecutionError) as caught:
        start(mixed_runner(), how, raise_exception=True, error_message="Pipe failed")
    assert str(caught.value).startswith("Pipe failed\n+---")
    assert "Execution Failed" not in str(caught.value)


@pytest.mark.parametrize("how", STARTS)
def test_raise_exception_does_not_raise_on_success(log, how):
    """The results are returned and the table is logged."""
    results = start(fine_runner(), how, raise_exception=True, error_message="no")
    assert statuses(results) == {"a": "Successful", "b": "Successful"}
    assert log.lines(logging.INFO) == ["\n" + table(results)]


@pytest.mark.parametrize("how", STARTS)
def test_raise_exception_needs_verify(log, how):
    """Without a check there is nothing to raise."""
    results = start(mixed_runner(), how, verify=False, raise_exception=True)
    assert results["b"]["status"] == "Failed"
    assert log.lines() == []


def test_an_execution_error_survives_pickling():
    """It can be sent home from a process of the user's own."""
    with pytest.raises(concurra.ExecutionError) as caught:
        mixed_runner().run(raise_exception=True)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert str(copy) == str(caught.value)
    assert copy.results == caught.value.results
    assert copy.failed == caught.value.failed


@pytest.mark.parametrize("how", ["run", "execute"])
def test_positional_order(how):
    """`verify, raise_exception, error_message`."""
    assert getattr(mixed_runner(), how)(False, True)["b"]["status"] == "Failed"
    with pytest.raises(concurra.ExecutionError, match="^Pipeline failed\n"):
        getattr(mixed_runner(), how)(True, True, "Pipeline failed")


@pytest.mark.parametrize("outcome", ["terminated", "fallback", "command"])
def test_every_unsuccessful_end_raises(outcome):
    """Terminated tasks and failed commands as well as failed functions."""
    with Gate() as gate:
        runner = concurra.TaskRunner(
            progress_stats=False,
            timeout=0.1 if outcome == "terminated" else None,
            use_multiprocessing=outcome == "fallback",
            fallback_to_thread_on_pickle_error=True,
        )
        if outcome == "terminated":
            runner.add_task(gate.wait, label="a")
        elif outcome == "fallback":
            runner.add_task(lambda: 1 / 0, label="a")
        else:
            runner.add_shell_command("exit 3", label="a")
        with pytest.raises(concurra.ExecutionError) as caught:
            runner.run(raise_exception=True)
    assert list(caught.value.failed) == ["a"]


# verify -----------------------------------------------------------------------


def test_verify_after_a_run(log):
    """It logs the report (again), returns None, and raises on request."""
    runner = mixed_runner()
    results = runner.run(verify=False)
    assert runner.verify() is None
    (report,) = log.lines(logging.ERROR)
    assert report.startswith("Execution Failed\n" + table(results))
    with pytest.raises(concurra.ExecutionError, match="^Execution Failed\n"):
        runner.verify(raise_exception=True)
    with pytest.raises(concurra.ExecutionError, match="^Mine\n"):
        runner.verify(True, "Mine")


def test_verify_after_success(log):
    """The table, and no exception."""
    runner = fine_runner()
    results = runner.run(verify=False)
    assert runner.verify(raise_exception=True, error_message="Mine") is None
    assert log.lines() == ["\n" + table(results)]


def test_verify_with_a_message(log):
    """`error_message` is the first line of the log report."""
    runner = mixed_runner()
    runner.run(verify=False)
    runner.verify(error_message="Mine")
    assert log.lines(logging.ERROR)[0].startswith("Mine\n+---")


@pytest.mark.parametrize("make", [fine_runner, concurra.TaskRunner])
def test_verify_before_the_start(make):
    """It raises, also if there is nothing to run, and says what to call."""
    with pytest.raises(RuntimeError, match=r"Nothing has been run yet: call run\(\)"):
        make().verify()


def test_verify_while_running():
    """It raises as long as the execution is in progress, and works afterwards."""
    with Gate() as gate:
        runner = concurra.TaskRunner(progress_stats=False)
        runner.add_task(gate.wait, label="a")
        runner.execute_in_background()
        gate.reached_by(1)
        with pytest.raises(Exception, match="Execution is still in progress"):
            runner.verify()
        gate.open()
        runner.get_background_results(verify=False)
        assert runner.verify(raise_exception=True) is None


def test_verify_from_inside_a_task():
    """A task of a foreground run finds the execution in progress, too."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(runner.verify, label="a")
    error = runner.run(verify=False)["a"]["error"]
    assert error.endswith(": Execution is still in progress")


def test_verify_after_abort(log):
    """Terminated tasks are failures."""
    runner = fine_runner()
    runner.abort()
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.verify(raise_exception=True)
    assert list(caught.value.failed) == ["a", "b"]


def test_verify_of_nothing(log):
    """An empty run has not failed."""
    runner = concurra.TaskRunner()
    runner.run()
    assert runner.verify(raise_exception=True) is None
    assert log.lines(logging.ERROR) == []


# Results that were changed ----------------------------------------------------


def test_a_failure_that_was_forgiven_is_none(log):
    """A harness that knows of a failure takes it out before it looks at the rest."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(int, "x", label="known")
    runner.add_task(abs, -1, label="other")
    results = runner.run(verify=False)
    results["known"].update(status="Successful", has_failed=False, error=None)
    runner.verify(raise_exception=True)
    assert "Failed" not in log.text()
    assert log.text(logging.INFO).count("Successful") == 2


def test_a_success_that_was_not_accepted_is_a_failure():
    """`has_failed` decides; the report has the result's own words."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_task(abs, -1, label="empty")
    results = runner.run(verify=False)
    results["empty"].update(has_failed=True, error="no rows", trace="see the log")
    with pytest.raises(concurra.ExecutionError) as caught:
        runner.verify(raise_exception=True)
    assert str(caught.value).endswith(
        "Task 'empty' failed with error: no rows\nsee the log"
    )
    assert caught.value.failed == {"empty": results["empty"]}
    assert caught.value.results["empty"] is results["empty"]
