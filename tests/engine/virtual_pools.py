"""A pipeline in virtual time: bounded queues, workers, a processor and links that are shared.

Discrete events. What an item asks of a stage is some waiting (for a network: at full speed, or at
its share of a link) and then some processor time, of which every thread gets at most one core and
all together get no more than there are. Nothing sleeps, and the same seed gives the same run.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from engine.flow.autosize import Autosizer, Window, pause_before_next

EPSILON = 1e-9


@dataclass
class VirtualStage:
    """`wait` and `work` are seconds an item on average; `link` is how many items can wait at full
    speed together; `opening` is how long a new worker takes to be ready, in seconds; `gate` is how
    many items may be in work at once, whatever the workers."""

    wait: float = 0.0
    work: float = 0.0
    workers: int = 1
    maximum: int = 32
    queue: int = 8
    link: float = float("inf")
    opening: float = 0.0
    gate: int | None = None
    on_loop: bool = False
    automatic: bool = True


@dataclass
class _Pool:
    stage: VirtualStage
    workers: int
    ready: int = 0
    blocked: int = 0
    opening: list[float] = field(default_factory=list)
    waiting: list[list[float]] = field(default_factory=list)  # [wait left, work left] of each item
    working: list[list[float]] = field(default_factory=list)
    ended: int = 0
    open_seconds: float = 0.0
    work_seconds: float = 0.0
    wanted_seconds: float = 0.0

    @property
    def busy(self) -> int:
        return len(self.waiting) + len(self.working)

    @property
    def open(self) -> int:
        return max(self.workers - len(self.opening), self.busy + self.blocked)

    @property
    def free(self) -> int:
        """Workers that could take an item now."""
        free = self.workers - len(self.opening) - self.busy - self.blocked
        return free if self.stage.gate is None else min(free, self.stage.gate - self.busy)

    @property
    def _parks(self) -> bool:
        """Whether a worker without an item has taken what waited, and held it at the gate."""
        return self.stage.gate is not None and self.workers > self.busy >= self.stage.gate

    def window(self, seconds: float) -> Window:
        """Since the last window; what was added up begins anew."""
        window = Window(
            workers=self.workers,
            maximum=self.stage.maximum,
            waiting=0 if self._parks else self.ready,
            queue=self.stage.queue,
            seconds=seconds,
            ended=self.ended,
            open=self.open_seconds / seconds,
            at_work=self.work_seconds / seconds,
            automatic=self.stage.automatic,
            on_loop=self.stage.on_loop,
            wanted=self.wanted_seconds / seconds,
        )
        self.ended, self.open_seconds, self.work_seconds, self.wanted_seconds = 0, 0.0, 0.0, 0.0
        return window


class VirtualRun:
    """A chain of stages, fed with `items`, without end or as fast as `arrivals` items a second.

    `spread` is how far one item's demands are from the mean: each is multiplied by a random number
    from 1 - spread to 1 + spread. `auto`: the sizes follow the policy, from what the stages say.
    """

    def __init__(
        self,
        stages: Sequence[VirtualStage],
        cores: int = 2,
        *,
        auto: bool = True,
        spread: float = 0.5,
        seed: int = 1,
        items: float = float("inf"),
        arrivals: float = float("inf"),
    ) -> None:
        self.stages = [replace(stage) for stage in stages]
        self.pools = [_Pool(stage, stage.workers) for stage in self.stages]
        for pool in self.pools:
            pool.opening = [pool.stage.opening] * pool.workers if pool.stage.opening else []
        self.cores = cores
        self.items = items
        self.now = 0.0
        self.finished = 0
        self.changes: list[tuple[float, str, int, int]] = []
        self._entered = 0
        self.arrive(arrivals)
        self._spread = spread
        self._random = random.Random(seed)
        self._autosizer = Autosizer(cores) if auto else None
        self._looked = self._changed = 0.0
        self._processor = 0.0

    def arrive(self, rate: float) -> None:
        """From now on so many items a second come to the first stage."""
        self._arrivals = rate
        self._arrived: float = rate if rate == float("inf") else self._entered

    @property
    def sizes(self) -> list[int]:
        return [pool.workers for pool in self.pools]

    def run(self, seconds: float) -> float:
        """Run on for so long; returns the items finished a second."""
        before, until = self.finished, self.now + seconds
        while self.now < until - EPSILON and self.finished < self.items:
            look = self._looked + pause_before_next(self._looked - self._changed)
            self._move_items()
            self._pass_time(min(until, look) - self.now)
            if self.now >= look - EPSILON:
                self._look()
        return (self.finished - before) / seconds

    def run_to_end(self) -> float:
        """Run until all items are finished; returns the seconds that took."""
        self.run(1e6)
        assert self.finished == self.items
        return self.now

    def changes_since(self, moment: float) -> list[tuple[float, str, int, int]]:
        return [change for change in self.changes if change[0] > moment]

    def _look(self) -> None:
        seconds, self._looked = self.now - self._looked, self.now
        windows = {str(number): pool.window(seconds) for number, pool in enumerate(self.pools)}
        cpu, self._processor = self._processor / (seconds * self.cores), 0.0
        if self._autosizer is None:
            return
        for name, answer in self._autosizer.decide(windows, cpu).items():
            pool = self.pools[int(name)]
            assert pool.stage.automatic and 1 <= answer.workers <= pool.stage.maximum
            self.changes.append((self.now, name, pool.workers, answer.workers))
            self._resize(pool, answer.workers)
            self._changed = self.now

    @staticmethod
    def _resize(pool: _Pool, workers: int) -> None:
        if pool.stage.opening and workers > pool.workers:
            pool.opening += [pool.stage.opening] * (workers - pool.workers)
        pool.workers = workers
        del pool.opening[workers:]

    def _move_items(self) -> None:
        """From the last stage to the first, since what the later one takes makes room."""
        for number in range(len(self.pools) - 1, -1, -1):
            self._take(number)
        while self._source_has_one() and self.pools[0].ready < self.stages[0].queue:
            self._entered += 1
            self.pools[0].ready += 1
            self._take(0)

    def _source_has_one(self) -> bool:
        return self._entered < min(self.items, self._arrived)

    def _take(self, number: int) -> None:
        """Workers of this pool take what they can; those before it that waited for room go on."""
        pool = self.pools[number]
        while pool.blocked and self._has_room_after(number):
            pool.blocked -= 1
            self._pass_on(number)
        while pool.ready and pool.free > 0:
            pool.ready -= 1
            factor = self._random.uniform(1 - self._spread, 1 + self._spread)
            item = [pool.stage.wait * factor, pool.stage.work * factor]
            (pool.waiting if item[0] > 0 else pool.working).append(item)
        if number and self.pools[number - 1].blocked and pool.ready < pool.stage.queue:
            self._take(number - 1)

    def _has_room_after(self, number: int) -> bool:
        if number + 1 == len(self.pools):
            return True
        after = self.pools[number + 1]
        return after.ready < after.stage.queue

    def _pass_on(self, number: int) -> None:
        if number + 1 == len(self.pools):
            self.finished += 1
        else:
            self.pools[number + 1].ready += 1
            self._take(number + 1)

    def _pass_time(self, most: float) -> None:
        """Let time pass until the next thing ends, at most `most` seconds."""
        working = sum(len(pool.working) for pool in self.pools)
        share = min(1.0, self.cores / working) if working else 1.0
        step = max(most, 0.0)
        for pool in self.pools:
            speed = self._speed(pool)
            step = min([step, *pool.opening, *(item[0] / speed for item in pool.waiting)])
            step = min([step, *(item[1] / share for item in pool.working)])
        if self._arrivals < float("inf"):
            if self._arrived < self._entered + 1:
                step = min(step, (self._entered + 1 - self._arrived) / self._arrivals)
            self._arrived += self._arrivals * step
        self.now += step
        self._processor += min(working, self.cores) * step
        for pool in self.pools:
            self._advance(pool, step, share)

    def _advance(self, pool: _Pool, step: float, share: float) -> None:
        speed = self._speed(pool)
        pool.open_seconds += pool.open * step
        pool.work_seconds += pool.busy * step
        pool.wanted_seconds += len(pool.working) * step
        pool.opening = [left - step for left in pool.opening if left - step > EPSILON]
        for item in pool.waiting:
            item[0] -= speed * step
        for item in pool.working:
            item[1] -= share * step
        pool.working += [item for item in pool.waiting if item[0] <= EPSILON]
        pool.waiting = [item for item in pool.waiting if item[0] > EPSILON]
        left = [item for item in pool.working if item[1] > EPSILON]
        ended = len(pool.working) - len(left)
        pool.working = left
        pool.ended += ended
        pool.blocked += ended

    @staticmethod
    def _speed(pool: _Pool) -> float:
        return min(1.0, pool.stage.link / len(pool.waiting)) if pool.waiting else 1.0


def bound(stages: Sequence[VirtualStage], cores: int) -> float:
    """Items a second that no sizes of the pools can exceed (Denning & Buzen's asymptotic bound):
    the processor, each link, and each stage with as many workers as it may have."""
    limits = [cores / sum(stage.work for stage in stages) if any(s.work for s in stages) else 1e9]
    for stage in stages:
        most = stage.maximum if stage.automatic else stage.workers
        if stage.gate is not None:
            most = min(most, stage.gate)
        limits.append(most / (stage.wait + stage.work))
        if stage.wait:
            limits.append(stage.link / stage.wait)
    return min(limits)
