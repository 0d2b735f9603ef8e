"""What a command inherits: each line of the documentation's table, in order."""

from __future__ import annotations

import os

import pytest

from tests.helpers import HAS_PROC, run_script

from .support import SAME_LIBRARY

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs POSIX processes"),
    pytest.mark.skipif(not HAS_PROC, reason="needs /proc"),
]

SCRIPT = """
import os, resource, signal, sys, threading
import concurra

def command(code, **options):
    '''What a command prints that runs this code.'''
    runner = concurra.TaskRunner(1, progress_stats=False)
    program = [sys.executable, "-c", "import os, resource, signal, sys; " + code]
    runner.add_command(program, label="it", **options)
    result = runner.run(verify=False)["it"]
    assert result["status"] == "Successful", result["error"]
    return result["result"]["stdout"].strip() if result["result"]["stdout"] else ""

def show(expression, **options):
    return command(f"print({expression})", **options)

def status(name):
    code = "print([line.split()[1] for line in open('/proc/self/status') "
    return int(command(code + f"if line.startswith('{name}')][0])"), 16)

"""


def inherited(code: str) -> None:
    """Run a program of its own, which asserts what its commands inherit."""
    run_script(SCRIPT + code, env=SAME_LIBRARY, check=True)


def test_environment() -> None:
    """As it is when the command starts; `env` sets and unsets."""
    inherited(
        """
os.environ["A"] = os.environ["B"] = "program's"
runner = concurra.TaskRunner(1, progress_stats=False)
runner.add_task(os.environ.__setitem__, "A", "later", label="first")
line = 'echo "$A ${B-unset} $C"'
env = {"B": None, "C": "own"}
runner.add_shell_command(line, label="it", depends_on="first", env=env)
assert runner.run(verify=False)["it"]["result"]["stdout"] == "later unset own\\n"
"""
    )


def test_directory() -> None:
    """As it is when the command starts, or `cwd`."""
    inherited(
        """
os.mkdir("below")
os.chdir("below")
assert show("os.getcwd()") == os.getcwd()
assert show("os.getcwd()", cwd="..") == os.path.dirname(os.getcwd())
"""
    )


def test_standard_input() -> None:
    """Nothing, or a file with `input`."""
    inherited(
        """
read_end, write_end = os.pipe()
os.dup2(read_end, 0)
os.write(write_end, b"the program's")
assert show("os.readlink('/proc/self/fd/0')") == "/dev/null"
assert show("sys.stdin.read()", input="own") == "own"
assert show("__import__('stat').S_ISREG(os.fstat(0).st_mode)", input="x") == "True"
"""
    )


def test_standard_output_and_error() -> None:
    """Pipes, or the program's with `capture_output=False`."""
    inherited(
        """
links = "[os.readlink(f'/proc/self/fd/{n}') for n in (1, 2)]"
out, err = eval(show(links))
assert out.startswith("pipe:") and err.startswith("pipe:") and out != err
out, err = eval(show(links, stderr="stdout"))
assert out == err
command(f"open('found', 'w').write(repr({links}))", capture_output=False)
assert eval(open("found").read()) == eval(links)
"""
    )


def test_descriptors() -> None:
    """None, but those in `pass_fds`; not even those that are inheritable."""
    inherited(
        """
fd = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(fd, True)
opened = "sorted(os.listdir('/proc/self/fd'), key=int)"
assert eval(show(opened))[:3] == ["0", "1", "2"]
assert len(eval(show(opened))) == 4, "and the one that lists them"
assert str(fd) in eval(show(opened, pass_fds=[fd]))
command(f"open('found', 'w').write(repr({opened}))", capture_output=False)
assert len(eval(open("found").read())) <= 6, "a pipe to be known by, and two files"
"""
    )


def test_session_and_terminal() -> None:
    """A session and a group of its own, and no terminal."""
    inherited(
        """
import pty
pid, terminal = pty.fork()
if pid == 0:
    try:
        assert open("/dev/tty")
        assert show("os.getpid() == os.getsid(0) == os.getpgrp()") == "True"
        code = "\\ntry:\\n open('/dev/tty')\\nexcept OSError: print('none')"
        assert command(code) == "none"
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""
    )


def test_signal_handlers() -> None:
    """Those of the program are not there: the default is."""
    inherited(
        """
signal.signal(signal.SIGUSR1, lambda *args: None)
assert show("signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL") == "True"
"""
    )


def test_ignored_signals() -> None:
    """Stay ignored, so that nohup works; but for two that only Python ignores."""
    inherited(
        """
signal.signal(signal.SIGHUP, signal.SIG_IGN)
ignored = status("SigIgn")
assert ignored >> signal.SIGHUP - 1 & 1
assert not command("", check=True)
runner = concurra.TaskRunner(1, progress_stats=False)
runner.add_shell_command("grep SigIgn /proc/self/status", label="it")
line = runner.run(verify=False)["it"]["result"]["stdout"]
bits = int(line.split()[1], 16)
for number in (signal.SIGPIPE, signal.SIGXFSZ):
    assert not bits >> number - 1 & 1, number
assert bits >> signal.SIGHUP - 1 & 1
"""
    )


def test_signal_mask() -> None:
    """That of the thread that starts the run; what is blocked stays blocked."""
    inherited(
        """
assert status("SigBlk") == 0
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
assert status("SigBlk") == 1 << signal.SIGTERM - 1
"""
    )


def test_timers() -> None:
    """None."""
    inherited(
        """
signal.setitimer(signal.ITIMER_REAL, 1000)
assert show("signal.getitimer(signal.ITIMER_REAL)") == "(0.0, 0.0)"
"""
    )


def test_umask() -> None:
    """The program's."""
    inherited(
        """
os.umask(0o137)
assert show("os.umask(0)") == str(0o137)
"""
    )


def test_limits() -> None:
    """The program's."""
    inherited(
        """
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (123, hard))
assert show("resource.getrlimit(resource.RLIMIT_NOFILE)[0]") == "123"
"""
    )


def test_priorities() -> None:
    """The program's: niceness, and the processors on which it may run."""
    inherited(
        """
os.nice(3)
assert show("os.nice(0)") == str(os.nice(0))
one = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, [one])
assert show("os.sched_getaffinity(0)") == str({one})
"""
    )


def test_memory_score() -> None:
    """The program's: who is killed first when memory runs out."""
    inherited(
        """
with open("/proc/self/oom_score_adj", "w") as file:
    file.write("123")
assert show("open('/proc/self/oom_score_adj').read()") == "123"
"""
    )


def test_locale() -> None:
    """By the variables alone: what the program has set reaches nobody."""
    inherited(
        """
import locale
os.environ["LC_ALL"] = "C"
locale.setlocale(locale.LC_ALL, "C.UTF-8")
code = "__import__('locale').setlocale(0)"
assert show(code) == "C"
assert show("os.environ['LC_ALL']", env={"LC_ALL": "POSIX"}) == "POSIX"
"""
    )


def test_user() -> None:
    """The program's, and its groups."""
    inherited(
        """
ids = "(os.getresuid(), os.getresgid(), os.getgroups())"
assert show(ids) == str(eval(ids))
"""
    )


def test_the_table_has_a_line_for_each() -> None:
    """Of these tests, in this order."""
    from pathlib import Path

    page = Path(__file__).parents[2] / "docs" / "explanation" / "inheritance.md"
    section = page.read_text("utf-8").split("\n## Commands\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][2:]
    tests = [name for name in globals() if name.startswith("test_")][:-1]
    assert len(rows) == len(tests)
