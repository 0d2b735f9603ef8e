"""The result of one task as an argument of another.

Adders return the task that they have added, as a `TaskRef`. Where one stands as an
argument of a later call, or directly within a list, tuple, set or dict that is one, the
call gets that task's result in its place, when it begins. In the arguments, variables
and input of a command it stands for the text of the result.
"""

from __future__ import annotations

from .. import checks
from ..options import ALL_SUCCESS
from ..tasks import CONTAINERS, REFERENCES, Call, Command, FullCall, Task, TaskRef
from . import command_checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Final, Hashable, Mapping, Optional
    from typing import Sequence, Tuple, Union

    Referring = Union["ReferringCall", "ReferringCommand"]

    #: Finds what an argument that refers to another task is replaced with.
    Find = Callable[[Referring, TaskRef], Any]

#: In the place of a reference. Not its repr, as this is a part of a command's identity:
#: that of a label can differ from run to run.
STAND_IN: Final = "<TaskRef>"


def ref(label: Hashable) -> TaskRef:
    """A reference to the task with this label, which may be added later.

    As an argument of a task it stands for the result of that task, as what adders
    return does.

    :param label: of the task. A reference is returned as it is.
    :raises TypeError: the label is not hashable, or None.
    """
    if label is None:
        raise checks.wrong(TypeError, "label", "a hashable label other than None", None)
    label = checks.label(label)
    return label if isinstance(label, TaskRef) else TaskRef(label)


class ReferringCall(Call):
    """A call that gets the results of other tasks.

    Its arguments are made when they are asked for: these tasks have succeeded then.

    :param call: with references among its arguments.
    """

    __slots__ = ("context", "given_args", "given_kwargs", "needs", "tasks")

    refers = True

    def __init__(self, call: Call) -> None:
        self.func = call.func
        self.context = call.context
        self.given_args: Sequence[Any] = call.args
        self.given_kwargs: Mapping[str, Any] = call.kwargs or {}
        #: Those that its task depends on; set when the run starts.
        self.needs: Sequence[Task] = ()
        self.tasks: Dict[Hashable, Task] = {}  # by label, once that is needed

    @property
    def identity(self) -> Any:
        """See `Call.identity`; references are left in their places."""
        return self.func, tuple(self.given_args), dict(self.given_kwargs)

    @property
    def args(self) -> Tuple[Any, ...]:  # type: ignore[override]
        """The positional arguments."""
        return tuple(map(self._fill, self.given_args))

    @property
    def kwargs(self) -> Any:  # type: ignore[override]
        """The keywords; None for none."""
        filled = {key: self._fill(value) for key, value in self.given_kwargs.items()}
        return filled or None

    def for_executor(self) -> Call:
        """See `Call.for_executor`."""
        args = tuple(self._fill(value, _future) for value in self.given_args)
        kwargs = {
            key: self._fill(value, _future) for key, value in self.given_kwargs.items()
        }
        return FullCall(self.func, args, kwargs, self.context)

    def _fill(self, value: Any, result: Optional[Find] = None) -> Any:
        result = result or _result
        kind = type(value)
        if kind in REFERENCES:
            return result(self, value)
        if kind not in CONTAINERS:
            return value
        if kind is dict:
            if not any(type(each) in REFERENCES for each in value.values()):
                return value
            return {key: self._each(each, result) for key, each in value.items()}
        if not any(type(each) in REFERENCES for each in value):
            return value
        if kind is frozenset and result is _future:
            result = _no_future
        try:
            return kind(self._each(each, result) for each in value)
        except TypeError as error:
            note = f"a {kind.__name__} cannot have such a result in it: {error}"
            raise TypeError(note) from None

    def _each(self, value: Any, result: Find) -> Any:
        return result(self, value) if type(value) in REFERENCES else value


class ReferringCommand(Command):
    """A command that gets the results of other tasks as text: see `ready`.

    :param command: with stand-ins for references.
    :param argv, env, input: as they were given, with the references.
    """

    __slots__ = ("needs", "tasks", "_in_argv", "_in_env", "_input")

    refers = True

    def __init__(self, command: Command, argv: Any, env: Any, input: Any) -> None:
        for name in Command.__slots__:
            setattr(self, name, getattr(command, name))
        #: See `ReferringCall`.
        self.needs: Sequence[Task] = ()
        self.tasks: Dict[Hashable, Task] = {}
        places = {} if isinstance(argv, str) else dict(enumerate(argv))
        self._in_argv: Dict[int, TaskRef] = _only_references(places)
        self._in_env: Dict[Any, TaskRef] = _only_references(env or {})
        self._input: Optional[TaskRef] = input if type(input) in REFERENCES else None

    @property
    def identity(self) -> Any:
        """See `Call.identity`."""
        return super().identity, self._in_argv, self._in_env, self._input

    @property
    def program(self) -> str:
        """See `Command.program`; empty if it is the result of a task."""
        return "" if 0 in self._in_argv else super().program

    def ready(self) -> Command:
        """See `Command.ready`."""
        command = Command.__new__(Command)
        for name in Command.__slots__:
            setattr(command, name, getattr(self, name))
        if self._in_argv:
            argv = dict(enumerate(self.argv))
            argv.update(self._texts(self._in_argv))
            command.argv = command_checks.exec_argv(list(argv.values()))
        if self._in_env:
            texts = self._texts(self._in_env)
            command.env = command_checks.environ({**(self.env or {}), **texts})
        if self._input is not None:
            text = _text(self, self._input, whole=True)
            command.input = command_checks.standard_input(text)
        return command

    def _texts(self, references: Mapping[Any, TaskRef]) -> Dict[Any, Union[str, bytes]]:
        return {place: _text(self, each) for place, each in references.items()}


def stand_ins(argv: Any, env: Any, input: Any) -> Tuple[Any, Any, Any]:
    """The same, with texts in the places of references."""
    if isinstance(argv, (list, tuple)):
        argv = [_stand_in(each) for each in argv]
    if type(env) is dict:
        env = {name: _stand_in(each) for name, each in env.items()}
    return argv, env, _stand_in(input)


def referring(
    call: Call, rule: Optional[str], references: Sequence[TaskRef]
) -> ReferringCall:
    """The same call, with results in the places of references.

    :param rule: the trigger rule; None for the default.
    :raises ValueError: by that, it may start without them.
    """
    _check(rule, references)
    return ReferringCall(call)


def referring_command(
    command: Command,
    rule: Optional[str],
    references: Sequence[TaskRef],
    given: Tuple[Any, Any, Any],
) -> ReferringCommand:
    """See `referring`; the ``command`` was made of what `stand_ins` made of these."""
    _check(rule, references)
    return ReferringCommand(command, *given)


def _check(rule: Optional[str], references: Sequence[TaskRef]) -> None:
    if rule not in (None, ALL_SUCCESS):
        raise ValueError(
            f"trigger_rule {rule!r} does not go with {references[0]!r} as an argument: "
            "it may have no result. Name it in depends_on alone, and let the function "
            "look at results_registry"
        )


def _stand_in(value: Any) -> Any:
    return STAND_IN if type(value) in REFERENCES else value


def _only_references(values: Mapping[Any, Any]) -> Dict[Any, TaskRef]:
    return {key: each for key, each in values.items() if type(each) in REFERENCES}


def _task(job: Referring, reference: TaskRef) -> Task:
    if isinstance(reference, Task):
        return reference
    if not job.tasks:
        job.tasks = {each.label: each for each in job.needs}
    return job.tasks[reference.label]


def _found(job: Referring, reference: TaskRef) -> Tuple[Any, bool]:
    """The result of a task, and whether that is a `RemoteResult`."""
    task = _task(job, reference)
    value = None if task.outcome is None else task.outcome.value
    return value, task.options.keep_remote and value is not None


def _result(job: Referring, reference: TaskRef) -> Any:
    """The result of a task; what an executor keeps is fetched, which may block."""
    value, kept = _found(job, reference)
    return value.fetch() if kept else value


def _future(job: Referring, reference: TaskRef) -> Any:
    """The same, but for what the executor keeps its future."""
    value, kept = _found(job, reference)
    return value.future if kept else value


def _no_future(job: Referring, reference: TaskRef) -> Any:
    """The same, in a place where executors do not look for futures."""
    value, kept = _found(job, reference)
    if kept:
        raise TypeError("it is kept by the executor, which does not look there")
    return value


def _text(job: Referring, reference: TaskRef, whole: bool = False) -> Union[str, bytes]:
    """The text of a result: ``str()`` of it; of a command, what it has printed.

    :param whole: whether that is with its last line end.
    :raises ValueError: there is none, as the output was not captured.
    """
    value = _result(job, reference)
    if isinstance(_task(job, reference).title, tuple):  # a command's
        value = value["stdout"]
        if value is None:
            raise ValueError(f"{reference!r} has no text: its output was not captured")
        newline = b"\n" if isinstance(value, bytes) else "\n"
        value = value[:-1] if value.endswith(newline) and not whole else value
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    return str(value)
