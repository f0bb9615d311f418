"""One item's way through the graph: the ends so far, the reusable outputs, the next stages.

Pure: no clock, no disk, no database. The run carries out the changes.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from engine.contract.item import Item
from engine.flow.graph import Graph
from engine.ledger.records import Change, End, Failure, Known, Settled


@dataclass(slots=True, eq=False)
class Journey:
    """One item in flight. `known` is the state that earlier runs left;
    `ended` grows with every change."""

    graph: Graph
    item: Item
    known: Mapping[str, Known] = field(default_factory=dict)
    parent: str | None = None
    depth: int = 0
    """The number of lists that the item is nested in: 0 for an item of the source."""
    ended: dict[str, End] = field(default_factory=dict)
    ran: bool = False
    """Whether any stage had work to do in this run."""
    _entered: dict[str, str] = field(default_factory=dict)
    """The fingerprint of the output to be made, for each stage that has the item now."""
    _begun: set[str] = field(default_factory=set)
    """Those of them that are at work on the item."""
    _decided: bool = False
    _discarded: set[str] = field(default_factory=set)

    def advance(self, end: End | None = None) -> Change:
        """The change that follows from the item's entry (None), or from the end of a stage.

        The item enters every stage that can take it now, and reuses ends of earlier runs. Once a
        stage that is not optional has failed or dropped it, the item is decided: no further stage
        begins with it, and stages that have not begun are withdrawn.

        Call it with None once, then with the end of every stage that was entered; exactly one
        change has the item's outcome.
        """
        candidates: Sequence[str] = self.graph.roots
        if end is None:
            self._decided = bool(self.known) and self._was_decided()
        else:
            self._entered.pop(end.stage, None)
            self._begun.discard(end.stage)
            self._note(end)
            candidates = self.graph.successors[end.stage]
        entering, reused = self._go_on(candidates)
        withdrawn = self._withdraw() if self._decided and self._entered else ()
        return self._change(end, entering, reused, withdrawn)

    def give_up(self, stage: str) -> Change:
        """The change when `stage`, which had the decided item, does not try it again."""
        self._begun.discard(stage)
        return self._change(None, (), (), self._withdraw())

    def _change(
        self,
        end: End | None,
        entering: tuple[str, ...],
        reused: tuple[End, ...],
        withdrawn: tuple[str, ...],
    ) -> Change:
        finished = not self._entered
        discardable = self._discardable(finished) if self.graph.discarding else ()
        outcome = self._outcome() if finished else None
        if not self.known:  # a new item: nothing to reuse, and nothing to undo
            return Change(
                self.item, end, (), (), withdrawn, entering, (), discardable, (), (), outcome
            )
        return Change(
            self.item,
            end,
            reused,
            reused if end is not None else tuple(filter(self._is_news, reused)),
            withdrawn,
            entering,
            self._void(entering),
            discardable,
            self._stale(finished),
            self._obsolete() if finished else (),
            outcome,
        )

    def _go_on(self, candidates: Sequence[str]) -> tuple[tuple[str, ...], tuple[End, ...]]:
        """Enter those of the candidates that can take the item and have not had it yet, or reuse
        their earlier ends, and go on behind reused ones; returns the entered stages and the reused
        ends."""
        entering: tuple[str, ...] = ()
        reused: tuple[End, ...] = ()
        while candidates:  # a reused end may let further stages begin
            following: set[str] = set()
            for stage in candidates:
                if stage in self._entered or stage in self.ended:
                    continue
                upstream = self._upstream(stage, self.ended)
                if upstream is None:
                    continue
                fingerprint = self._would_be(stage, upstream)
                end = self._reusable(stage, fingerprint) if self.known else None
                if end is None:
                    self._entered[stage] = fingerprint
                    entering += (stage,)
                else:
                    self._note(end)
                    reused += (end,)
                    following.update(self.graph.successors[stage])
            candidates = self._in_order(following) if following else ()
        if self._decided:
            for stage in entering:
                del self._entered[stage]
            return (), reused
        if entering:
            self.ran = True
        return entering, reused

    def _note(self, end: End) -> None:
        self.ended[end.stage] = end
        if end.outcome != "done" and end.stage in self.graph.deciding:
            self._decided = True

    def _in_order(self, stages: Collection[str]) -> list[str]:
        return [name for name in self.graph.names if name in stages]

    def _is_news(self, end: End) -> bool:
        """Whether the ledger lacks this end, which the folders tell."""
        known = self.known[end.stage]
        return (known.outcome, known.fingerprint) != (end.outcome, end.fingerprint)

    @property
    def is_decided(self) -> bool:
        """Whether the item has failed or been dropped, even if other stages
        are still at work on it."""
        return self._decided

    def goes_to(self, stage: str) -> bool:
        """Whether the item is in `stage`, or on its way there."""
        return stage in self._entered

    def begin(self, stage: str) -> str:
        """`stage` begins to work on the item; returns the fingerprint for its output."""
        self._begun.add(stage)
        return self._entered[stage]

    def put_off(self, stage: str) -> None:
        """`stage` will try the item again later."""
        self._begun.discard(stage)

    def _withdraw(self) -> tuple[str, ...]:
        withdrawn = tuple(name for name in self._entered if name not in self._begun)
        for name in withdrawn:
            del self._entered[name]
        return withdrawn

    def _was_decided(self) -> bool:
        """Whether the end of an earlier run that still holds has decided the item."""
        ill = [name for name, known in self.known.items() if known.outcome in ("dropped", "failed")]
        held = (self._held(name) for name in ill if name in self.graph.deciding)
        return any(end is not None and end.outcome != "done" for end in held)

    def _held(self, stage: str) -> End | None:
        """The end of `stage` in an earlier run, if it and all ends before it still hold."""
        upstream = self._upstream(
            stage, {name: self._held(name) for name in self.graph.reads[stage]}
        )
        known = self.known.get(stage)
        if upstream is None or known is None:
            return None
        fingerprint = self._would_be(stage, upstream)
        if known.on_disk == fingerprint:
            return End(stage, "done", fingerprint, known.expanded)
        if known.outcome is not None and known.fingerprint == fingerprint:
            return _as_known(stage, known, known.outcome, fingerprint)
        return None

    def _would_be(self, stage: str, upstream: tuple[str | None, ...]) -> str:
        """The fingerprint of the output that `stage` would make from these inputs."""
        return self.graph.fingerprint(stage, upstream, self.item.parameters)

    def _upstream(
        self, stage: str, ends: Mapping[str, End | None]
    ) -> tuple[str | None, ...] | None:
        """The fingerprints of the inputs of `stage`, in order, given these ends; None if the item
        does not enter it.

        An item that is a list ends at the stage that produced its items: the stages behind it do
        not get the list.
        """
        upstream: list[str | None] = []
        for before in self.graph.reads[stage]:
            end = ends.get(before)
            if end is None or end.expanded is not None:
                return None
            if end.outcome != "done" and before not in self.graph.optional:
                return None
            upstream.append(end.fingerprint if end.has_output else None)
        return tuple(upstream)

    def _reusable(self, stage: str, fingerprint: str) -> End | None:
        """The end of `stage` in an earlier run, if it still holds; else None.

        An output that is gone still counts, as long as no stage that has to run would read it.
        """
        known = self.known.get(stage)
        if known is None:
            return None
        if known.expanded is not None and stage in self.graph.rereading and not self._decided:
            return None
        made = known.outcome == "done" and not known.is_skipped
        if known.outcome is not None and known.fingerprint == fingerprint and not made:
            return _as_known(stage, known, known.outcome, fingerprint)
        # The folder is asked before the ledger: after a crash between rename and commit the output
        # is whole and the ledger knows nothing of it.
        end = End(stage, "done", fingerprint, known.expanded)
        if known.on_disk == fingerprint:
            return end
        if known.outcome == "done" and known.fingerprint == fingerprint:
            # The output is gone. That matters only if a reader has to run. Without readers it is
            # the result itself and is made again, unless it was deleted on purpose or was a list.
            gone_for_good = known.discarded or known.expanded is not None
            readers = self.graph.readers[stage]
            if (readers or gone_for_good) and not self._will_be_read(stage, end):
                return end
        return None

    def _will_be_read(self, stage: str, end: End) -> bool:
        """Whether a reader of `stage` would have to run if `stage` ended with `end`."""
        if self._decided:
            return False  # no stage begins with a decided item
        for reader in self.graph.readers[stage]:
            ends = {name: self._expected(name) for name in self.graph.reads[reader]}
            upstream = self._upstream(reader, ends | {stage: end})
            if upstream is None:
                continue  # another of its inputs keeps the item from this reader
            if self._reusable(reader, self._would_be(reader, upstream)) is None:
                return True
        return False

    def _expected(self, stage: str) -> End | None:
        """The end of `stage`, or the one to expect if it ends well; None if
        the item does not reach it."""
        if stage in self.ended:
            return self.ended[stage]
        ends = {name: self._expected(name) for name in self.graph.reads[stage]}
        upstream = self._upstream(stage, ends)
        if upstream is None:
            return None
        known = self.known.get(stage, Known())
        fingerprint = self._would_be(stage, upstream)
        if known.outcome is not None and known.fingerprint == fingerprint:
            return _as_known(stage, known, known.outcome, fingerprint)
        return End(stage, "done", fingerprint)

    def _outcome(self) -> Settled:
        """The outcome of the item as a whole; optional stages do not count."""
        outcomes = {end.outcome for name, end in self.ended.items() if name in self.graph.deciding}
        if "failed" in outcomes:
            return "failed"
        return "dropped" if "dropped" in outcomes else "done"

    def _void(self, entering: Sequence[str]) -> tuple[str, ...]:
        after = (name for stage in entering for name in self.graph.descendants(stage))
        return tuple(name for name in after if name in self.known)

    def _obsolete(self) -> tuple[str, ...]:
        unreached = (name for name in self.graph.names if name not in self.ended)
        return tuple(name for name in unreached if name in self.known)

    def _stale(self, finished: bool) -> tuple[str, ...]:
        gone = [name for name, end in self.ended.items() if not end.has_output]
        if finished:
            gone += self._obsolete()
        return tuple(name for name in gone if self.known.get(name, Known()).on_disk is not None)

    def _discardable(self, finished: bool) -> tuple[str, ...]:
        found = tuple(n for n in self.graph.discarding if self._is_discardable(n, finished))
        self._discarded.update(found)
        return found

    def _is_discardable(self, name: str, finished: bool) -> bool:
        """Whether no stage will read the output of `name`, which has `keep = false`, any more.

        An output stays if a retry that may mend the item would read it.
        """
        end = self.ended.get(name)
        if end is None or not end.has_output or end.expanded is not None:
            return False
        if name in self._discarded:
            return False
        readers = [self.ended.get(reader) for reader in self.graph.readers[name]]
        if None in readers and (
            not finished or any(other.retryable for other in self.ended.values())
        ):
            return False
        return not any(reader is not None and reader.retryable for reader in readers)


def _as_known(stage: str, known: Known, outcome: Settled, fingerprint: str) -> End:
    """The end that the ledger has."""
    failure = Failure(known.kind, known.reason or "") if known.kind is not None else None
    expanded = known.expanded if outcome == "done" and failure is None else None
    return End(stage, outcome, fingerprint, expanded, known.retryable, failure=failure)
