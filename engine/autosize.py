"""`workers = "auto"`: how many workers each pool should have, from what the pools measured.

Pure policy: figures in, numbers out. The idea, growing what is saturated and shrinking what waits,
is that of the saturation-aware scheduler in NVIDIA's cosmos-xenna.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engine.statistics import PoolStatistics

SATURATED = 0.85
"""Workers busy for at least this share of their time, with the inbox half full, are too few."""

ROOM = 0.7
"""A pool shrinks only to where its workers would be needed for at most this share of their time.
Well under SATURATED, so that what has just shrunk does not grow at once again."""

MARGIN = 1.15
"""A worker moves only from a pool that will then still be this much better off than the taker was,
so that it does not move back."""

CPU_FULL = 0.95
"""With this share of the machine's cores at work, more threads would only share them."""

MOST_ON_LOOP = 32
"""Workers of an async stage that names no maximum of its own: they cost little but their items."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one pool measured over the last interval.

    `busy`, `starved` and `blocked` are shares of the workers' time, 0 to 1. `waiting` is the number
    of items in the inbox now, `queue` its bound. `automatic` is false for a pool whose number of
    workers a person chose; `on_loop` is true for an async stage.
    """

    workers: int
    minimum: int
    maximum: int
    waiting: int
    queue: int
    busy: float
    starved: float
    blocked: float
    automatic: bool
    on_loop: bool

    @classmethod
    def between(
        cls,
        earlier: PoolStatistics,
        now: PoolStatistics,
        *,
        maximum: int,
        automatic: bool,
        on_loop: bool,
        minimum: int = 1,
    ) -> "Window":
        """The interval between two of a pool's statistics."""
        passed = now.since(earlier)
        return cls(
            workers=now.workers,
            minimum=minimum,
            maximum=maximum,
            waiting=now.waiting,
            queue=now.queue,
            busy=passed.utilisation,
            starved=passed.share(passed.starved),
            blocked=passed.share(passed.blocked),
            automatic=automatic,
            on_loop=on_loop,
        )

    @property
    def saturated(self) -> bool:
        """Whether there was more work than the workers could do."""
        return self.busy >= SATURATED and 2 * self.waiting >= self.queue

    @property
    def needed(self) -> float:
        """How many workers were needed on average: those that did not wait."""
        return self.workers * max(0.0, 1.0 - self.starved - self.blocked)


def maximum_workers(max_workers: int | None, cores: int, *, on_loop: bool) -> int:
    """The most workers that "auto" gives a stage, whose own maximum is `max_workers`."""
    return max_workers or (MOST_ON_LOOP if on_loop else 2 * cores)


def ceiling(pools: Mapping[str, Window], cores: int) -> int:
    """The most workers that the automatic pools off the event loop have together: one each, and two
    for every core, since a thread often waits for a disk or a network."""
    return 2 * cores + sum(_is_bounded(window) for window in pools.values())


def decide(pools: Mapping[str, Window], cores: int, *, cpu: float = 0.0) -> dict[str, int]:
    """The automatic pools that should have another number of workers, and which.

    `cpu` is the share of the cores' time that was used in the interval, 0 to 1: where it is full,
    nothing grows off the loop, and workers at most move from one pool to another. Empty when all is
    well; the same figures always give the same answer.
    """
    automatic = {name: window for name, window in pools.items() if window.automatic}
    sizes = {name: _shrunk(window) for name, window in automatic.items()}
    pressed = [
        (window.busy, place, name)
        for place, (name, window) in enumerate(automatic.items())
        if window.saturated and window.workers < window.maximum
    ]
    # Of equals the later stage first: what it drains makes room for those before it.
    for _, _, name in sorted(pressed, reverse=True):
        window = automatic[name]
        if window.on_loop:
            sizes[name] = min(window.maximum, 2 * window.workers)
        elif cpu < CPU_FULL and _bounded_total(automatic, sizes) < ceiling(pools, cores):
            sizes[name] = window.workers + 1
        elif donor := _donor(name, automatic, sizes):
            sizes[donor] -= 1
            sizes[name] = window.workers + 1
    return {name: size for name, size in sizes.items() if size != automatic[name].workers}


def _shrunk(window: Window) -> int:
    """Half the way to what was needed with some room, since one interval may mislead."""
    enough = max(window.minimum, -int(-window.needed // ROOM))
    if window.saturated or enough >= window.workers:
        return window.workers
    return window.workers - max(1, (window.workers - enough) // 2)


def _donor(taker: str, pools: Mapping[str, Window], sizes: Mapping[str, int]) -> str | None:
    """The pool that can best do with a worker fewer, if that helps: how often over it could do
    what it did is the measure, and the least of those is what holds the pipeline back."""
    least = MARGIN * pools[taker].workers / pools[taker].needed
    best = None
    for name, window in pools.items():
        if name == taker or not _is_bounded(window) or sizes[name] <= window.minimum:
            continue
        left = (sizes[name] - 1) / window.needed if window.needed else float("inf")
        if left > least:
            best, least = name, left
    return best


def _is_bounded(window: Window) -> bool:
    return window.automatic and not window.on_loop


def _bounded_total(pools: Mapping[str, Window], sizes: Mapping[str, int]) -> int:
    return sum(sizes[name] for name, window in pools.items() if _is_bounded(window))
