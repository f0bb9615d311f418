"""The recorded work of a ledger: the time of each item in each stage, split into its causes.

A recorded attempt took time for three reasons: it waited for others (a network, a disk, a GPU), it
ran on a core, and it was ready to run while no core was free. Only the first two stay the same when
the workers change. The third is left out here; the model makes it anew.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from engine.gates.capacity import Capacities
from engine.ledger.records import Settled


@dataclass(frozen=True, slots=True)
class Service:
    """One attempt. It waits for `wait` seconds at any load, and needs `processor` seconds of core
    time, on up to `cores` cores at once. Before it the item was held outside the workers for
    `pause` seconds, as for a retry."""

    wait: float
    processor: float = 0.0
    cores: float = 1.0
    pause: float = 0.0

    @property
    def seconds(self) -> float:
        """Its duration where enough cores are free."""
        return self.wait + self.processor / self.cores


@dataclass(frozen=True, slots=True)
class Visit:
    """One item in one stage: its attempts in order, and its outcome. `key`
    names its gate, usually a host."""

    services: Sequence[Service]
    outcome: Settled = "done"
    key: str | None = None

    @property
    def seconds(self) -> float:
        """A worker's seconds over all attempts, where enough cores are free."""
        return sum(service.seconds for service in self.services)

    @property
    def processor(self) -> float:
        """Seconds of core time over all attempts."""
        return sum(service.processor for service in self.services)


@dataclass(frozen=True, slots=True)
class RecordedItem:
    """All of one item's visits, kept together: a long item is long in every stage. `expanded` is
    the number of items that it produced, None for an ordinary one."""

    id: str
    visits: Mapping[str, Visit]
    outcome: Settled = "done"
    expanded: int | None = None
    parts: Mapping[str, "Sequence[RecordedItem]"] = field(default_factory=dict)
    """By the step that made them, in order; a part has visits, and parts, of its own."""

    def visits_of(self, stage: str) -> "Iterator[Visit]":
        """The visits to the stage: the item's own, or those of its parts, at whatever level."""
        if stage in self.visits:
            yield self.visits[stage]
        for parts in self.parts.values():
            for part in parts:
                yield from part.visits_of(stage)

    def parts_of(self, split: str) -> "Iterator[RecordedItem]":
        """The parts that the step made of the item, or of its parts, at whatever level."""
        for made_by, parts in self.parts.items():
            if made_by == split:
                yield from parts
            for part in parts:
                yield from part.parts_of(split)


@dataclass(frozen=True)
class Recording:
    """A pipeline's recorded work, for the model of the engine to replay.

    `stages` are in topological order. `workers` and `queues` are those of the recorded run, `most`
    the largest numbers of workers that the stages can have. `opening` is the time from the first
    attempt until a stage was open, for stages that kept items waiting. The engine's own work
    between two attempts of a worker takes `handover` seconds. `capacities` are those of the gates.
    `start_up` seconds passed before the first attempt, and `finish` after the last item.
    """

    stages: Sequence[str]
    predecessors: Mapping[str, Sequence[str]]
    queues: Mapping[str, int]
    workers: Mapping[str, int]
    items: Sequence[RecordedItem]
    cores: int
    most: Mapping[str, int | None] = field(default_factory=dict)
    keep: Mapping[str, bool] = field(default_factory=dict)
    """Whether a stage's outputs are kept."""
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The further steps whose outputs a stage reads, besides its predecessors."""
    each: Mapping[str, str] = field(default_factory=dict)
    """The step that splits, for stages that stand at its parts."""
    most_failed: Mapping[str, float] = field(default_factory=dict)
    """Parts that may fail before their item does, for stages that split."""
    optional: Collection[str] = ()
    """The stages whose failure does not end the item."""
    opening: Mapping[str, float] = field(default_factory=dict)
    handover: float = 0.0
    placed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What a worker takes of its node, for stages that work on a cluster."""
    capacities: Capacities = field(default_factory=Capacities)
    shares_gates: bool = False
    """Whether the rates of `capacities` are those of all machines together."""
    start_up: float = 0.0
    finish: float = 0.0
    seconds: float = 0.0
    """Seconds from the first attempt of the recorded run to the end of its last."""
    ended: int = 0
    """Items that ended in that run."""
    knows_processor: bool = True
    """Whether the ledger has processor times: those of older versions have none, and then the whole
    of an attempt counts as waiting."""
    left_out: int = 0
    """Items of the ledger that cannot be replayed: they have not ended, or the ledger has no
    attempts for some of their stages."""

    @property
    def throughput(self) -> float:
        """Items that ended per second, in the recorded run."""
        return self.ended / self.seconds if self.seconds else 0.0
