"""What tasks do in these tests: they die, exit, raise, fork, and return strange things.

All of it is top-level, for processes. Workers import this module, so it imports
little.
"""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
import types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

#: Longer than any test may take.
FOREVER = 600.0


def call(function: Callable[..., Any], arguments: tuple[Any, ...], _lock: Any) -> Any:
    """Call it; the lock is there because it cannot be pickled."""
    return function(*arguments)


def wait_for(path: str | os.PathLike[str], seconds: float = 30.0) -> None:
    """Wait for a file to appear, for a bounded time."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {path}")
        time.sleep(0.002)


def linger(sign: str | os.PathLike[str]) -> str:
    """Say where this runs, then stay until killed."""
    note(sign, os.getpid())
    time.sleep(FOREVER)
    return "was not stopped"


def note(path: str | os.PathLike[str], text: object) -> None:
    """Write a file that appears with its whole content, or not at all."""
    unfinished = f"{path}.{os.getpid()}"
    with open(unfinished, "w") as file:
        file.write(str(text))
    os.replace(unfinished, path)


def sign_in(path: str | os.PathLike[str]) -> int:
    """Add a line with the process id to a file."""
    with open(path, "a") as file:
        file.write(f"{os.getpid()}\n")
    return os.getpid()


def same(value: Any) -> Any:
    """Give back what came."""
    return value


def _no_core() -> None:
    """Let a crash leave nothing behind: no core file, no stacks on the terminal."""
    import faulthandler
    import resource

    faulthandler.disable()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


# Deaths -----------------------------------------------------------------------


def die_by(number: int) -> NoReturn:
    """End by a signal whose effect nobody has changed."""
    _no_core()
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    signal.pause()
    raise AssertionError("still here")


def read_address_zero() -> None:
    """Crash as a broken C extension does."""
    import ctypes

    _no_core()
    ctypes.string_at(0)


def abort() -> NoReturn:
    """Crash as a failed assertion in C does."""
    _no_core()
    os.abort()


def exit_at_once(code: int) -> NoReturn:
    """End without any clean-up."""
    os._exit(code)


def kill_own_group() -> NoReturn:
    """What a careless `kill 0` does."""
    os.killpg(os.getpgrp(), signal.SIGKILL)
    raise AssertionError("still here")


def die_until(counter: str, times: int) -> int:
    """Die that many times, then return how often it was tried."""
    with open(counter, "a") as file:
        file.write(".")
    tries = os.path.getsize(counter)
    if tries <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return tries


def close_everything(then_stay: bool) -> str:
    """Close every file descriptor, the connection to the parent among them."""
    os.closerange(0, 1024)
    if then_stay:
        time.sleep(FOREVER)
    return "nobody can get this"


def die_beside_a_child(by_c: bool, pid_file: str) -> NoReturn:
    """Fork, in Python or as a C library does, and die while the child lives on."""
    import ctypes

    pid = ctypes.CDLL(None).fork() if by_c else os.fork()
    if pid == 0:
        while True:
            time.sleep(FOREVER)
    note(pid_file, pid)
    os._exit(3)


def die_while_sending(size: int, number: int) -> bytes:
    """Return a large result, and get a signal in the middle of its way."""
    main = threading.get_ident()

    def watch() -> None:
        while True:
            frame = sys._current_frames().get(main)
            # The line of concurra.workers.transfer that writes to the socket.
            if frame is not None and frame.f_code.co_name == "send":
                os.kill(os.getpid(), number)
                return

    threading.Thread(target=watch, daemon=True).start()
    return bytes(size)


# What can be raised -----------------------------------------------------------


class Mute(Exception):
    """Has no text, and says so by an error."""

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Exiting(Exception):
    """Exits instead of giving its text."""

    def __str__(self) -> str:
        sys.exit(5)

    __repr__ = __str__


class Interrupting(Exception):
    """Acts like Ctrl-C instead of giving its text."""

    def __str__(self) -> str:
        raise KeyboardInterrupt

    __repr__ = __str__


class Wordless(Exception):
    """Gives a text that is none."""

    def __str__(self) -> str:
        return 7  # type: ignore[return-value]


class Stubborn(Exception):
    """Does not let itself be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("not me")


class Picky(Exception):
    """Cannot be made again from its `args`, as unpickling does."""

    def __init__(self, code: int, *, reason: str):
        super().__init__(f"{code}: {reason}")


class Ultimate(BaseException):
    """Not even an Exception."""


class Unreadable(Exception):
    """Gives none of its attributes."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class Nameless(type):
    """Makes classes that do not give their name."""

    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise RuntimeError("no name")


class Anonymous(Exception, metaclass=Nameless):
    """An exception whose class has no name."""


class Text(str):
    """A string that cannot be pickled."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("no text of mine")


class Eloquent(Exception):
    """Its text cannot be pickled."""

    def __str__(self) -> str:
        return Text("eloquent")


def exit_with(*args: Any) -> NoReturn:
    sys.exit(*args)


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def close_generator() -> NoReturn:
    raise GeneratorExit("closing")


def stop_iteration() -> None:
    next(iter([]))


def cancel() -> NoReturn:
    import asyncio

    raise asyncio.CancelledError("cancelled")


def recurse() -> Any:
    return recurse()


def ask_for_too_much() -> bytes:
    return bytes(1 << 62)


def raise_mute() -> NoReturn:
    raise Mute


def raise_exiting() -> NoReturn:
    raise Exiting


def raise_interrupting() -> NoReturn:
    raise Interrupting


def raise_wordless() -> NoReturn:
    raise Wordless


def raise_stubborn() -> NoReturn:
    raise Stubborn("stubborn")


def raise_picky() -> NoReturn:
    raise Picky(7, reason="picky")


def raise_ultimate() -> NoReturn:
    raise Ultimate("the end")


def raise_unreadable() -> NoReturn:
    raise Unreadable("unreadable")


def raise_anonymous() -> NoReturn:
    raise Anonymous("anonymous")


def raise_eloquent() -> NoReturn:
    raise Eloquent


def raise_local() -> NoReturn:
    class Local(Exception):
        pass

    raise Local("from inside")


def raise_with_lock() -> NoReturn:
    raise ValueError("lock inside", threading.Lock())


def raise_surrogates() -> NoReturn:
    raise ValueError("\udcff\ud800")


def raise_at_length() -> NoReturn:
    raise ValueError("x" * 5_000_000)


def raise_ring() -> NoReturn:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


def raise_chain() -> NoReturn:
    error = ValueError("link 0")
    for index in range(1, 3000):
        link = ValueError(f"link {index}")
        link.__cause__ = error
        error = link
    raise error


# What can be returned, and passed ---------------------------------------------


def explode(kind: type[BaseException], *args: Any) -> NoReturn:
    raise kind(*args)


class Loading:
    """Pickles well; loading it calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        self.reduced = function, args

    def __reduce__(self) -> Any:
        return self.reduced


class State:
    """Pickles well; loading it exits, from `__setstate__`."""

    def __getstate__(self) -> Any:
        return {"code": 3}

    def __setstate__(self, state: Any) -> None:
        sys.exit(state["code"])


class Saving:
    """Calls a function when it is pickled."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        self.parts = function, args

    def __reduce__(self) -> Any:
        function, args = self.parts
        function(*args)
        return Saving, self.parts


class Touchy:
    """Fails at whatever one may ask of a value; it can be pickled, that is all."""

    def _fail(self, *args: Any) -> Any:
        raise RuntimeError("do not touch")

    __bool__ = __len__ = __eq__ = __hash__ = _fail
    __repr__ = __str__ = __iter__ = __format__ = _fail


def give_touchy() -> Any:
    return Touchy()


def give_lambda() -> Any:
    return lambda: 1


def give_lock() -> Any:
    return threading.Lock()


def give_generator() -> Any:
    return (i for i in range(3))


def give_file() -> Any:
    return open(os.devnull)


def give_state() -> Any:
    return State()


def give_loading(function: Callable[..., Any], *args: Any) -> Any:
    return Loading(function, *args)


def give_saving(function: Callable[..., Any], *args: Any) -> Any:
    return Saving(function, *args)


def give_nested() -> Any:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    return nested


def give_stranger() -> Any:
    """An object of a class that exists in this process only."""
    module = types.ModuleType("concurra_test_stranger")
    exec("class Stranger: pass", module.__dict__)
    sys.modules[module.__name__] = module
    return module.Stranger()


def load_slowly(sign: str) -> Any:
    """Called by unpickling: say that it has begun, then wait for the other file."""
    note(sign, "loading")
    wait_for(f"{sign}.go")
    return "loaded"


# What a task may do to its surroundings ---------------------------------------


class Broken(io.StringIO):
    """A stream that cannot be flushed."""

    def flush(self) -> None:
        raise RuntimeError("cannot be flushed")


class Leaving(io.StringIO):
    """A stream that exits when it is flushed."""

    def flush(self) -> None:
        sys.exit(4)


def close_stdout() -> str:
    sys.stdout.close()
    return "closed"


def close_descriptor_1() -> str:
    os.close(1)
    return "closed"


def replace_stdout(kind: type[Any]) -> str:
    sys.stdout = kind()
    return "replaced"


def remove_stdout() -> str:
    sys.stdout = sys.stderr = None
    return "removed"


#: How to spoil standard output: a task, its arguments, and what it returns.
OUTPUT: dict[str, tuple[Callable[..., str], tuple[Any, ...], str]] = {
    "closes stdout": (close_stdout, (), "closed"),
    "closes descriptor 1": (close_descriptor_1, (), "closed"),
    "no stdout": (remove_stdout, (), "removed"),
    "redirects": (replace_stdout, (io.StringIO,), "replaced"),
    "no flush": (replace_stdout, (object,), "replaced"),
    "flush raises": (replace_stdout, (Broken,), "replaced"),
    "flush exits": (replace_stdout, (Leaving,), "replaced"),
}


def print_and_pid(text: str) -> int:
    print(text)
    return os.getpid()


def move_away(folder: str) -> tuple[int, str]:
    """Change directory and environment, and leave them so."""
    os.chdir(folder)
    os.environ["CONCURRA_TEST_LEFT"] = "left"
    os.environ.pop("PATH", None)
    os.putenv("PATH", "/nowhere")
    return os.getpid(), os.getcwd()


def surroundings() -> tuple[int, str, dict[str, str]]:
    return os.getpid(), os.getcwd(), dict(os.environ)


def delete_directory() -> int:
    """Delete the directory that this process works in."""
    os.rmdir(os.getcwd())
    return os.getpid()


def lose_directory() -> int:
    """Enter a directory of one's own, and delete it."""
    import tempfile

    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)
    return os.getpid()


def ignore_signals(sign: str) -> str:
    """Ignore and block every signal that can be, and stay."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda *args: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    return linger(sign)


def install_handlers() -> int:
    """Install handlers that raise, and leave them so."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, lambda *args: sys.exit(9))
    return os.getpid()


def leave_thread(daemon: bool) -> str:
    """Start a thread that does not end."""
    threading.Thread(target=time.sleep, args=(FOREVER,), daemon=daemon).start()
    return "started"


def leave_exit_function() -> str:
    """Have the interpreter wait for ever at its exit."""
    import atexit

    atexit.register(time.sleep, FOREVER)
    return "registered"


def leave_command(sign: str) -> int:
    """Start a program, and leave it running."""
    import subprocess

    process = subprocess.Popen(["sleep", str(FOREVER)])
    process.returncode = 0  # nobody will wait for it: no warning is wanted
    note(sign, process.pid)
    return process.pid


def leave_process(method: str, sign: str) -> int:
    """Start a process by multiprocessing, and leave it running."""
    context = multiprocessing.get_context(method)
    process = context.Process(target=linger, args=(sign,))  # type: ignore[attr-defined]
    process.start()
    wait_for(sign)
    assert process.pid is not None
    return int(process.pid)


def limit_memory(extra: int) -> int:
    """Allow so many bytes more than there are; ask for more than that."""
    import resource

    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[0])
    now = pages * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, hard))
    try:
        return len(bytearray(2 * extra))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# Forks and nests --------------------------------------------------------------


def fork_and(ending: str, path: str) -> int:
    """Fork; the child ends like that; return its exit status, as the parent sees it."""
    sign_in(path)
    pid = os.fork()
    if pid == 0:
        if ending == "_exit":
            os._exit(7)
        if ending == "exit":
            sys.exit(7)
        if ending == "raise":
            raise ValueError("in the child")
        return -1  # comes back into the code that called the task
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def fork_in_thread() -> int:
    """Fork in a thread of the task's own."""
    statuses: list[int] = []

    def fork() -> None:
        pid = os.fork()
        if pid == 0:
            os._exit(4)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    thread = threading.Thread(target=fork, daemon=True)
    thread.start()
    thread.join(20.0)
    return statuses[0]


def use_process(method: str) -> Any:
    """A process of the task's own, and what it says."""
    context = multiprocessing.get_context(method)
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(  # type: ignore[attr-defined]
        target=_square_into, args=(sender, 12)
    )
    process.start()
    sender.close()
    value = receiver.recv()
    process.join(20.0)
    receiver.close()
    assert process.exitcode == 0
    process.close()
    return value


def _square_into(sender: Any, number: int) -> None:
    sender.send(number * number)
    sender.close()


def use_pool(method: str) -> Any:
    """A pool of the task's own."""
    with multiprocessing.get_context(method).Pool(2) as pool:
        values = pool.map(abs, range(-5, 0))
        pool.close()
        pool.join()
    return values


def use_executor(method: str) -> Any:
    """A ProcessPoolExecutor of the task's own."""
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        return list(executor.map(abs, range(-5, 0)))


def nest(kind: str, depth: int) -> Any:
    """Run a TaskRunner inside the task, and in its task another one, and so on.

    `kind` is a mode: thread, or a start method. Each level has a command as well.
    """
    import concurra

    options: dict[str, Any] = {}
    if kind != "thread":
        options = {"use_multiprocessing": True, "mp_context": kind}
    runner = concurra.TaskRunner(2, progress_stats=False, **options)
    if depth > 1:
        runner.add_task(nest, kind, depth - 1, label="inner")
    runner.add_task(abs, -depth, label="abs")
    leave: Callable[..., Any] = sys.exit if kind == "thread" else os._exit
    runner.add_task(leave, 3, label="bad")
    runner.add_command(["echo", str(depth)], label="echo", depends_on="abs")
    results = runner.run(verify=False)
    assert results["bad"]["status"] == "Failed", results["bad"]
    assert results["abs"]["result"] == depth, results["abs"]
    below = 0
    if depth > 1:
        assert results["inner"]["status"] == "Successful", results["inner"]["error"]
        below = results["inner"]["result"]
    return below + int(results["echo"]["result"]["stdout"])


def nest_and_linger(kind: str, signs: list[str]) -> Any:
    """Run a TaskRunner whose tasks, a function and a command, do not end."""
    import concurra

    runner = concurra.TaskRunner(
        2, progress_stats=False, use_multiprocessing=True, mp_context=kind
    )
    runner.add_task(linger, signs[0])
    runner.add_shell_command(f"echo $$ > {signs[1]}; exec sleep {FOREVER:g}")
    return runner.run(verify=False)
