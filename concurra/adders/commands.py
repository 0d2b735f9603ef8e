"""How commands are added: what callers pass is checked, and becomes tasks."""

from __future__ import annotations

from ..errors import hidden
from ..options import OPTIONS, choose
from ..tasks import Command, TaskRef, referred
from .common import Adding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Hashable, Iterable, List, Mapping, Optional
    from typing import Union

    from ..retries import Retry
    from ..types import Arguments
    from .command_checks import AnyPath
    from .common import Labels

    Environment = Mapping[str, Union[str, TaskRef, None]]

__tracebackhide__ = hidden


class CommandAdders(Adding):
    """The methods of `TaskRunner` that add commands; one that raises adds nothing."""

    def add_command(
        self,
        command: Arguments[Union[AnyPath, TaskRef]],
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[AnyPath] = None,
        env: Optional[Environment] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Union[int, Retry, None] = None,
        *,
        timeout: Optional[float] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
        version: Any = None,
        local: Optional[bool] = None,
        stop_signal: Union[str, int, None] = None,
        input: Union[str, bytes, TaskRef, None] = None,
        stderr: Optional[str] = None,
        pass_fds: Iterable[int] = (),
        output: Optional[str] = None,
        max_output: Optional[float] = None,
        stdout: Optional[AnyPath] = None,
    ) -> TaskRef:
        """Add an external command.

        Its result is a dict with ``command``, ``shell``, ``returncode``, ``stdout``,
        ``stderr`` and ``cwd``: see `CommandResult`.

        :param command: the program and its arguments, a list or tuple of strings. Paths
            and bytes are taken, too; the result has them as strings. A reference to
            another task, here, as a value in ``env`` or as ``input``, stands for the
            result of that task as text: what a command has printed, without the last
            line end, or ``str()`` of what a function has returned.
        :param cwd: the directory to run in; None for this process's.
        :param env: variables that are set in addition to those of this process; None as
            a value unsets one.
        :param check: whether a return code other than 0 makes the task fail. The task
            has its result all the same.
        :param capture_output: whether the output goes into the result; otherwise it
            goes where this process prints.
        :param text: whether the output is decoded, by the locale's encoding, and its
            line ends become ``\\n``; what cannot be decoded is kept as backslash
            escapes.
        :param stop_signal: the signal that asks it to end, such as ``"SIGINT"``: a
            name, a number, or a `signal.Signals`; None for SIGTERM. SIGKILL follows
            after ``terminate_timeout``.
        :param input: what it reads from its standard input, a string or bytes; None
            for nothing. The command gets it as a file, so it may be large.
        :param stderr: ``"stdout"`` sends standard error to where standard output goes,
            in order; the result's ``stderr`` is empty then. None keeps the two apart.
        :param pass_fds: descriptors that it inherits, under the same numbers. They must
            be open when it starts.
        :param output: how what it prints is shown while it is at work, in addition to
            the result: ``"prefixed"``, ``"grouped"``, or ``"captured"`` for not at all;
            None for what the runner has. For all of these see `TaskRunner`.
        :param max_output: bytes of each stream that the result keeps, of the beginning
            and of the end, with a note in between of how much was left out;
            ``math.inf`` for all; None for what the runner has.
        :param stdout: the path of a file that gets what it prints, instead of the
            result, whose ``stdout`` is None then. A relative path is taken from this
            program's directory at the time of the call, whatever ``cwd`` is. Each
            attempt begins with an empty file. With ``capture_output=False`` the file
            gets the output as well.

        For the other parameters, the return value and errors, see `add_task`, and for
        options `task`.
        """
        return self._add_command(locals())

    def add_shell_command(
        self,
        command: str,
        label: Hashable = None,
        depends_on: Labels = None,
        cwd: Optional[AnyPath] = None,
        env: Optional[Environment] = None,
        check: bool = True,
        capture_output: bool = True,
        text: bool = True,
        task_retries: Union[int, Retry, None] = None,
        *,
        timeout: Optional[float] = None,
        priority: Optional[int] = None,
        resources: Optional[Mapping[str, int]] = None,
        trigger_rule: Optional[str] = None,
        name: Optional[str] = None,
        version: Any = None,
        local: Optional[bool] = None,
        stop_signal: Union[str, int, None] = None,
        input: Union[str, bytes, TaskRef, None] = None,
        stderr: Optional[str] = None,
        executable: Optional[AnyPath] = None,
        pass_fds: Iterable[int] = (),
        output: Optional[str] = None,
        max_output: Optional[float] = None,
        stdout: Optional[AnyPath] = None,
    ) -> TaskRef:
        """Add a line for the system's shell, with pipes, redirections and so on.

        :param command: the line, a string.
        :param executable: the shell to use instead of ``/bin/sh``, by its path.

        For the other parameters, the return value and errors, see `add_command`.
        """
        return self._add_command(locals(), shell=True)

    def _add_command(self, given: Dict[str, Any], shell: bool = False) -> TaskRef:
        """Add a command.

        :param given: what an adder was given, by the names of its parameters.
        """
        from . import command_checks

        command_checks.no_written_reference(given)
        places = given["command"], given["env"], given["input"]
        references = referred(places)
        if references:
            from .references import referring_command, stand_ins

            filled = dict(zip(("command", "env", "input"), stand_ins(*places)))
            given = {**given, **filled}
        check = command_checks.shell_argv if shell else command_checks.exec_argv
        argv: Union[str, List[str]] = check(given["command"])
        job = Command(argv, **command_checks.options(given))
        chosen = choose(**{name: given.get(name) for name in OPTIONS})
        if job.output is not None or job.max_output is not None:
            # Imported now, as the run has no threads yet.
            from ..output.display import Display  # noqa: F401
            from ..workers.max_output import Kept  # noqa: F401
        if references:
            rule = chosen.get("trigger_rule")
            job = referring_command(job, rule, references, places)
        label, depends_on = given["label"], given["depends_on"]
        return self._add(job, label, depends_on, chosen, references)
