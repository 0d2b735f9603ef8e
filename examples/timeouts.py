"""Three tasks without an end: in a process, as a command, and in a thread.

Timeouts end them. Process and command are killed, so their ports are free again. A
thread cannot be killed: its task is given up, its function goes on in the background.
"""

from __future__ import annotations

import socket
import sys
import threading

import concurra

HOST = "127.0.0.1"
answer, answered = threading.Event(), threading.Event()


def free_ports() -> tuple[int, int]:
    with socket.create_server((HOST, 0)) as a, socket.create_server((HOST, 0)) as b:
        return a.getsockname()[1], b.getsockname()[1]


def is_free(port: int) -> bool:
    try:
        socket.create_server((HOST, port)).close()
        return True
    except OSError:
        return False


def wait_for_caller(port: int) -> None:
    with socket.create_server((HOST, port)) as server:
        server.accept()


def wait_for_answer() -> None:
    answer.wait()
    answered.set()


if __name__ == "__main__":
    ports = dict(zip(("process", "command"), free_ports()))
    # A runner has its functions either in processes or in threads: take two.
    processes = concurra.TaskRunner(timeout=2, use_multiprocessing=True)
    processes.add_task(wait_for_caller, ports["process"], label="process")
    others = concurra.TaskRunner(timeout=2, max_concurrency=2)
    web_server = [sys.executable, "-u", "-m", "http.server", "--bind", HOST]
    others.add_command([*web_server, str(ports["command"])], label="command")
    others.add_task(wait_for_answer, label="thread")

    processes.execute_in_background()
    results = {**others.run(False), **processes.get_background_results(verify=False)}
    for label, result in results.items():
        print(f"{label}: {result['status']}, {result['error']}")
    print("The command had printed:", results["command"]["trace"].splitlines()[1])
    print("Ports that are free:", *(label for label in ports if is_free(ports[label])))
    print("The function in the thread has ended:", answered.is_set())
    answer.set()
    print("It ends when it has its answer:", answered.wait())
