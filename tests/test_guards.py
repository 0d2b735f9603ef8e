"""The guards must catch what they are there for, and nothing else.

One run of pytest with the guards loaded holds tests that tidy up and tests that leave
something behind; the promises below read what it said about each. A hang ends a run,
so each hang has a run of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers import HAS_PROC, START_METHODS, run_script

needs_proc = pytest.mark.skipif(not HAS_PROC, reason="needs /proc")
ROOT = Path(__file__).parent.parent

# The grace decides how long each leaking test takes.
CONFTEST = """
from tests import guards

pytest_plugins = ["tests.conftest"]
guards.GRACE = 0.3
"""

TESTS = """
import _thread
import gc
import os
import subprocess
import sys
import threading
import time
from multiprocessing import get_context

import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(31)"]
kept = []


@pytest.fixture(autouse=True)
def silent(monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "__del__", lambda self: None)


def test_tidy(start_method, tmp_path):
    thread = threading.Thread(target=abs, args=(-1,))
    thread.start()
    thread.join()
    subprocess.run([sys.executable, "-c", ""], check=True)
    with get_context(start_method).Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == 1
    pool.join()
    with open(tmp_path / "file", "w"):
        pass


def test_about_to_end():
    threading.Thread(target=time.sleep, args=(0.1,), daemon=True).start()


def test_gate(gate):
    threading.Thread(target=gate().wait, args=(31,), daemon=True).start()


def test_foreign_thread_that_asked_who_it_is():
    ended = threading.Event()

    def run():
        threading.current_thread()
        ended.set()

    _thread.start_new_thread(run, ())
    assert ended.wait(10)


def test_thread():
    def lingering():
        time.sleep(31)

    threading.Thread(target=lingering, name="lost", daemon=True).start()


def test_foreign_thread():
    begun = threading.Event()

    def lingering():
        begun.set()
        time.sleep(31)

    # No one can see such a thread before it has had its first turn: unlike
    # Thread.start(), start_new_thread() does not wait for that.
    _thread.start_new_thread(lingering, ())
    assert begun.wait(10)


def test_child():
    kept.append(subprocess.Popen(SLEEP))


def test_zombie():
    kept.append(subprocess.Popen([sys.executable, "-c", ""]))
    os.waitid(os.P_PID, kept[-1].pid, os.WEXITED | os.WNOWAIT)


def test_orphan():
    code = f"import subprocess; subprocess.Popen({SLEEP!r}, start_new_session=True)"
    subprocess.run([sys.executable, "-c", code])


def test_child_of_the_fork_server():
    context = get_context("forkserver")
    kept.append(context.Process(target=time.sleep, args=(31,)))
    kept[-1].start()


def test_file():
    os.open(__file__, os.O_RDONLY)


def test_uncollected_file():
    class Holder:
        def __init__(self):
            self.me = self
            self.fd = os.open(__file__, os.O_RDONLY)

        def __del__(self):
            os.close(self.fd)

    gc.collect()
    Holder()


def test_innocent():
    pass
"""


def run_guarded(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on this code, with the guards."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(textwrap.dedent(tests))
    return run_script(
        """
        import sys
        import pytest

        if __name__ == "__main__":
            sys.exit(pytest.main(sys.argv[1:]))
        """,
        *("-v", "--strict-markers", "-p", "no:cacheprovider"),
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": "", "COLUMNS": "80"},
        timeout=50,
    )


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What was said at the end of each test, "" for those that were let go."""
    output = run_guarded(tmp_path_factory.mktemp("guarded"), TESTS).stdout
    assert not re.search(r"^test_it\S+ FAILED", output, re.MULTILINE), output
    passed = re.findall(r"^test_it\.py::(\w+)\S* PASSED", output, re.MULTILINE)
    assert len(passed) == 12 + len(START_METHODS), output
    errors = re.split(r"^_+ ERROR at teardown of (\w+) _+$", output, flags=re.M)[1:]
    errors[-1] = errors[-1].partition("\n=====")[0]
    return {**dict.fromkeys(passed, ""), **dict(zip(errors[::2], errors[1::2]))}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("test_tidy", id="threads, processes and files that ended"),
        pytest.param("test_about_to_end", id="a thread that needs a moment"),
        pytest.param("test_gate", id="a thread behind a gate of the fixture"),
        # `threading` lists such a thread for ever; logging is enough to ask.
        pytest.param(
            "test_foreign_thread_that_asked_who_it_is",
            id="a foreign thread that asked who it is and ended",
        ),
        pytest.param("test_innocent", id="a test after others that leaked"),
    ],
)
def test_who_tidies_up_is_left_alone(reports: Mapping[str, str], name: str) -> None:
    """No false alarm."""
    assert reports[name] == ""


def test_a_thread_is_named_with_its_stack(reports: Mapping[str, str]) -> None:
    """A daemon thread too: it is not ours to leave it to the end of the process."""
    assert "left behind 0.3 s after the test:" in reports["test_thread"]
    assert "<Thread(lost, started daemon" in reports["test_thread"]
    assert "in lingering" in reports["test_thread"]


def test_a_thread_unknown_to_threading_is_found(reports: Mapping[str, str]) -> None:
    """One that was started by the module _thread."""
    assert "in lingering" in reports["test_foreign_thread"]


@needs_proc
def test_a_child_is_named_by_its_command(reports: Mapping[str, str]) -> None:
    """And killed, lest it outlives the run (`run_script` would have complained)."""
    assert "time.sleep(31)" in reports["test_child"]


@needs_proc
def test_a_zombie_counts(reports: Mapping[str, str]) -> None:
    """Who starts a process has to wait for it."""
    assert "a zombie" in reports["test_zombie"]


@needs_proc
def test_an_orphan_counts(reports: Mapping[str, str]) -> None:
    """Even in a session of its own, and adopted by somebody else."""
    assert "time.sleep(31)" in reports["test_orphan"]


@needs_proc
def test_a_child_of_the_fork_server_counts(reports: Mapping[str, str]) -> None:
    """The server is excused, its children are not."""
    lines = re.findall(
        r"^process .*", reports["test_child_of_the_fork_server"], re.MULTILINE
    )
    assert len(lines) == 1 and "forkserver" in lines[0]


@needs_proc
def test_an_open_file_is_named(reports: Mapping[str, str]) -> None:
    """By descriptor and target."""
    assert re.search(
        r"^file descriptor \d+: .*test_it\.py$", reports["test_file"], re.M
    )
    assert "garbage" not in reports["test_file"]


@needs_proc
def test_a_file_left_to_the_garbage_collector_counts(
    reports: Mapping[str, str],
) -> None:
    """Nobody closed it, so it was luck; the report says so."""
    assert "gone after a garbage collection" in reports["test_uncollected_file"]


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
def test_a_hang_ends_the_run_with_all_stacks(tmp_path: Path, phase: str) -> None:
    """In every phase, past captured output, and after an exception as well."""
    done = run_guarded(
        tmp_path,
        f"""
        import threading
        import pytest

        def hang(phase):
            if phase == "{phase}":
                other = threading.Thread(target=elsewhere, daemon=True)
                other.start()
                other.join()

        def elsewhere():
            threading.Event().wait()

        @pytest.fixture
        def resource():
            hang("setup")
            yield
            hang("teardown")

        @pytest.mark.hang_after(0.5)
        def test_it(resource):
            hang("call")
            raise ValueError("pytest calls off the timers when it sees an exception")

        def test_never_reached():
            pass
        """,
    )
    assert done.returncode == 1
    assert "Timeout (0:00:00.5" in done.stderr
    assert " in elsewhere" in done.stderr and " in hang" in done.stderr
    assert "test_never_reached" not in done.stdout


def test_the_bound_belongs_to_one_test(tmp_path: Path) -> None:
    """Many tests may together take longer than each of them may."""
    done = run_guarded(
        tmp_path,
        """
        import threading
        import pytest

        @pytest.mark.hang_after(1)
        @pytest.mark.parametrize("number", range(8))
        def test_it(number):
            threading.Event().wait(0.2)
        """,
    )
    assert "8 passed" in done.stdout


def test_the_guards_stand_around_this_very_suite(
    request: pytest.FixtureRequest,
) -> None:
    """They are of no use where they are not loaded."""
    assert "leak_guard" in request.fixturenames
    assert request.config.pluginmanager.has_plugin("tests.guards")
    assert sys.modules["tests.guards"].HANG_AFTER == 120
