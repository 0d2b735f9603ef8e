"""Runs to report on."""

from __future__ import annotations

from hypothesis import strategies as st

import concurra
from concurra import Retry, reports
from concurra.outcomes import STATUS
from concurra.reports import RunRecord, TaskRecord

#: What is in no text that a program should print raw.
HOSTILE = "<b>&\"' ]]> <script>x</script> \x1b[31m \x00 \x07 \u202e \udcff \u2028 \\ `;"


class Boom(Exception):
    """Raised by tasks."""


def boom() -> None:
    raise Boom("it is broken")


class Flaky:
    """Fails as often as it was told to."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self) -> str:
        self.times -= 1
        if self.times >= 0:
            raise Boom(f"{self.times} more")
        return "done"


def varied() -> concurra.TaskRunner:
    """A runner whose tasks come to all kinds of ends, two at a time."""
    runner = concurra.TaskRunner(2, name="varied", progress_stats=False)
    runner.add_function(Flaky(2), key="flaky", task_retries=Retry(2, delay=0.01))
    runner.add_task(boom, label="boom")
    runner.add_task(abs, -1, label="skipped", depends_on=["boom"])
    runner.add_task(max, "flaky", "boom", label="fine", depends_on=["flaky"])
    line = "echo out; echo err >&2; exit 3"
    runner.add_command(["sh", "-c", line, "secret"], label="command")
    stay = ["sleep", "20"]
    runner.add_command(stay, label="late", depends_on=["fine"], timeout=0.3)
    never = concurra.task(abs, trigger_rule="one_failed")
    runner.add_task(never, 2, label="untriggered", depends_on=["fine"])
    runner.add_task(abs, -1, label="cancelled", depends_on=["late"])
    runner.cancel("cancelled")
    return runner


def ran() -> concurra.TaskRunner:
    """The same after its run."""
    runner = varied()
    runner.run(verify=False)
    return runner


def timed() -> RunRecord:
    """Of that run, as if each task had taken what it takes on a quiet machine."""
    record = reports.record(ran())
    took = (0.02, 0.0, None, 0.0, 0.01, 0.3, None, None)
    for task, duration in zip(record.tasks, took):
        assert (task.duration is None) is (duration is None), task.label
        task.duration = duration
    return record


def made_up(many: int = 3, **fields: object) -> RunRecord:
    """A record of tasks that never were, in a chain, on two lanes."""
    tasks = [
        TaskRecord(
            index=index,
            label=f"task {index}",
            name="work",
            depends_on=[index - 1] if index else [],
            status="Successful",
            cause="success",
            started=1000.0 + index,
            ended=1001.0 + index,
            duration=1.0,
            attempts=1,
            tries=[(1000.0 + index, 1001.0 + index, None)],
            lane=index % 2,
            mode="thread",
            **fields,  # type: ignore[arg-type]
        )
        for index in range(many)
    ]
    return RunRecord(
        name="made up",
        state="ended",
        max_concurrency=2,
        started=1000.0,
        ended=1000.0 + many,
        moment=2000.0,
        tasks=tasks,
        concurra_version="1.2.3",
    )


#: Texts with all that is hard to write down: any character, lone surrogates among them.
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(
    (HOSTILE, "", "]]>", "\n\r\n\t", "x" * 5000, "--><!--", "\x1b]0;title\x07", "-")
)


def hostile_records() -> st.SearchStrategy[RunRecord]:
    """Records in which every text may be anything, made as programs may make them."""
    statuses = {"Waiting": None, "Running": None, **{v: k for k, v in STATUS.items()}}

    def tasks(drawn: list[tuple[str, list[str], str]]) -> RunRecord:
        made = []
        for index, (status, texts, cause) in enumerate(drawn):
            first, second, third = texts
            over = status not in ("Waiting", "Running")
            ran = over and cause not in ("skip", "untriggered")
            made.append(
                TaskRecord(
                    index=index,
                    label=first,
                    name=second,
                    kind="command" if index % 2 else "function",
                    program=third,
                    status=status,
                    status_text=second,
                    cause=(cause if STATUS[cause] == status else statuses[status]),
                    depends_on=range(max(0, index - 2), index),
                    started=1000.0 + index if ran or status == "Running" else None,
                    ended=1002.5 + index if over else None,
                    ready=1000.0 if ran else None,
                    duration=2.5 if ran else None,
                    attempts=2 if ran else 0,
                    tries=(
                        [
                            (1000.0 + index, 1001.0 + index, first),
                            (1001.5 + index, 1002.5 + index, third),
                        ]
                        if ran
                        else []
                    ),
                    mode=third,
                    error=first if over else None,
                    trace=second if over else None,
                    warning=third,
                    retry_errors=[first],
                    result=third,
                    stdout=second,
                    stderr=first,
                    lane=index if ran or status == "Running" else None,
                    skipped_because_of=third if cause == "skip" else None,
                )
            )
        return RunRecord(
            name=drawn[0][1][0] if drawn else "",
            state="running",
            max_concurrency=2,
            started=1000.0,
            moment=1010.0,
            tasks=made,
        )

    task = st.tuples(
        st.sampled_from(sorted(statuses)),
        st.lists(TEXTS, min_size=3, max_size=3),
        st.sampled_from(sorted(STATUS)),
    )
    return st.lists(task, max_size=4).map(tasks)
