"""Functions in processes.

Every peer runs the tasks one at a time, with a result for each, in the way in which
its documentation would have it:

- `ProcessPoolExecutor` and pebble: a future for each task;
- joblib: ``Parallel`` over ``delayed`` calls, which makes batches of short ones;
- mpire: ``apply_async`` for each. Its ``map`` makes chunks, of which a crash or a
  timeout costs a whole one: it takes part where tasks do more than nothing.

In the row ``map`` all of them make chunks, with their defaults.
"""

from __future__ import annotations

import os
import pickle
import select
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, Callable, NoReturn

import concurra

from .rows import OURS, Faster, Measured, Missing, Results, Row, System, expect
from .rows import fork, run, values

WORKERS = 2
MANY = 64
CPU_SECONDS = 0.02
MIB = 1024 * 1024
ECHOES = 4

#: Bytes for a message of `over_sockets`; many more would cost more than it.
ENOUGH = 4096

#: A function, and the argument of each call.
Calls = tuple[Callable[[Any], Any], Sequence[Any]]


def number(n: int) -> int:
    """A task that costs nothing."""
    return n


def compute(n: int) -> int:
    """A task that keeps a core busy."""
    start = time.process_time()
    while time.process_time() - start < CPU_SECONDS:
        sum(range(1000))
    return n


def echo(data: Any) -> Any:
    """A task whose argument and result are large."""
    return data


# -- systems ---------------------------------------------------------------------------


def with_concurra(calls: Calls, workers: int = WORKERS) -> Results:
    """The work with concurra."""
    func, arguments = calls
    runner = concurra.TaskRunner(max_concurrency=workers, use_multiprocessing=True)
    for argument in arguments:
        runner.add_task(func, argument)
    return run(runner)


def with_many(calls: Calls) -> Results:
    """The work with many more processes than there are cores."""
    return with_concurra(calls, MANY)


def with_executor(calls: Calls) -> list[Any]:
    """The work with `ProcessPoolExecutor`."""
    func, arguments = calls
    with ProcessPoolExecutor(WORKERS) as pool:
        futures = [pool.submit(func, argument) for argument in arguments]
        return [future.result() for future in futures]


def with_pebble(calls: Calls) -> list[Any]:
    """The work with pebble."""
    import pebble

    func, arguments = calls
    with pebble.ProcessPool(max_workers=WORKERS) as pool:
        futures = [pool.schedule(func, args=[argument]) for argument in arguments]
        return [future.result() for future in futures]


def with_joblib(calls: Calls) -> list[Any]:
    """The work with joblib."""
    import joblib
    from joblib.externals.loky import get_reusable_executor

    func, arguments = calls
    call = joblib.delayed(func)
    with joblib.Parallel(n_jobs=WORKERS) as parallel:
        results: list[Any] = parallel(call(argument) for argument in arguments)
    get_reusable_executor().shutdown(wait=True)
    return results


def with_mpire(calls: Calls) -> list[Any]:
    """The work with mpire, a call for each task."""
    import mpire

    func, arguments = calls
    with mpire.WorkerPool(n_jobs=WORKERS) as pool:
        futures = [pool.apply_async(func, [argument]) for argument in arguments]
        results = [future.get() for future in futures]
        pool.stop_and_join()
    return results


def with_mpire_map(calls: Calls) -> list[Any]:
    """The work with mpire, in chunks."""
    import mpire

    func, arguments = calls
    with mpire.WorkerPool(n_jobs=WORKERS) as pool:
        # Arguments come in tuples: an array by itself would be taken for many.
        results: list[Any] = pool.map(
            func,
            [(argument,) for argument in arguments],
            concatenate_numpy_output=False,
        )
        pool.stop_and_join()
    return results


def with_concurra_map(calls: Calls) -> list[Any]:
    """The work with concurra, in chunks."""
    func, arguments = calls
    runner = concurra.TaskRunner(max_concurrency=WORKERS, use_multiprocessing=True)
    runner.map(func, arguments, label="map")
    results: list[Any] = run(runner)["map"]["result"]
    return results


def with_pool_map(calls: Calls) -> list[Any]:
    """The work with `multiprocessing.Pool`."""
    import multiprocessing

    func, arguments = calls
    with multiprocessing.Pool(WORKERS) as pool:
        return pool.map(func, arguments)


def with_mapped_executor(calls: Calls) -> list[Any]:
    """The work with ``map`` of `ProcessPoolExecutor`, in the chunks of `Pool.map`."""
    func, arguments = calls
    size = max(1, -(-len(arguments) // (4 * WORKERS)))
    with ProcessPoolExecutor(WORKERS) as pool:
        return list(pool.map(func, arguments, chunksize=size))


def loop(calls: Calls) -> Measured:
    """The calls, shared among the cores without any cost."""
    func, arguments = calls
    start = time.perf_counter()
    results = [func(argument) for argument in arguments]
    return Measured((time.perf_counter() - start) / WORKERS, results)


def over_sockets(calls: Calls) -> list[Any]:
    """The least that is sent one task at a time: a socket a worker, and one thread."""
    func, arguments = calls
    tasks = iter(enumerate(arguments))
    results: dict[int, Any] = {}
    at_work: dict[int, tuple[socket.socket, int]] = {}
    poll, children = select.poll(), []

    def begin(ours: socket.socket) -> None:
        fd = ours.fileno()
        for index, argument in tasks:
            ours.send(pickle.dumps((func, (argument,)), pickle.HIGHEST_PROTOCOL))
            at_work[fd] = ours, index
            return
        poll.unregister(fd)
        ours.close()
        at_work.pop(fd, None)

    for _ in range(WORKERS):
        ours, theirs = socket.socketpair()
        child = fork()
        if not child:
            for each in (ours, *(socket for socket, _ in at_work.values())):
                each.close()
            _serve(theirs)
        theirs.close()
        children.append(child)
        poll.register(ours, select.POLLIN)
        begin(ours)
    while at_work:
        for fd, _ in poll.poll():
            ours, index = at_work[fd]
            results[index] = pickle.loads(ours.recv(ENOUGH))
            begin(ours)
    for child in children:
        os.waitpid(child, 0)
    return [results[index] for index in range(len(arguments))]


def _serve(theirs: socket.socket) -> NoReturn:
    while True:
        message = theirs.recv(ENOUGH)
        if not message:
            os._exit(0)
        func, args = pickle.loads(message)
        theirs.send(pickle.dumps(func(*args), pickle.HIGHEST_PROTOCOL))


def copy(calls: Calls) -> list[Any]:
    """Copy each argument there and back."""
    _, arguments = calls
    return [bytearray(bytearray(argument)) for argument in arguments]


NEEDS = [
    *("logging", "multiprocessing.connection", "multiprocessing.popen_fork"),
    *("concurra.workers.log_forwarding", "concurra.workers.processes"),
]

ONE_AT_A_TIME = [
    System(OURS, with_concurra, needs=NEEDS),
    System(
        "ProcessPoolExecutor",
        with_executor,
        needs=["concurrent.futures.process", "multiprocessing.popen_fork"],
    ),
    System("pebble", with_pebble, needs=["pebble"]),
    System("joblib", with_joblib, needs=["joblib", "joblib.externals.loky"]),
    System("mpire apply_async", with_mpire, needs=["mpire", "mpire.dashboard"]),
]

SYSTEMS = [
    *ONE_AT_A_TIME,
    System("mpire map", with_mpire_map, needs=["mpire", "mpire.dashboard"]),
]


MAPS = [
    System(
        OURS,
        with_concurra_map,
        needs=[*NEEDS, "concurra.engine.map_state"],
    ),
    System("Pool.map", with_pool_map, needs=["multiprocessing.pool"]),
    System(
        "ProcessPoolExecutor.map",
        with_mapped_executor,
        needs=["concurrent.futures.process", "multiprocessing.popen_fork"],
    ),
    System("mpire map", with_mpire_map, needs=["mpire", "mpire.dashboard"]),
]


# -- work ------------------------------------------------------------------------------


def numbers(n: int) -> Calls:
    """No-ops."""
    return number, range(n)


def computations(n: int) -> Calls:
    """Tasks of 20 ms of CPU time."""
    return compute, range(n)


def echoes(n: int) -> Calls:
    """The same bytes four times, ``n`` MiB in all, there and back."""
    return echo, [bytes(range(256)) * (n * MIB // ECHOES // 256)] * ECHOES


def array_echoes(n: int) -> Calls:
    """The same with an array of numpy."""
    try:
        import numpy
    except ImportError as error:
        raise Missing(str(error)) from None
    return echo, [numpy.arange(n * MIB // ECHOES // 8)] * ECHOES


def check(calls: Calls, results: Any) -> None:
    """Every argument has come back, in order."""
    _, arguments = calls
    found = values(results)
    expect(len(found) == len(arguments), "a result is missing")
    for result, argument in zip(found, arguments):
        expect(bytes(result) == bytes(argument), "it has changed")


def check_numbers(calls: Calls, results: Any) -> None:
    """Every number has come back, in order."""
    expect(values(results) == list(calls[1]), "a number is missing")


def check_lists(calls: Calls, results: Any) -> None:
    """Every number is in the list, in order."""
    expect(list(results) == list(calls[1]), "a number is missing")


ROWS = [
    Row(
        "processes",
        "{n} no-ops one at a time, 2 processes",
        5_000,
        Faster(2),
        [*ONE_AT_A_TIME, System("bare sockets", over_sockets, limit=True)],
        check_numbers,
        numbers,
    ),
    Row(
        "processes-64",
        "{n} no-ops, up to 64 processes",
        20_000,
        Faster(0.83),  # each task takes a fifth longer at most
        [
            System(OURS, with_many, needs=NEEDS),
            System("with 2 processes", with_concurra, needs=NEEDS),
        ],
        check_numbers,
        numbers,
        grows=False,
    ),
    Row(
        "map",
        "one map of {n} no-ops, 2 processes",
        100_000,
        Faster(1),
        [*MAPS, System("bare loop", loop, limit=True)],
        check_lists,
        numbers,
    ),
    Row(
        "cpu",
        "{n} tasks of 20 ms CPU, 2 processes",
        100,
        Faster(1),
        [*SYSTEMS, System("bare loop", loop, limit=True)],
        check_numbers,
        computations,
    ),
    Row(
        "echo-bytes",
        "4 echoes of bytes, {n} MiB in all, 2 processes",
        256,
        Faster(2),
        [*SYSTEMS, System("memcpy", copy, limit=True)],
        check,
        echoes,
    ),
    Row(
        "echo-numpy",
        "4 echoes of a numpy array, {n} MiB in all, 2 processes",
        256,
        Faster(2),
        [*SYSTEMS, System("memcpy", copy, limit=True)],
        check,
        array_echoes,
    ),
]
