"""The long run: random scenarios until the time is up or the count is reached.

    python -m tests.stress --seconds 600 --seed 7 --modes thread fork
    python -m tests.stress --seed 1234 --modes fork --count 1 --repeat 50   (replay)

The scenarios run in a process of their own, so one that hangs or crashes does not end
the whole: it is reported with its seed, and the rest goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

# No more imports here: spawned workers import this module.

#: Seconds after which a scenario that is stuck beyond help is killed with its process.
STUCK = 120.0


def _arguments() -> argparse.Namespace:
    from .scenario import MODES

    parser = argparse.ArgumentParser(
        prog="python -m tests.stress",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, help="end after so many seconds")
    parser.add_argument("--count", type=int, help="end after so many scenarios")
    parser.add_argument("--seed", type=int, help="of the first; the others count on")
    parser.add_argument("--repeat", type=int, default=1, help="run each so many times")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--journal", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seconds is None and options.count is None:
        options.seconds = 60.0
    if options.seed is None:
        options.seed = random.randrange(10**6)
    return options


def _drive(options: argparse.Namespace) -> int:
    """Start lanes, one after the other, until everything was run."""
    from tests.helpers import MARK, marked, wait_until, with_mark

    until = time.monotonic() + (options.seconds or 10**9)
    print(f"seed {options.seed}, modes {' '.join(options.modes)}", flush=True)
    mark = uuid.uuid4().hex
    done = failures = 0
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        journal = Path(folder) / "journal"
        while time.monotonic() < until and done != options.count:
            journal.touch()
            left = max(0.1, until - time.monotonic())
            command = [sys.executable, "-X", "faulthandler", "-m", "tests.stress"]
            command += ["--journal", str(journal), "--first", str(done)]
            command += ["--seed", str(options.seed), "--repeat", str(options.repeat)]
            command += ["--seconds", str(left), "--modes", *options.modes]
            if options.count is not None:
                command += ["--count", str(options.count)]
            environment = {**os.environ, MARK: with_mark(os.environ, mark)[MARK]}
            status = subprocess.run(command, env=environment).returncode
            before = done
            ended = True
            for line in journal.read_text().splitlines():
                entry = json.loads(line)
                ended = entry["ended"]
                if ended:
                    done += 1
                    failures += entry["failed"]
                    counts[entry["mode"]] = counts.get(entry["mode"], 0) + 1
            journal.unlink()
            if not ended or (status not in (0, 1)):
                print(f"the process ended with status {status}", flush=True)
                failures += 1
                done += not ended
            elif done == before:
                break
            # The helpers of multiprocessing end by themselves, a moment later.
            with contextlib.suppress(AssertionError):
                wait_until(lambda: not marked(mark), 5.0)
            survivors = marked(mark)
            for each in survivors:
                print(f"survived its run: {each}", flush=True)
                os.kill(each.pid, signal.SIGKILL)
            failures += bool(survivors)
    told = ", ".join(f"{mode}: {count}" for mode, count in sorted(counts.items()))
    print(f"{done} scenarios ({told}); {failures} failed", flush=True)
    return 1 if failures else 0


def _lane(options: argparse.Namespace) -> int:
    """Run scenarios in this process; tell the journal of each."""
    import faulthandler
    from multiprocessing import forkserver

    from .check import failure

    forkserver.ensure_running()
    began = time.monotonic()
    told = began
    failures = 0
    index = options.first
    with options.journal.open("a") as journal:
        while time.monotonic() < began + options.seconds and index != options.count:
            seed = options.seed + index
            mode = options.modes[index % len(options.modes)]
            entry = {"mode": mode, "seed": seed, "ended": False}
            print(json.dumps(entry), file=journal, flush=True)
            faulthandler.dump_traceback_later(STUCK * options.repeat, exit=True)
            wrong = ""
            for _ in range(options.repeat):
                wrong = failure(seed, mode)
                if wrong:
                    break
            faulthandler.cancel_dump_traceback_later()
            failures += bool(wrong)
            if wrong:
                print(wrong, flush=True)
            entry = {**entry, "ended": True, "failed": bool(wrong)}
            print(json.dumps(entry), file=journal, flush=True)
            index += 1
            if time.monotonic() > told + 20:
                told = time.monotonic()
                count = index - options.first
                print(f"{count} scenarios, {failures} failed", flush=True)
            if "did not end in" in wrong:
                break  # a hang leaves threads: go on in a new process
    return 1 if failures else 0


def main() -> int:
    options = _arguments()
    return _drive(options) if options.journal is None else _lane(options)


if __name__ == "__main__":
    sys.exit(main())
