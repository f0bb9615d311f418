"""Measurements of the pools, and the bottleneck that follows from them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.telemetry.text import one_line

LEAST_BUSY = 0.5
"""The least utilisation of a bottleneck: a stage below it holds no other back."""


CORES_FULL = 0.9
"""The used share of the cores' time from which on more workers of a stage find none."""

LEAST_WAIT = 0.1
"""A stage that waited for something for less of its time than this is not spoken of."""

LEAST_WORK = 0.01
"""A stage that is busy for less of its time than this has hardly any work."""

CLUSTER = "the cluster"
"""What a step on a cluster needs, by name: a place there."""

FLEETING = {"kept": False}
"""Marks a field that the ledger does not keep."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Items that wait outside the workers, for `seconds` more, because of `reason`: for the gate
    `key` to open, usually a host, or for another attempt (`key` None)."""

    key: str | None
    reason: str
    seconds: float
    items: int

    def joined(self, other: "Hold") -> "Hold":
        """The two holds of one key as one, with the reason of the longer one."""
        longer = max(self, other, key=lambda held: held.seconds)
        return replace(longer, items=self.items + other.items)

    def told(self, now: float) -> str:
        """A phrase that names what holds the items, until when and why; `now` is in seconds since
        the epoch."""
        clock = time.strftime("%H:%M:%S", time.localtime(now + self.seconds))
        if self.key is None:
            until = f"for another attempt, until {clock}" if self.seconds >= 1 else "for a turn"
        elif self.seconds >= 1:
            until = f"for {self.key}, until {clock}"
        else:
            until = f"for {self.key}, which is being asked again"
        return f"{until}: {one_line(self.reason)}"


def join_holds(waiting: Iterable[Hold]) -> list[Hold]:
    """One hold for each key: closed gates first, the longest first; retries last."""
    found: dict[str | None, Hold] = {}
    for held in waiting:
        known = found.get(held.key)
        found[held.key] = held if known is None else known.joined(held)
    return sorted(found.values(), key=lambda held: (held.key is None, -held.seconds))


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One pool, from its start until now. Immutable: ask the pool again for newer figures.

    `worker_seconds` is the time that its workers were open for work, summed. Each moment of it is
    `busy` (in the stage's own code), `starved` (waiting for an item), `needing` (waiting with an
    item for what the stage needs, such as a GPU or a place on a cluster), `blocked` (waiting for
    room in a successor's inbox) or the engine's own overhead. All are in seconds.
    """

    stage: str
    workers: int
    """Number of workers; once the pool has ended, its last number."""
    queue: int
    """The bound of the inbox."""
    waiting: int
    """Queue depth: items in the inbox now, ready for a worker."""
    held: int
    """Items that wait outside the workers now, for a retry or for a gate to open."""
    in_hand: int
    """Items that workers have in hand now."""
    done: int
    dropped: int
    failed: int
    retried: int
    throttled: int
    busy: float
    starved: float
    blocked: float
    worker_seconds: float
    attempts: int
    """Attempts that have ended, whatever their outcome."""
    most: int | None = None
    """The largest number of workers that the stage can have, None for any number."""
    needing: float = 0.0
    timed_out: float = 0.0
    """The part of `busy` that went into attempts that ran out of time."""
    holds: Sequence[Hold] = field(default=(), metadata=FLEETING)
    """Why items are held, except those that only wait for their turn."""
    bound: str | None = None
    """The stage's own statement of its limit, other than its workers."""
    needs: str = ""
    """The names of what the stage needs, with commas between: resources, or CLUSTER alone."""

    @property
    def ended(self) -> int:
        return self.done + self.dropped + self.failed

    @property
    def lacks_items(self) -> bool:
        """Whether the pool had no more items than workers, so that a
        further worker would have had none."""
        settled = self.attempts - self.retried - self.throttled
        items = settled + self.in_hand + self.waiting + self.held
        return 0 < items <= self.workers

    @property
    def hangs(self) -> bool:
        """Whether most of its busy time went into attempts that ran out of time."""
        return 0 < self.busy <= 2 * self.timed_out

    @property
    def only_fails(self) -> bool:
        """Whether something has failed in it and nothing has ended well."""
        return self.failed > 0 and not self.done + self.dropped

    @property
    def utilisation(self) -> float:
        """The busy share of the workers' time, 0 to 1."""
        return self.share(self.busy)

    def since(self, earlier: "PoolStatistics") -> "PoolStatistics":
        """The same pool between `earlier` and now: times and counts are differences, states are the
        present ones."""
        return replace(
            self,
            done=self.done - earlier.done,
            dropped=self.dropped - earlier.dropped,
            failed=self.failed - earlier.failed,
            retried=self.retried - earlier.retried,
            throttled=self.throttled - earlier.throttled,
            busy=self.busy - earlier.busy,
            starved=self.starved - earlier.starved,
            blocked=self.blocked - earlier.blocked,
            needing=self.needing - earlier.needing,
            worker_seconds=self.worker_seconds - earlier.worker_seconds,
            attempts=self.attempts - earlier.attempts,
            timed_out=self.timed_out - earlier.timed_out,
        )

    def share(self, seconds: float) -> float:
        """`seconds` as a share of the workers' time, 0 to 1."""
        return seconds / self.worker_seconds if self.worker_seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The state of a run at one moment.

    `time` is in seconds since the epoch. `processor` counts the seconds that the run's `cores` were
    busy with any program: only the difference of two samples has a meaning. `memory` is the memory
    of the run's processes, `free_disk` the free space of its disk, in bytes.
    """

    time: float
    cores: int
    processor: float
    memory: int
    free_disk: int
    pools: Sequence[PoolStatistics]

    def processor_since(self, before: "Sample") -> float | None:
        """The used share of the cores' time since an earlier sample, 0 to 1; None if no time has
        passed."""
        if self.time <= before.time:
            return None
        used = (self.processor - before.processor) / (self.cores * (self.time - before.time))
        return min(used, 1.0)


@dataclass(frozen=True, slots=True)
class StageCounts:
    """Counts of items by state in one stage, over all runs; or in the pipeline as a whole."""

    stage: str
    entered: int
    done: int
    dropped: int
    failed: int
    pending: int
    skipped: int = 0
    """How many of those that are done had rightly nothing to do, and left no output."""
    abandoned: int = 0
    """Parts that go no further, as their item has failed or was dropped; those that are pending are
    still to come."""


@dataclass(frozen=True, slots=True)
class FailureKind:
    """The failed items, or parts, of one stage of the same kind, and one example."""

    stage: str
    kind: str
    count: int
    example_item: str
    example_reason: str
    of_parts: bool = False
    is_gap: bool = False
    """Whether their items are done without these parts."""


def bottleneck(pools: Mapping[str, PoolStatistics]) -> str | None:
    """The name of the bottleneck, the stage with the highest utilisation.
    None if no stage was busy."""
    busiest = max(pools.values(), key=lambda pool: pool.utilisation, default=None)
    return busiest.stage if busiest is not None and busiest.utilisation > 0 else None


def bottleneck_sentence(
    pools: Mapping[str, PoolStatistics], processor: float | None = None, *, resident: bool = False
) -> str:
    """A sentence that names the bottleneck, its symptoms, and a remedy. `processor` is the used
    share of the cores' time, 0 to 1; None if it is not known. A `resident` run's source is not
    there to keep it busy: that jobs are few is no fault."""
    if all(pool.busy <= 0 for pool in pools.values()):
        if resident:
            return "No stage was the bottleneck: no job has come that took any work."
        return "No stage was the bottleneck: none of them had anything to do."
    busiest = max(pools.values(), key=lambda pool: pool.utilisation)
    if busiest.hangs:
        return (
            f"Attempts that ran out of time are the bottleneck: they took "
            f"{busiest.timed_out / busiest.busy:.0%} of the time that {busiest.stage} was busy; "
            f"see what its items hang on, or whether stages.{busiest.stage}.timeout is too short."
        )
    if busiest.only_fails:
        return (
            f"No stage was the bottleneck: nothing went well in {busiest.stage}, the busiest one; "
            "mend what the failures say."
        )
    neediest = max(pools.values(), key=lambda pool: pool.share(pool.needing))
    if _is_short(busiest) or (_is_short(neediest) and busiest.utilisation < LEAST_BUSY):
        return _shortage(busiest if _is_short(busiest) else neediest)
    if busiest.utilisation >= LEAST_BUSY:
        return (
            f"{busiest.stage} is the bottleneck: {_workers(busiest)} busy "
            f"{busiest.utilisation:.0%} of the time{_who_waited(busiest, pools)}; "
            f"{_remedy(busiest, processor or 0.0)}."
        )
    calm = (
        f"{busiest.stage}, the busiest stage, was busy only {busiest.utilisation:.0%} of the time"
    )
    held_for = max(pools.values(), key=lambda pool: (pool.throttled, pool.held))
    if held_for.throttled or held_for.held:
        return (
            f"Waiting is the bottleneck, no stage: {held_for.stage} {_what_holds_it(held_for)}, "
            f"while {calm}; more workers would not help."
        )
    bound = max((one for one in pools.values() if one.bound), key=_busy_time, default=None)
    if bound is not None:
        return f"{bound.stage} is the bottleneck, though not for want of workers: {bound.bound}."
    if resident:
        return (
            f"No stage was the bottleneck: {calm}, and waited for jobs "
            f"{busiest.share(busiest.starved):.0%} of it; there is room for more."
        )
    if busiest.lacks_items:
        return f"No stage was the bottleneck: {calm}, as there were too few items to keep it so."
    return (
        f"The source is the bottleneck, no stage: {calm} and waited for items "
        f"{busiest.share(busiest.starved):.0%} of it; more items at once would be done as fast."
    )


def _busy_time(pool: PoolStatistics) -> float:
    return pool.busy


def _is_short(pool: PoolStatistics) -> bool:
    """Whether its workers had items and waited for a resource of the stage."""
    return (
        pool.share(pool.needing) >= LEAST_WAIT
        and pool.share(pool.busy + pool.needing) >= LEAST_BUSY
    )


def _shortage(pool: PoolStatistics) -> str:
    if pool.needs == CLUSTER:
        return (
            f"The cluster is the bottleneck: {pool.stage} waits for {CLUSTER}, {_workers(pool)} "
            f"busy {pool.utilisation:.0%} of the time and waited {pool.share(pool.needing):.0%} of "
            "it for a place there; add nodes, ask for less in "
            f"stages.{pool.stage}.resources, or give other steps fewer workers."
        )
    return (
        f"{_what_it_needs(pool)} is the bottleneck, which {pool.stage} shares with other stages: "
        f"{_workers(pool)} busy {pool.utilisation:.0%} of the time and waited "
        f"{pool.share(pool.needing):.0%} of it for a turn; give one of them another, or raise "
        "limits.resources if it can take more at once."
    )


def _what_it_needs(pool: PoolStatistics) -> str:
    return pool.needs or "what it needs"


def _remedy(pool: PoolStatistics, processor: float) -> str:
    if pool.bound is not None:
        return pool.bound
    if pool.lacks_items:
        return "it had no item for a further one, so give it less work for each item"
    if pool.most is not None and pool.most <= max(1, pool.workers):
        return "it can have no more workers, so give it less work for each item"
    if processor >= CORES_FULL:
        return (
            f"the cores were busy {processor:.0%} of the time, so more workers would not help: "
            "give it less work for each item, or more cores"
        )
    return f"give it more workers (stages.{pool.stage}.workers) or less work for each item"


def _workers(pool: PoolStatistics) -> str:
    return "its 1 worker was" if pool.workers == 1 else f"its {pool.workers} workers were"


def _who_waited(busiest: PoolStatistics, pools: Mapping[str, PoolStatistics]) -> str:
    """The other stage that waited most: for room if any did (a stage before), else for its turn at
    a resource, else for items. One that has hardly any work waits for items whatever bounds the
    run, so it is not asked."""
    for wait, what_for in (("blocked", "room"), ("needing", "its turn"), ("starved", "items")):
        shares = {
            pool.stage: pool.share(getattr(pool, wait))
            for pool in pools.values()
            if pool.stage != busiest.stage
            and not (wait == "starved" and pool.utilisation < LEAST_WORK)
        }
        stage = max(shares, key=shares.__getitem__, default=None)
        if stage is not None and shares[stage] >= LEAST_WAIT:
            return f" while {stage} waited {shares[stage]:.0%} of its time for {what_for}"
    return ""


def _what_holds_it(pool: PoolStatistics) -> str:
    told = f"was told to slow down {_times(pool.throttled)}" if pool.throttled else ""
    held = f"has {pool.held} items held" if pool.held else ""
    return " and ".join(part for part in (told, held) if part)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
