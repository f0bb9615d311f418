"""The places of a cluster in the model: which attempts of steps on it have room.

In the engine a place is kept between two attempts, until another step is in want of it; here an
attempt has one from its start to its end, which gives the same pace where the steps have their
turns.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Nodes:
    """So many nodes, each with the resources `each`, such as CPU; others than these are plenty."""

    count: int
    each: Mapping[str, float]

    def workers(self, resources: Mapping[str, float]) -> float:
        """The number of workers that have room where each takes these resources."""
        rooms = [self.each[one] // many for one, many in resources.items() if one in self.each]
        return self.count * min(rooms, default=math.inf)


class Places:
    """What is taken of the nodes, by stages, whose workers take `resources` each. None: there is
    room for all."""

    def __init__(self, nodes: Nodes | None, resources: Mapping[int, Mapping[str, float]]) -> None:
        self._resources = resources
        self._most = {
            stage: nodes.workers(of) if nodes else math.inf for stage, of in resources.items()
        }
        self._all = {one: nodes.count * many for one, many in nodes.each.items()} if nodes else {}
        self._taken: defaultdict[str, float] = defaultdict(float)
        self._by_stage = Counter[int]()

    def __contains__(self, stage: int) -> bool:
        """Whether the stage works on the cluster."""
        return stage in self._resources

    def has_room(self, stage: int) -> bool:
        """Whether a worker of the stage has a place; always, where it is not on the cluster."""
        return stage not in self._resources or (
            self._by_stage[stage] < self._most[stage]
            and all(
                self._taken[one] + many <= self._all.get(one, math.inf)
                for one, many in self._resources[stage].items()
            )
        )

    def take(self, stage: int) -> None:
        """An attempt of the stage begins."""
        self._change(stage, 1)

    def give(self, stage: int) -> list[int]:
        """An attempt of the stage has ended; returns the stages that may have room now, the one
        with the fewest places last."""
        if stage not in self._resources:
            return []
        self._change(stage, -1)
        return sorted(self._resources, key=lambda one: -self._by_stage[one])

    def _change(self, stage: int, many: int) -> None:
        if stage in self._resources:
            self._by_stage[stage] += many
            for one, amount in self._resources[stage].items():
                self._taken[one] += many * amount
