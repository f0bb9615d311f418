"""The items of a ledger that can be replayed: those that ended, with all their attempts."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.bench.model.attempts import PastAttempt
from engine.bench.model.recorded import RecordedItem, Service, Visit
from engine.config.load import Config
from engine.contract.item import Item
from engine.contract.job import Parameters
from engine.contract.pipeline import Outcome, Pipeline
from engine.contract.stage import Stage
from engine.ledger.records import Settled
from engine.ledger.schema import FILE, columns_of, opened_to_read
from engine.workers.base import StageFactory

WITHDRAWN = "interrupted"
"""The outcome of an attempt that ended before its time, as its item was decided."""


@dataclass(frozen=True, slots=True)
class PastItem:
    """An item, or a part: that of `parent` which the step `split` made, at `position`."""

    id: str
    source: str
    outcome: Outcome
    parameters: str | None
    parent: str | None
    split: str | None
    position: int | None


class PastItems:
    """The items of a ledger, and their parts. `ended` is the number of whole items that have
    ended."""

    def __init__(self, items: Iterable[PastItem]) -> None:
        self._items = {item.id: item for item in items}
        self._parts: defaultdict[tuple[str, str], list[PastItem]] = defaultdict(list)
        for item in self._items.values():
            if item.split and item.parent is not None:
                self._parts[item.parent, item.split].append(item)
        whole = (item for item in self._items.values() if not item.split)
        self.ended = sum(item.outcome != "pending" for item in whole)

    def __getitem__(self, item: str) -> PastItem:
        return self._items[item]

    def parts(self, item: str, split: str) -> Sequence[PastItem]:
        """The item's parts of this step, in order."""
        return sorted(self._parts.get((item, split), ()), key=lambda part: part.position or 0)

    def line(self, item: str) -> Sequence[str]:
        """The item, what it is a part of, and so on, up to the whole one."""
        found = self._items.get(item)
        above = found.parent if found is not None and found.split else None
        return (item, *self.line(above)) if above is not None else (item,)

    def whole(self, item: str) -> str:
        """The whole item that this one is, or is a part of."""
        return self.line(item)[-1]


def read_past_items(workdir: Path) -> PastItems:
    with opened_to_read(workdir / FILE) as db:
        there = columns_of(db, "items")
        optional = ("parameters", "parent", "split", "position")
        more = ", ".join(name if name in there else f"NULL AS {name}" for name in optional)
        rows = db.execute(f"SELECT id, source, outcome, {more} FROM items")
        return PastItems(PastItem(*row) for row in rows)


def replayable(
    attempts: Iterable[PastAttempt],
    past: PastItems,
    busy: Mapping[int, float],
    helpers: Mapping[str, float],
    pipeline: Pipeline,
    config: Config,
    workdir: Path,
) -> Iterator[RecordedItem]:
    """The items that can be replayed, in the order of their first attempts. `busy` are the seconds
    of each attempt, `helpers` the cores that each stage keeps busy beside its own thread."""
    found = _Replayable(attempts, past, busy, helpers, pipeline, _Gates(pipeline, config, workdir))
    for item in found.whole_items:
        made = found.item(past[item]) if past[item].outcome != "pending" else None
        if made is not None and made.visits:
            yield made


class _Replayable:
    def __init__(
        self,
        attempts: Iterable[PastAttempt],
        past: PastItems,
        busy: Mapping[int, float],
        helpers: Mapping[str, float],
        pipeline: Pipeline,
        gates: "_Gates",
    ) -> None:
        self._past = past
        self._busy = busy
        self._helpers = helpers
        self._pipeline = pipeline
        self._gates = gates
        self._tries: defaultdict[tuple[str, str], list[PastAttempt]] = defaultdict(list)
        whole: dict[str, None] = {}
        for attempt in sorted(attempts, key=lambda attempt: attempt.started):
            self._tries[attempt.item, attempt.stage].append(attempt)
            whole.setdefault(past.whole(attempt.item))
        self.whole_items = list(whole)

    def item(
        self, item: PastItem, above: Iterable[str] = (), since: float = 0.0
    ) -> RecordedItem | None:
        """The item, or part, with its visits; None where attempts of it are missing: earlier runs
        made them, or an earlier run than that which made its parts. `above` are the stages of the
        levels above that had it, and it was made after `since`."""
        visits: dict[str, Visit] = {}
        expanded, made_since = None, dict[str, float]()
        for stage in self._pipeline.names:
            tries = self._last_tries(item, stage)
            if not tries:
                continue
            if tries[0].started < since:
                return None
            services = _services(tries, self._busy, self._helpers.get(stage, 0.0))
            outcome = tries[-1].outcome
            ending: Settled = "failed" if outcome == WITHDRAWN else outcome  # type: ignore[assignment]
            visits[stage] = Visit(services, ending, self._gates.key(stage, item, self._past))
            expanded = tries[-1].expanded if expanded is None else expanded
            made_since[stage] = tries[0].started
        known = {*above, *visits}
        if not all(self._follows(stage, known) for stage in visits):
            return None
        if item.split and item.outcome == "done" and not visits:
            return None
        parts: dict[str, list[RecordedItem]] = {}
        for split in visits:
            if self._pipeline[split].stage.splits():
                rows = self._past.parts(item.id, split)
                found = [self.item(row, known, made_since[split]) for row in rows]
                parts[split] = [part for part in found if part is not None]
                if len(parts[split]) < len(found):
                    return None
        whole = self._past[self._past.whole(item.id)]
        outcome_of_it = whole.outcome if item.outcome == "pending" else item.outcome
        settled: Settled = "failed" if outcome_of_it == "pending" else outcome_of_it
        return RecordedItem(item.id, visits, settled, expanded, parts)

    def _last_tries(self, item: PastItem, stage: str) -> Sequence[PastAttempt]:
        """The attempts of the last run that worked on it there, if they came to an end. One that
        split an item that was decided meanwhile came to none, and made the parts all the same."""
        of_all_runs = self._tries.get((item.id, stage), [])
        tries = [one for one in of_all_runs if one.run == of_all_runs[-1].run]
        if not tries or tries[-1].outcome in ("done", "dropped", "failed"):
            return tries
        withdrawn = tries[-1].outcome == WITHDRAWN and item.outcome in ("dropped", "failed")
        return tries if withdrawn and self._pipeline[stage].stage.splits() else ()

    def _follows(self, stage: str, known: set[str]) -> bool:
        """Whether what comes before the stage had the item too, as far as is `known` of it."""
        path = self._pipeline.level(stage)
        for before in self._pipeline.predecessors(stage):
            level = self._pipeline.level(before)
            gathers = len(level) > len(path)
            needed = level[-1] if gathers else before
            if before not in path and needed not in known:
                return False
        return True


def _services(
    tries: Sequence[PastAttempt], busy: Mapping[int, float], helpers: float
) -> tuple[Service, ...]:
    """The attempts as services; `helpers` is the number of cores that
    helper threads keep busy meanwhile."""
    services = []
    before = tries[0].started
    for attempt in tries:
        taken = max(busy[attempt.id] - (attempt.delayed or 0.0), 0.0)
        processor = (attempt.processor or 0.0) + helpers * busy[attempt.id]
        # More processor time than duration: it ran on several cores and hardly waited.
        cores = max(1.0, processor / taken) if taken > 0 else 1.0
        wait = max(0.0, taken - processor / cores)
        services.append(Service(wait, processor, cores, max(0.0, attempt.started - before)))
        before = attempt.ended
    return tuple(services)


class _Gates:
    """Finds the gate of an item by asking its stage, as the pools do."""

    def __init__(self, pipeline: Pipeline, config: Config, workdir: Path) -> None:
        self._workdir = workdir
        self._inputs = {name: pipeline.inputs(name) for name in pipeline.names}
        self._stages = {
            name: StageFactory(pipeline[name].stage, config.stages[name].settings, workdir, name)()
            for name in pipeline.names
            if pipeline[name].stage.gate is not Stage.gate
        }

    def key(self, stage: str, item: PastItem, past: PastItems) -> str | None:
        probe = self._stages.get(stage)
        if probe is None:
            return None
        try:
            return probe.gate(self._item(item, past).with_inputs(self._inputs[stage]))
        except Exception:  # the stage's own code failed, as it did in the run
            return None

    def _item(self, item: PastItem, past: PastItems) -> Item:
        parameters = Parameters(item.parameters or "")
        if not item.split or item.parent is None:
            return Item.at(self._workdir, item.source, item.id, parameters)
        above = self._item(past[item.parent], past)
        return above.part(item.split, item.position or 0, parameters)
