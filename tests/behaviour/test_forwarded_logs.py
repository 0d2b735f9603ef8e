"""What tasks log in processes, and the handlers of the program."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from functools import partial

import pytest

import concurra
from tests.helpers import START_METHODS, run_script

from . import quiet_deeds
from .support import BOUND, SAME_LIBRARY

UNFORKED = [method for method in START_METHODS if method != "fork"]
NAME = "users.tasks"


class Keeper(logging.Handler):
    """Keeps records."""

    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def texts(self):
        return [record.getMessage() for record in self.records]


@pytest.fixture
def kept():
    """What the logger of the tasks is given, at DEBUG and above, and nobody else."""
    logger, keeper = logging.getLogger(NAME), Keeper()
    before = logger.level, logger.propagate
    logger.addHandler(keeper)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield keeper
    logger.removeHandler(keeper)
    logger.setLevel(before[0])
    logger.propagate = before[1]


def runner_of(method, workers=1, **options):
    return concurra.TaskRunner(
        workers,
        use_multiprocessing=True,
        mp_context=method,
        progress_stats=False,
        **options,
    )


def run(method, function, *args, workers=1, label="it", **options):
    runner = runner_of(method, workers, **options)
    runner.add_task(function, *args, label=label)
    return runner.run(verify=False)[label]


def say(*texts, name=NAME, level=logging.INFO, **how):
    for text in texts:
        logging.getLogger(name).log(level, text, **how)
    return os.getpid()


# What comes ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNFORKED)
def test_records_come_to_the_handlers_of_the_program(kept, method):
    """As they were logged, with the process, and with the label of the task."""
    pid = run(method, say, "one", "two", label="a task")["result"]
    assert kept.texts() == ["one", "two"]
    record = kept.records[0]
    assert (record.name, record.levelno, record.levelname) == (NAME, 20, "INFO")
    assert record.concurra_label == "a task"
    assert record.process == pid != os.getpid()
    assert record.processName == "concurra-worker"
    assert record.funcName == "say" and record.filename == os.path.basename(__file__)
    assert abs(record.created - time.time()) < BOUND * 3


@pytest.mark.parametrize("label, found", [(7, 7), (("a", 1), ("a", 1))])
def test_the_label_is_as_in_the_task(kept, label, found):
    """See `current_task`."""
    run(UNFORKED[0], say, "x", label=label)
    assert kept.records[0].concurra_label == found


def say_oddly():
    log = logging.getLogger(NAME)
    log.info("with %s and %r", threading.Lock(), lambda: None)
    try:
        raise ValueError("of the task")
    except ValueError:
        log.exception("raised")
    log.info("stack", stack_info=True)
    log.info("extra", extra={"plain": 1, "more": {"a": [1]}, "lock": threading.Lock()})
    log.info("only there", extra={"local": OnlyThere()})
    log.info("not %d a number", "text")
    log.info(Text("of a class"))
    log.info("last")


class OnlyThere:
    """Can be pickled, but unpickled in the process alone that has made it."""

    def __init__(self):
        self.pid = os.getpid()

    def __setstate__(self, state):
        if state["pid"] != os.getpid():
            raise ValueError("not here")


class Text(str):
    pass


@pytest.mark.parametrize("method", UNFORKED)
def test_records_of_whatever_content_are_whole(kept, method):
    """Arguments, errors and stacks as text; what cannot be sent as its repr."""
    assert run(method, say_oddly)["status"] == "Successful"
    by_text = {record.getMessage().split()[0]: record for record in kept.records}
    assert list(by_text) == ["with", "raised", "stack", "extra", "only", "of", "last"]
    assert "<unlocked _thread.lock object" in by_text["with"].getMessage()
    assert "<function say_oddly.<locals>.<lambda>" in by_text["with"].getMessage()
    raised = logging.Formatter().format(by_text["raised"])
    assert (
        raised.startswith("raised\nTraceback") and "ValueError: of the task" in raised
    )
    assert "say_oddly" in by_text["stack"].stack_info
    extra = by_text["extra"]
    assert (extra.plain, extra.more) == (1, {"a": [1]})
    assert "_thread.lock object" in extra.lock
    assert not hasattr(by_text["only"], "local")
    assert type(by_text["of"].msg) is str


def say_in_threads(count):
    def talk(number):
        for index in range(count):
            say(f"{number} {index}")

    threads = [threading.Thread(target=talk, args=(each,)) for each in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return "x" * (1 << 20)


@pytest.mark.parametrize("method", UNFORKED)
def test_threads_of_a_task(kept, method):
    """Their records are whole, in order, and labelled; so is what the task returns."""
    assert run(method, say_in_threads, 200)["result"] == "x" * (1 << 20)
    for number in range(4):
        mine = [text for text in kept.texts() if text.startswith(f"{number} ")]
        assert mine == [f"{number} {index}" for index in range(200)]
    assert {record.concurra_label for record in kept.records} == {"it"}


def flood(worker, count):
    for index in range(count):
        logging.getLogger(NAME).info("%d %d", worker, index)
    return "y" * 1000


@pytest.mark.parametrize("method", UNFORKED)
def test_a_flood_is_all_there_when_the_run_returns(kept, method):
    """In order from each task; no result is harmed."""
    runner = runner_of(method, 3)
    for worker in range(6):
        runner.add_task(flood, worker, 1000, label=worker)
    results = runner.run(verify=False)
    assert {result["result"] for result in results.values()} == {"y" * 1000}
    texts = kept.texts()
    assert len(texts) == 6000
    for worker in range(6):
        mine = [text for text in texts if text.startswith(f"{worker} ")]
        assert mine == [f"{worker} {index}" for index in range(1000)]
    labels = {record.getMessage().split()[0] for record in kept.records}
    assert labels == {str(record.concurra_label) for record in kept.records}


def say_and_die():
    for index in range(100):
        say(str(index))
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("method", UNFORKED)
def test_a_worker_that_is_killed_has_said_what_it_has_said(kept, method):
    """Each record is there, and none is there in part."""
    result = run(method, say_and_die)
    assert "SIGKILL" in result["error"]
    assert kept.texts() == [str(index) for index in range(100)]


def at_hand():
    """The worker has been started then, and has this module."""


def say_and_stay():
    say("before")
    time.sleep(BOUND * 3)


@pytest.mark.parametrize("method", UNFORKED)
def test_a_task_that_exceeds_its_timeout_has_said_what_it_has_said(kept, method):
    """Its records come before the run returns."""
    runner = runner_of(method, terminate_timeout=0.2)
    runner.add_task(at_hand)
    runner.add_task(concurra.task(say_and_stay, timeout=0.7), label="it")
    assert runner.run(verify=False)["it"]["status"] == "Terminated"
    assert kept.texts() == ["before"]


def initialize():
    say("initialized")


def test_an_initializer_logs_as_well(kept):
    """It is at no task."""
    run(UNFORKED[0], say, "x", initializer=initialize)
    assert kept.texts() == ["initialized", "x"]
    assert [record.concurra_label for record in kept.records] == [None, "it"]


# What does not ------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNFORKED)
def test_the_levels_are_those_of_the_program(kept, method):
    """For each logger, also one that is disabled, and for all of them."""
    logger = logging.getLogger(NAME)
    child = logging.getLogger(f"{NAME}.child")
    logger.setLevel(logging.WARNING)
    child.setLevel(logging.DEBUG)
    silent = logging.getLogger(f"{NAME}.silent")
    silent.disabled = True
    try:
        for level in (logging.DEBUG, logging.WARNING):
            for each in (logger, child, silent):
                act = partial(say, each.name, name=each.name, level=level)
                run(method, act)
        logging.disable(logging.WARNING)
        run(method, partial(say, "disabled", level=logging.WARNING))
        run(method, partial(say, "error", level=logging.ERROR))
    finally:
        logging.disable(logging.NOTSET)
        child.setLevel(logging.NOTSET)
        silent.disabled = False
    assert kept.texts() == [child.name, logger.name, child.name, "error"]


def enabled():
    log = logging.getLogger(NAME)
    return log.isEnabledFor(logging.INFO), logging.root.level


def test_what_nobody_wants_is_not_even_sent(kept):
    """The levels are known in the worker."""
    logging.getLogger(NAME).setLevel(logging.ERROR)
    found = run(UNFORKED[0], enabled)["result"]
    assert found == (False, logging.root.level)


def test_filters_of_the_program_count(kept):
    """Those of the logger, and those of the handler."""
    logger = logging.getLogger(NAME)
    no_a = logging.Filter()
    no_a.filter = lambda record: "a" not in record.getMessage()
    no_b = logging.Filter()
    no_b.filter = lambda record: "b" not in record.getMessage()
    logger.addFilter(no_a)
    kept.addFilter(no_b)
    try:
        run(UNFORKED[0], say, "a", "b", "c")
    finally:
        logger.removeFilter(no_a)
    assert kept.texts() == ["c"]


@pytest.mark.parametrize("method", START_METHODS)
def test_it_can_be_switched_off(kept, method):
    """Then each process does with it as it is set up to."""
    run(method, say, "x", forward_logs=False)
    assert kept.texts() == []


@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
def test_under_fork_it_is_off_and_can_be_switched_on(kept):
    """By default a copy of the handlers writes; if not, they write here alone."""
    run("fork", say, "copied")
    assert kept.texts() == []
    pid = run("fork", say, "sent", forward_logs=True)["result"]
    assert kept.texts() == ["sent"]
    assert kept.records[0].process == pid
    assert kept.records[0].concurra_label == "it"


# When ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNFORKED)
def test_logging_may_be_imported_in_the_midst_of_a_task(kept, method):
    """What is logged right after that comes as well; until then nobody imports it."""
    runner = runner_of(method)
    runner.add_task(quiet_deeds.nothing, label="nothing")
    runner.add_task(quiet_deeds.log_lazily, NAME, "lazily", label="lazily")
    runner.add_task(quiet_deeds.log_lazily, NAME, "again", label="again")
    results = runner.run(verify=False)
    assert [result["result"] for result in results.values()] == [False, False, True]
    assert kept.texts() == ["lazily", "again"]


class Slow(Keeper):
    def emit(self, record):
        time.sleep(0.01)
        super().emit(record)


@pytest.mark.parametrize("method", UNFORKED)
def test_the_run_waits_for_a_slow_handler(kept, method):
    """Every record has been written when it returns."""
    logger, slow = logging.getLogger(NAME), Slow()
    logger.addHandler(slow)
    try:
        runner = runner_of(method, 2)
        for label in "ab":
            runner.add_task(say, *"0123456789", label=label)
        runner.run(verify=False)
    finally:
        logger.removeHandler(slow)
    assert len(slow.records) == 20


@pytest.mark.parametrize("act", ["abort", "stop in another thread"])
def test_a_handler_may_end_the_run(kept, act):
    """Nobody waits for it in there."""
    runner = runner_of(UNFORKED[0], 2, terminate_timeout=0.5)
    ended = []

    class Ending(logging.Handler):
        def emit(self, record):
            if record.getMessage() == "end" and not ended:
                if act == "abort":
                    ended.append(len(runner.abort()))
                else:
                    other = threading.Thread(target=runner.abort)
                    other.start()
                    ended.append(other)

    ending = Ending()
    logging.getLogger(NAME).addHandler(ending)
    try:
        runner.add_task(say, "end", "more", label="a")
        runner.add_task(say_and_stay, label="b")
        results = runner.run(verify=False)
    finally:
        logging.getLogger(NAME).removeHandler(ending)
    assert results["b"]["status"] == "Terminated"
    assert len(ended) == 1
    if act != "abort":
        ended[0].join(BOUND)


def test_a_handler_that_raises_harms_nothing(kept, capsys):
    """Others get the record, and the task its result."""

    class Broken(logging.Handler):
        def handle(self, record):
            raise ValueError("broken handler")

    logger, broken = logging.getLogger(NAME), Broken()
    reported = []
    hook, threading.excepthook = threading.excepthook, reported.append
    logger.addHandler(broken)
    try:
        assert run(UNFORKED[0], say, "x", "y")["status"] == "Successful"
    finally:
        logger.removeHandler(broken)
        threading.excepthook = hook
    assert kept.texts() == ["x", "y"]
    assert [str(args.exc_value) for args in reported] == ["broken handler"] * 2


SCRIPT = """
    import logging
    import sys
    import concurra

    logging.basicConfig(level=logging.INFO, format="%(process)s %(message)s")

    def say(n):
        logging.info("said %d", n)
        print("end of", n, file=sys.stderr)

    if __name__ == "__main__":
        runner = concurra.TaskRunner(
            1, use_multiprocessing=True, mp_context=sys.argv[1], progress_stats=False
        )
        for n in range(3):
            runner.add_task(say, n)
        runner.run(verify=False)
"""


@pytest.mark.parametrize("method", START_METHODS)
def test_a_script_that_sets_up_its_log_at_the_top_level(method):
    """It does so in each worker, too; every line is there once all the same."""
    done = run_script(SCRIPT, method, env=SAME_LIBRARY, check=True)
    said = [line for line in done.stderr.splitlines() if "said" in line]
    assert [line.split(maxsplit=1)[1] for line in said] == [
        "said 0",
        "said 1",
        "said 2",
    ]


def test_a_worker_forks_and_its_child_logs(kept):
    """The child has no way to the program; it goes on, and harms nothing."""
    result = run(UNFORKED[0], fork_and_say)
    assert result["result"] == 0
    assert kept.texts() == ["before", "after"]


def fork_and_say():
    say("before")
    pid = os.fork()
    if pid == 0:
        say("in the child")
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    say("after")
    return status


class Alarm(BaseException):
    """No handler of a log takes this for its own error."""


def raise_often(seconds):
    """Log without an end, until an alarm raises in the midst of it."""

    def stop(number, frame):
        raise Alarm

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    number = 0
    try:
        while True:
            number += 1
            logging.getLogger(NAME).info("%d %s", number, "z" * 2000)
    except Alarm:
        return number


@pytest.mark.skipif(os.name != "posix", reason="needs alarms")
@pytest.mark.parametrize("method", UNFORKED)
def test_an_alarm_in_the_midst_of_a_record_spoils_nothing(kept, method):
    """Each record is whole, or not there at all."""
    runner = runner_of(method)
    for index in range(20):
        runner.add_task(raise_often, 0.01 + 0.001 * index, label=index)
    results = runner.run(verify=False)
    assert {result["status"] for result in results.values()} == {"Successful"}
    for label, result in results.items():
        mine = [r.getMessage() for r in kept.records if r.concurra_label == label]
        numbers = [int(text.split()[0]) for text in mine]
        assert numbers in (
            list(range(1, result["result"] + 1)),
            list(range(1, result["result"])),
        )
        assert all(text.endswith(" " + "z" * 2000) for text in mine)


# A run within a task ------------------------------------------------------------------


def run_within(method):
    """A run of its own, in threads or in processes that are started like that."""
    runner = concurra.TaskRunner(2, progress_stats=False)
    if method != "thread":
        runner = runner_of(method, 2)
    runner.add_task(say, "alone", label="inner")
    runner.map(say, ["first", "second"], label="map", chunksize=1)
    return [each["status"] for each in runner.run(verify=False).values()]


@pytest.mark.parametrize("inner", ["thread", *START_METHODS])
@pytest.mark.parametrize("method", UNFORKED)
def test_what_a_run_within_a_task_logs(kept, method, inner):
    """It comes from there, too, with the label of the task that has logged it."""
    assert run(method, run_within, inner)["result"] == ["Successful"] * 2
    assert sorted(
        (each.getMessage(), each.concurra_label) for each in kept.records
    ) == [
        *(("alone", "inner"), ("first", "map"), ("second", "map")),
    ]
