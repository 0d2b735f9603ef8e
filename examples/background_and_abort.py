"""Try the links of a web site, and stop everything at the first that is broken.

The site's server would never end: it runs in the background, beside the checks. Once
a link is broken, the main thread aborts the rest, and reads what the server had logged.
"""

from __future__ import annotations

import logging
import queue
import socket
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

import concurra

HOST = "127.0.0.1"
LINKS = ["index.html", "news.html", "team.html", "shop.html"]
answers: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()


def try_link(port: int, link: str) -> None:
    """Report the status that the server gives, as soon as it gives one."""
    while True:
        connection = HTTPConnection(HOST, port, timeout=20)
        try:
            connection.request("GET", f"/{link}")
            answers.put((link, connection.getresponse().status))
            return
        except ConnectionRefusedError:
            time.sleep(0.05)  # the server is about to start
        finally:
            connection.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    with socket.create_server((HOST, 0)) as probe:
        port = int(probe.getsockname()[1])
    runner = concurra.TaskRunner(max_concurrency=2, name="site", progress_stats=False)
    with tempfile.TemporaryDirectory() as site:
        for page in ["index.html", "news.html", "shop.html"]:
            Path(site, page).touch()
        server = [sys.executable, "-u", "-m", "http.server", "--bind", HOST, str(port)]
        runner.add_command(server, "server", cwd=site)
        for link in LINKS:
            runner.add_task(try_link, port, link, label=link)
        runner.execute_in_background()
        for _ in LINKS:
            link, status = answers.get(timeout=60)
            print(link, status)
            if status != 200:
                break
        runner.show_progress()
        print("ended:", [label for label, r in runner.results_registry.items() if r])
        log = runner.abort()["server"]["trace"].splitlines()
    print("requests:", [line.split('"')[1] for line in log if '"GET ' in line])
