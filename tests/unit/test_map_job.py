"""The job of a map: chunks of items, in order and no more than are asked for."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from concurra.errors import MapError
from concurra.maps import job as map_job
from concurra.maps.job import MapStep, MapJob, StepOptions
from concurra.maps.values import Chunk
from concurra.outcomes import ERROR, LOST, PART, SUCCESS, Outcome
from concurra.retries import Retry
from concurra.tasks import Call
from concurra.workers.chunk import perform_chunk


def half(number: int) -> float:
    if number < 0:
        raise ValueError(number)
    return number / 2


def job(
    iterable: Iterable[Any], chunksize: int | None = None, **options: Any
) -> MapJob:
    made = MapJob(Call(half, (iterable,)), chunksize, options.pop("exceptions", False))
    made.order = StepOptions(**options)
    return made


def fed(job: MapJob) -> Chunk | None:
    """The next chunk; None if it says that there is none."""
    step = job.step()
    assert type(step) is MapStep
    return step.chunk


def do(job: MapJob, chunk: Chunk | None, seconds: float = 0.0) -> int:
    """Do a chunk, in so many seconds; the number of its items."""
    assert chunk is not None
    outcome = Outcome(PART, "thread", perform_chunk(*chunk.args))
    job.values.arrive(chunk, outcome, seconds)
    return len(chunk.args[1])


def end(job: MapJob) -> Outcome:
    """Do all that there is to be done; how it ends."""
    while True:
        step = job.step()
        if isinstance(step, Outcome):
            return step
        if step.chunk is not None:
            do(job, step.chunk)


@pytest.fixture(autouse=True)
def items_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is: a chunk is cut where its items take too long."""
    monkeypatch.setattr(map_job, "_now", lambda: 0.0)


def test_a_step_takes_one_chunk() -> None:
    """And leaves all else where it is."""
    items = iter(range(10))
    made = job(items, 3)
    chunk = fed(made)
    assert chunk is not None
    assert (chunk.args[1], list(chunk.indexes)) == ([0, 1, 2], [0, 1, 2])
    assert next(items) == 3


@pytest.mark.parametrize("many", range(8))
def test_the_last_is_known_by_its_end(many: int) -> None:
    """Whether or not the last chunk is full."""
    outcome = end(job(iter(range(many)), 3))
    assert outcome.cause is SUCCESS
    assert outcome.value == [number / 2 for number in range(many)]


def test_chunks_grow_until_they_take_long_enough() -> None:
    """From one item on, no more than so many times at once; and no further."""
    made, sizes = job(itertools.count()), []
    for _ in range(6):
        chunk = fed(made)
        sizes.append(do(made, chunk, 1e-5 * len(chunk.args[1]) if chunk else 0))
    growth = map_job.GROWTH
    enough = int(map_job.TARGET / 1e-5)
    assert sizes == [1, growth, growth**2, growth**3, enough, enough]


def test_chunks_grow_faster_where_the_number_of_items_is_known() -> None:
    """The last ones are shared out then, so no large one is left to the end."""
    made, sizes = job(range(1_000_000)), []
    for _ in range(4):
        chunk = fed(made)
        sizes.append(do(made, chunk, 1e-6 * len(chunk.args[1]) if chunk else 0))
    growth = map_job.KNOWN_GROWTH
    assert growth > map_job.GROWTH
    assert sizes == [1, growth, growth**2, map_job.MOST_ITEMS]


def test_chunks_shrink_when_items_take_longer() -> None:
    """And a small chunk that has waited for its turn makes little difference."""
    made = job(itertools.count())
    for _ in range(4):
        many = do(made, fed(made), 1e-6)
    small = job(range(1)).step()
    assert type(small) is MapStep
    do(made, small.chunk, map_job.TARGET)
    large = do(made, fed(made), map_job.TARGET)
    assert large > many // 2
    do(made, fed(made), large * 1.0)
    chunk = fed(made)
    assert chunk is not None and len(chunk.args[1]) == 1


def test_towards_the_end_all_have_their_share() -> None:
    """Where it is known how many there are."""
    made, sizes = job(range(1000), width=4), []
    while True:
        step = made.step()
        if isinstance(step, Outcome):
            break
        if step.chunk is not None:
            seconds = 1e-3 * len(step.chunk.args[1])
            sizes.append(do(made, step.chunk, seconds))
    enough = int(map_job.TARGET / 1e-3)
    assert sum(sizes) == 1000 and max(sizes) == enough
    assert sizes[-1] < enough // 2
    least = enough // map_job.SHARE
    assert all(size >= least for size in sizes[1:-1])


def test_no_chunk_waits_for_items_that_come_slowly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has those that came in time."""
    now = [0.0]
    monkeypatch.setattr(map_job, "_now", lambda: now[0])

    def slowly() -> Iterator[int]:
        for number in itertools.count():
            now[0] += 1.0
            yield number

    made = job(slowly())
    do(made, fed(made), 1e-9)
    assert do(made, fed(made), 1e-9) == 1


def test_what_the_iterable_raises_ends_it() -> None:
    """What it has given before is done, and nothing is tried again."""

    def items() -> Iterator[int]:
        yield from (1, -2, 3)
        raise LookupError("no more")

    made = job(items(), 8, again=True)
    outcome = end(made)
    assert outcome.error == "LookupError: no more"
    assert not outcome.retry
    assert made.values.known() == {0: 0.5, 2: 1.5}


def test_no_more_is_taken_when_the_task_has_ended() -> None:
    """A chunk is taken in pieces, of which one may be on its way by then."""
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            if number == 10:
                made.values.close()
            yield number

    made = job(items(), 1000)
    made.step()
    made.step()
    assert 10 < len(taken) < 20


@pytest.mark.parametrize("error", (TypeError, NotImplementedError, OverflowError))
def test_a_length_that_is_not_known_costs_nothing(error: type[Exception]) -> None:
    """Its items are taken till their end, as if it had none."""

    class Endless:
        def __len__(self) -> int:
            raise error

        def __iter__(self) -> Any:
            return iter([2, 4])

    made = job(Endless())
    assert sum(do(made, fed(made)) for _ in range(2)) == 2
    outcome = end(made)
    assert (outcome.cause, outcome.value) == (SUCCESS, [1.0, 2.0])


def test_only_what_failed_is_tried_again() -> None:
    """As the iterable of the next attempt."""
    calls: list[int] = []

    def once(number: int) -> int:
        calls.append(number)
        if number % 3 == 0 and calls.count(number) == 1:
            raise ValueError(number)
        return number

    made = MapJob(Call(once, (iter(range(8)),)), 2, False)
    made.order = StepOptions(again=True)
    outcome = end(made)
    assert outcome.retry and isinstance(outcome.exception, MapError)
    assert outcome.exception.errors == {n: f"ValueError: {n}" for n in (0, 3, 6)}
    assert end(made).value == list(range(8))
    assert calls == [*range(8), 0, 3, 6]


@pytest.mark.parametrize("length", [None, 6])
def test_how_many_items_are_done(length: int | None) -> None:
    """With their number, if it is known; what is tried again is not done."""
    failing = {0, 3}

    def once(number: int) -> int:
        if number in failing:
            raise ValueError(number)
        return number

    made = MapJob(Call(once, (range(6) if length else iter(range(6)),)), 2, False)
    made.order = StepOptions(again=True)
    seen = [made.progress]
    while isinstance(step := made.step(), MapStep):
        if step.chunk is not None:
            do(made, step.chunk)
            seen.append(made.progress)
    assert seen == [(0, None), (1, length), (2, length), (4, length)]
    failing.clear()
    assert made.progress == (4, 6)
    do(made, fed(made))
    assert made.progress == (6, 6)
    assert end(made).value == list(range(6))


def test_the_last_attempt_says_how_it_ends() -> None:
    """It keeps nothing for another one, and counts all items."""
    made = job([1, -1, -2], 2, again=True)
    assert end(made).retry
    made.order = StepOptions(again=False)
    outcome = end(made)
    assert not outcome.retry and isinstance(outcome.exception, MapError)
    assert (len(outcome.exception.errors), outcome.exception.total) == (2, 3)
    assert made.values.items == {}


def test_the_rule_is_asked_about_each_error() -> None:
    """What it does not name is final; the others are tried again all the same."""
    made = job([-1, 1], 1, again=True, retry=Retry(1, on=KeyError))
    outcome = end(made)
    assert not outcome.retry
    made = job([-1, "x"], 1, again=True, retry=Retry(1, on=TypeError))
    assert end(made).retry
    made.order = StepOptions(again=False)
    outcome = end(made)
    assert isinstance(outcome.exception, MapError)
    assert len(outcome.exception.errors) == 2


def test_exceptions_among_the_values() -> None:
    """After the last attempt; the task succeeds."""
    made = job([1, -1], 2, exceptions=True, again=True)
    assert end(made).cause is ERROR
    made.order = StepOptions(again=False)
    outcome = end(made)
    assert outcome.cause is SUCCESS
    assert outcome.value[0] == 0.5 and isinstance(outcome.value[1], ValueError)


@pytest.mark.parametrize("exceptions", [False, True])
def test_a_chunk_that_is_lost_fails_it(exceptions: bool) -> None:
    """All of its items are, and nothing is known of exceptions of theirs."""
    made = job([1, 2, 3], 2, exceptions=exceptions, again=True)
    chunk = fed(made)
    assert chunk is not None
    lost = Outcome(LOST, "process", None, "RuntimeError: lost")
    made.values.arrive(chunk, lost, 0.0)
    outcome = end(made)
    assert outcome.error == (
        "MapError: 2 of 3 items failed, the first of them item 0: RuntimeError: lost "
        "(it befell a chunk of 2 items)"
    )
    assert not outcome.retry
    assert made.values.known() == {2: 1.5}


def test_what_befell_a_chunk_is_told_where_exceptions_are_values() -> None:
    """What its items raised, as they were to, is not what the task fails of."""
    made = job([-1, 1, 2, 3], 2, exceptions=True)
    do(made, fed(made))
    chunk = fed(made)
    assert chunk is not None
    made.values.arrive(chunk, Outcome(LOST, "process", None, "RuntimeError: lost"), 0.0)
    assert end(made).error == (
        "MapError: 2 of 4 items failed, the first of them item 2: RuntimeError: lost "
        "(it befell a chunk of 2 items)"
    )


@pytest.mark.parametrize(("length", "of"), [(True, 5), (False, 1)])
def test_how_many_there_are_is_told_if_some_were_not_begun(
    length: bool, of: int
) -> None:
    """As far as it is known."""
    items = [-1, 1, 2, 3, 4]
    made = job(items if length else iter(items), 1)
    do(made, fed(made))
    made.order = StepOptions(hurry=True)
    assert str(end(made).error).startswith(f"MapError: 1 of {of} items failed, ")


@pytest.mark.parametrize("begun", [False, True])
def test_coroutines_are_closed_of_what_is_taken_away(begun: bool) -> None:
    """Also if that which is at work raises then: nobody is warned of the others."""
    made: list[Any] = []
    items = [1, 2, 3]

    async def stop() -> None:
        items.clear()
        raise KeyboardInterrupt

    def begin(item: int) -> Any:
        if item == 2 and not begun:
            items.clear()
            raise KeyboardInterrupt
        made.append(stop())
        return made[-1]

    with pytest.raises(KeyboardInterrupt):
        perform_chunk(begin, items, None, False)
    assert [inspect.getcoroutinestate(each) for each in made] == (
        ["CORO_CLOSED"] * (3 if begun else 1)
    )


def test_one_in_a_hurry_ends_with_what_there_is() -> None:
    """The iterable is not asked for more."""
    items = iter([-1, 1, 2])
    made = job(items, 1)
    do(made, fed(made))
    made.order = StepOptions(hurry=True)
    outcome = made.step()
    assert isinstance(outcome, Outcome) and "1 of 1 items" in str(outcome.error)
    assert next(items) == 1


def test_an_arrival_that_is_told_twice_counts_once() -> None:
    """A decision that was cut short is made again."""
    made = job([1, 2], 1)
    for _ in range(2):
        chunk = fed(made)
        for _ in range(2):
            do(made, chunk)
    assert end(made).value == [0.5, 1.0]


def test_items_of_chunks_that_succeeded_are_let_go_of() -> None:
    """Before anybody looks at what has arrived."""
    made = job([1, -1], 1, again=True)
    for chunk in [fed(made), fed(made)]:
        do(made, chunk)
    kept = [arrival[2] for arrival, _, _ in made.values.arrived]
    assert kept == [None, [-1]]


def test_its_name_and_identity_are_those_of_the_function() -> None:
    """The size of chunks makes no difference; whether exceptions are values does."""
    one, other = job([1], 1), job([1], 5)
    assert (one.name, one.title, one.module) == ("half", "half", __name__)
    assert one.identity == other.identity != job([1], exceptions=True).identity
