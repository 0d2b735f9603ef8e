"""Make the picture of a page: ``python docs/pictures/make.py`` writes ``page.png``.

It needs ``concurra[report,browser]`` and a Chromium, see ``tests/browser/conftest.py``.
The run is made up, so that the picture changes when the page does, and only then.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, Optional

from PIL import Image
from playwright.sync_api import sync_playwright

from concurra import __version__
from concurra.reports import RunRecord, TaskRecord, write_html

HERE = Path(__file__).resolve().parent
START = 1_767_571_200.0  # a Monday at midnight, UTC

#: Label, dependencies, lane, start, duration; what else is not as usual.
TASKS: list[tuple[str, list[int], int, float, float, dict[str, Any]]] = [
    ("fetch orders", [], 0, 0.0, 3.1, {}),
    ("fetch customers", [], 1, 0.0, 4.4, {}),
    ("fetch stock", [], 2, 0.0, 6.6, {"tries": [(0, 1.8), (2.8, 4.2), (5.2, 6.6)]}),
    ("fetch invoices", [], 3, 0.0, 2.4, {}),
    ("parse orders", [0], 0, 3.1, 4.6, {}),
    ("parse customers", [1], 1, 4.4, 3.2, {}),
    ("parse stock", [2], 2, 6.6, 5.1, {}),
    ("parse invoices", [3], 3, 2.4, 1.9, {"error": "KeyError: 'customer_id'"}),
    ("compress orders", [4], 3, 7.7, 2.0, {"command": "gzip"}),
    ("compress stock", [6], 1, 11.7, 1.6, {"command": "gzip"}),
    ("merge", [4, 5, 6], 0, 11.7, 4.2, {}),
    ("sum up invoices", [7], -1, 0, 0, {}),
    ("report", [10], 0, 15.9, 2.3, {}),
    ("publish", [12], 0, 18.2, 1.1, {"command": "rsync"}),
]


def task(index: int) -> TaskRecord:
    """One of the tasks."""
    label, needs, lane, start, took, more = TASKS[index]
    error: Optional[str] = more.get("error")
    ends = [TASKS[each][3] + TASKS[each][4] for each in needs]
    fields: dict[str, Any] = {"index": index, "label": label, "depends_on": needs}
    fields["name"] = label.split()[0]
    if lane < 0:
        skipped = "RuntimeError: Skipped: dependency ['parse invoices'] failed"
        return TaskRecord(
            **fields,
            status="Terminated",
            cause="skip",
            error=skipped,
            ended=START + max(ends),
            skipped_because_of="parse invoices",
        )
    tries = more.get("tries", [(start, start + took)])
    return TaskRecord(
        **fields,
        kind="command" if "command" in more else "function",
        program=more.get("command", ""),
        mode="subprocess" if "command" in more else "process",
        status="Failed" if error else "Successful",
        cause="error" if error else "success",
        error=error,
        ready=START + max(ends, default=0),
        started=START + start,
        ended=START + start + took,
        duration=took,
        attempts=len(tries),
        tries=[(START + a, START + b, None) for a, b in tries],
        task_retries=2,
        lane=lane,
    )


def main() -> None:
    """Write the picture beside this file."""
    run = RunRecord(
        name="Nightly",
        state="ended",
        max_concurrency=4,
        started=START,
        ended=START + 19.3,
        moment=START + 20,
        tasks=[task(index) for index in range(len(TASKS))],
        concurra_version=__version__,
    )
    chromium = os.environ.get("CONCURRA_CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "run.html"
        write_html(run, page)
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox"] if os.geteuid() == 0 else [],
        )
        tab = browser.new_page(viewport={"width": 1100, "height": 1500})
        tab.goto(page.as_uri())
        tab.wait_for_timeout(500)
        taken = Path(folder) / "page.png"
        tab.screenshot(path=taken)
        browser.close()
        # Few colours are enough, and a third of the size.
        with Image.open(taken) as image:
            small = image.convert("RGB").quantize(96)
        small.save(HERE / "page.png", optimize=True)
    print(f"{HERE / 'page.png'}: {(HERE / 'page.png').stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
