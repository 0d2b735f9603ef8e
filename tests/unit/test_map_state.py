"""Maps among the decisions of a run: without threads, time or processes."""

from __future__ import annotations

import random
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from concurra.engine.effects import ABANDON, FINISH, START, STOP
from concurra.engine.map_state import MapState
from concurra.engine.slots import AT_WORK, COMING, GONE, PARKED, STOPPING
from concurra.events import Events
from concurra.maps.job import MapJob
from concurra.maps.parts import Part
from concurra.outcomes import LOST, PART, SUCCESS, UNAVAILABLE, Outcome
from concurra.plan.plan import Plan
from concurra.retries import Retry
from concurra.tasks import Call, Task
from concurra.workers.chunk import perform_chunk
from tests.unit.replay import Replay, struck_at
from tests.unit.support import Planned, error_of, make, success


def double(number: int) -> int:
    return number * 2


def mapped(
    label: Hashable,
    many: int,
    *needs: Hashable,
    func: Any = double,
    chunksize: int = 1,
    retries: int = 0,
    **chosen: Any,
) -> Task:
    """A map of the numbers below ``many``."""
    job = MapJob(Call(func, (iter(range(many)),)), chunksize, False)
    return Planned(label, job, needs, retries, **chosen)


class Maps(Replay):
    """A state with maps. What a slot has is told as its label, or as items."""

    def make(self, plan: Plan, events: Events, **options: Any) -> MapState:
        for task in plan.tasks.values():
            if isinstance(task.job, MapJob):
                plan.mapped[task] = task.job.values
        return MapState(plan, events, **options)

    def come(self, number: int, now: float = 0.0) -> Any:
        super().come(number, now)
        return self.has(number)

    def end(self, number: int, outcome: Outcome, now: float = 0.0) -> Any:
        super().end(number, outcome, now)
        slot = self.slots[number]
        return None if slot.following is None else self.has(number)

    def has(self, number: int) -> Any:
        """What a slot is at: a label, the items of a chunk, or a step of a map."""
        task = self.slots[number].task
        if task is None or type(task) is Part:
            return task and list(task.job.args[1])  # type: ignore[union-attr]
        return f"{task.label} step" if isinstance(task.job, MapJob) else task.label

    def do(self, number: int, now: float = 0.0) -> Any:
        """A slot does what it is at; what it has then."""
        self.begin(number)
        return self.end(number, self.outcome(number), now)

    def outcome(self, number: int) -> Outcome:
        task = self.slots[number].task
        assert task is not None and task.job is not None
        job: Any = task.job
        if isinstance(job, MapJob):
            return Outcome(SUCCESS, "thread", job.step())
        if type(task) is Part:
            return Outcome(SUCCESS, "thread", perform_chunk(*job.args))
        return success()

    def values(self, label: Hashable) -> Any:
        outcome = self.tasks[label].outcome
        return None if outcome is None else outcome.value


def play(run: Maps, order: Any = None) -> None:
    """Let all slots do what there is, until it is over."""
    for turn in range(500):
        for effect in run.effects():
            if effect[0] == ABANDON:
                run.state.abandoned()
        found = list(enumerate(run.slots))
        for number, slot in found if order is None else order(found):
            if slot.state == COMING:
                run.come(number, 2.0)
            elif slot.state == AT_WORK:
                run.do(number, 2.0)
            elif slot.state == STOPPING:
                run.state.gone(slot, 2.0)
        if not (run.state.effects or run.state.slots.busy):
            break
    assert run.state.over
    assert run.state.plan.remaining == 0 and run.events.ended == len(run.tasks)


def test_a_slot_makes_a_chunk_and_does_it() -> None:
    """Another one is called meanwhile, for the next."""
    run = Maps(mapped("m", 3), limit=2)
    assert run.open() == [(START, 0)]
    assert run.come(0) == "m step"
    assert run.effects() == []
    assert run.do(0) == [0]
    assert run.effects() == [(START, 1)]
    assert run.come(1) == "m step"
    assert run.effects() == []
    assert run.do(0) is None  # the other one is asking for more
    assert run.come(0) is None
    assert run.do(1) == [1]
    assert run.effects() == [(START, 0)]
    assert run.come(0) == "m step"


def test_it_ends_when_all_parts_have() -> None:
    """Whoever brings the last one asks for the list, and that is the outcome."""
    run = Maps(mapped("m", 2, chunksize=2), make("after", "m"), limit=1)
    run.open()
    assert run.come(0) == "m step"
    assert run.do(0) == [0, 1]
    assert run.do(0) == "m step"
    assert run.do(0) == "m step"
    assert run.do(0) == "after"
    assert run.values("m") == [0, 2]
    assert run.tasks["m"].attempts == 1
    assert run.do(0) is None
    run.come(0)
    assert run.effects() == [(FINISH,)]


def test_the_last_step_waits_for_parts_at_work() -> None:
    """It is not asked for the list before that."""
    run = Maps(mapped("m", 1), limit=2)
    run.open()
    run.come(0)
    assert run.do(0) == [0]
    assert run.effects() == [(START, 1)]
    assert run.come(1) == "m step"
    assert run.do(1) is None  # there is no more
    assert run.come(1) is None
    assert run.effects() == []
    assert run.do(0) == "m step"


def test_the_first_added_is_first() -> None:
    """Parts have the place of their map."""
    run = Maps(make("a"), mapped("m", 2), make("z"), limit=1)
    run.open()
    seen = [run.come(0)]
    while run.slots[0].state == AT_WORK:
        seen.append(run.do(0))
    assert seen[:-1] == ["a", "m step", [0], "m step", [1], "m step", "m step", "z"]


def test_parts_hold_the_resources_of_their_map() -> None:
    """While they are at work."""
    chosen = {"resources": {"db": 1}}
    run = Maps(mapped("m", 9, **chosen), make("a"), limit=3, resources={"db": 1})
    run.open()
    assert [run.come(0), run.come(1)] == ["m step", "a"]
    assert run.do(0) == [0]
    assert run.effects() == []  # nothing of it can begin
    play(run)
    assert run.values("m") == [2 * n for n in range(9)]


@pytest.mark.parametrize("cause", [LOST, UNAVAILABLE])
def test_a_part_that_has_not_begun_is_given_back(cause: str) -> None:
    """Another slot has it then; none is lost or done twice."""
    run = Maps(mapped("m", 4), limit=2)
    run.open()
    run.come(0), run.do(0), run.effects(), run.come(1), run.do(1)
    assert (run.has(0), run.has(1)) == ([0], [1])
    run.end(0, Outcome(cause, None, None, "OSError: none"))
    play(run)
    assert run.values("m") == [0, 2, 4, 6]


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_slot_that_goes_costs_nothing(at: int) -> None:
    """Whether it had a part, or was about to make one."""
    run = Maps(mapped("m", 4), limit=2)
    run.open()
    run.come(0)
    for _ in range(at):
        run.do(0)
    run.effects()
    run.state.gone(run.slots[0], 1.0)
    play(run)
    assert run.values("m") == [0, 2, 4, 6]


def test_a_cancel_stops_all_slots_that_are_at_it() -> None:
    """And takes away what waits."""
    run = Maps(mapped("m", 9), make("a"), limit=3)
    run.open()
    run.come(0), run.do(0), run.effects(), run.come(1), run.do(1)
    assert (run.has(0), run.has(1)) == ([0], [1])
    run.begin(0), run.begin(1)
    assert run.state.cancel(run.tasks["m"], 1.0)
    assert run.states()[:2] == [STOPPING, STOPPING]
    stops = [effect for effect in run.effects() if effect[0] == STOP]
    assert sorted(number for _, number, _ in stops) == [0, 1]
    assert not run.state.cancel(run.tasks["m"], 1.0)
    assert run.tasks["m"].attempts == 1
    play(run)
    assert run.statuses() == {"m": "Terminated", "a": "Successful"}


def test_a_cancel_between_parts() -> None:
    """It has begun, though no slot is at it now."""
    run = Maps(mapped("m", 9), make("a", priority=1), make("b"), limit=1)
    run.open()
    assert run.come(0) == "a"
    assert run.do(0) == "m step"
    run.do(0)
    run.end(0, Outcome(LOST, None, None, "E: lost"))
    run.state.gone(run.slots[0], 1.0)
    assert run.state.cancel(run.tasks["m"], 1.0)
    outcome = run.tasks["m"].outcome
    assert outcome and outcome.mode == "thread" and run.tasks["m"].attempts == 1
    play(run)


def test_the_timeout_is_from_its_start() -> None:
    """However many parts there have been."""
    run = Maps(mapped("m", 9, timeout=5), limit=2)
    run.open()
    run.come(0, 1.0)
    assert run.state.next_moment == 6.0
    for now in (2.0, 3.0, 4.0):
        run.do(0, now)
    assert run.state.next_moment == 6.0
    run.state.expire(6.0)
    assert (
        error_of(run.tasks["m"]) == "TimeoutError: Task exceeded timeout of 5 seconds"
    )
    play(run)


def test_the_timeout_of_an_attempt_costs_a_part() -> None:
    """It has ended when its slot has gone; there is another attempt after that."""
    retry = Retry(1, attempt_timeout=3)
    run = Maps(mapped("m", 2, task_retries=retry), limit=1)
    run.open()
    run.come(0)
    run.do(0, 1.0)
    assert run.has(0) == [0]
    run.begin(0)
    run.state.expire(4.0)
    assert run.states() == [STOPPING]
    assert run.tasks["m"].outcome is None
    run.state.gone(run.slots[0], 5.0)
    play(run)
    assert run.values("m") == [0, 2]
    assert run.tasks["m"].attempts == 2


def test_an_abort_ends_it() -> None:
    """With what was at hand."""
    run = Maps(mapped("m", 9), mapped("n", 9), limit=2)
    run.open()
    run.come(0), run.do(0), run.begin(0)
    run.state.stop(1.0)
    outcome = run.tasks["m"].outcome
    assert outcome and outcome.mode == "thread" and run.tasks["m"].attempts == 1
    assert run.tasks["n"].attempts == 0
    play(run)


def test_fast_fail_ends_it_with_the_first_failure() -> None:
    """By its own next step, which is taken before the next part."""

    def fail(number: int) -> None:
        raise ValueError(number)

    run = Maps(mapped("m", 99, func=fail), make("a"), limit=1, fast_fail=True)
    run.open()
    run.come(0)
    assert run.do(0) == [0]
    assert run.do(0) == "m step"
    run.do(0)
    assert run.statuses() == {"m": "Failed", "a": "Terminated"}
    play(run)


def test_a_retry_is_of_what_failed() -> None:
    """The attempts are the map's."""
    calls: list[int] = []

    def once(number: int) -> int:
        calls.append(number)
        if calls.count(1) == 1 == number:
            raise ValueError(number)
        return number

    run = Maps(mapped("m", 3, func=once, retries=2), make("z", "m"), limit=2)
    run.open()
    play(run)
    assert sorted(calls) == [0, 1, 1, 2]
    assert run.tasks["m"].attempts == 2
    assert run.values("m") == [0, 1, 2]


def test_what_waits_is_let_go_of_elsewhere() -> None:
    """Items may have finalizers, which are not called in a decision."""
    run = Maps(mapped("m", 9), limit=1)
    run.open()
    run.come(0), run.do(0)
    job = run.slots[0].task.job  # type: ignore[union-attr]
    run.state.cancel(run.tasks["m"], 1.0)
    assert job in run.state.plan.dropped


@pytest.mark.parametrize("retry", [False, True])
@pytest.mark.parametrize("done", range(1, 9))
def test_a_decision_can_be_struck_at_any_line(done: int, retry: bool) -> None:
    """Made anew, it comes to what it would have come to; nothing is lost or doubled."""

    def once(number: int) -> int:
        calls.append(number)
        if retry and calls.count(1) == 1 == number:
            raise ValueError(number)
        return number

    ends = set()
    for line in range(1, 400):
        calls: list[int] = []
        run = Maps(mapped("m", 3, func=once, retries=1), make("z", "m"), limit=2)
        run.open()
        run.come(0)
        for turn in range(done):
            slot = run.slots[0]
            if slot.state == COMING:
                run.come(0)
            if slot.state == AT_WORK and turn < done - 1:
                run.do(0)
        if run.slots[0].state != AT_WORK:
            run.come(0) if run.slots[0].state == COMING else None
        outcome = run.outcome(0)
        run.begin(0)
        struck = struck_at(line, lambda: run.end(0, outcome, 1.0))
        if struck:
            run.state.rebuild(1.0)
            run.state.ended(run.slots[0])
        play(run)
        ends.add((*run.values("m"), run.tasks["m"].attempts, *sorted(calls)))
        if not struck:
            break
    assert line > 20 and len(ends) == 1, ends


@settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=3),
    limit=st.integers(1, 4),
    seed=st.integers(0, 1 << 32),
)
def test_any_order_comes_to_the_same(sizes: list[int], limit: int, seed: int) -> None:
    """Whoever comes first; with decisions made anew, and slots that go."""
    draw = random.Random(seed)
    tasks = [mapped(f"m{n}", many, chunksize=2) for n, many in enumerate(sizes)]
    run = Maps(*tasks, make("z", *[task.label for task in tasks]), limit=limit)
    run.open()

    def order(found: list[Any]) -> list[Any]:
        if draw.random() < 0.5:
            run.state.rebuild(2.0)
        draw.shuffle(found)
        for _, slot in found[:1]:
            if slot.state == AT_WORK and draw.random() < 0.1:
                run.state.gone(slot, 2.0)
        return [each for each in found if each[1].state != GONE]

    play(run, order)
    for number, many in enumerate(sizes):
        assert run.values(f"m{number}") == [2 * n for n in range(many)]
    assert PARKED not in run.states() or run.state.over
    assert PART not in {t.outcome.cause for t in run.tasks.values() if t.outcome}
