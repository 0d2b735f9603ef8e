"""Every example runs, shows what it is there to show, and leaves nothing behind."""

from __future__ import annotations

import re
import shutil
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Union
from xml.etree import ElementTree

import pytest

import concurra
from tests.helpers import START_METHODS, run_script

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
SAME_LIBRARY = {"PYTHONPATH": str(Path(concurra.__file__).resolve().parent.parent)}

# An example is to be read at one sitting. These may be longer, for a reason:
LONG = {
    "nightly_etl.py": "a job and the server that it is up against, which it survives",
    "source_census.py": "a whole application, which the README runs as its proof",
}
LINES = 60

# Stands for anything in a text that is to be printed.
GAP = "{}"

# Runs an example as a script, in an interpreter that starts processes in this way.
STARTED_BY = """
import multiprocessing, runpy, sys

method, sys.argv = sys.argv[1], sys.argv[2:]
multiprocessing.set_start_method(method)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Runs:
    """How an example is run, and what it is to print then.

    In a text that is to be printed, ``{}`` stands for anything: within a line for any
    part of it, on a line of its own for any number of lines.
    """

    stdout: str
    stderr: str = ""
    arguments: tuple[str, ...] = ()
    status: int = 0
    tools: tuple[str, ...] = ()  # programs without which it cannot run
    module: str = "concurra"  # without which it cannot run
    leaves: tuple[str, ...] = ()  # what a tool leaves among temporary files

    def check(self, name: str, start_method: str | None = None) -> None:
        """It does so, in time; no process stays, and no file in its directories."""
        missing = [tool for tool in self.tools if shutil.which(tool) is None]
        if missing:
            pytest.skip(f"{name} needs {', '.join(missing)}")
        pytest.importorskip(self.module)
        code: str | Path = EXAMPLES / name
        arguments = self.arguments
        if start_method is not None:
            code, arguments = STARTED_BY, (start_method, str(code), *arguments)
        # Its temporary files get a short path, as sockets may be among them.
        with tempfile.TemporaryDirectory() as cwd, tempfile.TemporaryDirectory() as tmp:
            env = {**SAME_LIBRARY, "TMPDIR": tmp, "TEMP": tmp, "TMP": tmp}
            done = run_script(code, *arguments, cwd=cwd, env=env, timeout=60)
            left = [
                str(file)
                for folder in (cwd, tmp)
                for file in Path(folder).iterdir()
                if file.name not in self.leaves
            ]
        as_expected = (
            done.returncode == self.status,
            re.fullmatch(pattern(self.stdout), done.stdout) is not None,
            re.fullmatch(pattern(self.stderr), done.stderr) is not None,
        )
        assert as_expected == (True, True, True), (
            f"{name} was to end with status {self.status} and to print:\n"
            f"{self.stdout}\n--- stderr ---\n{self.stderr}\n"
            f"but it ended with status {done.returncode} and printed:\n"
            f"{done.stdout}\n--- stderr ---\n{done.stderr}"
        )
        assert left == [], f"{name} left files behind"


@dataclass(frozen=True)
class HasItsOwn:
    """It has a test file of its own, beside this one."""

    test_file: str

    def check(self, name: str) -> None:
        """The file is there and about this example."""
        text = (ROOT / "tests" / self.test_file).read_text("utf-8")
        assert Path(name).stem in text


Entry = Union[Runs, HasItsOwn]


def pattern(expected: str) -> str:
    """The regular expression for a text in which ``{}`` stands for anything."""
    lines = textwrap.dedent(expected).strip("\n").splitlines()
    any_part, any_lines = ".*", r"(?:.*\n)*"
    return "".join(
        (
            any_lines
            if line == GAP
            else any_part.join(map(re.escape, line.split(GAP))) + r"\n"
        )
        for line in lines
    )


TABLE: dict[str, list[Entry]] = {
    "async_tasks.py": [
        Runs(
            """
            Oslo: well, well, well ({} sec)
            Rome: well, no answer, no answer ({} sec)
            Bern: well, well ({} sec)
            in all: 6 of 8 servers are well ({} sec)
            """
        )
    ],
    "background_and_abort.py": [
        # The abort may come before the check of shop.html, in its midst, or after it.
        Runs(
            """
            index.html 200
            news.html 200
            team.html 404
            site progress: [{}] {}/5 [{}%] in 0 min {} sec
            ended: ['index.html'{}]
            Execution Failed
            {}
            | server     | command  | Terminated | {} |
            | index.html | try_link | Successful | {} |
            | news.html  | try_link | Successful | {} |
            {}
            requests: ['GET /index.html{}', 'GET /news.html{}', 'GET /team.html{}']
            """
        )
    ],
    "cpu_bound.py": [
        Runs(
            """
                                      ...................................
            {}
               .........::::::=-==+#@@@@@@@@@@@##@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@*-::.....
               .::::-=--::---=+%#@#@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@#=-:::.....
            {}
                                      ...................................
            1 process: {} s; {} processes: {} s
            speed-up: {}
            """
        )
    ],
    "flaky_download.py": [
        Runs(
            """
            part1.txt: 15000 bytes, 1 attempts
            part2.txt: 30000 bytes, 3 attempts
                HTTPError: HTTP Error 503: Service Unavailable
                HTTPError: HTTP Error 503: Service Unavailable
            part3.txt: 45000 bytes, 2 attempts
                ValueError: wrong checksum, 22500 bytes
            part4.txt: 60000 bytes, 1 attempts
            part5.txt: given up, 4 attempts
                HTTPError: HTTP Error 503: Service Unavailable
                HTTPError: HTTP Error 503: Service Unavailable
                HTTPError: HTTP Error 503: Service Unavailable
                HTTPError: HTTP Error 503: Service Unavailable
            """
        )
    ],
    "log_to_file.py": [
        Runs(
            """
            {} lines in the log, among them:
            {} INFO night progress: [#####....................] 1/5 [20.0%] in {} sec
            {} INFO night progress: [##########...............] 2/5 [40.0%] in {} sec
            {} ERROR Task 'wednesday' failed with error: JSONDecodeError: {}
            {} INFO night progress: [###############..........] 3/5 [60.0%] in {} sec
            {} INFO night progress: [####################.....] 4/5 [80.0%] in {} sec
            {} ERROR Task 'backup' failed with error: CommandExecutionError: {} full
            {} INFO night progress: [#########################] 5/5 [100.0%] in {}
            {} ERROR This night needs a look
            """
        )
    ],
    "mixed_commands.py": [
        Runs(
            """
            In the archive:
            apple.txt
            mole.txt
            zebra.txt

            Unpacked as committed:
            6ace33171ce0acb6891e3cc311d75a97aa429d77c05cba600d49ed9652ed49de apple.txt
            3d1cfa6deae9416413e1ad818dbc4dcb3169a755a4d080780d403a46c89fa122 mole.txt
            69cfd431a708bf2d7f26293a98875c4893b266205a902339854c87a1fd741272 zebra.txt
            """,
            tools=("git", "tar", "sort"),
        )
    ],
    "nightly_etl.py": [HasItsOwn("test_nightly_etl.py")],
    "on_a_cluster.py": [
        Runs(
            """
            worker 1 has counted {} parts
            worker 2 has counted {} parts
            6057 primes below 60000, added in a thread
            """,
            stderr=GAP,  # workers that cannot reach the scheduler any more, say
            module="distributed",
            leaves=("dask-scratch-space",),
        )
    ],
    "order_pipeline.py": [
        Runs(
            """
            71 charge   240 paid by Ada
            71 reserve  a desk put aside
            71 pack     the desk is in its box
            71 ship     on the way to Ada
            72 charge   ValueError: card declined, only 100 left on it
            72 reserve  a desk put aside
            72 pack     RuntimeError: Skipped: dependency [(72, 'charge')] {}
            72 ship     RuntimeError: Skipped: dependency [(72, 'pack')] {}
            73 charge   35 paid by Cleo
            73 reserve  a lamp put aside
            73 pack     the lamp is in its box
            73 ship     on the way to Cleo
            """
        )
    ],
    "source_census.py": [HasItsOwn("test_census.py")],
    "stop_on_first_failure.py": [
        Runs(
            """
            The claim does not hold
            216091: Terminated (begun), RuntimeError: Execution terminated {}
            19: Successful (begun), 2**19 - 1 is prime
            31: Successful (begun), 2**31 - 1 is prime
            67: Failed (begun), ValueError: 2**67 - 1 is not prime
            127: Terminated (not begun), RuntimeError: Execution terminated {}
            257: Terminated (not begun), RuntimeError: Execution terminated {}
            Not confirmed: 216091 67 127 257
            """,
            stderr="""
            Task '67' failed with error: ValueError: 2**67 - 1 is not prime
            {}
            terminating execution!
            """,
            status=1,
        )
    ],
    "test_harness.py": [
        Runs(
            """
            {}
            tests 1/2: Successful, 2 passed in {}s
            tests 2/2: Successful, 1 passed in {}s
            lint: Successful, nothing to complain about
            """,
            arguments=("--fixed",),
        ),
    ],
    "timeouts.py": [
        Runs(
            """
            command: Terminated, TimeoutError: Task exceeded timeout of 2 seconds
            thread: Terminated, TimeoutError: Task exceeded timeout of 2 seconds
            process: Terminated, TimeoutError: Task exceeded timeout of 2 seconds
            The command had printed: Serving HTTP on 127.0.0.1 port {}
            Ports that are free: process command
            The function in the thread has ended: False
            It ends when it has its answer: True
            """
        )
    ],
}


def entries() -> list[object]:
    """One parameter for each way in which an example is run."""
    found: list[object] = []
    for name, ways in TABLE.items():
        for way in ways:
            arguments = way.arguments if isinstance(way, Runs) else ()
            found.append(pytest.param(name, way, id=" ".join([name, *arguments])))
    return found


def with_processes() -> list[object]:
    """The same, only for examples here whose functions run in processes."""
    found: list[object] = []
    for name, ways in TABLE.items():
        if "use_multiprocessing=True" in (EXAMPLES / name).read_text("utf-8"):
            runs = [way for way in ways if isinstance(way, Runs)]
            found += [pytest.param(name, way, id=name) for way in runs]
    return found


def test_every_example_has_an_entry_and_every_entry_an_example() -> None:
    """Nothing is shown to users that nobody has run."""
    files = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.glob("**/*.py")}
    assert files == set(TABLE)


@pytest.mark.hang_after(90)
@pytest.mark.parametrize(("name", "entry"), entries())
def test_an_example_does_what_it_should(name: str, entry: Entry) -> None:
    """It runs and shows it, here or in its own test file."""
    entry.check(name)


@pytest.mark.skipif("spawn" not in START_METHODS, reason="needs spawn")
@pytest.mark.hang_after(90)
@pytest.mark.parametrize(("name", "entry"), with_processes())
def test_an_example_works_where_processes_are_spawned(name: str, entry: Runs) -> None:
    """As on macOS and Windows: it can be imported without running again."""
    entry.check(name, "spawn")


HARNESS_FAILS = """
{}
== tests 1/2: exited with code 1 ==
{}
tests 1/2: Failed, 1 failed, 1 passed in {}s
    FAILED test_tall.py::test_area - assert 11 == 18
tests 2/2: Successful, 1 passed in {}s
lint: Successful, nothing to complain about
"""


@pytest.mark.hang_after(90)
def test_the_harness_tells_what_fails_and_writes_reports(tmp_path: Path) -> None:
    """Into the folder that it is given."""
    code = EXAMPLES / "test_harness.py"
    done = run_script(code, str(tmp_path), env=SAME_LIBRARY, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")
    assert re.fullmatch(pattern(HARNESS_FAILS), done.stdout), done.stdout
    suite = ElementTree.parse(tmp_path / "junit.xml").find("testsuite")
    assert suite is not None
    assert [suite.get(each) for each in ("tests", "failures", "errors")] == [
        *("3", "1", "0")
    ]
    assert {each.name for each in tmp_path.iterdir()} - {"run.html"} == {"junit.xml"}


def test_examples_are_short() -> None:
    """What is longer has a reason, and no reason outlives its example."""
    lengths = {
        name: len((EXAMPLES / name).read_text("utf-8").splitlines()) for name in TABLE
    }
    assert {name for name, length in lengths.items() if length > LINES} == set(LONG)


def test_the_readme_has_a_row_for_each_example() -> None:
    """In its table, with a link to the file."""
    text = (EXAMPLES / "README.md").read_text("utf-8")
    assert re.findall(r"^\| \[`(\w+\.py)`\]\(\1\) \|", text, re.MULTILINE) == list(
        TABLE
    )


def test_a_text_with_gaps_is_matched_as_documented() -> None:
    """Within a line they stand for part of it, alone for lines, even for none."""
    assert re.fullmatch(pattern("a {} c\n{}\nd"), "a b c\nd\n")
    assert re.fullmatch(pattern("a {} c\n{}\nd"), "a b c\n1\n2\nd\n")
    assert not re.fullmatch(pattern("a {} c"), "a b\nc c\n")
    assert not re.fullmatch(pattern("a"), "a\nb\n")
    assert re.fullmatch(pattern(""), "")
