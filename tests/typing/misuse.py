"""Mistakes that type checkers must find: one on each line marked ``# E:``.

Behind the mark stands what is wrong. The lines without it are right.
"""

from __future__ import annotations

from typing import Dict, List

import concurra
from concurra import reports


def power(base: int, exponent: int = 2) -> int:
    """A task."""
    return base * exponent


runner = concurra.TaskRunner(max_concurrency=2)
concurra.TaskRunner(max_concurrency="2")  # E: a number
concurra.TaskRunner(timeout="1 min")  # E: a number of seconds
concurra.TaskRunner(max_workers=2)  # E: it is called max_concurrency
concurra.TaskRunner(1, "", 2, True, True, True, None, True, True, 0, "x")  # E: by name
concurra.TaskRunner(logger="name")  # E: a logger, not its name

runner.add_task(power(3))  # E: a function, not what it returned
runner.add_task()  # E: a function is needed
runner.add_task(power, 3, label=["a"])  # E: a label is hashable
runner.add_task(power, 3, depends_on=3)  # E: a collection of labels
runner.add_task(power, 3, depends_on=[["a"]])  # E: a label is hashable
runner.add_task(power, 3, task_retries="2")  # E: a number
runner.add_task(power, 3).result()  # E: a reference is no future
runner.add_command(["ls"])["stdout"]  # E: a reference is no result
runner.add_function(power, 3)  # E: arguments stand in a container
runner.add_function(power, (3,), ["exponent"])  # E: a mapping
runner.add_function(power, label="a")  # E: it is called key
runner.map(power, 3)  # E: an iterable
runner.map(power, [3], 5)  # E: chunksize is a keyword
runner.map(power, [3], task_retries=1)  # E: options go with the function
runner.add_work([power])  # E: tuples
runner.add_work((power, (3,)))  # E: many tuples, not one

runner.add_command("echo hello")  # E: a list; shell lines are for add_shell_command
runner.add_command(["sleep", 1])  # E: strings only
runner.add_command(["env"], env={"LEVEL": 1})  # E: strings only
runner.add_command(["env"], shell=True)  # E: see add_shell_command
runner.add_shell_command(["echo", "hello"])  # E: a string
runner.add_command(["make"], executable="/bin/bash")  # E: for shell lines
runner.add_command(["make"], stop_signal=1.5)  # E: a signal

results = runner.run()
result = results["a"]
result["state"]  # E: no such field
result["status"] = "Done"  # E: no such status
result["execution_mode"] = "threads"  # E: no such mode
result["attempts"] = "1"  # E: a number
result["error"].upper()  # E: it may be None
result["duration_seconds"].split()  # E: a number; the text is in duration
result["label"] = "a"  # E: a result has its fields and no others
del result["output"]  # E: a result keeps its fields
result.status  # E: a dict has no attributes
as_list: List[concurra.Result] = results  # E: a dict by label
lengths: Dict[str, int] = runner.run()  # E: of results
done: concurra.CommandResult = result["result"]
done["code"]  # E: it is called returncode
done["returncode"].strip()  # E: a number
done["command"].append("-x")  # E: it may be a string
number: int = runner.add_task(power, 3)  # E: it returns a reference
runner.join()  # E: no such method

concurra.TaskRunner(run_timeout="1 h")  # E: a number of seconds
concurra.TaskRunner(4, executor=power)  # E: an object with a method submit
runner.add_command(["true"], local="no")  # E: true or false
runner.add_command(["true"], keep_remote=True)  # E: of functions alone
concurra.TaskRunner(resources=["db"])  # E: a mapping
concurra.TaskRunner(initializer="f")  # E: a function
concurra.TaskRunner(task_retries="2")  # E: a number, or a Retry
concurra.Retry("3")  # E: a number
concurra.Retry(3, 1)  # E: the rest by name
concurra.Retry(3, on="OSError")  # E: a type, not its name
concurra.Retry(3, on=OSError())  # E: a type, not an error
concurra.Retry(3, delay="1 s")  # E: a number of seconds
concurra.Retry(3, wait=1)  # E: it is called delay
concurra.task(priority="high")  # E: a number
concurra.task(resources={"db": "1"})  # E: numbers
concurra.task(retries=1)  # E: it is called task_retries
concurra.task(power)("3")  # E: it has the function's signature
runner.add_function(power, (3,), timeout="1")  # E: a number of seconds
runner.add_function(power, (3,), trigger_rule=1)  # E: a string
runner.add_command(["true"], priority="high")  # E: a number
every = (None, None, None, True, True, True, 0, 5)
runner.add_command(["true"], "a", *every)  # E: the rest by name
runner.add_command(["true"], max_output="1M")  # E: a number
runner.add_command(["true"], stdout=1)  # E: a path
concurra.TaskRunner(output=True)  # E: a string
runner.wait("1")  # E: a number of seconds
runner.counts()["waiting"].upper()  # E: a number
runner.exit_code()  # E: no call
runner.cancel()  # E: a label
runner.exception("a").args  # E: it may be None
concurra.current_task().label  # E: it may be None


@concurra.task(priority=1)
def load(url: str) -> str:
    """A task with options."""
    return url


load(3)  # E: a string


a = runner.add_task(power, 3)
a.result  # E: there is none before the run
a.label.upper()  # E: a label may be anything
concurra.ref(["a"])  # E: a label is hashable
runner.add_command(["echo", [a]])  # E: not within a list
runner.add_command(["true"], cwd=a)  # E: a path
runner.add_shell_command(a)  # E: a string
concurra.TaskRunner(observers=concurra.Observer())  # E: a list of them
concurra.TaskRunner(observers=[print])  # E: observers
concurra.TaskRunner(keep_results="no")  # E: true or false
for each, done in runner.as_completed_async():  # E: it takes an async for
    pass
for label in runner.as_completed():
    label.upper()  # E: a label and its result
runner.run_async()["a"]  # E: it is to be awaited
reports.write_json("run", "run.json")  # E: a runner, or a record
reports.write_junit_xml(runner, 1)  # E: a path, or a file
reports.to_dot(runner, 3)  # E: by name


class Bar(concurra.Observer):
    """An observer that is wrong."""

    def on_task_end(self, label: str) -> None:  # E: it is given a fact
        """A task has ended."""
