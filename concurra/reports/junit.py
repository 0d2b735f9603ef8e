"""A run as JUnit XML, which Jenkins, GitLab, GitHub's actions and others read.

===========================  =======  ==================================================
cause                        element  why
===========================  =======  ==================================================
success                      none
error, exit                  failure  the work itself says that it went wrong
timeout, lost, unpicklable,  error    something went wrong around it
unavailable
abort                        error    if it was at work: how it would have ended is open
abort, cancel, skip          skipped  it did not run, because of others
untriggered                  skipped  it was for a failure that did not happen
not ended                    skipped  the report was made during the run
===========================  =======  ==================================================

If by this table nothing would be red although not all went well, tasks that were
stopped, cancelled or skipped are errors, and so are all tasks of a run that was never
started, since it may have been refused: a run that has failed has a report that says
so.

Each task is a test case, with the runner's name as its class. Attempts that failed
before the last are there as Maven writes them: ``flakyFailure`` if the task succeeded
in the end, ``rerunFailure`` if not. It is the schema ``junit-10.xsd`` of the plugin
xUnit for Jenkins.
"""

from __future__ import annotations

from html import escape

from .. import checks
from ..errors import CommandExecutionError
from ..outcomes import ABORT, CANCEL, ERROR, EXIT, SKIP, SUCCESS, UNTRIGGERED
from . import files
from .json_file import iso
from .record import NOT_STARTED, TaskRecord, record
from .texts import block, first_line, line, unique

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Final, Iterator, List, Optional, Union

    from ..core import TaskRunner
    from .files import Target
    from .record import RunRecord

PASSED: Final = ""
FAILURE: Final = "failure"
FAULT: Final = "error"
SKIPPED: Final = "skipped"


def write_junit_xml(
    run: Union[TaskRunner, RunRecord],
    file: Target,
    *,
    suite: Optional[str] = None,
    hostname: Optional[str] = None,
) -> None:
    """Write a run as a suite of test cases in JUnit XML.

    What a command printed is the ``system-out`` and ``system-err`` of its test case.
    Colours are left out, and what XML cannot have is shown as in a Python string.

    :param run: a runner, or a record.
    :param file: a path, or a file that is open for writing, as text or as bytes.
    :param suite: the name of the suite; None for that of the runner.
    :param hostname: of the machine; None to leave it out.
    :raises TypeError, ValueError: one of these is something else.
    :raises OSError: the file cannot be written.
    """
    made = record(run)
    suite = checks.text("suite", suite, made.name)
    checks.text("hostname", hostname, "")
    files.write(file, _pieces(made, suite, hostname))


def verdicts(run: RunRecord) -> List[str]:
    """What each task is to a reader of tests: see the table above."""
    found = [_verdict(task) for task in run.tasks]
    if FAILURE not in found and FAULT not in found:
        for task in run.tasks:
            if task.cause in (ABORT, CANCEL, SKIP) or run.state == NOT_STARTED:
                found[task.index] = FAULT
    return found


def _verdict(task: TaskRecord) -> str:
    cause = task.cause
    if cause == SUCCESS:
        return PASSED
    if cause in (ERROR, EXIT):
        return FAILURE
    if cause in (None, CANCEL, SKIP, UNTRIGGERED):
        return SKIPPED
    return SKIPPED if cause == ABORT and not task.attempts else FAULT


def _pieces(run: RunRecord, suite: str, hostname: Optional[str]) -> Iterator[str]:
    found = verdicts(run)
    counts = {
        "tests": str(len(found)),
        "failures": str(found.count(FAILURE)),
        "errors": str(found.count(FAULT)),
    }
    skipped = str(found.count(SKIPPED))
    took = 0.0 if run.started is None else run.until - run.started
    name, time = {"name": line(suite)}, {"time": _seconds(took)}
    more: Dict[str, str] = {}
    if run.started is not None and (moment := iso(run.started)):
        more["timestamp"] = moment
    if hostname is not None:
        more["hostname"] = line(hostname)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<testsuites{_attributes(**name, **counts, **time)}>\n"
    every = {**name, **counts, "skipped": skipped, **time, **more}
    yield f"<testsuite{_attributes(**every)}>\n"
    names = unique(line(task.label) for task in run.tasks)
    for task, label, verdict in zip(run.tasks, names, found):
        yield _case(task, name["name"], label, verdict)
    yield "</testsuite>\n</testsuites>\n"


def _case(task: TaskRecord, suite: str, label: str, verdict: str) -> str:
    inner = []
    if verdict != PASSED:
        inner.append(_verdict_element(task, verdict))
    inner += _reruns(task, verdict)
    if task.stdout:
        inner.append(_element("system-out", block(task.stdout)))
    errors = [f"[concurra] {block(task.warning)}"] if task.warning else []
    if task.stderr:
        errors.append(block(task.stderr))
    if errors:
        inner.append(_element("system-err", "\n".join(errors)))
    time = _seconds(task.duration or 0.0)
    opening = f"<testcase{_attributes(classname=suite, name=label, time=time)}"
    if not inner:
        return f"{opening}/>\n"
    return "\n".join([f"{opening}>", *inner, "</testcase>\n"])


def _verdict_element(task: TaskRecord, verdict: str) -> str:
    error = task.error or task.warning or f"{task.status} when the report was made"
    told = [block(error)]
    if verdict != SKIPPED and task.trace:
        told.append(block(task.trace))
    return _element(
        verdict,
        "\n".join(told),
        type=_type(error) or task.cause or "",
        message=_heading(error),
    )


def _heading(error: str) -> str:
    """An error in one line; of a command's output the last one, which says why."""
    kind, _, rest = error.partition(": ")
    what, _, printed = rest.partition(": ")
    if kind == CommandExecutionError.__name__ and printed.strip():
        last = printed.rstrip().rpartition("\n")[2].rpartition("\r")[2]
        return line(f"{kind}: {what}: {last.strip()}", 300)
    return first_line(error)


def _reruns(task: TaskRecord, verdict: str) -> List[str]:
    """The attempts that failed before the last."""
    name = "flakyFailure" if verdict == PASSED else "rerunFailure"
    errors = [each for _, end, each in task.tries if each and end != task.ended]
    return [
        f"<{name}{_attributes(type=_type(each), message=_heading(each))}>"
        f"{_element('stackTrace', block(each))}</{name}>"
        for each in errors
    ]


def _type(error: str) -> str:
    """The type of an error, from its text."""
    head = error.partition(":")[0]
    return head if head.isidentifier() else ""


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f}"


def _element(tag: str, content: str, **attributes: str) -> str:
    text = escape(content, quote=False)
    return f"<{tag}{_attributes(**attributes)}>{text}</{tag}>"


def _attributes(**attributes: str) -> str:
    """Attributes of an element; their values have no line ends."""
    return "".join(f' {name}="{escape(each)}"' for name, each in attributes.items())
