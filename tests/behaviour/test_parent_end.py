"""When the program ends, by whatever means, nothing that it started survives it."""

from __future__ import annotations

import os
import signal

import pytest

from tests.helpers import HAS_PROC, START_METHODS, start_script

from .support import SAME_LIBRARY

pytestmark = pytest.mark.skipif(
    os.name != "posix" or not HAS_PROC, reason="needs POSIX signals and /proc"
)

# A process task that has started a process of its own, and a shell with a background
# job; each leaves a file when it is there.
BUSY = """
import os
import subprocess
import sys
import time

import concurra

CHILD = "import time; open('child', 'w').close(); time.sleep(60)"


def linger():
    subprocess.Popen([sys.executable, "-c", CHILD])
    time.sleep(60)


def main(means, start_method):
    runner = concurra.TaskRunner(
        max_concurrency=2, use_multiprocessing=True, mp_context=start_method
    )
    runner.add_task(linger, label="process")
    runner.add_shell_command("sleep 60 & touch command; sleep 60", label="command")
    runner.execute_in_background()
    while not (os.path.exists("child") and os.path.exists("command")):
        time.sleep(0.01)
    print("ready", flush=True)
    if means == "exit":
        sys.exit(3)
    if means == "os._exit":
        os._exit(4)
    if means == "exception":
        raise ValueError("no")
    if means != "end":
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
"""

MEANS = {
    "end": 0,
    "exit": 3,
    "os._exit": 4,
    "exception": 1,
    "SIGTERM": -signal.SIGTERM,
    "SIGKILL": -signal.SIGKILL,
}


def end(means, start_method):
    with start_script(BUSY, means, start_method, env=SAME_LIBRARY) as script:
        script.wait_for("ready")
        if means.startswith("SIG"):
            assert len(script.family()) >= 4
            script.send_signal(getattr(signal, means))
        assert script.wait() == MEANS[means], script
        assert script.survivors() == []


@pytest.mark.parametrize("means", MEANS)
def test_nothing_survives_the_program(means):
    """No worker, no command, nothing that they started; and the program does end."""
    end(means, START_METHODS[0])


@pytest.mark.parametrize("start_method", START_METHODS[1:])
def test_nothing_survives_a_kill_with_other_start_methods(start_method):
    """The hardest end, whatever workers are started by."""
    end("SIGKILL", start_method)


OVERDUE = """
import threading

import concurra

runner = concurra.TaskRunner(timeout=0.2, max_concurrency=2)
runner.add_task(threading.Event().wait, 600)
runner.add_task(threading.Event().wait, 600)
print([result["status"] for result in runner.run(verify=False).values()])
"""


def test_the_program_ends_although_threads_are_still_busy():
    """Threads that were timed out do not hold up the end of the script."""
    with start_script(OVERDUE, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == "['Terminated', 'Terminated']\n"


FORGOTTEN = """
import threading

import concurra

runner = concurra.TaskRunner(max_concurrency=1)
busy = threading.Event()
runner.add_task(lambda: (busy.set(), threading.Event().wait(600)))
runner.execute_in_background()
busy.wait(60)
"""


def test_the_program_ends_although_a_background_run_goes_on():
    """Nobody asks for the results; the busy thread does not hold up the end. The log
    tells of it."""
    with start_script(FORGOTTEN, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert script.stderr() == (
            "The program ends before 1 of the 1 tasks of TaskRunner in the background: "
            "get_background_results() would have waited\n"
        )


UNFETCHED = """
import concurra


class Runner(concurra.TaskRunner):
    def __eq__(self, other):  # so it has no hash
        return self is other


runner = Runner(max_concurrency=1, name="Nightly")
runner.add_command(["sleep", "600"])
runner.add_command(["sleep", "600"])
runner.execute_in_background()
while not runner.get_active_runner_count():
    pass
"""


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX commands")
def test_the_log_tells_of_what_is_left_undone_before_it_is_ended():
    """All of it; the end of the commands is not taken for theirs."""
    with start_script(UNFETCHED, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert "The program ends before 2 of the 2 tasks of Nightly" in script.stderr()


FETCHED = """
import os

import concurra

for end in ("get_background_results", "abort"):
    runner = concurra.TaskRunner(max_concurrency=1)
    runner.add_task(abs, -1)
    runner.execute_in_background()
    getattr(runner, end)()

late = concurra.TaskRunner()
late.add_task(abs, -1)
late.execute_in_background()
while not late.results_registry[0]:
    pass
if os.name == "posix":
    busy = concurra.TaskRunner(max_concurrency=1)
    busy.add_task(os.read, os.pipe()[0], 1)
    busy.execute_in_background()
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        busy.abort()
        print("parent")
"""


def test_the_log_tells_only_of_what_is_left_undone():
    """Not of runs that were fetched, aborted, or done, nor of a parent's in a child."""
    with start_script(FETCHED, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == "parent\n"
        assert "The program ends" not in script.stderr()


SILENT = """
import concurra

runner = concurra.TaskRunner(progress_stats=False)
runner.add_task(abs, -1)
runner.execute_in_background()
runner.get_background_results(verify=False)
"""


def test_a_program_that_has_fetched_everything_ends_in_silence():
    """Also while the interpreter takes its modules apart."""
    with start_script(SILENT, env=SAME_LIBRARY) as script:
        assert script.wait() == 0, str(script)
        assert script.stdout() == script.stderr() == ""
