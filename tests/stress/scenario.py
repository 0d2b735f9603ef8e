"""Random runs as plain data: the same seed and mode make the same run anywhere."""

from __future__ import annotations

import dataclasses
import math
import multiprocessing
import random
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Optional

#: Modes of a run: how Python functions are called in it.
START_METHODS = tuple(
    method
    for method in ("fork", "forkserver", "spawn")
    if method in multiprocessing.get_all_start_methods()
)
MODES = ("thread", *START_METHODS, *(f"fallback-{each}" for each in START_METHODS))

# How often each act is drawn. Most tasks succeed, or little of a run would happen.
GOOD = ["value"] * 12 + ["none", "big"]
BAD = ["raise"] * 4 + ["unprintable", "alien", "interrupt", "exit", "exit well"]
PROCESS_GOOD = ["orphan", "mess", "fork"]
PROCESS_BAD = ["kill", "kill", "hard exit", "hard exit well"]
SHELL_GOOD = ["value"] * 6 + ["silent", "garbage", "big", "leftover"]
SHELL_BAD = ["fail", "fail", "fail silently", "kill", "terminate"]

#: Wrappers that cannot be pickled here, or unpickled by a worker.
FIXED = ("lambda", "closure", "booby")


#: What takes no time, and how long an attempt may take then, its process included.
QUICK = {"value", "none", "raise", "silent", "fail", "fail silently"}
ATTEMPT_TIMEOUTS = {None: 1.0, "fork": 2.0, "forkserver": 2.0, "spawn": 4.0}


@dataclass(frozen=True)
class Spec:
    """A task: what it is, what it does attempt by attempt, and how it is added.

    ``number`` is its place in the order of adding, ``given_label`` None where the
    label is left out. ``wrapper`` is how a function is dressed, ``deps_form`` how its
    dependencies are passed. The last fields are options of its own; ``on`` is after
    which errors it is tried again, None for a plain number. What lingers exceeds its
    ``attempt_timeout``, and in a thread ends some time later.
    """

    number: int
    given_label: Hashable
    deps: tuple[Hashable, ...]
    kind: str  # call, exec, shell, missing (a program that is not there)
    acts: tuple[str, ...]
    adder: str
    wrapper: str = "plain"  # plain, partial, async, or one of FIXED
    deps_form: str = "list"
    pause: float = 0.0
    retries: Optional[int] = None
    check: bool = True
    capture: bool = True
    text: bool = True
    priority: int = 0
    resources: tuple[tuple[str, int], ...] = ()
    rule: str = "all_success"
    timeout: Optional[float] = None
    on: Optional[str] = None  # any, value, command
    delay: float = 0.0
    attempt_timeout: Optional[float] = None

    @property
    def has_options(self) -> bool:
        """Whether anything was chosen for it but the number of retries."""
        chosen = self.priority, self.resources, self.timeout, self.on
        return any(chosen) or self.rule != "all_success"

    @property
    def label(self) -> Hashable:
        return self.number if self.given_label is None else self.given_label


@dataclass(frozen=True)
class Scenario:
    """A run. ``aborts`` are pairs: so many events or so many seconds after the start,
    whichever comes first; ``cancels`` are the same with the number of a task before,
    and no events and no seconds is before the start."""

    seed: int
    mode: str
    specs: tuple[Spec, ...]
    max_concurrency: int
    timeout: Optional[float]
    fast_fail: bool
    task_retries: int
    max_tasks_per_child: Optional[int]
    terminate_timeout: float
    log_errors: bool
    progress: bool
    ending: str  # run, execute, background, raise
    readers: int
    watched: bool
    aborts: tuple[tuple[int, float], ...]
    abort_inside: bool
    resources: tuple[tuple[str, int], ...] = ()
    cancels: tuple[tuple[int, int, float], ...] = ()
    output: Optional[str] = None

    @property
    def method(self) -> Optional[str]:
        """The start method; None for a run in threads."""
        return None if self.mode == "thread" else self.mode.rpartition("-")[2]

    @property
    def fallback(self) -> bool:
        return self.mode.startswith("fallback")

    def retries_of(self, spec: Spec) -> int:
        return self.task_retries if spec.retries is None else spec.retries

    def timeout_of(self, spec: Spec) -> Optional[float]:
        timeout = self.timeout if spec.timeout is None else spec.timeout
        return None if timeout == math.inf else timeout

    def __str__(self) -> str:
        lines = []
        for field in dataclasses.fields(self):
            if field.name != "specs":
                lines.append(f"{field.name} = {getattr(self, field.name)!r}")
        defaults = {each.name: each.default for each in dataclasses.fields(Spec)}
        for spec in self.specs:
            told = (
                f"{name}={value!r}"
                for name, value in vars(spec).items()
                if value != defaults[name]
            )
            lines.append(f"  {', '.join(told)}")
        return "\n".join(lines)


def generate(seed: int, mode: str) -> Scenario:
    """The run that belongs to a seed and a mode."""
    assert mode in MODES, f"mode must be one of {MODES}, not {mode!r}"
    rng = random.Random(f"{mode} {seed}")
    threads = mode == "thread"
    costly = mode.endswith("spawn")
    many = rng.random() < 0.1
    count = rng.randint(40, 120) if many and threads else rng.randint(0, 22)
    aborted = rng.random() < 0.25
    timeout = rng.choice([0.25, 0.4, 1]) if rng.random() < 0.15 else None
    if timeout is not None and not threads:
        timeout *= 4 if costly else 2
    scenario = Scenario(
        seed=seed,
        mode=mode,
        specs=_specs(rng, mode, count, ends=aborted or timeout is not None),
        max_concurrency=rng.choice([1, 1, 2, 3] if costly else [1, 1, 2, 3, 4, 8]),
        timeout=timeout,
        fast_fail=rng.random() < 0.15,
        task_retries=rng.choice([0, 0, 1, 2]),
        max_tasks_per_child=rng.choice([None, None, 1, 2, 3]),
        terminate_timeout=rng.choice([0, 0.02, 0.1]),
        log_errors=rng.random() < 0.3,
        progress=rng.random() < 0.7,
        ending=rng.choice(["run", "execute", "background", "background", "raise"]),
        readers=rng.randint(1, 3),
        watched=rng.random() < 0.5,
        aborts=tuple(
            (
                rng.choice([0, *range(1, 2 * count + 2)]),
                rng.uniform(0, 0.15 if threads else 0.6),
            )
            for _ in range(rng.choice([1, 1, 2, 3]) if aborted else 0)
        ),
        abort_inside=threads and rng.random() < 0.08,
    )
    if rng.random() < 0.5:
        scenario = _with_options(rng, scenario)
    output = rng.choice([None, None, "prefixed", "grouped"])
    return dataclasses.replace(scenario, output=output)


#: How much there is of what tasks may hold.
RESOURCES = (("db", 2), ("gpu", 1))


def _with_options(rng: random.Random, scenario: Scenario) -> Scenario:
    """The same run with options for some of its tasks, and some cancelled."""
    threads, count = scenario.mode == "thread", len(scenario.specs)
    kinds = {kind: rng.random() < 0.5 for kind in ("rank", "hold", "rule", "time")}
    tries = rng.random() < 0.5
    specs = [_own(rng, scenario, spec, kinds, tries) for spec in scenario.specs]
    chosen = rng.sample(
        range(count), rng.choice([0, 0, 1, min(3, count)]) if count else 0
    )
    cancels = []
    for number in chosen:
        events = rng.choice([0, *range(1, 2 * count + 2)])
        seconds = rng.uniform(0, 0.1 if threads else 0.4) if events else 0.0
        cancels.append((number, events, seconds))
    return dataclasses.replace(
        scenario, specs=tuple(specs), resources=RESOURCES, cancels=tuple(cancels)
    )


def _own(
    rng: random.Random,
    scenario: Scenario,
    spec: Spec,
    kinds: dict[str, bool],
    tries: bool,
) -> Spec:
    chosen: dict[str, object] = {}
    if kinds["rank"]:
        chosen["priority"] = rng.choice([0, 0, 1, 5, -1])
    if kinds["hold"]:
        held = [(), (), (("db", 1),), (("db", 2),), (("gpu", 1),), RESOURCES]
        chosen["resources"] = rng.choice(held)
    if kinds["rule"]:
        rules = ["all_success"] * 3 + ["all_done"] + ["one_failed"] * bool(spec.deps)
        chosen["rule"] = rng.choice(rules)
    if kinds["time"] and rng.random() < 0.2:
        hangs = {"hang", "stubborn"} & set(spec.acts)
        scale = 1 if scenario.mode == "thread" else 3
        short = 0.3 * scale
        chosen["timeout"] = short if hangs else rng.choice([short, math.inf])
    if tries and rng.random() < 0.5:
        chosen["on"] = rng.choice(["any", "value", "command"])
        chosen["delay"] = rng.choice([0.0, 0.005, 0.02])
        if spec.retries is None:
            chosen["retries"] = rng.choice([0, 1, 2])
        if QUICK.issuperset(spec.acts) and spec.wrapper not in FIXED:
            if rng.random() < 0.4:
                limit = ATTEMPT_TIMEOUTS[scenario.method]
                lingering = (f"linger {1.3 * limit:g}",) * rng.choice([1, 1, 2])
                chosen["attempt_timeout"] = limit
                chosen["delay"] = rng.choice([0.0, 0.02, 0.6 * limit])
                chosen["acts"] = (*lingering, *spec.acts)
    return dataclasses.replace(spec, **chosen)  # type: ignore[arg-type]


def _specs(rng: random.Random, mode: str, count: int, ends: bool) -> tuple[Spec, ...]:
    """Tasks of a random graph, in a random order of adding.

    :param ends: whether what hangs will be ended.
    """
    # `rank` is the hidden order that makes the graph acyclic.
    rank = list(range(count))
    shuffled = rng.random() < 0.5
    if shuffled:
        rng.shuffle(rank)
    labels = [_label(rng, number) for number in range(count)]
    density = rng.choice([0.0, 0.3, 0.7, 1.0])
    chain = rng.random() < 0.1
    by_rank = sorted(range(count), key=rank.__getitem__)
    trouble = rng.choice([0.0, 0.1, 0.1, 0.35])
    specs = []
    for number in range(count):
        before = by_rank[: rank[number]]
        if chain:
            needed = before[-1:]
        elif rng.random() < density and before:
            near = before[-6:] if rng.random() < 0.5 else before
            needed = rng.sample(near, rng.randint(1, min(3, len(near))))
        else:
            needed = []
        deps = tuple(n if labels[n] is None else labels[n] for n in needed)
        specs.append(_spec(rng, mode, number, labels[number], deps, trouble, ends))
    return tuple(specs)


def _label(rng: random.Random, number: int) -> Hashable:
    return rng.choice(
        [
            None,
            f"t{number}",
            f"t{number}",
            1000 + number,
            ("part", number),
            f"a 'quoted' \n label, ü {number}",
            number + 0.5,
            f"b{number}".encode(),
        ]
    )


def _spec(
    rng: random.Random,
    mode: str,
    number: int,
    label: Hashable,
    deps: tuple[Hashable, ...],
    trouble: float,
    ends: bool,
) -> Spec:
    kind = rng.choice(["call"] * 7 + ["exec", "shell", "shell", "call"])
    if kind == "exec" and rng.random() < 0.1:
        kind = "missing"
    retries = rng.choice([None, None, None, 0, 1, 3])
    if len(deps) == 1 and isinstance(deps[0], (str, bytes)):
        deps_form = rng.choice(["bare", "list"])
    else:
        deps_form = rng.choice(["list", "tuple", "generator", "twice", "keys"])
    if kind == "call":
        acts, wrapper = _call_acts(rng, mode, trouble, ends)
        adders = ["task", "task", "function"]
        if not deps and retries is None:
            adders += ["func", "work", "work", "work"]
        adder = rng.choice(adders)
    else:
        acts, wrapper = _shell_acts(rng, trouble, ends), "plain"
        adder = "shell_command" if kind == "shell" else "command"
    return Spec(
        number=number,
        given_label=label,
        deps=deps,
        kind=kind,
        acts=acts,
        adder=adder,
        wrapper=wrapper,
        deps_form=deps_form,
        pause=rng.choice([0.0, 0.0, 0.002, 0.01]) if kind == "call" else 0.0,
        retries=retries,
        check=rng.random() < 0.8,
        capture=rng.random() < 0.85,
        text=rng.random() < 0.8,
    )


def _call_acts(
    rng: random.Random, mode: str, trouble: float, ends: bool
) -> tuple[tuple[str, ...], str]:
    wrapper = rng.choice(["plain"] * 10 + ["partial", "async"])
    if rng.random() < 0.06:
        wrapper = rng.choice(FIXED)
    alone = mode != "thread" and not (mode.startswith("fallback") and wrapper in FIXED)
    bad = BAD + (PROCESS_BAD * 2 if alone else [])
    good = GOOD + (PROCESS_GOOD if alone else [])
    acts = []
    if rng.random() < 2 * trouble:  # fails a few times
        acts = [rng.choice(bad) for _ in range(rng.randint(1, 3))]
    last = rng.choice(good)
    if rng.random() < trouble:
        last = rng.choice(bad)
    elif rng.random() < trouble / 3:
        last = rng.choice(["unpicklable", "poison"])
    elif ends and rng.random() < 0.1:
        last = rng.choice(["hang", "stubborn"] if alone else ["hang"])
    return (*acts, last), wrapper


def _shell_acts(rng: random.Random, trouble: float, ends: bool) -> tuple[str, ...]:
    acts = []
    if rng.random() < 2 * trouble:
        acts = [rng.choice(SHELL_BAD) for _ in range(rng.randint(1, 2))]
    last = rng.choice(SHELL_GOOD)
    if rng.random() < trouble:
        last = rng.choice(SHELL_BAD)
    elif ends and rng.random() < 0.1:
        last = rng.choice(["hang", "stubborn"])
    return (*acts, last)
