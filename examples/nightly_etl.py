"""Load 300 files from a flaky server. Killed, it goes on where it stopped: try kill -9.

The server runs here. It serves two clients at a time, and is busy (503) now and then.
"""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import concurra

FILES = [f"shop{number:03}.json" for number in range(300)]
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy


class FlakyServer(BaseHTTPRequestHandler):
    asked: Counter[str] = Counter()

    def do_GET(self) -> None:
        number = int(self.path[5:8])
        self.asked[self.path] += 1
        busy = self.asked[self.path] <= number % 7 - 4  # for 2 of 7 files, at first
        self.send_response(503 if busy else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"ale": number, "tea": number % 11}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def fetch(name: str) -> bytes:
    # Where the server is, is no argument: with another port it would be another call.
    with DIRECT.open(f"http://127.0.0.1:{port}/{name}", timeout=20) as response:
        answer: bytes = response.read()
    with open(folder / "fetched.txt", "a") as journal:
        journal.write(f"{name}\n")
    return answer


def parse(text: bytes) -> Counter[str]:
    return Counter(json.loads(text))


def load(sales: list[Counter[str]]) -> dict[str, int]:
    total = dict(sum(sales, Counter()))
    (folder / "table.json").write_text(json.dumps(total))
    return total


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    patient = concurra.Retry(4, on=OSError, delay=0.01, backoff=2, jitter=0.5)
    ask = concurra.task(fetch, resources={"server": 1}, task_retries=patient)
    with ThreadingHTTPServer(("127.0.0.1", 0), FlakyServer) as server:
        port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        saved = folder / "night.sqlite"
        runner = concurra.TaskRunner(8, resources={"server": 2}, checkpoint=saved)
        texts = [runner.add_task(ask, name, label=name) for name in FILES]
        sales = [runner.add_task(parse, text) for text in texts]
        runner.add_task(load, sales, label="load")
        results = runner.run(raise_exception=True)
        server.shutdown()
    fetched = [name for name in FILES if not results[name]["warning"]]
    print(
        f"fetched: {len(fetched)}, again: {sum(results[n]['retried'] for n in FILES)}"
    )
    print(f"from an earlier run: {len(FILES) - len(fetched)}")
    print(results["load"]["result"])
