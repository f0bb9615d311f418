"""One item's way through the graph: the ends so far, the reusable outputs, the next stages.

The item may be a part: then it goes through the steps at its level, and looks up the ends of the
levels above in its parent's journey. What the parts of an item come to at a step is an end in the
item's own journey too: that of the step for the item as a whole.

Pure: no clock, no disk, no database. The run carries out the changes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from engine.flow.journey.ends import Ends
from engine.ledger.records import Change, End, Known, Settled


@dataclass(slots=True, eq=False)
class Journey(Ends):
    """One item in flight; `ended` grows with every change."""

    parent: str | None = None
    """The list that produced it."""
    depth: int = 0
    """The number of lists that the item is nested in: 0 for an item of the source."""
    priority: int = 0
    """Where it waits, it goes before those of lower ones."""
    ran: bool = False
    """Whether any stage had work to do in this run."""
    parts_under_way: int = 0
    """Number of its parts that are in memory, and of tasks that feed some: the item cannot end
    before them."""
    parts_waiting: int = 0
    """Number of its parts that have left memory, and wait for an output from above them."""
    changes_under_way: int = 0
    """Number of its changes that are being carried out; counted where there are parts."""
    is_closed: bool = False
    """Its end has been dealt with."""
    is_abandoned: bool = False
    """It goes no further, and stays pending: it was given up, or is a part of an item that is
    decided."""
    _begun: set[str] = field(default_factory=set)
    """Those of the stages that have the item now that are at work on it."""
    _discarded: set[str] = field(default_factory=set)

    def advance(self, end: End | None = None) -> Change:
        """The change that follows from the item's entry (None), or from the end of a stage.

        The item enters every stage that can take it now, and reuses ends of earlier runs. Once a
        stage that is not optional has failed or dropped it, the item is decided: no further stage
        begins with it, and stages that have not begun are withdrawn.

        Call it with None once, then with the end of every stage that was entered; exactly one
        change has the item's outcome.
        """
        candidates: Sequence[str] = self.graph.home[self.item.split]
        if end is None:
            self.is_decided = bool(self.known) and self.was_decided() and not self.lacks_gathered()
            if self.is_decided:
                self._note_parts_that_decided()
        else:
            self.entered.pop(end.stage, None)
            self._begun.discard(end.stage)
            self._note(end)
            candidates = self.graph.successors[end.stage]
        return self._advanced(end, candidates, is_entry=end is None)

    def look_up(self, stage: str) -> Change:
        """The change of a part that follows from the end of `stage`, of a level above, or of a
        whole item that waited for its parts."""
        return self._advanced(None, self.graph.successors[stage])

    def look_around(self) -> Change:
        """The change of a part that follows from any ends of the levels above."""
        return self._advanced(None, self.graph.home[self.item.split])

    def look_again(self) -> Change:
        """The change that follows where parts of the item have left: it may end now."""
        return self._advanced(None, ())

    def abandon(self) -> Change:
        """The change of an item that is given up, or of a part whose parent is decided: no stage
        begins with it any more."""
        self.is_decided = self.is_abandoned = True
        return self._advanced(None, ())

    def _advanced(
        self, end: End | None, candidates: Sequence[str], *, is_entry: bool = False
    ) -> Change:
        entering, reused = self._go_on(candidates)
        withdrawn = self._withdraw() if self.is_decided and self.entered else ()
        # What entering stages made void is not in the ledger any more.
        restored = tuple(filter(self._is_news, reused)) if is_entry else reused
        return self._change(end, entering, reused, withdrawn, restored)

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
        restored: tuple[End, ...] = (),
    ) -> Change:
        given_up, is_over = self.is_given_up, self.is_over
        outcome = self.outcome if is_over else None
        finished = is_over and (outcome is not None or not given_up)
        left, withdrawn = (withdrawn, ()) if given_up else ((), withdrawn)
        discardable = self._discardable(finished) if self.graph.discarding else ()
        in_parts = tuple(filter(self._is_in_parts, discardable))
        void_above = self._void_above(entering) if entering else ()
        if not self.known:  # a new item: nothing to reuse, and nothing to undo
            return Change(
                self.item,
                end,
                withdrawn=withdrawn,
                left=left,
                entering=entering,
                void_above=void_above,
                discardable=discardable,
                outcome=outcome,
                discardable_in_parts=in_parts,
            )
        return Change(
            self.item,
            end,
            reused,
            restored,
            withdrawn,
            left,
            entering,
            self._void(entering),
            void_above,
            discardable,
            self._stale(finished),
            self._obsolete() if finished else (),
            outcome,
            in_parts,
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
                if stage in self.entered or stage in self.ended:
                    continue
                below = self.graph.level[stage] != self.item.split
                if below and not self.has_standing_parts(self.graph.level[stage]):
                    continue
                upstream = self.upstream_of(stage, self.ended)
                if upstream is None:
                    continue
                fingerprint = self.would_be(stage, upstream)
                end = self.reusable(stage, fingerprint) if self.known else None
                if end is None and below:
                    continue  # its end here follows from the parts'
                if end is None:
                    if stage in self.graph.home:
                        self.splitting.add(stage)
                    self.entered[stage] = fingerprint
                    entering += (stage,)
                else:
                    self._note(end)
                    reused += (end,)
                    following.update(self.graph.successors[stage])
                    following.update(self.graph.home.get(stage, ()))
            candidates = self._in_order(following) if following else ()
        if self.is_decided:
            for stage in entering:
                del self.entered[stage]
            return (), reused
        if entering:
            self.ran = True
        return entering, reused

    def _note(self, end: End) -> None:
        self.ended[end.stage] = end
        if end.outcome != "done" and end.stage in self.graph.deciding:
            self.is_decided = True

    def _in_order(self, stages: Collection[str]) -> list[str]:
        return [name for name in self.graph.names if name in stages]

    def _is_news(self, end: End) -> bool:
        """Whether the ledger lacks this end, which the folders tell."""
        known = self.known[end.stage]
        return (known.outcome, known.fingerprint) != (end.outcome, end.fingerprint)

    @property
    def is_idle(self) -> bool:
        """Whether neither a stage has the item nor a part of it is under way, and yet it is not
        over: it waits for an end of a level above, or for parts that do."""
        return not (self.entered or self.parts_under_way or self.is_over)

    @property
    def is_over(self) -> bool:
        """Whether no stage has the item, and nothing is left that the item
        could wait for."""
        if self.entered or self.parts_under_way:
            return False
        return self.is_decided or not (self.parts_waiting or self._waits_for_others())

    def _waits_for_others(self) -> bool:
        """Whether an end may come that is not the item's own doing: of a step at its parts, or of a
        level above."""
        graph, split = self.graph, self.item.split
        for splitting in graph.splits[split]:
            end = self.ended.get(splitting)
            splits = end is not None and end.outcome == "done"
            if splits and any(name not in self.ended for name in graph.home[splitting]):
                return True
        if self.above is None:
            return False
        return any(self.may_come(name) for name in graph.home[split] if name not in self.ended)

    def has_met(self, stage: str) -> bool:
        """Whether the item has entered `stage`, or `stage` has ended."""
        return stage in self.entered or stage in self.ended

    def goes_to(self, stage: str) -> bool:
        """Whether the item is in `stage`, or on its way there."""
        return stage in self.entered

    def begin(self, stage: str) -> str:
        """`stage` begins to work on the item; returns the fingerprint for its output."""
        self._begun.add(stage)
        return self.entered[stage]

    def put_off(self, stage: str) -> None:
        """`stage` will try the item again later."""
        self._begun.discard(stage)

    def _withdraw(self) -> tuple[str, ...]:
        withdrawn = tuple(name for name in self.entered if name not in self._begun)
        for name in withdrawn:
            del self.entered[name]
        return withdrawn

    def _note_parts_that_decided(self) -> None:
        """Note how parts decided the item in an earlier run: it may have ended before all of them
        were made."""
        for name, known in self.known.items():
            if name not in self.graph.off and self.graph.level[name] != self.item.split:
                end = self.held_below(name, known)
                if end is not None and end.outcome != "done":
                    self._note(end)

    @property
    def outcome(self) -> Settled | None:
        """The outcome of the item as a whole, if it ended now; optional stages do not count. None
        for a part that goes no further because its item has ended."""
        outcomes = {end.outcome for name, end in self.ended.items() if name in self.graph.deciding}
        if "failed" in outcomes:
            return "failed"
        if "dropped" in outcomes:
            return "dropped"
        return None if self._is_cut_short() else "done"

    def _is_cut_short(self) -> bool:
        """Whether it is a part that has not ended everywhere, and will not: its item is decided."""
        is_left = self.above is not None and self.above.is_decided
        if not (is_left or self.is_abandoned):
            return False
        return any(name not in self.ended for name in self.graph.below[self.item.split])

    def _void(self, entering: Sequence[str]) -> tuple[str, ...]:
        after = (name for stage in entering for name in self.graph.descendants(stage))
        return tuple(name for name in after if name in self.known)

    def _void_above(self, entering: Sequence[str]) -> tuple[str, ...]:
        """The steps at the level of this part that had ended for its item as a whole, and where the
        part has work to do now: until the item has gathered its parts there again, it has no end.

        Not before: parts that merely wait, or are looked at, may come to what they came to.
        """
        above = self.above
        if above is None or not above.known:
            return ()
        after = {name for stage in entering for name in (stage, *self.graph.descendants(stage))}
        found = tuple(
            name
            for name in self.graph.home[self.item.split]
            if name in after and name in above.known and name not in above.gathered_anew
            if name not in above.ended
        )
        above.gathered_anew.update(found)
        return found

    def _obsolete(self) -> tuple[str, ...]:
        mine = self.graph.below[self.item.split] | self.graph.off
        return tuple(name for name in self.known if name in mine and name not in self.ended)

    def _stale(self, finished: bool) -> tuple[str, ...]:
        """The outputs of earlier runs that are none any more, each told of once: a part of a
        decided item may be finished by two changes at once."""
        gone = [name for name, end in self.ended.items() if not end.has_output]
        if finished:
            gone += self._obsolete()
        there = (name for name in gone if self.known.get(name, Known()).on_disk is not None)
        found = tuple(name for name in there if name not in self._discarded)
        self._discarded.update(found)
        return found

    def _discardable(self, finished: bool) -> tuple[str, ...]:
        found = tuple(n for n in self.graph.discarding if self._is_discardable(n, finished))
        self._discarded.update(found)
        return found

    def _is_in_parts(self, name: str) -> bool:
        """Whether the output of `name` that no stage will read any more is one of each part."""
        if self.graph.level[name] != self.item.split:
            return name != self.item.split
        return name in self.graph.home and self._is_read_beside(name)

    def _is_read_beside(self, split: str) -> bool:
        """Whether a step that is not at the parts of `split`, or below, reads its output."""
        return not self.graph.below[split].issuperset(self.graph.readers[split])

    def _is_discardable(self, name: str, finished: bool) -> bool:
        """Whether no stage will read the output of `name`, which has `keep = false`, any more. Of a
        stage at the item's parts: the outputs of all of them.

        An output stays if a retry that may mend the item would read it.
        """
        if name in self._discarded or (self.owner(name) is not self and name != self.item.split):
            return False
        graph = self.graph
        readers = graph.readers[name]
        if name == self.item.split:
            if self.known and self.known.get(name, Known()).on_disk is None:
                return False  # it is gone
            end: End | None = End(name, "done", self.own)
        else:
            end = self.ended.get(name)
            if graph.level[name] != self.item.split:
                if not graph.gatherers(name):
                    return False  # each part's goes by itself
            elif name in graph.home and not self._is_read_beside(name):
                readers = []  # its parts have it each for themselves
        if end is None or not end.has_output or end.expanded is not None:
            return False
        if any(self.owner(reader) is not self for reader in readers):
            return False  # those who gather the parts read it
        ends = [self.ended.get(reader) for reader in readers]
        if None in ends and (not finished or any(other.retryable for other in self.ended.values())):
            return False
        return not any(reader is not None and reader.retryable for reader in ends)
