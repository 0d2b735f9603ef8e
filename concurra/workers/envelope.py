"""What an executor is given to run: it never raises, and answers with text and bytes.

::

    here                            there, wherever the executor runs it
    ----                            ------------------------------------
    enclose(job) ──> Envelope
       pickled ───────────────────> a function; this module is imported by its call
                                    unpickle the job, do it, pickle what came of it
    outcome_of(reply) <──────────── a tuple

So whatever a future raises is the executor's own fault. And a process without concurra,
a scheduler for one, can unpickle and pass on an envelope: only its call fails.
"""

from __future__ import annotations

import pickle
import sys
import threading
from contextvars import copy_context

from .. import current
from ..clock import monotonic
from ..outcomes import ERROR, STATUS, UNAVAILABLE, UNPICKLABLE, Outcome
from ..remote_results import NotKept
from ..retries import refusal
from ..steps import KILL, TERMINATE
from ..tasks import COMMAND, Call, FullCall
from ..threads import daemon
from ..wording import GENERATOR_WARNING, describe
from .chunk import perform_chunk
from .thread import ThreadWorker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Final, Optional, Tuple

    from ..current import Note
    from ..tasks import Command, Job
    from ..types import ExecutionMode

    #: Seconds between asking one to stop and killing it; bytes that are kept.
    Limits = Tuple[float, Optional[float]]

    #: Cause, value, error, trace, warning, exception, final; see `Outcome`.
    Reply = Tuple[Any, ...]

MODE: Final[ExecutionMode] = "executor"

#: What unpickles an envelope, also where concurra is missing.
_UNPICKLE: Final = (
    "(getattr(__import__('sys').modules.get('concurra.workers.envelope'), "
    "'LOADED', None) or exec(source, globals()) or make)(*parts)"
)

_SOURCE: Final = """\
def make(*parts):
    try:
        from concurra.workers.envelope import Envelope
        return Envelope(*parts)
    except Exception:
        def envelope(*args):
            from concurra.workers.envelope import Envelope
            return Envelope(*parts)(*args)
        return envelope
"""

#: Identity counts, see `outcomes`.
_CAUSES: Final = {cause: cause for cause in STATUS}

HINT: Final = """\
(What goes to an executor must be picklable, here and there. With the package
cloudpickle on both sides, lambdas, nested functions and those of the main script are.)
"""


class Envelope:
    """A call with one attempt at a job in it.

    :param name: what an executor may show of it.
    :param token: unique, as some executors run equal calls only once.
    :param payload: the rest, pickled.
    :param version: of the concurra that has made it.
    :param keeps: whether what it returns is the result itself, which stays there. It
        raises `NotKept` where there is none.
    """

    def __init__(
        self,
        name: str,
        token: str,
        payload: bytes,
        version: str,
        keeps: bool = False,
    ) -> None:
        self.__name__ = self.__qualname__ = name
        self._parts = name, token, payload, version, keeps

    def __call__(self, *args: Any) -> Any:
        _, token, payload, version, keeps = self._parts
        if not keeps:
            return open_envelope(version, payload, args)
        outcome = _kept(_outcome(version, payload, args))
        if outcome.ok:
            return outcome.value
        raise NotKept(token, _reply(outcome))

    def __reduce__(self) -> Any:
        return eval, (_UNPICKLE, {"source": _SOURCE, "parts": self._parts})

    def __dask_tokenize__(self) -> str:
        return self._parts[1]


def _version() -> str:
    version: str = sys.modules["concurra"].__version__
    return version


# -- here --------------------------------------------------------------------------


def contents(job: Job) -> Tuple[Any, Tuple[Any, ...]]:
    """What is to be put into an envelope, and the arguments that go beside it.

    These are left to the executor, which may look for its own futures in them.

    :raises BaseException: a result that it refers to does not fit there.
    """
    if isinstance(job, Call):
        job = job.for_executor()
        kwargs = job.kwargs or {}
        return (job.func, tuple(kwargs)), (*job.args, *kwargs.values())
    command = job.ready()
    if command.pass_fds:
        raise ValueError(
            "pass_fds names descriptors of this process, which a command has not that "
            "an executor runs: use local=True"
        )
    return command, ()


def enclose(
    job: Job, what: Any, note: Note, token: str, limits: Limits, keeps: bool = False
) -> Envelope:
    """An envelope with what `contents` has returned.

    :param limits: for commands.
    :param keeps: see `Envelope`.
    :raises BaseException: it cannot be pickled.
    """
    label, attempt, deadline, on = note
    left = None if deadline is None else max(0.0, deadline - monotonic())
    about = label, attempt, left, limits
    payload = _dumps_code((job.kind, what, about, on))
    return Envelope(job.name, token, payload, _version(), keeps)


def unpicklable(error: BaseException) -> Outcome:
    """A job that could not be enclosed."""
    text, trace = describe(error)
    return Outcome(UNPICKLABLE, None, None, text, trace + HINT)


def outcome_of(reply: Reply) -> Outcome:
    """The outcome that came back.

    :raises Exception: this is no reply.
    """
    cause, value, error, trace, warning, exception, final = reply
    outcome = Outcome(_CAUSES[cause], MODE, None, error, trace, warning)
    outcome.exception, outcome.final = exception, final
    if value is not None:
        try:
            outcome.value = pickle.loads(value)
        except BaseException as raised:  # the user's __setstate__ may do anything
            return _not_recorded(raised)
    return outcome


# -- there -------------------------------------------------------------------------


def open_envelope(version: str, payload: bytes, args: Tuple[Any, ...]) -> Reply:
    """Do what is in an envelope; never raises."""
    try:
        return _reply(_outcome(version, payload, args))
    except BaseException as error:  # an interrupt that came late
        return _reply(Outcome.raised(MODE, error))


def _outcome(version: str, payload: bytes, args: Tuple[Any, ...]) -> Outcome:
    try:
        if version != _version():
            text = (
                f"RuntimeError: concurra {_version()} runs where the executor does, "
                f"and concurra {version} where the runner does: they must be the same"
            )
            return Outcome(UNPICKLABLE, MODE, None, text)
        try:
            kind, what, about, on = pickle.loads(payload)
        except BaseException as error:  # the user's module may do anything
            return _not_readable(error)
        work = _run if kind == COMMAND else _call
        outcome = _at_work(lambda: work(what, about, args), about)
        raised = outcome.exception
        if on is not None and outcome.retry and isinstance(raised, BaseException):
            outcome.refuse(refusal(on, raised))
        outcome.render_trace()
        return outcome
    except BaseException as error:  # an interrupt that came late
        return Outcome.raised(MODE, error)


def _at_work(work: Callable[[], Outcome], about: Any) -> Outcome:
    """Do it in a thread without an event loop, where `current_task` knows the task."""
    label, attempt, left, _ = about
    deadline = None if left is None else monotonic() + left
    outcomes = []

    def serve() -> None:
        before = current.exchange(lambda: current.CurrentTask(label, attempt, deadline))
        try:
            outcomes.append(work())
        finally:
            current.exchange(before)

    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        serve()
    else:  # the executor calls from within its own, and a loop cannot run in a loop
        run = copy_context().run
        thread = daemon(run, serve)
        thread.start()
        thread.join()
    return outcomes[0]


def _call(what: Any, about: Any, args: Tuple[Any, ...]) -> Outcome:
    func, names = what
    first = len(args) - len(names)
    kwargs = dict(zip(names, args[first:]))
    # The executor may look there for what it knows of the task.
    call = FullCall(func, args[:first], kwargs, copy_context())
    outcome = ThreadWorker(MODE).begin(call)
    if func is perform_chunk and outcome.ok and outcome.value[2]:
        outcome.warning = GENERATOR_WARNING  # as `begin` notes of other functions
    return outcome


def _run(command: Command, about: Any, args: Tuple[Any, ...]) -> Outcome:
    """Run a command, which is killed when its time is over, or this process ends."""
    from .command import CommandWorker
    from .guardian import Guardian

    label, attempt, left, (grace, max_output) = about
    guardian = Guardian()
    worker, ended = CommandWorker(guardian, max_output=max_output), threading.Event()

    def stop_in_time() -> None:
        if not ended.wait(left):
            worker.stop(TERMINATE)
            if not ended.wait(grace):
                worker.stop(KILL)

    timer = daemon(stop_in_time)
    try:
        if left is not None:
            timer.start()
        outcome = worker.run(command, worker.present(command))
    finally:
        ended.set()
        if left is not None:
            timer.join()
        guardian.close()
    outcome.mode = MODE
    if outcome.cause is UNAVAILABLE:  # the shortage is there, and not here
        outcome.cause = ERROR
    return outcome


def _reply(outcome: Outcome) -> Reply:
    """An outcome as text and bytes, which has been proved to be picklable."""
    value = exception = None
    if outcome.value is not None:
        try:
            value = _dumps_value(outcome.value)
        except BaseException as error:
            outcome = _not_recorded(error, outcome.warning)
    if outcome.exception is not None:
        try:
            exception = _dumps_value(outcome.exception)
        except BaseException:  # the user's own __reduce__, or what the error holds
            pass
    texts = (
        None if text is None else str(text)
        for text in (outcome.error, outcome.trace, outcome.warning)
    )
    return outcome.cause, value, *texts, exception, outcome.final


def _kept(outcome: Outcome) -> Outcome:
    """The same, if it can go from worker to worker: it is pickled to nowhere."""
    try:
        if outcome.ok:
            _prove(outcome.value)
        return outcome
    except BaseException as error:
        return _not_recorded(error, outcome.warning)


def _not_recorded(error: BaseException, warning: object = None) -> Outcome:
    """What a job returned cannot be pickled there, or unpickled here."""
    from .child import not_recorded

    return Outcome(UNPICKLABLE, MODE, None, *not_recorded(error, warning))


def _not_readable(error: BaseException) -> Outcome:
    """A job that cannot be unpickled there."""
    import platform

    text, trace = describe(error)
    where = f"Python {platform.python_version()} on {platform.node() or 'its host'}"
    text = f"{text} (where the executor runs tasks: {where})"
    return Outcome(UNPICKLABLE, MODE, None, text, trace + HINT)


# -- pickling ----------------------------------------------------------------------


def _dumps_code(value: Any) -> bytes:
    """Pickle what has functions in it; with cloudpickle, if that is there."""
    try:
        from cloudpickle import dumps
    except ImportError:
        from pickle import dumps
    packed: bytes = dumps(value, 5)
    return packed


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: Any) -> int:
        return len(data)


def _prove(value: Any) -> None:
    """Check that a value can be pickled, without a copy of it.

    :raises BaseException: it cannot.
    """
    pickler = pickle.Pickler(_Nowhere(), 5, buffer_callback=lambda _: None)
    try:
        pickler.dump(value)
        return
    except Exception:
        pass  # what is raised below has no other error behind it
    _dumps_code(value)


def _dumps_value(value: Any) -> bytes:
    """What a function has returned or raised."""
    try:
        return pickle.dumps(value, 5)
    except Exception:
        pass  # as above
    return _dumps_code(value)


#: The last of this module: whoever finds it finds the whole module.
LOADED: Final = Envelope
