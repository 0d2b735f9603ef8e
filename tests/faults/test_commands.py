"""Commands that cannot start, misbehave, or are many.

What cannot start fails with the reason, as any other task that goes wrong does; what
starts is waited for, whatever it does with its descriptors.
"""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

import concurra
from tests.behaviour.support import SAME_LIBRARY
from tests.helpers import alive, run_script, wait_until

from .support import Result, assert_failed, assert_skipped, check_all, make_runner

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")


def run_command(command: Any, *, task_retries: int = 0, **options: Any) -> Result:
    """The result of a command, a list or a shell line, among others that go well."""
    runner = make_runner("thread", 1)
    add = runner.add_command if isinstance(command, list) else runner.add_shell_command
    runner.add_command(["echo", "before"], label="before")
    add(command, label="it", task_retries=task_retries, **options)
    runner.add_command(["echo", "child"], label="child", depends_on="it")
    runner.add_command(["echo", "after"], label="after")
    results = runner.run(verify=False)
    check_all(results)
    for label in ("before", "after"):
        assert results[label]["result"]["stdout"] == f"{label}\n"
    it: Result = results["it"]
    if it["status"] == "Successful":
        assert results["child"]["status"] == "Successful"
    else:
        assert_skipped(results["child"], "it")
    return it


def make_file(folder: Path, text: str, mode: int = stat.S_IRUSR) -> str:
    """A file with that content and those permissions."""
    path = folder / "program"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


# Commands that cannot start ---------------------------------------------------


def assert_never_started(result: Result, pattern: str) -> None:
    """It failed for that reason, and there is nothing that a command left."""
    assert_failed(result, pattern)
    assert result["execution_mode"] == "subprocess"
    assert result["retry_errors"] == [result["error"]]


def test_a_program_that_does_not_exist() -> None:
    """The error names it."""
    result = run_command(["no-such-program-anywhere", "x"])
    assert_never_started(result, r"FileNotFoundError: .*no-such-program-anywhere")


def test_a_program_that_does_not_exist_is_tried_again() -> None:
    """Retries count for it as for any failure."""
    result = run_command(["no-such-program-anywhere"], task_retries=2)
    assert_failed(result, r"FileNotFoundError: ")
    assert (result["attempts"], len(result["retry_errors"])) == (3, 3)


def test_a_file_that_is_not_executable(tmp_path: Path) -> None:
    """It is there, but may not be run."""
    path = make_file(tmp_path, "#!/bin/sh\necho hello\n")
    assert_never_started(run_command([path]), r"PermissionError: .*program")


def test_a_directory_as_a_program(tmp_path: Path) -> None:
    """It may be entered, not run."""
    assert_never_started(run_command([str(tmp_path)]), r"PermissionError: ")


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    """The system does not know what to do with it."""
    path = make_file(tmp_path, "\0\1\2\3", stat.S_IRWXU)
    assert_never_started(run_command([path]), r"OSError: .*format")


def test_a_script_whose_interpreter_does_not_exist(tmp_path: Path) -> None:
    """The first line names somebody who is not there."""
    path = make_file(tmp_path, "#!/no/such/interpreter\n", stat.S_IRWXU)
    assert_never_started(run_command([path]), r"FileNotFoundError: ")


def test_a_shell_line_with_an_unknown_command() -> None:
    """The shell starts, so the result is there, with its words."""
    result = run_command("no-such-program-anywhere x")
    assert result["status"] == "Failed"
    assert result["error"].startswith(
        "CommandExecutionError: Command exited with return code 127: "
    )
    assert result["result"]["returncode"] == 127
    assert "not found" in result["result"]["stderr"]


@pytest.mark.parametrize("shell", [False, True], ids=["command", "shell"])
def test_a_directory_to_run_in_that_does_not_exist(shell: bool) -> None:
    """The error names the directory, not the program."""
    command: Any = "true" if shell else ["true"]
    result = run_command(command, cwd="/no/such/directory")
    assert_never_started(result, r"FileNotFoundError: .*/no/such/directory")


def test_a_directory_to_run_in_that_is_a_file(tmp_path: Path) -> None:
    """The same for what is no directory."""
    result = run_command(["true"], cwd=make_file(tmp_path, ""))
    assert_never_started(result, r"NotADirectoryError: .*program")


def test_an_argument_list_that_is_too_long() -> None:
    """Neither one argument of 4 MB nor 400,000 small ones."""
    assert_never_started(run_command(["true", "x" * 4_000_000]), r"OSError: .*too long")
    many = ["true", *["12345678901234567890"] * 400_000]
    assert_never_started(run_command(many), r"OSError: .*too long")


def test_an_environment_that_is_too_large() -> None:
    """The same for variables."""
    result = run_command(["true"], env={"A": "x" * 4_000_000})
    assert_never_started(result, r"OSError: .*too long")


# Commands that behave oddly ---------------------------------------------------


def test_a_command_that_reads_its_input() -> None:
    """There is none: it ends at once, and does not wait for a terminal."""
    for command in (["cat"], "read -r line; echo got: $line", [sys.executable, "-"]):
        result = run_command(command)
        assert result["status"] == "Successful", result["error"]
        assert result["result"]["stdout"] in ("", "got:\n")


@pytest.mark.parametrize("code", [0, 5])
def test_a_command_that_closes_its_output_early(code: int, tmp_path: Path) -> None:
    """The end of its output is not its own end: its exit code is waited for."""
    sign = tmp_path / "sign"
    line = (
        f"echo first; exec 1>&- 2>&-; n=0; while [ $n -lt 50000 ]; do n=$((n+1)); done;"
        f" : > {sign}; exit {code}"
    )
    result = run_command(line)
    assert sign.exists()
    assert result["status"] == ("Failed" if code else "Successful")
    assert result["result"]["returncode"] == code
    assert result["result"]["stdout"] == "first\n"


@pytest.mark.parametrize("check", [True, False])
def test_output_that_is_no_text(check: bool) -> None:
    """What cannot be decoded is kept as escapes, on both streams."""
    line = r"printf 'ok \377\200 \303\251'; printf 'bad \376' >&2; exit 3"
    result = run_command(line, check=check)
    assert result["status"] == ("Failed" if check else "Successful")
    assert result["result"]["stdout"].startswith(r"ok \xff\x80 ")
    assert result["result"]["stderr"] == r"bad \xfe"
    if check:
        assert result["error"].endswith(r"return code 3: bad \xfe")


def test_output_that_is_no_text_as_bytes() -> None:
    """With text=False it is kept as it is, and quoted in the error."""
    line = r"printf '\377\200'; printf 'bad \376' >&2; exit 3"
    result = run_command(line, text=False)
    assert result["result"]["stdout"] == b"\xff\x80"
    assert result["result"]["stderr"] == b"bad \xfe"
    assert result["error"].endswith(r"return code 3: bad \xfe")


def test_output_with_nul_bytes() -> None:
    """They are characters as any other."""
    result = run_command(r"printf 'a\0b'")
    assert result["result"]["stdout"] == "a\0b"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_command_that_a_signal_ends(number: signal.Signals) -> None:
    """The return code is the negative signal number, and the error names it."""
    result = run_command(f"ulimit -c 0; kill -{int(number)} $$")
    assert result["status"] == "Failed"
    assert result["result"]["returncode"] == -number
    error = f"CommandExecutionError: Command was killed by {number.name}"
    assert result["error"].startswith(error)


def test_a_command_that_kills_its_own_group() -> None:
    """The group is its own: this process is not in it."""
    result = run_command("kill -9 0")
    assert result["status"] == "Failed"
    assert result["result"]["returncode"] == -signal.SIGKILL


def test_a_command_that_leaves_a_process_behind(tmp_path: Path) -> None:
    """It is over when its leader and its output are; the rest goes with the run."""
    sign = tmp_path / "sign"
    line = f"sleep 600 >/dev/null 2>&1 & echo $! > {sign}"
    assert run_command(line)["status"] == "Successful"
    pid = int(sign.read_text())
    wait_until(lambda: not alive(pid), what="the end of what was left behind")


def test_a_command_that_is_deaf_to_sigterm(tmp_path: Path) -> None:
    """A timeout ends it and its children all the same."""
    sign = tmp_path / "sign"
    line = f"trap '' TERM; sleep 600 & echo $! > {sign}; wait; wait; wait"
    runner = make_runner("thread", 1, timeout=1, terminate_timeout=0.1)
    runner.add_shell_command(line, label="it")
    runner.add_command(["echo", "after"], label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["error"] == "TimeoutError: Task exceeded timeout of 1 seconds"
    assert results["after"]["result"]["stdout"] == "after\n"
    pid = int(sign.read_text())
    wait_until(lambda: not alive(pid), what="the end of its child")


def test_a_command_that_stops_itself() -> None:
    """It does not react to SIGTERM then; a timeout ends it all the same."""
    runner = make_runner("thread", 1, timeout=1, terminate_timeout=0.1)
    runner.add_shell_command("kill -STOP $$", label="it")
    runner.add_command(["echo", "after"], label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["status"] == "Terminated"
    assert results["after"]["status"] == "Successful"


def test_programs_that_are_written_while_others_start(tmp_path: Path) -> None:
    """A fork holds a file open for a moment, and it cannot run then: it runs later."""

    def write(path: Path) -> None:
        with path.open("w") as file:
            file.write("#!/bin/sh\necho fine\n")
            os.fchmod(file.fileno(), 0o755)

    runner = concurra.TaskRunner(8, progress_stats=False)
    for number in range(300):
        path = tmp_path / f"{number}.sh"
        runner.add_task(write, path, label=f"write {number}")
        runner.add_command([path], label=number, depends_on=f"write {number}")
    results = runner.run(verify=False)
    check_all(results)
    assert {result["error"] for result in results.values()} == {None}
    assert {result["attempts"] for result in results.values()} == {1}


@pytest.mark.parametrize("use", [False, True], ids=["threads", "processes"])
def test_a_server_that_holds_the_output(tmp_path: Path, use: bool) -> None:
    """Its command succeeds long before the timeout, and it is there for the others."""
    runner = concurra.TaskRunner(
        2, timeout=30, progress_stats=False, use_multiprocessing=use
    )
    line = f"sleep 600 & echo $! > {tmp_path}/pid; echo ready"
    runner.add_shell_command(line, label="server")
    runner.add_task(abs, -1, label="between", depends_on="server")
    test = f"kill -0 $(cat {tmp_path}/pid)"
    runner.add_shell_command(test, label="client", depends_on="between")
    results = runner.run(verify=False)
    check_all(results)
    assert {result["status"] for result in results.values()} == {"Successful"}
    server = results["server"]
    assert server["result"]["stdout"] == "ready\n"
    pid = int((tmp_path / "pid").read_text())
    assert f"held open by sleep (pid {pid}):" in server["warning"]
    assert server["duration_seconds"] < 20
    wait_until(lambda: not alive(pid), what="the end of the server")


ADOPTING = """
    import ctypes, os, sys
    import concurra

    if __name__ == "__main__":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # as the first process of a container
        for line in (
            "sleep 60 & sleep 60 & wait",
            "timeout 60 sleep 60 & wait",
            "sleep 60 >/dev/null 2>&1 & echo left behind",
        ):
            runner = concurra.TaskRunner(2, timeout=0.5, progress_stats=False)
            runner.add_shell_command(line)
            runner.add_shell_command(line)
            runner.run(verify=False)
            try:
                print(os.waitpid(-1, os.WNOHANG))
            except ChildProcessError:
                print("none is left")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's prctl")
def test_orphans_of_commands_that_this_program_adopts() -> None:
    """They are reaped: those of commands that were killed, and what was left behind."""
    done = run_script(ADOPTING, env=SAME_LIBRARY, check=True)
    assert done.stdout.splitlines() == ["none is left"] * 3


NO_CHILDREN = """
    import os, signal, sys
    import concurra

    if __name__ == "__main__":
        if sys.argv[1] == "ignore":
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        else:
            def reap(*args):
                try:
                    while os.waitpid(-1, os.WNOHANG)[0]:
                        pass
                except ChildProcessError:
                    pass
            signal.signal(signal.SIGCHLD, reap)
        runner = concurra.TaskRunner(1, progress_stats=False)
        for number in range(20):
            runner.add_command(["sh", "-c", "echo out; exit 3"], label=number)
        for result in runner.run(verify=False).values():
            print(result["status"])
"""


@pytest.mark.parametrize("how", ["ignore", "reap"])
def test_a_failure_in_a_program_that_lets_nobody_wait_for_children(how: str) -> None:
    """With SIGCHLD ignored, or a handler that reaps all, no failure is a success.

    The exit code may be out of reach then, and a command whose end nobody knows has
    not succeeded.
    """
    done = run_script(NO_CHILDREN, how, env=SAME_LIBRARY, check=True)
    assert done.stdout.splitlines() == ["Failed"] * 20


# Many commands ----------------------------------------------------------------


MANY_COMMANDS = """
    import sys
    import concurra

    if __name__ == "__main__":
        count = int(sys.argv[1])
        runner = concurra.TaskRunner(4, progress_stats=False)
        for number in range(count):
            runner.add_command(["echo", str(number)])
        results = runner.run(verify=False)
        assert list(results) == list(range(count))
        for number, result in results.items():
            assert result["result"]["stdout"] == f"{number}\\n", result
        print("done")
"""


@pytest.mark.hang_after(330)
def test_many_short_commands() -> None:
    """10,000 of them: each has its own output.

    A program of their own runs them, because starting a process takes the longer, the
    larger the program is that starts it.
    """
    done = run_script(
        MANY_COMMANDS, "10000", timeout=300.0, env=SAME_LIBRARY, check=True
    )
    assert done.stdout == "done\n"


def test_many_commands_that_cannot_start() -> None:
    """Failures leave no file descriptor behind either."""
    runner = concurra.TaskRunner(4, progress_stats=False)
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for number in range(300):
        runner.add_command(["no-such-program-anywhere", str(number)])
        runner.add_command(["true"], cwd="/no/such/directory")
    results = runner.run(verify=False)
    check_all(results)
    assert {result["status"] for result in results.values()} == {"Failed"}
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
