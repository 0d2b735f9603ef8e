"""The file of a checkpoint: whom it belongs to, what is none, and what befalls it."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import threading

import pytest

import concurra
from concurra import CheckpointError
from concurra.checkpoint import Checkpoint, clear
from concurra.digests import digest
from tests.helpers import run_script, start_script, wait_until

from .support import SAME_LIBRARY, Gate, recorded, statuses

calls = []


@pytest.fixture(autouse=True)
def nothing_called():
    calls.clear()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.sqlite"


def call(value):
    calls.append(value)
    return value


def runner_with(path, *values):
    runner = concurra.TaskRunner(2, progress_stats=False, checkpoint=path)
    for value in values:
        runner.add_task(call, value, label=value)
    return runner


def refusal(path):
    """What is raised instead of a run, in which nothing is started."""
    runner = runner_with(path, 1)
    with pytest.raises(CheckpointError) as caught:
        runner.run()
    assert isinstance(caught.value, (ValueError, concurra.ConcurraError))
    assert calls == []
    assert runner.results_registry == {1: {}}
    runner.checkpoint = None
    assert statuses(runner.run(verify=False)) == {1: "Successful"}
    calls.clear()
    with pytest.raises(CheckpointError) as cleared:
        clear(path)
    assert str(cleared.value) == str(caught.value)
    return str(caught.value)


def was_restored(path, *values):
    """Those of these tasks that have been recorded."""
    calls.clear()
    runner_with(path, *values).run(verify=False)
    return [value for value in values if value not in calls]


# One run at a time --------------------------------------------------------------------


def test_a_file_that_another_run_of_this_process_has(path, tmp_path):
    """By whatever name; once that has ended, the same runner can be started."""
    other = tmp_path / "other name"
    with Gate() as gate:
        first = runner_with(path)
        first.add_task(lambda: gate.wait(), label="held")
        first.execute_in_background()
        gate.reached_by(1)
        other.symlink_to(path)
        second = runner_with(path, 1)
        with pytest.raises(CheckpointError, match="is used by another run"):
            second.run()
        for name in (path, other):
            assert refusal(name) == f"Checkpoint {str(name)!r} is used by another run"
        gate.open()
        first.get_background_results(verify=False)
    assert statuses(second.run(verify=False)) == {1: "Successful"}


HOLDER = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
import concurra

go_on = threading.Event()

def hold():
    go_on.wait(60)

runner = concurra.TaskRunner(2, checkpoint="run.sqlite")
runner.add_task(abs, -1, label="done")
runner.add_task(hold, label="held", depends_on=["done"])
runner.add_task(threading.Event().wait, 60, label="end", depends_on=["held"])
runner.execute_in_background()
while not runner.results_registry["done"]:
    pass
{0}
print("here", flush=True)
threading.Event().wait(60)
"""


def kill(script, path, count):
    """Kill it as soon as it has recorded so many; their labels."""
    wait_until(lambda: len(recorded(path)) >= count, what=f"{count} records")
    script.send_signal(signal.SIGKILL)
    script.wait()
    return {label for label in ("done", "held") if digest(label) in recorded(path)}


def test_a_file_that_another_process_has(path):
    """Once that has been killed, it is free, and what it had recorded is there."""
    with start_script(HOLDER.format(""), cwd=path.parent, env=SAME_LIBRARY) as script:
        script.wait_for("here")
        assert refusal(path) == f"Checkpoint {str(path)!r} is used by another run"
        assert kill(script, path, 1) == {"done"}
    runner = runner_with(path)
    runner.add_task(abs, -1, label="done")
    assert "Restored" in runner.run(verify=False)["done"]["warning"]


CHILD_STAYS = """
if not os.fork():
    try:
        other = concurra.TaskRunner(checkpoint="run.sqlite")
        other.add_task(abs, -2)
        other.run()
    except concurra.CheckpointError as error:
        print(error, flush=True)
    print("child", flush=True)
    threading.Event().wait(60)
"""


def test_a_child_that_has_inherited_an_open_file(path):
    """It cannot use the file beside its parent, and does not hold it after that."""
    code = HOLDER.format(CHILD_STAYS)
    with start_script(code, cwd=path.parent, env=SAME_LIBRARY) as script:
        script.wait_for("child")
        assert "'run.sqlite' is used by another run" in script.stdout()
        assert kill(script, path, 1) == {"done"}
        assert len(script.family()) == 1
        assert was_restored(path, 1) == []
        assert was_restored(path, 1) == [1]


CHILD_ENDS = """
child = os.fork()
if not child:
    sys.exit()
os.waitpid(child, 0)
go_on.set()
"""


def test_a_child_that_ends_as_programs_do_takes_nothing_along(path):
    """What is recorded after that is there, though the parent is killed."""
    code = HOLDER.format(CHILD_ENDS)
    with start_script(code, cwd=path.parent, env=SAME_LIBRARY) as script:
        script.wait_for("here")
        assert kill(script, path, 2) == {"done", "held"}


def test_a_run_has_let_go_of_its_file_when_it_returns(path):
    """And so has one that was refused."""
    for _ in range(3):
        runner_with(path, 1).run(verify=False)
        clear(path)
    assert os.listdir(path.parent) == [path.name]


# What is no checkpoint ----------------------------------------------------------------


def test_a_file_that_is_none(path):
    """It is refused, and not touched."""
    path.write_text("a text, " * 1000)
    assert refusal(path) == (
        f"File {str(path)!r} is no checkpoint: file is not a database"
    )
    assert path.read_text() == "a text, " * 1000


def test_another_database(path):
    """The same, even if it has a table of the same name."""
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE successes (label, call, moment, result)")
    other.close()
    before = path.read_bytes()
    assert refusal(path) == (
        f"File {str(path)!r} is no checkpoint, but another database"
    )
    assert path.read_bytes() == before


def test_another_version(path):
    """It is refused, and the error says what to do."""
    runner_with(path, 1).run(verify=False)
    calls.clear()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 7")
    other.close()
    assert refusal(path) == (
        f"Checkpoint {str(path)!r} is of version 7, and this concurra writes version "
        "1: remove it to begin anew"
    )
    path.unlink()
    assert was_restored(path, 1) == []


def test_a_checkpoint_that_was_damaged(path):
    """It is refused, wherever that shows."""
    runner_with(path, *range(300)).run(verify=False)
    calls.clear()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (size - 4096))
    runner = runner_with(path, 1)
    with pytest.raises(CheckpointError, match="malformed"):
        runner.run()
    assert calls == []
    for labels in (None, [1]):
        with pytest.raises(CheckpointError, match="malformed"):
            clear(path, labels)
    path.unlink()
    assert statuses(runner.run(verify=False)) == {1: "Successful"}


def test_a_directory(tmp_path):
    """Or a file in one that does not exist."""
    assert refusal(tmp_path) == (
        f"Checkpoint {str(tmp_path)!r} cannot be used: it is a directory"
    )
    path = tmp_path / "none" / "run.sqlite"
    runner = runner_with(path, 1)
    with pytest.raises(CheckpointError) as caught:
        runner.run()
    assert str(caught.value) == (
        f"Checkpoint {str(path)!r} cannot be used: there is no directory "
        f"{str(path.parent)!r}"
    )
    path.parent.mkdir()
    assert statuses(runner.run(verify=False)) == {1: "Successful"}


READ_ONLY = """
import concurra, os, sys
for folder in ("..", "."):
    os.chmod(folder, 0o777)
os.mkdir("kept")
def run(path):
    runner = concurra.TaskRunner(checkpoint=path, progress_stats=False)
    runner.add_task(print, "has run")
    runner.run(verify=False)
path = os.path.join("kept", "run.sqlite")
run("other.sqlite" if sys.argv[1] == "new" else path)
if sys.argv[1] != "new":
    os.chmod(path, 0o444 if sys.argv[1] == "file" else 0o666)
os.chmod("kept", 0o777 if sys.argv[1] == "file" else 0o555)
if sys.argv[2] == "system":  # as one that is mounted so
    from types import SimpleNamespace
    os.statvfs = lambda path: SimpleNamespace(f_flag=os.ST_RDONLY)
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    run(path)
except concurra.CheckpointError as error:
    print(str(error).replace(os.getcwd(), "HERE"))
os.seteuid(os.getuid())
os.chmod("kept", 0o777)
"""


@pytest.mark.parametrize("what", ["file", "folder", "new"])
@pytest.mark.parametrize(
    "who, why",
    [("user", "permission denied"), ("system", "its file system is read-only")],
)
def test_a_file_that_cannot_be_written(what, who, why):
    """It is refused before anything has begun, and the error says what is wrong."""
    done = run_script(READ_ONLY, what, who, env=SAME_LIBRARY, check=True)
    reason = "the file cannot be read and written"
    if what != "file":
        reason = f"directory {os.path.join('HERE', 'kept')!r} cannot be written"
    path = os.path.join("kept", "run.sqlite")
    expected = f"Checkpoint {path!r} cannot be used: {reason} ({why})"
    assert done.stdout.splitlines()[-1] == expected
    assert done.stdout.count("has run") == 1


def test_an_empty_file_becomes_a_checkpoint(path):
    """As mktemp makes one."""
    path.touch()
    assert was_restored(path, 1) == []
    assert was_restored(path, 1) == [1]


@pytest.mark.parametrize("wrong", [5, b"path", "", "a\0b", True])
def test_what_is_no_path(wrong):
    """It is refused where it is given."""
    with pytest.raises((TypeError, ValueError), match="^checkpoint must be the path"):
        concurra.TaskRunner(checkpoint=wrong)
    with pytest.raises((TypeError, ValueError), match="^checkpoint must be the path"):
        clear(wrong)


@pytest.mark.parametrize("wrong", [-1, "1", True, float("nan")])
def test_what_is_no_age(wrong):
    """The same."""
    with pytest.raises((TypeError, ValueError), match="^max_age must be a number"):
        Checkpoint("run.sqlite", max_age=wrong)


def test_names_that_mean_something_to_sqlite(tmp_path, monkeypatch):
    """They are names of files here, relative to where the run was started."""
    monkeypatch.chdir(tmp_path)
    for name in (":memory:", "file:x?mode=memory"):
        assert was_restored(name, 1) == []
        assert was_restored(name, 1) == [1]
    assert sorted(os.listdir()) == [":memory:", "file:x?mode=memory"]


def test_the_attribute(path):
    """It is the checkpoint as it was checked, and can be changed until the start."""
    runner = runner_with(str(path), 1)
    assert repr(runner.checkpoint) == f"Checkpoint({str(path)!r}, max_age=None)"
    runner.checkpoint = Checkpoint(path.with_name("other"), max_age=5)
    runner.run(verify=False)
    assert os.listdir(path.parent) == ["other"]


# What befalls a file during the run ---------------------------------------------------


def held_runner(path, gate):
    """One that has recorded 1, and waits before 2 for what is done to its file."""
    runner = runner_with(path, 1)
    runner.add_task(lambda: gate.wait(), label="held", depends_on=[1])
    runner.add_task(call, 2, label=2, depends_on=["held"])
    return runner


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_file_that_is_moved_or_removed(how, path, log):
    """The run goes on, and says at its end that it was."""
    with Gate() as gate:
        runner = held_runner(path, gate)
        runner.execute_in_background()
        gate.reached_by(1)
        if how == "removed":
            path.unlink()
        else:
            path.rename(path.with_name("elsewhere"))
        if how == "replaced":
            path.write_text("something else")
        gate.open()
        results = runner.get_background_results(verify=False)
    assert set(statuses(results).values()) == {"Successful"}
    assert log.lines(logging.WARNING)[1:] == [  # the first tells of the held task
        f"Checkpoint {str(path)!r} was moved or removed during the run: what has "
        "succeeded since may be lost"
    ]


FULL = """
import logging, os, resource
import concurra
logging.basicConfig(format="%(levelname)s %(message)s", level="WARNING")

def value(number):
    return number, os.urandom(20_000)

def run(count):
    runner = concurra.TaskRunner(2, progress_stats=False, checkpoint="run.sqlite")
    for number in range(count):
        runner.add_task(value, number, label=number)
    results = runner.run(verify=False)
    assert [each["result"][0] for each in results.values()] == list(range(count))
    return sum("Restored" in (each["warning"] or "") for each in results.values())

unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, unlimited[1]))
assert run(60) == 0
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
print(run(60) in range(5, 60), run(60))
"""


def test_a_disk_that_is_full():
    """It is said once, as a warning; the run goes on, and what was written is there."""
    done = run_script(FULL, env=SAME_LIBRARY, check=True)
    assert done.stdout == "True 60\n"
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "WARNING Checkpoint 'run.sqlite' cannot be written, so the next run may run "
        "again what has succeeded: OperationalError: "
    )


def test_a_log_that_raises(path):
    """It costs nothing but its line."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise OSError("no more lines")

    log = logging.getLogger("broken")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(Broken())
    runner = concurra.TaskRunner(2, progress_stats=False, checkpoint=path, logger=log)
    runner.add_task(call, 1, label=1)
    runner.add_task(threading.Lock, label="lock")
    assert set(statuses(runner.run(verify=False)).values()) == {"Successful"}
    assert was_restored(path, 1) == [1]
