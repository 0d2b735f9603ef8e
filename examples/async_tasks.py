"""Ask the servers of several sites how they are: coroutines within tasks.

Each `async def` task asks all servers of a site at once, in an event loop of its own.
A server that says nothing is given up after two seconds; the others are not affected.
A plain function sums up when all sites are through.
"""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading

import concurra

HOST = "127.0.0.1"
answers: dict[str, list[str]] = {}  # `depends_on` is about order; data goes this way


class WellServer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(b"well\n")


async def ask(port: int) -> str:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        return (await asyncio.wait_for(reader.readline(), timeout=2)).decode().strip()
    except asyncio.TimeoutError:
        return "no answer"
    finally:
        writer.close()


async def ask_site(site: str, ports: list[int]) -> str:
    answers[site] = await asyncio.gather(*map(ask, ports))
    return ", ".join(answers[site])


def sum_up() -> str:
    said = [answer for site in answers.values() for answer in site]
    return f"{said.count('well')} of {len(said)} servers are well"


if __name__ == "__main__":
    well = socketserver.ThreadingTCPServer((HOST, 0), WellServer)
    silent = socket.create_server((HOST, 0))  # takes calls, never says a word
    with well, silent:
        threading.Thread(target=well.serve_forever, daemon=True).start()
        up, mute = well.server_address[1], silent.getsockname()[1]
        runner = concurra.TaskRunner(max_concurrency=2, timeout=30)
        sites = {"Oslo": [up, up, up], "Rome": [up, mute, mute], "Bern": [up, up]}
        for site, ports in sites.items():
            runner.add_task(ask_site, site, ports, label=site)
        runner.add_task(sum_up, label="in all", depends_on=sites)
        results = runner.run(error_message="Not all sites could be asked")
        well.shutdown()
    for label, result in results.items():
        print(f"{label}: {result['result']} ({result['duration']})")
