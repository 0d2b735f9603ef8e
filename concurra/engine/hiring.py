"""Which workers a run is to have."""

from __future__ import annotations

from .. import checks
from ..tasks import CALL, COMMAND, FEED
from ..workers.pool import Pool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Collection, Optional

    from ..plan.plan import Plan
    from ..run_options import RunOptions
    from ..threads import ThreadCache
    from ..workers.initializer import Initializer


def pool_of(options: RunOptions, plan: Plan, threads: ThreadCache) -> Pool:
    """Where the workers come from; nothing is started by that."""
    tasks, grace = plan.checked, float(options.terminate_timeout)
    if options.executor is not None:
        from ..workers.executor import ExecutorPool

        local = [task for task in tasks if task.options.local]
        kept = [task for task in tasks if task.options.keep_remote]
        return ExecutorPool(
            threads,
            options.executor,
            local={id(task.job) for task in local if task.job},
            kept={id(task.job) for task in kept if task.job},
            commands=any(task.job and task.job.kind is COMMAND for task in local),
            grace=grace,
            max_output=options.max_output,
        )
    jobs = [task.job.kind for task in tasks if task.job]
    calls, limit = jobs.count(CALL), options.max_concurrency
    commands = COMMAND in jobs
    return Pool(
        threads,
        checks.context(options.mp_context) if options.use_multiprocessing else None,
        commands=commands,
        width=lambda: limit if FEED in jobs else min(limit, calls, plan.width()),
        fallback=options.fallback_to_thread_on_pickle_error,
        max_tasks=options.max_tasks_per_child,
        grace=grace,
        importing=_being_imported() if options.use_multiprocessing else (),
        initializer=_initializer(options),
        forward_logs=options.forward_logs,
        output=options.output,
        max_output=options.max_output,
        labels=commands and any(getattr(t.job, "output", None) for t in tasks),
    )


def _initializer(options: RunOptions) -> Optional[Initializer]:
    if options.initializer is None:
        return None
    from ..workers.initializer import Initializer

    return Initializer(options.initializer, options.initargs)


def _being_imported() -> Collection[str]:
    from ..workers.imports import being_imported

    return being_imported()
