"""One item's way through the graph: what is settled, what may be reused, what comes next.

Pure: no clock, no disk, no database. The run asks, and does.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.contract.item import Item
from engine.flow.graph import Graph
from engine.ledger.records import Change, End, Known, Settled


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

    def advance(self) -> Change:
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
            return Change(entering, reused, discardable, stale, None, ())
        return Change(entering, reused, discardable, stale, self._outcome(), self._obsolete())

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
                    ready.append((name, self._would_be(name, upstream)))
        return ready

    def fingerprint(self, stage: str) -> str:
        """What an output of `stage`, which has the item now, is to carry."""
        return self._entered[stage]

    def _would_be(self, stage: str, upstream: tuple[str | None, ...]) -> str:
        """The fingerprint of what `stage` would make of the item from these."""
        return self.graph.fingerprint(stage, upstream, self.item.parameters)

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
            if self._reusable(reader, self._would_be(reader, upstream)) is None:
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
        fingerprint = self._would_be(stage, upstream)
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
