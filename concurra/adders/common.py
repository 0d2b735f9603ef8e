"""What all adders have in common: a job becomes a task of the plan."""

from __future__ import annotations

from .. import checks
from ..errors import hidden
from ..options import ONE_FAILED, Chosen, Options, OwnOptions, check_resources
from ..tasks import FEED, REFERENCES, Task, TaskRef, label_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Hashable, Iterable, Mapping, Optional, Sequence
    from typing import Tuple, Union

    from ..lifecycle import LifeCycle
    from ..plan.plan import Plan
    from ..tasks import Job

    Labels = Union[str, TaskRef, Iterable[Hashable], None]

__tracebackhide__ = hidden


class Adding:
    """What all adders end with, once they have checked their own parameters."""

    _life: LifeCycle
    _plan: Plan
    resources: Mapping[str, int]

    def __len__(self) -> int:
        """How many tasks have been added."""
        return len(self._plan.tasks)

    def _add(
        self,
        job: Job,
        label: Any,
        depends_on: Any,
        chosen: Chosen,
        references: Sequence[Any] = (),
        title: Optional[str] = None,
    ) -> Task:
        plan = self._plan
        if label is not None and type(label) is not str and type(label) is not int:
            label = checks.label(label)
            if isinstance(label, TaskRef):
                raise misplaced("label", label)
        needed = () if depends_on is None else checks.plain_labels(depends_on)
        if needed is None:
            single = isinstance(depends_on, TaskRef)
            needed = (depends_on,) if single else checks.labels(depends_on)
            if not REFERENCES.isdisjoint(map(type, needed)):
                references = (*needed, *references)
        if references:
            needed = self._labels((*needed, *references))
        options = self._choice(chosen, needed) if chosen else plan.shared
        life = self._life
        if life.closed:
            life.check_open()
        task = Task(label, job, options, title)
        add = plan.add  # an attribute: to call it at once would be slower
        if references or job.kind is FEED:
            with life.checking:  # a start finds all of it, or nothing
                life.check_open()
                add(task, needed)
                if job.kind is FEED:
                    plan.mapped[task] = job.values  # type: ignore[union-attr]
                if job.refers:
                    plan.referring.append(task)
        else:
            add(task, needed)
        if life.closed:  # another thread has started the run meanwhile
            life.check_part_of_run(task)
        return task

    def _labels(self, needed: Sequence[Any]) -> Tuple[Hashable, ...]:
        """Labels in the place of references, each once."""
        tasks = self._plan.tasks
        return tuple(dict.fromkeys(label_of(each, tasks) for each in needed))

    def _choice(self, chosen: Chosen, needed: Sequence[Hashable]) -> Options:
        """The options of a task for which something was chosen."""
        options = OwnOptions(self._plan.shared, chosen)
        check_resources(options.resources, self.resources)
        if options.trigger_rule == ONE_FAILED and not needed:
            raise ValueError(
                "trigger_rule 'one_failed' needs depends_on: a task that depends on "
                "nothing would never start"
            )
        if options.keep_remote and options.local:
            raise ValueError(
                "keep_remote=True does not go with local=True: what runs in this "
                "process has its result here"
            )
        return options


def misplaced(parameter: str, reference: TaskRef) -> Exception:
    """The error for a reference to another task that was given as a label."""
    expected = (
        "the task's own (a reference to another task goes to depends_on, or among the "
        "arguments)"
    )
    return checks.wrong(TypeError, parameter, expected, reference)
