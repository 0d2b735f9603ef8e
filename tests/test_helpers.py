"""What the other tests lean on must itself be right."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from tests import inert
from tests.helpers import (
    HAS_PROC,
    START_METHODS,
    Process,
    alive,
    descendants,
    process,
    run_script,
    start_script,
    wait_until,
)

needs_proc = pytest.mark.skipif(not HAS_PROC, reason="needs /proc")

ORPHAN = """
    import subprocess, sys
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    print(subprocess.Popen(sleeper, start_new_session=True).pid, flush=True)
"""


def test_wait_until_returns_the_first_true_value() -> None:
    """It asks again until there is something, and hands it over."""
    values = iter([0, "", None, "there"])
    assert wait_until(lambda: next(values)) == "there"


def test_wait_until_fails_in_time_and_says_for_what() -> None:
    """A wait always ends."""
    with pytest.raises(AssertionError, match=r"waited 0.01 s in vain for rain"):
        wait_until(lambda: False, 0.01, "rain")


@needs_proc
def test_process_reads_the_truth_about_ourselves() -> None:
    """Parent and command line are those that the system shows."""
    me = process(os.getpid())
    assert me is not None
    assert me.parent == os.getppid()
    assert me.command.startswith(sys.executable) or "pytest" in me.command


@needs_proc
def test_process_is_none_when_there_is_none() -> None:
    """A pid that nobody has is no error: processes end while we look."""
    assert process(2**22 + 1) is None


@needs_proc
def test_process_survives_a_name_full_of_parentheses() -> None:
    """The name of a program may hold what separates the fields of /proc/pid/stat."""
    name = "prctl = ctypes.CDLL(None).prctl; prctl(15, b') R 1 (x', 0, 0, 0)"
    code = f"import ctypes, os\n{name}\nprint('named', flush=True)\nos.read(0, 1)"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with child:
        assert child.stdout and child.stdout.readline() == b"named\n"
        found = process(child.pid)
        assert found is not None and found.parent == os.getpid()
        child.kill()


@needs_proc
def test_descendants_are_found_through_generations_and_zombies_too() -> None:
    """Grandchildren count, and so does a child that ended unattended."""
    program = """
        import os, subprocess, sys, time
        sleeper = "import subprocess, sys, time; subprocess.Popen([sys.executable, "
        sleeper += "'-c', 'import time; time.sleep(60)']); time.sleep(60)"
        subprocess.Popen([sys.executable, "-c", sleeper])
        subprocess.Popen([sys.executable, "-c", ""])
        time.sleep(60)
        """
    with start_script(program) as script:

        def complete() -> list[Process]:
            family = descendants(script.pid)
            zombies = [each for each in family if each.state == "Z"]
            return family if len(family) == 3 and len(zombies) == 1 else []

        family = wait_until(complete)
        assert sorted(each.parent == script.pid for each in family) == [0, 1, 1]
        assert "a zombie" in "\n".join(map(str, family))


def test_a_script_gives_its_status_and_output() -> None:
    """Arguments go in; status and both streams come out."""
    done = run_script(
        "import sys; print(sys.argv[1]); print('so', file=sys.stderr); sys.exit(3)",
        "hello",
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "hello\n", "so\n")


def test_a_checked_script_that_fails_shows_why() -> None:
    """The traceback of the script is part of the failure."""
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        run_script("1 / 0", check=True)


def test_a_script_that_hangs_is_ended_with_its_stacks() -> None:
    """The failure shows where it hung."""
    with pytest.raises(AssertionError, match="(?s)did not end in 1 s.* in stuck"):
        run_script(
            """
            import threading
            def stuck():
                threading.Event().wait()
            stuck()
            """,
            timeout=1.0,
        )


@needs_proc
def test_a_script_that_leaves_a_process_behind_fails() -> None:
    """Not even a session of its own hides it; and it is gone afterwards."""
    with start_script(ORPHAN) as script:
        assert script.wait() == 0
        [orphan] = script.survivors(grace=0)
        assert orphan.pid == int(script.stdout())
        assert alive(orphan.pid)
    wait_until(lambda: not alive(orphan.pid))


@needs_proc
def test_a_script_may_be_waited_for_and_killed() -> None:
    """What a test of the parent's death needs: start, see it ready, kill it."""
    with start_script(ORPHAN + "    import time; time.sleep(60)") as script:
        wait_until(lambda: script.stdout().endswith("\n"))
        script.wait_for(script.stdout())
        script.send_signal(signal.SIGKILL)
        assert script.wait() == -signal.SIGKILL
        assert len(script.survivors(grace=0)) == 1


def test_waiting_for_words_that_never_come_fails_at_once() -> None:
    """A script that ended without saying them is not waited for."""
    began = time.monotonic()
    with start_script("print('something else')") as script:
        with pytest.raises(AssertionError, match="never printed 'ready'"):
            script.wait_for("ready", timeout=30)
    assert time.monotonic() - began < 20


# What stands in for pytest


def pytest_is_there() -> bool:
    """Called in a worker, which imports this module for it."""
    return "_pytest" in sys.modules


@pytest.mark.parametrize("method", [each for each in START_METHODS if each != "fork"])
def test_a_worker_does_not_import_pytest(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the module whose function it calls does so here."""
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    with ProcessPoolExecutor(1, get_context(method)) as pool:
        assert pool.submit(pytest_is_there).result(timeout=50) is False
    assert pytest_is_there()


def test_what_stands_in_leaves_functions_alone() -> None:
    """Whether a decorator has arguments or not."""
    stand_in = inert.Inert("pytest")
    for decorator in (
        stand_in.fixture,
        stand_in.fixture(scope="module"),
        stand_in.mark.skipif(True, reason="it is no test there"),
        stand_in.mark.parametrize("name", [stand_in.param(1, id="one")]),
    ):
        assert decorator(pytest_is_there) is pytest_is_there


def test_what_stands_in_lends_all_else_from_pytest() -> None:
    """So that what is checked in a worker is checked."""
    stand_in = inert.Inert("pytest")
    assert stand_in.raises is pytest.raises
    assert not hasattr(stand_in, "__path__")
