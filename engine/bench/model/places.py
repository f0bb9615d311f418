"""The places of a cluster in the model: which steps on it have room, by the engine's own rules
(`PlaceTurns`).

As in the engine a place is kept between two attempts, until another step is in want of it. What the
model leaves out is the time that a process takes to start in its place, and on which node that is.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from engine.bench.model.event_queue import EventQueue
from engine.cluster.turns import IDLE, LULL, PlaceTurns, StepAtCluster

ROUNDING = 1e-6
"""Seconds by which a look may be too early, as times are floats."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """So many nodes, each with the resources `each`, such as CPU; others than these are plenty."""

    count: int
    each: Mapping[str, float]

    def workers(self, resources: Mapping[str, float]) -> float:
        """The number of workers that have room where each takes these resources."""
        rooms = [self.each[one] // many for one, many in resources.items() if one in self.each]
        return self.count * min(rooms, default=math.inf)


class ModelPlace:
    """A place of a step; `since` is the time of the end of its first attempt, None before it."""

    __slots__ = ("since",)

    def __init__(self) -> None:
        self.since: float | None = None


class Places:
    """What is taken of the nodes, by stages, whose workers take `resources` each. None: there is
    room for all."""

    def __init__(
        self,
        nodes: Nodes | None,
        resources: Mapping[int, Mapping[str, float]],
        events: EventQueue,
        touch: Callable[[int], None],
    ) -> None:
        """`touch` is called with a stage that may have room now."""
        self._resources = resources
        self._events = events
        self._touch = touch
        self._bounded = set(resources) if nodes else set[int]()
        self._most = {stage: nodes.workers(resources[stage]) if nodes else 0 for stage in resources}
        self._all = {one: nodes.count * many for one, many in nodes.each.items()} if nodes else {}
        self._turns = PlaceTurns()
        self._standing = {
            stage: self._turns.join(str(stage), _nothing) for stage in sorted(self._bounded)
        }
        self._idle: dict[int, list[ModelPlace]] = {stage: [] for stage in self._bounded}
        self._timed: dict[int, float] = {}

    def __contains__(self, stage: int) -> bool:
        """Whether the stage works on the cluster."""
        return stage in self._resources

    def begin(self) -> None:
        """Each stage in turn has a place, if there is room: its first process starts early."""
        for stage, standing in self._standing.items():
            if self._fits(stage):
                standing.places += 1
                self._rest(stage, ModelPlace())

    def has_room(self, stage: int, wanting: int) -> bool:
        """Whether one of so many workers with items has a place; always, where the stage is not on
        the cluster. The others wait, until the stage is touched."""
        if stage not in self._bounded:
            return wanting > 0
        standing = self._standing[stage]
        was_waiting, standing.waiting = standing.waiting, max(0, wanting)
        if was_waiting and wanting <= 0:
            self._touch_waiting()  # it may have been its turn
        if wanting <= 0 or self._idle[stage]:
            return wanting > 0
        if not self._turns.may_ask(standing):
            return False
        while not self._fits(stage):
            now = self._events.now
            other = self._turns.to_give_up(standing, now)
            if other is None:
                self._look_later(stage)
                return False
            self._give_up(other)
        return True

    def take(self, stage: int) -> ModelPlace | None:
        """The place of an attempt that begins; None where it needs none."""
        if stage not in self._bounded:
            return None
        standing = self._standing[stage]
        standing.waiting = max(0, standing.waiting - 1)
        if self._idle[stage]:
            standing.idle.pop()
            return self._idle[stage].pop()
        standing.places += 1
        self._touch_waiting()
        return ModelPlace()

    def give(self, stage: int, place: ModelPlace | None) -> None:
        """The attempt in this place has ended: it is idle, unless another step is to have it."""
        if place is None:
            return
        now, standing = self._events.now, self._standing[stage]
        place.since = now if place.since is None else place.since
        if self._turns.gives_up(standing, now - place.since):
            standing.places -= 1
            self._touch_waiting()
        else:
            self._rest(stage, place)
            self._touch_waiting()

    def _rest(self, stage: int, place: ModelPlace) -> None:
        self._idle[stage].append(place)
        self._standing[stage].idle.append(self._events.now)

    def _give_up(self, other: StepAtCluster) -> None:
        """The stage gives up the place that has been idle longest."""
        other.idle.pop(0)
        self._idle[int(other.step)].pop(0)
        other.places -= 1

    def _fits(self, stage: int) -> bool:
        """Whether the nodes have room for one more worker of the stage."""
        if self._standing[stage].places >= self._most[stage]:
            return False
        taken = dict.fromkeys(self._all, 0.0)
        for one, standing in self._standing.items():
            for name, many in self._resources[one].items():
                if name in taken:
                    taken[name] += many * standing.places
        return all(
            taken[name] + many <= self._all[name]
            for name, many in self._resources[stage].items()
            if name in taken
        )

    def _touch_waiting(self) -> None:
        """Stages whose workers wait may have room now, the one with the fewest places first."""
        for stage in sorted(self._bounded, key=lambda one: -self._standing[one].places):
            if self._standing[stage].waiting:
                self._touch(stage)

    def _look_later(self, stage: int) -> None:
        """Touch the stage when what is idle now has been so for long enough."""
        mine = self._standing[stage]
        least = IDLE if mine.places else LULL
        since = [one.idle[0] for one in self._turns.steps if one is not mine and one.idle]
        due = max(min(since, default=math.inf) + least, self._events.now + ROUNDING)
        if self._timed.get(stage, math.inf) > due:
            self._timed[stage] = due
            self._events.at(due, self._look, (stage, due))

    def _look(self, what: tuple[int, float]) -> None:
        stage, due = what
        if self._timed.get(stage) == due:
            del self._timed[stage]
        self._touch(stage)


async def _nothing() -> None:
    """The engine's steps close a process here; the model has none."""
