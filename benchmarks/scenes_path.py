"""What bounds a run of a pipeline: the longest chain of attempts that wait for each other."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from engine import Pipeline


class TimedAttempt(NamedTuple):
    """One attempt, in seconds from the run's beginning."""

    item: str
    step: str
    start: float
    end: float


@dataclass(slots=True)
class RunLog:
    """A run: its attempts; when each part was handed over, and whose it is; how long it took."""

    attempts: list[TimedAttempt] = field(default_factory=list)
    entered: dict[str, tuple[str, str, float]] = field(default_factory=dict)
    """By the part's id: its item, the step that made it, the second."""
    seconds: float = 0.0
    process_seconds: float = 0.0
    """With the start of the process."""
    called: Mapping[str, float] = field(default_factory=dict)
    """Seconds of the calls of a step's model, one after the other."""

    def at_work(self, step: str) -> float:
        """Seconds in which an attempt of the step was in hand."""
        total, until = 0.0, float("-inf")
        for one in sorted((a for a in self.attempts if a.step == step), key=lambda a: a.start):
            total += max(0.0, one.end - max(one.start, until))
            until = max(until, one.end)
        return total


class Leg(NamedTuple):
    """A piece of the longest chain: a step at an item, or a splitting step up to a part."""

    item: str
    step: str
    seconds: float


class Chain(NamedTuple):
    """One after the other; `seconds` in all."""

    seconds: float
    legs: tuple[Leg, ...]

    def and_then(self, leg: Leg) -> "Chain":
        return Chain(self.seconds + leg.seconds, (*self.legs, leg))


NOTHING = Chain(0.0, ())


def critical_path(pipeline: Pipeline, log: RunLog) -> Chain:
    """The longest chain of attempts of which each needs the one before it: with any number of
    workers, and nothing lost between two steps, the run would take as long.

    A part needs its splitting step as far as it took to hand it over. Attempts that were tried
    again count with all their tries, batches with all of their time.
    """
    return max((_Paths(pipeline, log).of_all()), key=lambda chain: chain.seconds, default=NOTHING)


class _Paths:
    def __init__(self, pipeline: Pipeline, log: RunLog) -> None:
        self._pipeline = pipeline
        self._entered = log.entered
        self._seconds: dict[tuple[str, str], float] = {}
        self._starts: dict[tuple[str, str], float] = {}
        for one in log.attempts:
            key = one.item, one.step
            self._seconds[key] = self._seconds.get(key, 0.0) + one.end - one.start
            self._starts.setdefault(key, one.start)
        self._known: dict[tuple[str, str], Chain] = {}
        self._parts: dict[tuple[str, str], list[str]] = {}
        for part, (parent, split, _) in log.entered.items():
            self._parts.setdefault((parent, split), []).append(part)

    def of_all(self) -> Iterable[Chain]:
        for item, step in self._seconds:
            yield self._until(item, step)

    def _until(self, item: str, step: str) -> Chain:
        """The longest chain that ends with the end of the step at the item."""
        key = item, step
        if key not in self._known:
            before = self._before(item, step)
            own = self._seconds.get(key)
            self._known[key] = before if own is None else before.and_then(Leg(item, step, own))
        return self._known[key]

    def _before(self, item: str, step: str) -> Chain:
        needed = [self._ready(item, one) for one in self._pipeline.predecessors(step)]
        return max(needed, key=lambda chain: chain.seconds, default=NOTHING)

    def _ready(self, item: str, earlier: str) -> Chain:
        """Until what `earlier` made is there for a later step at the item."""
        parent, split, at = self._entered.get(item, ("", "", 0.0))
        level = self._pipeline[earlier].each
        if parent and earlier == split:
            begun = self._before(parent, split)
            taken = at - self._starts.get((parent, split), at)
            return begun.and_then(Leg(item, split, taken))
        if parent and level != split:
            return self._until(parent, earlier)
        if not parent and level:
            gathered = [self._until(part, earlier) for part in self._parts.get((item, level), ())]
            return max([self._until(item, level), *gathered], key=lambda chain: chain.seconds)
        return self._until(item, earlier)


def by_step(chain: Chain) -> Mapping[str, float]:
    """The seconds of a chain by step, in its order."""
    found: dict[str, float] = {}
    for leg in chain.legs:
        found[leg.step] = found.get(leg.step, 0.0) + leg.seconds
    return found
