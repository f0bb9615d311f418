"""One item's way through the graph: what is settled, what may be reused, what comes next.

Pure: no clock, no disk, no database. The run asks, and does.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from engine.item import Item
from engine.pipeline import Pipeline

Settled = Literal["done", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger and the disk know of one stage of one item when a run begins.

    `outcome` and `fingerprint` are the ledger's (None: no row, or it is pending), and for other
    ends than done `kind`, `reason` and `retryable`; `on_disk` is the fingerprint of the output that
    stands there; `discarded` says that it was deleted on purpose; `expanded` is the number of items
    that came out, None for an ordinary output.
    """

    outcome: Settled | None = None
    fingerprint: str | None = None
    on_disk: str | None = None
    discarded: bool = False
    expanded: int | None = None
    kind: str | None = None
    reason: str | None = None
    retryable: bool = False


class End(NamedTuple):
    """How a stage ended with an item. `retryable`: a failure that `penstock retry` may mend;
    `alone`: one that says nothing of how other items will fare."""

    outcome: Settled
    fingerprint: str
    expanded: int | None = None
    retryable: bool = False
    alone: bool = False


class Step(NamedTuple):
    """What follows from an item's latest settlement.

    It enters the stages `entering`; `reused` are the ends of earlier runs that hold. The outputs of
    `discardable` are not needed any longer, and those of `stale` belong to earlier runs that ended
    otherwise. `outcome` is None unless the item has ended with this step; then `obsolete` are
    stages that earlier runs had taken it through and that it does not reach now.
    """

    entering: Sequence[str]
    reused: Sequence[tuple[str, End]]
    discardable: Sequence[str]
    stale: Sequence[str]
    outcome: Settled | None
    obsolete: Sequence[str]


class Graph:
    """A pipeline with its settings, as journeys need it: who follows whom, and fingerprints."""

    def __init__(
        self,
        pipeline: Pipeline,
        fingerprints: Mapping[str, object],
        optional: frozenset[str] = frozenset(),
        discarding: frozenset[str] = frozenset(),
        rereading: frozenset[str] = frozenset(),
    ) -> None:
        """`fingerprints` gives, for each stage, the JSON-able settings that shape its output;
        `optional`, `discarding` and `rereading` name the stages with `optional = true`,
        `keep = false` and `reread = true`."""
        self.names = pipeline.names
        self.roots = [name for name in self.names if name in pipeline.roots]
        self.predecessors = {name: pipeline.predecessors(name) for name in self.names}
        self.reads = {name: pipeline.reads(name) for name in self.names}
        """The stages whose outputs each stage reads: its predecessors, then others before those."""
        self.readers = {
            name: [other for other in self.names if name in self.reads[other]]
            for name in self.names
        }
        self.successors = {
            name: [after for after in self.names if after in pipeline.successors(name)]
            for name in self.names
        }
        self.optional = optional
        self.discarding = [name for name in self.names if name in discarding]
        self.rereading = rereading
        self._recipes = {
            name: [name, pipeline[name].stage.version, fingerprints.get(name)]
            for name in self.names
        }
        self._fingerprints: dict[tuple[str, tuple[str | None, ...]], str] = {}
        self._descendants = {name: self._after(name) for name in self.names}

    def fingerprint(self, stage: str, upstream: tuple[str | None, ...]) -> str:
        """What identifies an output of `stage` made from the outputs with these fingerprints, in
        the order of `reads`.

        What is read from further up is named there too: the fingerprint of a predecessor holds what
        is before that one, but an optional predecessor may be absent.

        None stands for an optional stage's output that is absent. Nothing of the item goes
        into it, so there are few, and each is made once.
        """
        key = (stage, upstream)
        found = self._fingerprints.get(key)
        if found is None:
            before = sorted(zip(self.reads[stage], upstream, strict=True))
            text = json.dumps([self._recipes[stage], before], sort_keys=True, default=str)
            found = hashlib.sha256(text.encode()).hexdigest()[:32]
            self._fingerprints[key] = found
        return found

    def descendants(self, stage: str) -> Sequence[str]:
        """Every stage that comes after `stage`, however far, in topological order."""
        return self._descendants[stage]

    def _after(self, stage: str) -> list[str]:
        found = {stage}
        for name in self.names:
            if found.intersection(self.predecessors[name]):
                found.add(name)
        return [name for name in self.names if name in found and name != stage]


@dataclass(slots=True)
class Journey:
    """One item in flight. `known` is what earlier runs left; `ended` grows as stages settle."""

    graph: Graph
    item: Item
    known: Mapping[str, Known] = field(default_factory=dict)
    parent: str | None = None
    depth: int = 0
    """How many expansions deep the item is: 0 for the source's own."""
    ended: dict[str, End] = field(default_factory=dict)
    ran: bool = False
    """Whether any stage had work to do in this run."""
    _entered: dict[str, str] = field(default_factory=dict)
    """The fingerprint that each stage which has the item now would give its output."""
    _discarded: set[str] = field(default_factory=set)
    _latest: list[str] = field(default_factory=list)
    """The stages that have ended since the item last went on."""
    _begun: bool = False

    def advance(self) -> Step:
        """Enter every stage that can take the item now, reusing what earlier runs left.

        Call it when the item begins and after every `settle`; exactly one call says that the item
        has ended.
        """
        entering: list[str] = []
        reused: list[tuple[str, End]] = []
        while self._latest or not self._begun:  # who has ended may let others begin
            for stage, fingerprint in self._ready():
                end = self._reusable(stage, fingerprint) if self.known else None
                if end is None:
                    self._entered[stage] = fingerprint
                    self.ran = True
                    entering.append(stage)
                else:
                    self.ended[stage] = end
                    self._latest.append(stage)
                    reused.append((stage, end))
        finished = not self._entered
        discardable: list[str] = []
        for name in self.graph.discarding:
            if self._is_discardable(name, finished):
                self._discarded.add(name)
                discardable.append(name)
        stale = self._stale(finished) if self.known else ()
        if not finished:
            return Step(entering, reused, discardable, stale, None, ())
        return Step(entering, reused, discardable, stale, self._outcome(), self._obsolete())

    def settle(self, stage: str, end: End) -> None:
        """`stage` has ended with the item."""
        self._entered.pop(stage, None)
        self.ended[stage] = end
        self._latest.append(stage)

    def _ready(self) -> list[tuple[str, str]]:
        """The stages that can take the item now and have not had it yet, in graph order, with the
        fingerprints that their outputs would carry.

        Only what follows a stage that has just ended can have become ready.
        """
        graph, latest = self.graph, self._latest
        if not self._begun:
            self._begun = True
            candidates = graph.roots
        elif len(latest) == 1:
            candidates = graph.successors[latest[0]]
        else:
            following = {name for stage in latest for name in graph.successors[stage]}
            candidates = [name for name in graph.names if name in following]
        self._latest = []
        ready = []
        for name in candidates:
            if name not in self._entered and name not in self.ended:
                upstream = self._upstream(name, self.ended)
                if upstream is not None:
                    ready.append((name, graph.fingerprint(name, upstream)))
        return ready

    def fingerprint(self, stage: str) -> str:
        """What an output of `stage`, which has the item now, is to carry."""
        return self._entered[stage]

    def _upstream(
        self, stage: str, ends: Mapping[str, End | None]
    ) -> tuple[str | None, ...] | None:
        """The fingerprints of what `stage` reads, in that order, if those end so; None: it is not
        entered.

        The stage that gave items, and with it what comes after it, is as far as its item goes.
        """
        upstream: list[str | None] = []
        for before in self.graph.reads[stage]:
            end = ends.get(before)
            if end is None or end.expanded is not None:
                return None
            if end.outcome != "done" and before not in self.graph.optional:
                return None
            upstream.append(end.fingerprint if end.outcome == "done" else None)
        return tuple(upstream)

    def _reusable(self, stage: str, fingerprint: str) -> End | None:
        """The end that an earlier run came to with `stage`, if it still holds; else None.

        An output that is gone holds as long as nothing that has to run would read it.
        """
        known = self.known.get(stage)
        if known is None:
            return None
        if known.expanded is not None and stage in self.graph.rereading:
            return None
        if known.outcome in ("dropped", "failed") and known.fingerprint == fingerprint:
            return End(known.outcome, fingerprint, retryable=known.retryable)
        end = End("done", fingerprint, known.expanded)
        if known.on_disk == fingerprint:
            return end
        if known.outcome == "done" and known.fingerprint == fingerprint:
            gone_for_good = known.discarded or known.expanded is not None
            readers = self.graph.readers[stage]
            if (readers or gone_for_good) and not self._will_be_read(stage, end):
                return end
        return None

    def _will_be_read(self, stage: str, end: End) -> bool:
        """Whether a reader of `stage` would have to run if `stage` ended so."""
        for reader in self.graph.readers[stage]:
            ends = {name: self._expected(name) for name in self.graph.reads[reader]}
            upstream = self._upstream(reader, ends | {stage: end})
            if upstream is None:
                continue  # another stage before it keeps the item from it
            if self._reusable(reader, self.graph.fingerprint(reader, upstream)) is None:
                return True
        return False

    def _expected(self, stage: str) -> End | None:
        """How `stage` ended, or will if it ends well; None where the item does not reach it."""
        if stage in self.ended:
            return self.ended[stage]
        ends = {name: self._expected(name) for name in self.graph.reads[stage]}
        upstream = self._upstream(stage, ends)
        if upstream is None:
            return None
        known = self.known.get(stage, Known())
        fingerprint = self.graph.fingerprint(stage, upstream)
        if known.outcome is not None and known.fingerprint == fingerprint:
            return End(known.outcome, fingerprint, known.expanded)
        return End("done", fingerprint)

    def _outcome(self) -> Settled:
        """How the item ended as a whole. An optional stage does not decide it."""
        outcomes = {
            end.outcome for name, end in self.ended.items() if name not in self.graph.optional
        }
        if "failed" in outcomes:
            return "failed"
        return "dropped" if "dropped" in outcomes else "done"

    def _obsolete(self) -> list[str]:
        return [name for name in self.graph.names if name in self.known and name not in self.ended]

    def _stale(self, finished: bool) -> list[str]:
        gone = [name for name, end in self.ended.items() if end.outcome != "done"]
        if finished:
            gone += self._obsolete()
        return [name for name in gone if self.known.get(name, Known()).on_disk is not None]

    def _is_discardable(self, name: str, finished: bool) -> bool:
        """Whether no stage will read the output of `name`, which has `keep = false`, any more.

        What a retry that may mend the item would read is kept for it.
        """
        end = self.ended.get(name)
        if end is None or end.outcome != "done" or end.expanded is not None:
            return False
        if name in self._discarded:
            return False
        readers = [self.ended.get(reader) for reader in self.graph.readers[name]]
        if None in readers and (
            not finished or any(other.retryable for other in self.ended.values())
        ):
            return False
        return not any(reader is not None and reader.retryable for reader in readers)
