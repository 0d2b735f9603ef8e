"""A program that is paused while its tasks go on, as by Ctrl-Z or a debugger."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import START_METHODS, run_script, start_script, wait_until

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs SIGSTOP")

BOUND = 60.0

PROGRAM = """
    import os
    import sys
    import time
    from pathlib import Path
    import concurra

    def work(folder, size):
        (folder / "begun").write_text("")
        while not (folder / "go").exists():
            time.sleep(0.01)
        (folder / "done").write_text("")
        return "x" * size

    if __name__ == "__main__":
        folder, mode, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
        runner = concurra.TaskRunner(
            2,
            timeout=float(sys.argv[4]),
            use_multiprocessing=True,
            mp_context=None if mode == "command" else mode,
            progress_stats=False,
        )
        if mode == "command":
            line = "touch begun; while ! [ -e go ]; do sleep 0.01; done; touch done"
            runner.add_shell_command(line, cwd=folder, label="it")
        else:
            runner.add_task(work, folder, size, label="it")
        result = runner.run(verify=False)["it"]
        print(result["status"], result["error"])
"""


@pytest.mark.hang_after(180)
@pytest.mark.parametrize(
    "mode, size",
    [(mode, size) for mode in START_METHODS for size in (10, 1 << 20)]
    + [("command", 0)],
)
def test_what_ended_in_time_counts(mode: str, size: int, tmp_path: Path) -> None:
    """The program sees its deadline late, and the end of its task not at all so far."""
    timeout = 6.0
    arguments = (str(tmp_path), mode, str(size), str(timeout))
    with start_script(PROGRAM, *arguments, env=SAME_LIBRARY) as script:
        wait_until(lambda: (tmp_path / "begun").exists(), BOUND, "the task")
        began = time.monotonic()
        script.send_signal(signal.SIGSTOP)
        (tmp_path / "go").write_text("")
        wait_until(lambda: (tmp_path / "done").exists(), BOUND, "the end of the task")
        took = time.monotonic() - began
        time.sleep(timeout + 1.0)  # nothing can happen, but that time goes by
        script.send_signal(signal.SIGCONT)
        assert script.wait(BOUND) == 0
        assert took < timeout / 2, "the machine is too slow for this to say anything"
        assert script.stdout().startswith("Successful None"), str(script)


SERVER = """
    import os
    import signal
    import subprocess
    import sys
    import time
    from multiprocessing import forkserver
    import concurra

    STUBBORN = "trap '' TERM; echo ready; sleep 600"

    def work(how):
        if how != "ends":
            child = subprocess.Popen(["sh", "-c", STUBBORN], stdout=subprocess.PIPE)
            child.stdout.readline()
        os.kill(os.getppid(), signal.SIGSTOP)
        time.sleep(0 if how == "ends" else 600)

    if __name__ == "__main__":
        how = sys.argv[1]
        runner = concurra.TaskRunner(
            1,
            timeout=1 if how == "times out" else None,
            terminate_timeout=0.1,
            use_multiprocessing=True,
            mp_context="forkserver",
            progress_stats=False,
        )
        runner.add_task(work, how, label="it")
        print(runner.run(verify=False)["it"]["status"])
        os.kill(forkserver._forkserver._forkserver_pid, signal.SIGCONT)
"""


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="its end is not seen")
@pytest.mark.skipif("forkserver" not in START_METHODS, reason="needs a fork server")
@pytest.mark.parametrize(
    "how, status", [("ends", "Successful"), ("times out", "Terminated")]
)
def test_the_fork_server_is_paused(how: str, status: str) -> None:
    """It cannot tell how its processes have ended, which the run does without."""
    done = run_script(SERVER, how, env=SAME_LIBRARY, check=True)
    assert done.stdout == f"{status}\n"
    assert done.stderr == ""
