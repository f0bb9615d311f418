"""What a pool measures about itself, and what follows from it: which stage is the bottleneck."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One pool, from its start until now. Immutable: ask the pool again for newer figures.

    `worker_seconds` is the time its workers have existed, summed; each moment of it is `busy` (in
    the stage's own code), `starved` (waiting for an item), `blocked` (waiting for room in a
    successor's inbox) or the engine's own overhead. All are in seconds.
    """

    stage: str
    workers: int
    queue: int
    """The inbox's bound."""
    waiting: int
    """Items in the inbox now, ready for a worker."""
    parked: int
    """Items waiting outside any worker now, for a retry or for a gate to open."""
    in_hand: int
    """Items a worker holds now."""
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

    @property
    def ended(self) -> int:
        return self.done + self.dropped + self.failed

    @property
    def utilisation(self) -> float:
        """The share of the workers' time that was busy, 0 to 1."""
        return self.busy / self.worker_seconds if self.worker_seconds else 0.0

    @property
    def service_time(self) -> float:
        """Mean seconds of one attempt."""
        return self.busy / self.attempts if self.attempts else 0.0


def bottleneck(pools: Mapping[str, PoolStatistics]) -> str | None:
    """The name of the stage that held the others back: the busiest one. None if none was busy."""
    busiest = max(pools.values(), key=lambda pool: pool.utilisation, default=None)
    return busiest.stage if busiest is not None and busiest.utilisation > 0 else None
