"""Much of everything: large values, many values, floods of output.

Nothing is cut off or mixed up, and no pipe that is full holds up the run. The parent
and one worker together need at most 2 GiB at any time.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import START_METHODS, wait_until

from . import deeds
from .stage import OVERDUE, ample
from .support import MODES, by_modes, check_all, make_runner, run_between

processes = by_modes(*START_METHODS)

MIB = 1 << 20
LARGE = 256 * MIB


def block_times(count: int) -> bytes:
    """So many MiB, not all the same byte."""
    return random.Random(7).randbytes(MIB) * count


def crc(data: bytes) -> tuple[int, int]:
    """Its length and checksum."""
    return len(data), zlib.crc32(data)


@processes
def test_a_large_argument(mode: str) -> None:
    """256 MiB go to a worker as they are."""
    runner = make_runner(mode)
    data = block_times(LARGE // MIB)
    runner.add_task(crc, data, label="it")
    runner.add_task(abs, -1, label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["result"] == crc(data)
    assert results["after"]["result"] == 1


@processes
def test_a_large_result(mode: str) -> None:
    """256 MiB come from a worker as they are."""
    runner = make_runner(mode)
    runner.add_task(block_times, LARGE // MIB, label="it")
    runner.add_task(abs, -1, label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["status"] == "Successful", results["it"]["error"]
    assert crc(results["it"]["result"]) == crc(block_times(LARGE // MIB))
    assert results["after"]["result"] == 1


@by_modes("thread", "fallback")
def test_large_values_are_not_copied_in_this_process(mode: str) -> None:
    """What a function in a thread returns is its result, the same object."""
    data = bytes(LARGE)
    assert run_between(mode, deeds.same, data)["result"] is data


@processes
def test_a_timeout_in_the_middle_of_a_large_result(mode: str) -> None:
    """The worker stops for ever with half of its result in the pipe: terminated."""
    if os.name != "posix":
        pytest.skip("needs POSIX signals")
    timeout = ample(mode)
    runner = make_runner(mode, 1, timeout=timeout, terminate_timeout=0.1)
    runner.add_task(deeds.die_while_sending, 64 * MIB, signal.SIGSTOP, label="it")
    runner.add_task(abs, -1, label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["status"] == "Terminated"
    assert results["it"]["error"] == f"{OVERDUE}{timeout} seconds"
    assert results["after"]["result"] == 1


@processes
def test_timeouts_that_strike_at_any_moment_of_large_results(mode: str) -> None:
    """Each result is either whole, or its task has exceeded its timeout.

    The results take about as long as the timeout allows.
    """
    runner = make_runner(mode, 2, timeout=0.1, terminate_timeout=0.1)
    sizes = [4 + 4 * number for number in range(16)]
    for size in sizes:
        runner.add_task(block_times, size, label=size)
    results = runner.run(verify=False)
    check_all(results)
    for size, result in results.items():
        if result["status"] == "Successful":
            assert crc(result["result"]) == crc(block_times(size))
        else:
            assert result["error"].startswith("TimeoutError: "), result["error"]


def test_a_hundred_thousand_results_through_processes() -> None:
    """Each is there, and is that of its own task."""
    runner = make_runner(START_METHODS[0], 2)
    count = 100_000
    for number in range(count):
        runner.add_task(deeds.same, number)
    results = runner.run(verify=False)
    assert list(results) == list(range(count))
    assert [result["result"] for result in results.values()] == list(range(count))
    assert {result["status"] for result in results.values()} == {"Successful"}


@by_modes(*MODES)
def test_results_of_all_sizes_around_the_capacity_of_a_pipe(mode: str) -> None:
    """Where one write becomes two, or blocks, nothing is lost."""
    edges = (0, 1, 4096, 16384, 65536, 131072, 212992, 425984)
    sizes = sorted({max(0, edge + off) for edge in edges for off in range(-70, 9, 13)})
    runner = make_runner(mode, 2)
    for size in sizes:
        runner.add_task(bytes, size, label=size)
    results = runner.run(verify=False)
    check_all(results)
    assert [len(result["result"]) for result in results.values()] == sizes


# Output of commands -----------------------------------------------------------

WRITE = """
import sys
text, binary = b"0123456789abcde\\n" * 65536, bytes(range(256)) * 4096
block = binary if sys.argv[2] == "binary" else text
for _ in range(int(sys.argv[1])):
    sys.stdout.buffer.write(block)
"""
BINARY = bytes(range(256)) * 4096
TEXT = "0123456789abcde\n" * 65536


def test_200_mib_of_text_from_a_command() -> None:
    """All of it is in the result."""
    runner = make_runner("thread")
    runner.add_command([sys.executable, "-c", WRITE, "200", "text"], label="it")
    result = runner.run(verify=False)["it"]
    assert result["status"] == "Successful", result["error"]
    assert result["result"]["stdout"] == TEXT * 200


def test_200_mib_of_bytes_from_a_command() -> None:
    """All of them are in the result."""
    runner = make_runner("thread")
    command = [sys.executable, "-c", WRITE, "200", "binary"]
    runner.add_command(command, label="it", text=False)
    result = runner.run(verify=False)["it"]
    assert result["status"] == "Successful", result["error"]
    assert result["result"]["stdout"] == BINARY * 200


INTERLEAVE = """
import os
for number in range(400):
    for fd in (1, 2):
        data = bytes([48 + number % 10]) * 70000
        while data:
            data = data[os.write(fd, data):]
"""


@pytest.mark.parametrize("text", [True, False], ids=["text", "bytes"])
def test_both_streams_flooded_in_turns(text: bool) -> None:
    """Neither waits for the other to be read."""
    runner = make_runner("thread", 2)
    for label in ("one", "two"):
        command = [sys.executable, "-c", INTERLEAVE]
        runner.add_command(command, label=label, text=text)
    results = runner.run(verify=False)
    check_all(results)
    expected: Any = b"".join(bytes([48 + n % 10]) * 70000 for n in range(400))
    if text:
        expected = expected.decode()
    for result in results.values():
        assert result["result"]["stdout"] == expected
        assert result["result"]["stderr"] == expected


UNDECODABLE = """
import os
for _ in range(64):
    data = b"\\xff\\xfe a\\n" * 20000
    while data:
        data = data[os.write(1, data):]
"""


def test_a_flood_that_is_no_text() -> None:
    """Every undecodable byte of megabytes is kept as an escape."""
    runner = make_runner("thread")
    runner.add_command([sys.executable, "-c", UNDECODABLE], label="it")
    result = runner.run(verify=False)["it"]
    assert result["result"]["stdout"] == "\\xff\\xfe a\n" * (20000 * 64)


def test_a_flood_of_a_command_that_is_aborted(tmp_path: Path) -> None:
    """Not a byte that it had printed is lost: it is all in the trace."""
    sign = tmp_path / "sign"
    runner = make_runner("thread", 1)
    line = f"head -c 20000000 /dev/zero | tr '\\0' x; echo; : > {sign}; exec sleep 600"
    runner.add_shell_command(line, label="it")
    runner.execute_in_background()
    wait_until(sign.exists, what="the end of the flood")
    results = runner.abort()
    check_all(results)
    assert results["it"]["status"] == "Terminated"
    assert results["it"]["trace"].startswith("stdout:\nxxx")
    assert results["it"]["trace"].count("x") == 20_000_000


def test_a_flood_without_end_is_ended_by_its_timeout() -> None:
    """A command that never stops printing is terminated as any other."""
    runner = make_runner("thread", 1, timeout=0.3, terminate_timeout=0.1)
    runner.add_shell_command("yes > /dev/null", label="it")
    runner.add_command(["echo", "next"], label="after")
    results = runner.run(verify=False)
    check_all(results)
    assert results["it"]["error"].startswith("TimeoutError: ")
    assert results["after"]["result"]["stdout"] == "next\n"
