"""A pipeline in virtual time, sized by the policy: the model of the engine with an autosizer.

What an item asks of a stage is some waiting (for a network: at full speed, or at its share of a
link) and then some processor time, of which every thread gets at most one core and all together get
no more than there are. Nothing sleeps, and the same seed gives the same run.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from engine.bench.model.journey import ModelItem
from engine.bench.model.pool import ModelEntry, ModelPool
from engine.bench.model.recorded import RecordedItem, Recording, Service, Visit
from engine.bench.model.run import ModelRun
from engine.flow.autosize import Autosizer, Window, pause_before_next
from engine.gates.capacity import Capacities
from tests.engine.bench.recordings import tandem


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
    link: float = math.inf
    opening: float = 0.0
    gate: int | None = None
    off_cores: bool = False
    automatic: bool = True


class _Measured:
    """A pool, and what it had come to at the last look."""

    def __init__(self, stage: VirtualStage, pool: ModelPool) -> None:
        self.stage = stage
        self.pool = pool
        self._before = (0.0, 0.0, 0.0, 0.0)

    def window(self, now: float, seconds: float) -> Window:
        """Since the last one."""
        pool, stage = self.pool, self.stage
        tallies = (pool.open, pool.busy, pool.computing)
        figures = (pool.ended, *(tally.seconds(now) for tally in tallies))
        ended, *means = (new - old for new, old in zip(figures, self._before, strict=True))
        open_, at_work, wanted = (passed / seconds for passed in means)
        self._before = figures
        return Window(
            workers=pool.workers,
            maximum=stage.maximum,
            waiting=pool.ready,
            queue=stage.queue,
            seconds=seconds,
            ended=int(ended),
            open=open_,
            at_work=at_work,
            automatic=stage.automatic,
            off_cores=stage.off_cores,
            wanted=wanted,
        )


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
        items: float = math.inf,
        arrivals: float = math.inf,
    ) -> None:
        self.stages = {str(number): replace(stage) for number, stage in enumerate(stages)}
        self.cores = cores
        self.items = items
        self.finished = 0
        self.changes: list[tuple[float, str, int, int]] = []
        self._spread = spread
        self._random = random.Random(seed)
        self._autosizer = Autosizer(cores) if auto else None
        self._looked = self._changed = 0.0
        self._processor = 0.0
        self._model = self._made()
        self._pools = {
            name: _Measured(stage, pool)
            for (name, stage), pool in zip(self.stages.items(), self._model.pools, strict=True)
        }
        self.arrive(arrivals)
        self._model.begin(self._arriving())

    def _made(self) -> ModelRun:
        stages = self.stages
        made = Recording(
            stages=tuple(stages),
            predecessors=tandem(*stages),
            queues={name: stage.queue for name, stage in stages.items()},
            workers={name: stage.workers for name, stage in stages.items()},
            items=(),
            cores=self.cores,
            opening={name: stage.opening for name, stage in stages.items()},
            capacities=Capacities(concurrency=max(stage.gate or 0 for stage in stages.values())),
        )
        links = {name: stage.link for name, stage in stages.items() if stage.link < math.inf}
        return ModelRun(
            made, made.workers, made.queues, self.cores, {}, links=links, listen=self._attempt_ended
        )

    def _arriving(self) -> Iterator[ModelItem]:
        number = 0
        while number < self.items:
            visits = {name: self._visit(name, stage) for name, stage in self.stages.items()}
            yield ModelItem(RecordedItem(str(number), visits), self._model.numbers)
            number += 1

    def _visit(self, name: str, stage: VirtualStage) -> Visit:
        factor = self._random.uniform(1 - self._spread, 1 + self._spread)
        service = Service(stage.wait * factor, stage.work * factor)
        return Visit([service], key=None if stage.gate is None else name)

    def _attempt_ended(self, entry: ModelEntry, now: float) -> None:
        self.finished += entry.stage == len(self.stages) - 1

    def arrive(self, rate: float) -> None:
        """From now on so many items a second come to the first stage."""
        self._model.pause = 1 / rate

    @property
    def sizes(self) -> list[int]:
        return [pool.workers for pool in self._model.pools]

    def run(self, seconds: float) -> float:
        """Run on for so long; returns the items finished a second."""
        before, until = self.finished, self._model.now + seconds
        while self._model.now < until and self.finished < self.items:
            look = self._looked + pause_before_next(self._looked - self._changed)
            self._model.advance(min(until, look))
            if look <= until:
                self._look()
        return (self.finished - before) / seconds

    def run_to_end(self) -> float:
        """Run until all items are finished; returns the seconds that took."""
        self.run(1e6)
        assert self.finished == self.items
        return self._model.seconds

    def changes_since(self, moment: float) -> list[tuple[float, str, int, int]]:
        return [change for change in self.changes if change[0] > moment]

    def _look(self) -> None:
        now, used = self._model.now, self._model.processor.given(self._model.now)
        seconds, self._looked = now - self._looked, now
        windows = {name: pool.window(now, seconds) for name, pool in self._pools.items()}
        cpu, self._processor = (used - self._processor) / (seconds * self.cores), used
        if self._autosizer is None:
            return
        for name, answer in self._autosizer.decide(windows, cpu).items():
            stage, pool = self.stages[name], self._pools[name].pool
            assert stage.automatic and 1 <= answer.workers <= stage.maximum
            self.changes.append((now, name, pool.workers, answer.workers))
            self._model.resize(name, answer.workers)
            self._changed = now


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
