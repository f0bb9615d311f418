"""What bounds each item under way: the longest chain, so far, of attempts that need each other."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.contract.pipeline import Pipeline
from engine.telemetry.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    ItemEnded,
    ItemEntered,
    ItemGivenUp,
    PartEnded,
    PartEntered,
)

WAITING = "waiting"
"""What bounds an item that has waited for longer than any step of its path took: for a worker, for
a gate, for a retry."""

Place = tuple[str, str]
"""An item or a part, by its id, and a step."""


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The longest chain of an item's attempts, so far: with any number of workers, and nothing to
    wait for, it would have taken as long. `steps` are its seconds by step, in order; `waited` is
    the rest of the seconds since the item came."""

    steps: Mapping[str, float]
    waited: float

    @property
    def bound(self) -> str:
        """The step that has most of the path, or WAITING."""
        longest = max(self.steps, key=self.steps.__getitem__, default=WAITING)
        return longest if self.waited <= self.steps.get(longest, 0.0) else WAITING

    def told(self) -> dict[str, Any]:
        """As progress tells it, JSON-able."""
        steps = {step: round(seconds, 1) for step, seconds in self.steps.items()}
        return {"bound": self.bound, "path": steps, "waited": round(self.waited, 1)}


class _Chain(dict[str, float]):
    """Seconds by step, one after the other."""

    def seconds(self) -> float:
        return sum(self.values())

    def and_then(self, step: str, seconds: float) -> "_Chain":
        longer = _Chain(self)
        longer[step] = longer.get(step, 0.0) + seconds
        return longer


_NOTHING = _Chain()


@dataclass(slots=True)
class _Way:
    """What is known of one item and its parts."""

    since: float
    origin: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Of each part, the item that it is of, and the step that made it."""
    made: dict[str, _Chain] = field(default_factory=dict)
    """The chain until a part was handed over."""
    begun: dict[Place, float] = field(default_factory=dict)
    """When the attempts in hand began."""
    spent: dict[Place, float] = field(default_factory=dict)
    ends: dict[Place, _Chain] = field(default_factory=dict)
    gathered: dict[tuple[str, str, str], _Chain] = field(default_factory=dict)
    """By an item, the step that splits it, and a step of its parts: the longest of theirs."""
    longest: _Chain = field(default_factory=_Chain)


class ItemPaths:
    """The critical path of every item under way. A listener of the run; of the step that splits an
    item a part needs what it took to hand the part over. Attempts that were tried again count with
    all tries. What stood before costs nothing."""

    def __init__(self, pipeline: Pipeline, clock: Callable[[], float] = time.monotonic) -> None:
        self._before = {name: pipeline.predecessors(name) for name in pipeline.names}
        self._level = {name: pipeline[name].each for name in pipeline.names}
        self._clock = clock
        self._ways: dict[str, _Way] = {}

    def of(self, item: str) -> CriticalPath | None:
        """The path of a whole item, with what is in hand now; None where it is not under way."""
        way, now = self._ways.get(item), self._clock()
        if way is None:
            return None
        found = way.longest
        for place, began in way.begun.items():
            took = way.spent.get(place, 0.0) + now - began
            found = max(found, self._until(way, *place, took), key=_Chain.seconds)
        return CriticalPath(found, max(0.0, now - way.since - found.seconds()))

    def __call__(self, event: Event) -> None:
        match event:
            case ItemEntered():
                self._ways.setdefault(event.item, _Way(self._clock()))
            case ItemEnded() | ItemGivenUp():
                self._ways.pop(event.item, None)
            case PartEntered() | PartEnded() | AttemptStarted() | AttemptEnded():
                if (way := self._ways.get(event.item.partition("/")[0])) is not None:
                    self._note(way, event)

    def _note(
        self, way: _Way, event: PartEntered | PartEnded | AttemptStarted | AttemptEnded
    ) -> None:
        match event:
            case PartEntered():
                way.origin[event.item] = event.parent, event.split
                began = way.begun.get((event.parent, event.split))
                took = self._clock() - began if began is not None else 0.0
                way.made[event.item] = self._until(way, event.parent, event.split, took)
            case PartEnded():
                for step, level in self._level.items():
                    if level == event.split:
                        way.ends.pop((event.item, step), None)
                        way.spent.pop((event.item, step), None)
                way.made.pop(event.item, None)
                way.origin.pop(event.item, None)
            case AttemptStarted():
                way.begun[event.item, event.stage] = self._clock()
            case AttemptEnded():
                self._ended(way, event)

    def _ended(self, way: _Way, event: AttemptEnded) -> None:
        place = event.item, event.stage
        way.begun.pop(place, None)
        way.spent[place] = took = way.spent.get(place, 0.0) + event.seconds
        way.ends[place] = chain = self._until(way, *place, took)
        way.longest = max(way.longest, chain, key=_Chain.seconds)
        if event.item in way.origin:
            gathered = *way.origin[event.item], event.stage
            known = way.gathered.get(gathered, _NOTHING)
            way.gathered[gathered] = max(known, chain, key=_Chain.seconds)

    def _until(self, way: _Way, item: str, step: str, took: float) -> _Chain:
        needed = [self._ready(way, item, one) for one in self._before[step]]
        return max(needed, key=_Chain.seconds, default=_NOTHING).and_then(step, took)

    def _ready(self, way: _Way, item: str, earlier: str) -> _Chain:
        """Until what `earlier` made is there for a later step at the item."""
        level = self._level[earlier]
        parent, split = way.origin.get(item, ("", ""))
        if parent and earlier == split:
            return way.made.get(item, _NOTHING)
        if parent and level != split:
            return self._ready(way, parent, earlier)
        if level and level != split:  # its parts are gathered
            whole = way.ends.get((item, level), _NOTHING)
            return max(
                whole, way.gathered.get((item, level, earlier), _NOTHING), key=_Chain.seconds
            )
        if (known := way.ends.get((item, earlier))) is not None:
            return known
        needed = [self._ready(way, item, one) for one in self._before[earlier]]
        return max(needed, key=_Chain.seconds, default=_NOTHING)
