"""External commands: add_command, add_shell_command, and their structured results."""

from __future__ import annotations

import os
import pathlib
import re
import signal
import sys

import pytest

import concurra

from .support import TERMINATED, check, read, statuses, wait_for_end_of

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
PYTHON = sys.executable


def run_one(add, command, **options):
    """The result of one command, added by `add` with these options."""
    runner = concurra.TaskRunner(progress_stats=False)
    getattr(runner, add)(command, label="a", **options)
    result = runner.run(verify=False)["a"]
    check(result)
    return result


def direct(*command, **options):
    return run_one("add_command", list(command), **options)


def shell(command, **options):
    return run_one("add_shell_command", command, **options)


def python(code, *arguments, **options):
    return direct(PYTHON, "-c", code, *arguments, **options)


# The structured result --------------------------------------------------------


def test_the_result_of_a_direct_command():
    """Six entries, and the fields of any task around them."""
    result = direct("echo", "generate report")
    assert result["result"] == {
        "command": ["echo", "generate report"],
        "shell": False,
        "returncode": 0,
        "stdout": "generate report\n",
        "stderr": "",
        "cwd": None,
    }
    assert result["output"] is result["result"]
    assert result["status"] == "Successful"
    assert result["execution_mode"] == "subprocess"
    assert result["attempts"] == 1
    assert result["task_name"] == "command"


@POSIX
def test_the_result_of_a_shell_command(tmp_path):
    """The command is the string as it was given, `shell` is True."""
    command = "echo out; echo err >&2"
    result = shell(command, cwd=tmp_path)
    assert result["result"] == {
        "command": command,
        "shell": True,
        "returncode": 0,
        "stdout": "out\n",
        "stderr": "err\n",
        "cwd": str(tmp_path),
    }
    assert result["execution_mode"] == "subprocess"
    assert result["task_name"] == "shell_command"


def test_a_tuple_is_a_command():
    """Its result shows a list."""
    result = run_one("add_command", ("echo", "x"))
    assert result["result"]["command"] == ["echo", "x"]
    assert result["result"]["stdout"] == "x\n"


def test_the_command_is_read_when_it_is_given():
    """What happens to the list afterwards changes nothing."""
    command = ["echo", "before"]
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_command(command, label="a")
    command.append("after")
    assert runner.run()["a"]["result"]["stdout"] == "before\n"


def test_arguments_arrive_exactly():
    """No shell looks at them: spaces, quotes, globs, newlines and the empty string."""
    arguments = ["a b", "'\"", "*", "$HOME", "line\nline", "", "ü→", "\\", "; exit 3"]
    code = "import sys; sys.stdout.buffer.write(ascii(sys.argv[1:]).encode())"
    assert python(code, *arguments)["result"]["stdout"] == ascii(arguments)


@POSIX
@pytest.mark.parametrize(
    ("command", "stdout"),
    [
        ("printf 'alpha\\nbeta\\n' | grep beta", "beta\n"),
        ("echo redirected > file; cat file", "redirected\n"),
        ("touch b.txt a.txt; echo *.txt", "a.txt b.txt\n"),
        ("false || echo chained && echo on", "chained\non\n"),
        ("X=1; echo $((X + 1))", "2\n"),
    ],
    ids=["pipe", "redirect", "glob", "chain", "variable"],
)
def test_a_shell_command_is_interpreted_by_the_shell(tmp_path, command, stdout):
    """Pipes, redirects, globbing, chaining, variables."""
    assert shell(command, cwd=tmp_path)["result"]["stdout"] == stdout


# cwd and env ------------------------------------------------------------------

SHOW_CWD = "import os; print(os.getcwd())"


@pytest.mark.parametrize("kind", [str, pathlib.Path])
def test_cwd(tmp_path, kind):
    """A str or a path object is the working directory, and a str in the result."""
    folder = tmp_path.resolve()
    result = python(SHOW_CWD, cwd=kind(folder))["result"]
    assert result["stdout"] == f"{folder}\n"
    assert result["cwd"] == str(folder)


def test_without_cwd_it_is_that_of_the_program():
    """The program's own working directory stays what it is."""
    before = os.getcwd()
    result = python(SHOW_CWD)["result"]
    assert result["stdout"] == f"{before}\n"
    assert result["cwd"] is None
    assert os.getcwd() == before


def test_a_missing_cwd_fails_the_task(tmp_path):
    """A clear error, and no command was run."""
    result = direct("echo", "x", cwd=tmp_path / "missing")
    assert result["status"] == "Failed"
    assert result["error"].startswith("FileNotFoundError: ")
    assert result["result"] is None


SHOW_ENV = (
    "import os; print(os.environ.get('CONCURRA_A'), os.environ.get('CONCURRA_B'))"
)


@pytest.mark.parametrize("add", ["add_command", "add_shell_command"])
def test_env_is_merged_with_the_environment(monkeypatch, add):
    """Overrides and additions; the rest of the environment is inherited."""
    monkeypatch.setenv("CONCURRA_A", "inherited")
    monkeypatch.setenv("CONCURRA_B", "inherited")
    command = [PYTHON, "-c", SHOW_ENV]
    if add == "add_shell_command":
        command = f'"{PYTHON}" -c "{SHOW_ENV}"'
    stdouts = [
        run_one(add, command, env=env)["result"]["stdout"]
        for env in (None, {}, {"CONCURRA_B": "own"})
    ]
    assert stdouts == ["inherited inherited\n"] * 2 + ["inherited own\n"]
    assert os.environ["CONCURRA_B"] == "inherited"


def test_env_values_reach_the_command_only():
    """A variable set for one command is not there for the next, nor here."""
    runner = concurra.TaskRunner(max_concurrency=1, progress_stats=False)
    command = [PYTHON, "-c", SHOW_ENV]
    runner.add_command(command, label="with", env={"CONCURRA_A": "set"})
    runner.add_command(command, label="without")
    results = runner.run()
    assert results["with"]["result"]["stdout"] == "set None\n"
    assert results["without"]["result"]["stdout"] == "None None\n"
    assert "CONCURRA_A" not in os.environ


# check ------------------------------------------------------------------------


@POSIX
def test_a_non_zero_return_code_fails_the_task():
    """The error has the documented text, and the structured result stays."""
    result = shell("echo some out; echo some err >&2; exit 7")
    assert result["status"] == "Failed"
    assert result["has_failed"] is True
    assert result["error"] == (
        "CommandExecutionError: Command exited with return code 7: some err"
    )
    assert result["retry_errors"] == [result["error"]]
    assert result["result"]["returncode"] == 7
    assert result["result"]["stdout"] == "some out\n"
    assert result["result"]["stderr"] == "some err\n"
    assert result["output"] is result["result"]


@POSIX
@pytest.mark.parametrize(
    ("command", "end"),
    [
        ("echo some out; exit 7", ": some out"),
        ("exit 7", ""),
        ("printf '\\n  two\\nlines \\n\\n' >&2; exit 7", ": two\nlines"),
    ],
    ids=["stdout", "nothing", "lines"],
)
def test_the_error_of_a_command_shows_what_it_said(command, end):
    """Standard error, else standard output, else nothing; blank edges cut."""
    assert shell(command)["error"] == (
        f"CommandExecutionError: Command exited with return code 7{end}"
    )


@POSIX
def test_the_error_of_a_command_is_cut_at_500_characters():
    """The end is kept, where tools say the cause; the result has all of it."""
    code = "import sys; print('x' * 2000 + 'ERROR: disk full', file=sys.stderr)"
    result = python(f"{code}; sys.exit(7)", task_retries=1)
    cut = "... " + "x" * 484 + "ERROR: disk full"
    text = f"CommandExecutionError: Command exited with return code 7: {cut}"
    assert result["retry_errors"] == [text, text]
    assert result["result"]["stderr"] == "x" * 2000 + "ERROR: disk full\n"
    code = "import sys; print('x' * 500, file=sys.stderr); sys.exit(7)"
    assert python(code)["error"].endswith("return code 7: " + "x" * 500)


def test_with_check_off_a_return_code_is_a_result():
    """Any return code is a success then."""
    result = python("import sys; sys.exit(7)", check=False)
    assert result["status"] == "Successful"
    assert result["result"]["returncode"] == 7
    assert result["error"] is None


@POSIX
def test_a_signal_is_a_negative_return_code():
    """A command that is killed from elsewhere has failed."""
    result = shell("echo half done; ulimit -c 0; kill -s SEGV $$")
    assert result["status"] == "Failed"
    assert result["result"]["returncode"] == -signal.SIGSEGV
    assert result["error"] == (
        "CommandExecutionError: Command was killed by SIGSEGV: half done"
    )


@pytest.mark.parametrize("check_", [True, False])
def test_a_missing_program_fails_the_task(check_):
    """Whatever `check` is: there was no command that could have had a return code."""
    result = direct("concurra-no-such-program", check=check_)
    assert result["status"] == "Failed"
    assert result["error"].startswith("FileNotFoundError: ")
    assert result["result"] is None
    assert result["execution_mode"] == "subprocess"


# capture_output and text ------------------------------------------------------

SPEAK = "import sys; print('to out'); print('to err', file=sys.stderr)"


def test_without_capture_output_goes_where_the_programs_goes(capfd):
    """It is not in the result but on our own standard output and error."""
    result = python(SPEAK, capture_output=False)["result"]
    assert (result["stdout"], result["stderr"]) == (None, None)
    assert result["returncode"] == 0
    assert capfd.readouterr() == ("to out\n", "to err\n")


def test_with_capture_nothing_shows(capfd):
    """By default, nothing reaches our own standard output and error."""
    result = python(SPEAK)["result"]
    assert (result["stdout"], result["stderr"]) == ("to out\n", "to err\n")
    assert capfd.readouterr() == ("", "")


def test_a_failure_without_capture_has_a_return_code_only():
    """There is nothing to quote."""
    result = python("import sys; sys.exit(7)", capture_output=False)
    assert result["error"] == "CommandExecutionError: Command exited with return code 7"


def test_text_off_gives_bytes():
    """The output as it came."""
    code = "import os; os.write(1, bytes([255, 10, 13, 10])); os.write(2, b'err')"
    result = python(code, text=False)["result"]
    assert (result["stdout"], result["stderr"]) == (b"\xff\n\r\n", b"err")


def test_a_failure_with_text_off():
    """The error has the return code; the bytes are in the result."""
    result = python("import os; os.write(2, b'oops'); os._exit(7)", text=False)
    assert result["error"].startswith(
        "CommandExecutionError: Command exited with return code 7"
    )
    assert result["result"]["stderr"] == b"oops"


def test_undecodable_output_is_kept():
    """Bytes that are no text appear with backslashes, and fail nothing."""
    code = "import os; os.write(1, b'a\\xffb\\n'); os.write(2, b'\\xfe')"
    result = python(code)
    assert result["status"] == "Successful"
    assert result["result"]["stdout"] == "a\\xffb\n"
    assert result["result"]["stderr"] == "\\xfe"


def test_text_output_has_plain_newlines():
    """As text files have, whatever the command's own are."""
    result = python("import os; os.write(1, b'one\\r\\ntwo\\n')")
    assert result["result"]["stdout"] == "one\ntwo\n"


def test_floods_on_both_outputs():
    """Megabytes on standard output and error at once block nobody."""
    code = (
        "import sys\n"
        "for _ in range(100):\n"
        "    sys.stdout.write('o' * 20_000); sys.stderr.write('e' * 20_000)\n"
    )
    result = python(code)["result"]
    assert (len(result["stdout"]), len(result["stderr"])) == (2_000_000, 2_000_000)


@pytest.fixture
def typed():
    """Our own standard input, with something to read in it."""
    keyboard, keys = os.pipe()
    os.write(keys, b"typed")
    os.close(keys)
    original = os.dup(0)
    os.dup2(keyboard, 0)
    os.close(keyboard)
    yield
    os.dup2(original, 0)
    os.close(original)


def test_stdin_is_closed(typed):
    """A command that reads its standard input finds the end at once, not ours."""
    result = python("import sys; print(repr(sys.stdin.read()))")
    assert result["result"]["stdout"] == "''\n"


# Keyword-only options ---------------------------------------------------------


def test_paths_are_arguments(tmp_path):
    """As `subprocess` takes them; the result has them as strings."""
    path = tmp_path / "file"
    path.write_text("content\n")
    result = run_one("add_command", [pathlib.Path("/bin/cat"), path, b"/dev/null"])
    assert result["result"]["stdout"] == "content\n"
    assert result["result"]["command"] == ["/bin/cat", str(path), "/dev/null"]


def test_a_variable_is_unset(monkeypatch):
    """By None."""
    monkeypatch.setenv("CONCURRA_A", "inherited")
    result = python(SHOW_ENV, env={"CONCURRA_A": None, "CONCURRA_B": "own"})
    assert result["result"]["stdout"] == "None own\n"


@pytest.mark.parametrize("text", ["ü\n", "ü\n".encode()])
def test_input(text):
    """A string or bytes; every attempt has all of it."""
    code = "import sys; data = sys.stdin.buffer.read(); print(ascii(data)); sys.exit(7)"
    result = python(code, input=text, task_retries=1)
    assert result["attempts"] == 2
    assert result["result"]["stdout"] == ascii("ü\n".encode()) + "\n"


@POSIX
def test_errors_go_where_all_else_goes():
    """In order."""
    result = shell("echo a; echo b >&2; echo c", stderr="stdout")["result"]
    assert (result["stdout"], result["stderr"]) == ("a\nb\nc\n", "")


@POSIX
def test_another_shell_reads_the_line():
    """Which is named by its path."""
    result = shell('echo "$0"', executable=pathlib.Path("/bin/sh"))
    assert result["result"]["stdout"] == "/bin/sh\n"


@POSIX
def test_descriptors_are_passed_on():
    """Under the same numbers."""
    read_end, write_end = os.pipe()
    code = f"import os; os.write({write_end}, b'passed')"
    assert python(code, pass_fds=[write_end])["status"] == "Successful"
    assert os.read(read_end, 100) == b"passed"
    os.close(read_end)
    os.close(write_end)


@POSIX
@pytest.mark.parametrize("way", ["timeout", "abort"])
def test_a_command_is_stopped_by_the_signal_of_its_choice(tmp_path, way):
    """At a timeout and at an abort."""
    timeout = 1 if way == "timeout" else None
    runner = concurra.TaskRunner(
        timeout=timeout, terminate_timeout=20, progress_stats=False
    )
    line = "trap 'echo tidy; exit' USR1; trap 'echo no; exit' TERM; exec 2>/dev/null; "
    line += "echo $$ > x; mv x pid; sleep 60 & wait"  # its end may be told on stderr
    runner.add_shell_command(line, label="a", cwd=tmp_path, stop_signal="SIGUSR1")
    runner.execute_in_background()
    read(tmp_path / "pid")
    if way == "abort":
        runner.abort()
    result = runner.get_background_results(verify=False)["a"]
    check(result)
    assert result["trace"] == "stdout:\ntidy\n"


@pytest.mark.parametrize(
    "options",
    [
        {"stop_signal": "SIGNOTHING"},
        {"input": 5},
        {"stderr": "null"},
        {"pass_fds": [0]},
    ],
    ids=repr,
)
@pytest.mark.parametrize("add", ["add_command", "add_shell_command"])
def test_keyword_only_options_are_checked_at_the_call(add, options):
    """By name, and nothing is added."""
    runner = concurra.TaskRunner()
    command = ["ls"] if add == "add_command" else "ls"
    (name,) = options
    with pytest.raises((TypeError, ValueError), match=name):
        getattr(runner, add)(command, **options)
    assert len(runner) == 0


# What is refused --------------------------------------------------------------

REFUSED = [
    ("add_command", "ls -l", TypeError),
    ("add_command", b"ls", TypeError),
    ("add_command", None, TypeError),
    ("add_command", {"ls"}, TypeError),
    ("add_command", [], ValueError),
    ("add_command", (), ValueError),
    ("add_command", ["ls", 1], TypeError),
    ("add_command", ["ls", None], TypeError),
    ("add_shell_command", ["ls", "-l"], TypeError),
    ("add_shell_command", ("ls",), TypeError),
    ("add_shell_command", b"ls", TypeError),
    ("add_shell_command", None, TypeError),
    ("add_shell_command", "", ValueError),
]


@pytest.mark.parametrize(("add", "command", "error"), REFUSED, ids=repr)
def test_commands_are_checked_at_the_call(add, command, error):
    """A list or tuple of strings for one, a string for the other; nothing else."""
    runner = concurra.TaskRunner()
    with pytest.raises(error) as caught:
        getattr(runner, add)(command, label="a")
    assert str(caught.value)
    assert len(runner) == 0


@pytest.mark.parametrize(
    ("add", "command"), [("add_command", "ls -l"), ("add_shell_command", ["ls"])]
)
def test_the_refusal_points_to_the_other_adder(add, command):
    """Who mixes them up is told which to use."""
    other = {"add_command": "add_shell_command", "add_shell_command": "add_command"}
    with pytest.raises(TypeError, match=other[add]):
        getattr(concurra.TaskRunner(), add)(command)


@pytest.mark.parametrize(
    "options",
    [
        {"cwd": 4},
        {"cwd": ["/tmp"]},
        {"env": [1]},
        {"env": "A=b"},
        {"env": {"A": 1}},
        {"env": {None: "A"}},
        {"env": {1: "a"}},
    ],
    ids=repr,
)
@pytest.mark.parametrize("add", ["add_command", "add_shell_command"])
def test_cwd_and_env_are_checked_at_the_call(add, options):
    """Wrong types are TypeErrors there, and nothing is added."""
    runner = concurra.TaskRunner()
    command = ["ls"] if add == "add_command" else "ls"
    with pytest.raises(TypeError):
        getattr(runner, add)(command, **options)
    assert len(runner) == 0


# Among other tasks ------------------------------------------------------------


@pytest.mark.parametrize("use_multiprocessing", [False, True])
def test_commands_and_functions_depend_on_each_other(use_multiprocessing):
    """In one graph; commands are subprocesses also where functions are processes."""
    runner = concurra.TaskRunner(
        use_multiprocessing=use_multiprocessing, progress_stats=False
    )
    runner.add_task(abs, -1, label="first")
    runner.add_command(["echo", "x"], label="second", depends_on=["first"])
    runner.add_task(abs, -3, label="third", depends_on=["second"])
    results = runner.run()
    function_mode = "process" if use_multiprocessing else "thread"
    assert [result["execution_mode"] for result in results.values()] == [
        function_mode,
        "subprocess",
        function_mode,
    ]
    assert set(statuses(results).values()) == {"Successful"}


def test_both_adders_take_their_options_by_position(tmp_path):
    """In the documented order."""
    runner = concurra.TaskRunner(progress_stats=False)
    code = "import os, sys; os.write(1, os.environb[b'CONCURRA_A']); sys.exit(7)"
    options = ("first", None, tmp_path, {"CONCURRA_A": "own"}, False, True, False, 2)
    runner.add_command([PYTHON, "-c", code], *options)
    runner.add_shell_command(
        "exit 7", "second", ["first"], None, None, True, False, True, 1
    )
    results = runner.run(verify=False)
    assert results["first"]["result"]["stdout"] == b"own"
    assert results["first"]["result"]["cwd"] == str(tmp_path)
    assert results["first"]["task_retries"] == 2
    assert results["second"]["result"]["stdout"] is None
    assert results["second"]["attempts"] == 2


@POSIX
def test_an_abort_stops_a_command_and_keeps_what_it_had_printed(tmp_path):
    """Terminated, its processes gone, its output in the trace."""
    runner = concurra.TaskRunner(progress_stats=False)
    runner.add_shell_command(
        "echo on the way; echo trouble >&2; echo $$ > x; mv x pid; exec sleep 60",
        label="a",
        cwd=tmp_path,
    )
    runner.execute_in_background()
    pid = read(tmp_path / "pid")
    result = runner.abort()["a"]
    wait_for_end_of(pid)
    check(result)
    assert result["error"] == TERMINATED
    assert result["result"] is None
    assert re.search(r"(?s)stdout.*on the way.*stderr.*trouble", result["trace"])


@POSIX
def test_commands_run_beside_each_other(tmp_path):
    """Each of two commands waits for the file that the other makes."""
    runner = concurra.TaskRunner(max_concurrency=2, progress_stats=False)
    for mine, other in (("a", "b"), ("b", "a")):
        runner.add_shell_command(
            f"touch {mine}; n=0; until [ -e {other} ] || [ $n -ge 1000 ];"
            f" do n=$((n + 1)); sleep 0.01; done; [ -e {other} ]",
            cwd=tmp_path,
        )
    assert set(statuses(runner.run()).values()) == {"Successful"}
