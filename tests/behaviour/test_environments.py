"""Runs within other libraries' worlds, as far as these are installed.

What is not installed is skipped, by its name.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import concurra
from tests.helpers import START_METHODS, run_script

from .support import SAME_LIBRARY

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX commands")

FRESH = tuple(method for method in START_METHODS if method != "fork")


def printed(program: str, *args: str) -> list[str]:
    """The lines that a program prints that ends well, and leaves nothing behind."""
    done = run_script(program, *args, env=SAME_LIBRARY, timeout=90, check=True)
    return done.stdout.splitlines()


GEVENT = """
    from gevent import monkey

    monkey.patch_all()

    import gevent, os, time
    import concurra

    def add(a, b):
        return a + b

    def die():
        os.kill(os.getpid(), 9)

    if __name__ == "__main__":
        met = gevent.event.Event()
        runner = concurra.TaskRunner(4, progress_stats=False)
        runner.add_task(met.wait, 20, label="waits")  # for a greenlet of the program
        for code in (0, 3):
            runner.add_shell_command(f"exit {code}", label=code)
        runner.add_command(["sleep", "60"], label="long", timeout=0.5)
        runner.add_task(concurra.task(time.sleep, timeout=0.5), 60, label="asleep")
        gevent.spawn(met.set)
        for label, result in runner.run(verify=False).items():
            print(label, result["status"], result["error"])
        for method in %s:
            runner = concurra.TaskRunner(
                2, use_multiprocessing=True, mp_context=method, progress_stats=False
            )
            runner.add_task(add, 1, 2, label="add")
            runner.add_task(die, label="die")
            results = runner.run(verify=False)
            print(method, results["add"]["result"], results["die"]["status"])
        for method in (None, "fork"):
            runner = concurra.TaskRunner(
                use_multiprocessing=True, mp_context=method, progress_stats=False
            )
            runner.add_command(["true"], label="command")
            print(runner.run()["command"]["status"])
        runner = concurra.TaskRunner(use_multiprocessing=True, mp_context="fork")
        runner.add_task(add, 1, 2)
        try:
            runner.run()
        except concurra.LifeCycleError as error:
            print(error)
"""


def test_gevent() -> None:
    """Patched: tasks are greenlets, commands have their codes, no worker is forked."""
    pytest.importorskip("gevent")
    assert printed(GEVENT % (FRESH,)) == [
        "waits Successful None",
        "0 Successful None",
        "3 Failed CommandExecutionError: Command exited with return code 3",
        "long Terminated TimeoutError: Task exceeded timeout of 0.5 seconds",
        "asleep Terminated TimeoutError: Task exceeded timeout of 0.5 seconds",
        *(f"{method} 3 Failed" for method in FRESH),
        "Successful",
        "Successful",
        "Where gevent has patched threads, workers cannot be forked, as greenlets of "
        "this program would go on in them: take mp_context='forkserver' or 'spawn'",
    ]


LATE_GEVENT = """
    import multiprocessing.reduction

    from gevent import monkey

    monkey.patch_all()

    import os
    import concurra

    if __name__ == "__main__":
        for method in %s:
            runner = concurra.TaskRunner(
                1, use_multiprocessing=True, mp_context=method, progress_stats=False
            )
            runner.add_task(abs, -3, label="abs")
            print(runner.run(verify=False)["abs"]["result"])
        runner = concurra.TaskRunner(2, progress_stats=False)
        runner.add_command(["sleep", "60"])
        runner.add_shell_command("echo up; kill -9 $PPID; exec sleep 60")
        runner.run()
"""


def test_gevent_that_comes_late_in_a_program_that_is_killed() -> None:
    """Workers have their pipes, and no command outlives the program."""
    pytest.importorskip("gevent")
    done = run_script(LATE_GEVENT % (FRESH,), env=SAME_LIBRARY, timeout=90)
    assert done.returncode == -9, done
    assert done.stdout.split() == ["3"] * len(FRESH)


MEASURED = """
    import time

    def double(n):
        return 2 * n

    def hang():
        time.sleep(60)
"""

MEASURES = """
    import sys
    import concurra, measured

    if __name__ == "__main__":
        runner = concurra.TaskRunner(
            use_multiprocessing=True, mp_context=sys.argv[1], terminate_timeout=20,
            progress_stats=False,
        )
        runner.add_task(measured.double, 2, label="double")
        runner.add_function(measured.hang, timeout=2)
        print([result["status"] for result in runner.run(verify=False).values()])
"""

SETTINGS = """\
[run]
source = .
concurrency = thread,multiprocessing
parallel = true
sigterm = true
"""


@pytest.mark.parametrize("method", START_METHODS)
def test_coverage(tmp_path: Path, method: str) -> None:
    """It measures what tasks do in processes, also a task that exceeds its timeout."""
    pytest.importorskip("coverage")
    import textwrap

    for name, text in (("measured.py", MEASURED), ("measures.py", MEASURES)):
        (tmp_path / name).write_text(textwrap.dedent(text))
    (tmp_path / ".coveragerc").write_text(SETTINGS)

    def coverage(*args: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *args],
            cwd=tmp_path,
            env={**os.environ, **SAME_LIBRARY},
            capture_output=True,
            text=True,
            timeout=90,
        )
        assert done.returncode == 0, done
        return done.stdout

    assert coverage("run", "measures.py", method) == "['Successful', 'Terminated']\n"
    coverage("combine")
    assert "measured.py 5 0 100%" in " ".join(coverage("report").split())


CELLS = """
import sys, time, concurra

def square(n):
    return n * n

def run(method):
    runner = concurra.TaskRunner(
        2, use_multiprocessing=True, mp_context=method, progress_stats=False
    )
    runner.add_task(square, 3, label="square")
    result = runner.run(verify=False)["square"]
    print(result["result"] or result["error"])
---
run("fork")
---
run("spawn")
---
async def later(n):
    return n + 1

runner = concurra.TaskRunner(2, progress_stats=False)
runner.add_task(later, 1, label="later")
print((await runner.run_async(verify=False))["later"]["result"])
---
import os, signal, threading

def interrupt():
    at_work.wait(20)
    os.kill(os.getpid(), signal.SIGINT)

at_work = threading.Event()
threading.Thread(target=interrupt).start()
runner = concurra.TaskRunner(2, progress_stats=False)
runner.add_task(at_work.set)
runner.add_command(["sleep", "60"], label="sleep")
runner.run(verify=False)
---
print(runner.results_registry["sleep"]["status"])
---
import asyncio

def interrupt_soon():
    me, began = threading.get_ident(), threading.Event()
    runner = concurra.TaskRunner(2, progress_stats=False)
    runner.add_task(began.set)
    runner.add_command(["sleep", "60"], label="sleep")

    def interrupt():
        began.wait(20)
        while sys._current_frames()[me].f_code.co_name != "select":
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    return runner

runner = interrupt_soon()
results = await runner.run_async(verify=False)
---
print(runner.results_registry["sleep"]["status"])
---
runner = interrupt_soon()
async for label, result in runner.as_completed_async():
    pass
---
print(runner.results_registry["sleep"]["status"])
"""


@pytest.mark.hang_after(120)
@pytest.mark.skipif("fork" not in START_METHODS, reason="needs fork")
def test_a_notebook(tmp_path: Path) -> None:
    """In a kernel: functions of cells under fork, coroutines, an interrupt."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    program = """
        import sys, nbclient, nbformat

        cells = [nbformat.v4.new_code_cell(c) for c in sys.argv[1].split("---")]
        notebook = nbformat.v4.new_notebook(cells=cells)
        nbclient.NotebookClient(
            notebook, timeout=60, kernel_name="python3", allow_errors=True
        ).execute()
        for cell in notebook.cells[1:]:
            for each in cell.outputs:
                if each.output_type == "error":
                    print(each.ename)
                elif each.get("name") == "stdout":
                    print(each.text.strip())
    """
    assert nbclient and nbformat
    fork, spawn, awaited, *interrupted = printed(program, CELLS)
    assert fork == "9" and "workers cannot import this __main__" in spawn
    assert awaited == "2"
    assert interrupted[:2] == ["KeyboardInterrupt", "Terminated"]
    assert interrupted[2:] == ["CancelledError", "Terminated"] * 2


CELERY = """
    import billiard
    import concurra

    def add(a, b):
        return a + b

    def inside(processes):
        runner = concurra.TaskRunner(
            2, use_multiprocessing=processes, progress_stats=False
        )
        runner.add_task(add, 1, 2, label="add")
        runner.add_shell_command("exit 3", label="exit")
        try:
            results = runner.run(verify=False)
        except concurra.ConcurraError as error:
            return str(error)
        return [result["status"] for result in results.values()]

    if __name__ == "__main__":
        with billiard.Pool(1) as pool:
            for processes in (False, True):
                print(pool.apply(inside, (processes,)))
"""


def test_celery() -> None:
    """In its pool of processes: threads and commands work, processes are refused."""
    pytest.importorskip("billiard")
    threads, processes = printed(CELERY)
    assert threads == "['Successful', 'Failed']"
    assert "--pool=threads" in processes


FIRST = """
    import os, signal, sys, time
    import concurra

    def end(number, frame):
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
    runner = concurra.TaskRunner(2, progress_stats=False)
    runner.add_shell_command("sleep 60 & sleep 60", label="long")
    runner.add_shell_command("kill -TERM 1", label="stop")
    try:
        runner.run(verify=False)
    finally:
        zombies = [
            pid
            for pid in os.listdir("/proc")
            if pid.isdigit() and ") Z " in open(f"/proc/{pid}/stat").read()
        ]
        print(os.getpid(), runner.results_registry["long"]["status"], zombies)
"""


def test_the_first_process_of_a_container(tmp_path: Path) -> None:
    """With a handler it ends at SIGTERM, with all it had started, and no zombie."""
    import textwrap

    unshare = shutil.which("unshare")
    around = [str(unshare), "--fork", "--pid", "--mount-proc"]
    if unshare is None or subprocess.run([*around, "true"], stderr=-3).returncode:
        pytest.skip("there is no unshare, or it is not permitted")
    (tmp_path / "first.py").write_text(textwrap.dedent(FIRST))
    done = subprocess.run(
        [*around, sys.executable, str(tmp_path / "first.py")],
        env={**os.environ, **SAME_LIBRARY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (143, "1 Terminated []\n"), done


APPLICATION = """
import concurra, sys

def double(n):
    return 2 * n

def main():
    runner = concurra.TaskRunner(
        2, use_multiprocessing=True, mp_context=sys.argv[1], progress_stats=False
    )
    runner.add_task(double, 2, label="double")
    print(runner.run(verify=False)["double"]["result"])
"""


@pytest.mark.parametrize("method", START_METHODS)
def test_an_application_in_a_zip(tmp_path: Path, method: str) -> None:
    """Its functions are in a module of the zip, as is the library itself."""
    path = tmp_path / "application.pyz"
    tabulate = importlib.util.find_spec("tabulate")
    assert tabulate is not None and tabulate.origin is not None
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("application.py", APPLICATION)
        file.writestr(
            "__main__.py",
            "import application\nif __name__ == '__main__': application.main()\n",
        )
        for module in (concurra.__file__, tabulate.origin):
            folder = Path(module).parent
            for each in folder.rglob("*.py"):
                file.write(each, each.relative_to(folder.parent).as_posix())
    done = run_script(path, method, check=True, timeout=60)
    assert done.stdout == "4\n"
