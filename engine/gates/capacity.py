"""The capacity of gates: a common one, and own ones of single keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class OwnCapacity(Protocol):
    """The limits of one key; None where the common limit holds."""

    @property
    def rate(self) -> float | None: ...

    @property
    def concurrency(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Capacities:
    """The capacity of every gate: `rate` items per second go in and `concurrency` are inside at
    once, 0 for no limit. The limits of a key in `own` replace these."""

    rate: float = 0.0
    concurrency: int = 0
    own: Mapping[str, OwnCapacity] = field(default_factory=dict)

    def has_own_rate(self, key: str) -> bool:
        own = self.own.get(key)
        return own is not None and own.rate is not None

    def rate_of(self, key: str) -> float:
        """Items per second; 0 for no limit."""
        own = self.own.get(key)
        return self.rate if own is None or own.rate is None else own.rate

    def spacing_of(self, key: str) -> float:
        """Seconds between two items that go in."""
        rate = self.rate_of(key)
        return 1 / rate if rate else 0.0

    def concurrency_of(self, key: str) -> int:
        """Items inside at once; 0 for no limit."""
        own = self.own.get(key)
        return self.concurrency if own is None or own.concurrency is None else own.concurrency

    def shared_by(self, machines: int) -> "Capacities":
        """What each of so many machines has of the same rates, where they take turns."""
        own = {
            key: _Own(one.rate and one.rate / machines, one.concurrency)
            for key, one in self.own.items()
        }
        return Capacities(self.rate / machines, self.concurrency, own)

    def without_rates(self) -> "Capacities":
        """The same capacities without limits on the rate."""
        own = {key: _Own(0.0, one.concurrency) for key, one in self.own.items()}
        return Capacities(0.0, self.concurrency, own)


@dataclass(frozen=True, slots=True)
class _Own:
    rate: float | None
    concurrency: int | None
