"""Log a night's jobs into a file, with a logger of one's own.

Nothing is printed while they run. `log_errors` puts each failure into the log when it
happens, with its traceback. In the morning, the lines that matter are read there.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from pathlib import Path

import concurra

VISITORS = {
    "monday": '{"visitors": 120}',
    "tuesday": '{"visitors": 95}',
    "wednesday": '{"visitors": 13',  # cut off
    "thursday": '{"visitors": 101}',
}
BACKUP = [sys.executable, "-c", "import sys; sys.exit('the tape is full')"]


def open_log(path: Path) -> logging.Logger:
    """Return a logger that writes to this file, and nowhere else."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("night")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    return logger


def count_visitors(text: str) -> int:
    return int(json.loads(text)["visitors"])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "night.log")
        runner = concurra.TaskRunner(
            1, name="night", logger=open_log(path), log_errors=True
        )
        for day, text in VISITORS.items():
            runner.add_task(count_visitors, text, label=day)
        runner.add_command(BACKUP, label="backup")
        runner.run(error_message="This night needs a look")
        logging.shutdown()  # closes the file, which Windows could not remove otherwise
        lines = path.read_text(encoding="utf-8").splitlines()
    print(f"{len(lines)} lines in the log, among them:")
    print(*(line for line in lines if " INFO " in line or " ERROR " in line), sep="\n")
