"""Download files from a server that has bad moments, and check each by its SHA-256.

The server runs here. It is busy (503) at first, sends half a file once, and is never
free for the last file. What failed is tried again, three times at the most.
"""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import concurra

FILES = {f"part{n}.txt": f"line of part {n}\n".encode() * 1000 * n for n in range(1, 6)}
CHECKSUMS = {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()}
BUSY, HALF, FINE = (503, 0.0), (200, 0.5), (200, 1.0)  # status, share that is sent
TROUBLE = {"part2.txt": [BUSY, BUSY], "part3.txt": [HALF], "part5.txt": [BUSY] * 99}
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy


class FlakyServer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        name = self.path.lstrip("/")
        status, share = TROUBLE[name].pop(0) if TROUBLE.get(name) else FINE
        body = FILES[name][: int(share * len(FILES[name]))]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: what goes wrong is in the results."""


def download(url: str, sha256: str) -> str:
    with DIRECT.open(url, timeout=20) as response:  # raises for a 503
        body = response.read()
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ValueError(f"wrong checksum, {len(body)} bytes")
    return f"{len(body)} bytes"


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), FlakyServer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        runner = concurra.TaskRunner(max_concurrency=3, task_retries=3)
        for name, sha256 in CHECKSUMS.items():
            url = f"http://127.0.0.1:{server.server_port}/{name}"
            runner.add_task(download, url, sha256, label=name)
        results = runner.run(verify=False)
        server.shutdown()

    for name, result in results.items():
        outcome = result["result"] or "given up"
        print(f"{name}: {outcome}, {result['attempts']} attempts")
        for error in result["retry_errors"]:
            print(f"    {error}")
