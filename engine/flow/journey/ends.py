"""An item's ends: in this run, in the levels above it, and those of earlier runs that still hold.

Pure: no clock, no disk, no database.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from engine.contract.item import NO_FAILURES, NO_PART_FAILURES, Item
from engine.flow.journey.graph import Graph, as_read, base_of
from engine.ledger.outputs.mark import is_stand_in, stand_in_of
from engine.ledger.records import End, Known, Settled


@dataclass(slots=True, eq=False)
class Ends:
    """The ends of one item in flight. `known` is the state that earlier runs left. A part has the
    ends of its parent `above`, and its `own` fingerprint.

    A stage at the parts of the item has an end here too: that for the item as a whole.
    """

    graph: Graph
    item: Item
    known: Mapping[str, Known] = field(default_factory=dict)
    above: "Ends | None" = None
    own: str = ""
    ended: dict[str, End] = field(default_factory=dict)
    entered: dict[str, str] = field(default_factory=dict)
    """The fingerprint of the output to be made, for each stage that has the item now."""
    is_decided: bool = False
    was_given_up: bool = False
    """Nobody wants the whole item any more: attempts in hand are cut short, and none counts."""
    splitting: set[str] = field(default_factory=set)
    """The stages that make parts of the item in this run."""
    gathered_anew: set[str] = field(default_factory=set)
    """The steps at its parts where a part has had work to do in this run."""
    part_failures: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Why its parts failed at a step, or before it, by step and the part's id: at those that have
    been gathered in this run, as all have been whose parts a step with work to do reads."""
    _asking: set[str] = field(default_factory=set)
    """The stages of whose outputs it is being found out whether they will be read."""
    _weighing: set[str] = field(default_factory=set)
    """The splitting stages of which it is being found out whether parts may get further."""

    @property
    def is_given_up(self) -> bool:
        """Whether nobody wants the whole item any more that this is, or is a part of."""
        return self.was_given_up if self.above is None else self.above.is_given_up

    def owner(self, stage: str) -> "Ends":
        """The journey in which the end of `stage` is found: this one, or one above."""
        if self.above is None or stage in self.graph.below[self.item.split]:
            return self
        return self.above.owner(stage)

    def _end_of(self, stage: str, ends: Mapping[str, End | None]) -> End | None:
        """The end of `stage`, out of `ends` or of a level above."""
        if self.above is None or stage in self.graph.below[self.item.split]:
            return ends.get(stage)
        if stage == self.item.split:
            return End(stage, "done", self.own)
        return self.above._end_of(stage, self.above.ended)

    def failures_of(self, stages: Iterable[str | None]) -> Mapping[str, str]:
        """Why those of these stages failed that are optional, and did."""
        optional = [stage for stage in stages if stage in self.graph.optional]
        if not optional:
            return NO_FAILURES
        ends = ((stage, self._end_of(stage, self.ended)) for stage in optional)
        return {
            stage: end.failure.reason
            for stage, end in ends
            if end is not None and end.outcome == "failed" and end.failure is not None
        }

    def part_failures_of(self, stages: Iterable[str | None]) -> Mapping[str, Mapping[str, str]]:
        """Why parts of the item failed at those of these stages that stand at its parts."""
        if not self.part_failures:
            return NO_PART_FAILURES
        whys = ((stage, self.part_failures.get(stage or "")) for stage in stages)
        return {stage: why for stage, why in whys if stage is not None and why}

    def _lets_on(self, stage: str, end: End) -> bool:
        """Whether stages that read the output of `stage` may have the item after this end."""
        if end.expanded is not None:
            return False
        return end.outcome == "done" or stage in self.graph.optional

    def upstream_of(
        self, stage: str, ends: Mapping[str, End | None]
    ) -> tuple[str | None, ...] | None:
        """The fingerprints of the inputs of `stage`, in order, given these ends; None if the item
        does not enter it.

        An item that is a list ends at the stage that produced its items: the stages behind it do
        not get the list. What a stage at the item's parts gathers in turn has ended with each of
        them, and not with the item.
        """
        upstream: list[str | None] = []
        path, is_below = self.graph.path, self.graph.level[stage] != self.item.split
        for before in self.graph.reads[stage]:
            if is_below and len(path[before]) > len(path[stage]):
                upstream.append(None)
                continue
            end = ends.get(before)
            if end is None and self.above is not None:
                end = self._end_of(before, ends)
            if end is None or not self._lets_on(before, end):
                return None
            upstream.append(as_read(end.fingerprint) if end.has_output else None)
        return tuple(upstream)

    def would_be(self, stage: str, upstream: tuple[str | None, ...]) -> str:
        """The fingerprint of the output that `stage` would make from these inputs."""
        return self.graph.fingerprint(stage, upstream, self.item.shaping(stage))

    def _assumed(self, stage: str) -> End:
        """The end of `stage`, at this level or below, if it and all before it go well. Below, its
        fingerprint leaves the parts' own out."""
        upstream: list[str | None] = []
        for before in self.graph.reads[stage]:
            end: End | None
            if self.owner(before) is not self:
                end = self._end_of(before, self.ended)
            elif self.graph.level[before] == self.item.split:
                end = self._expected(before)
            else:
                end = self._assumed(before)
            has_output = end is not None and end.has_output
            upstream.append(as_read(end.fingerprint) if end is not None and has_output else None)
        return End(stage, "done", self.graph.fingerprint(stage, tuple(upstream)))

    def whole_end(self, stage: str, outcome: Settled, digest: str) -> End:
        """The end of `stage`, which stands at the parts, for the item as a whole; `digest` is that
        of the parts' ends. Where some are of stand-ins, no later run lets it hold."""
        base = self._assumed(stage).fingerprint
        fingerprint = f"{stand_in_of(base) if is_stand_in(digest) else base}:{digest}"
        below = self.graph.below_in_short(stage)
        return End(stage, outcome, f"{fingerprint}:{below}" if below else fingerprint)

    def may_come(self, stage: str) -> bool:
        """Whether the item, which is not in `stage`, may enter it yet, or for a stage at its parts:
        whether an end may come."""
        if self.is_decided:
            return False
        if stage in self.entered:
            return True
        for before in self.graph.reads[stage]:
            end = self._end_of(before, self.ended)
            if end is not None:
                if not self._lets_on(before, end):
                    return False
            elif not self.owner(before).may_come(before):
                return False
        return True

    def waits_for_inputs_of(self, stage: str) -> bool:
        """Whether an input of `stage` has not ended, and may come yet."""
        return self.upstream_of(stage, self.ended) is None and self.may_come(stage)

    def may_get_from_above(self) -> bool:
        """Whether a step at the item's level, or below, may yet get an output from above it."""
        for name in self.graph.below[self.item.split]:
            for before in self.graph.reads[name]:
                owner = self.owner(before)
                if owner is self or before == self.item.split:
                    continue
                if owner._end_of(before, owner.ended) is None and owner.may_come(before):
                    return True
        return False

    def ends_so_far(self) -> int:
        """Number of ends in this journey and in those above."""
        return len(self.ended) + (self.above.ends_so_far() if self.above is not None else 0)

    def was_decided(self) -> bool:
        """Whether the end of an earlier run that still holds has decided the item."""
        ill = [name for name, known in self.known.items() if known.outcome in ("dropped", "failed")]
        held = (self._held(name) for name in ill if name in self.graph.deciding)
        return any(end is not None and end.outcome != "done" for end in held)

    def lacks_gathered(self) -> bool:
        """Whether an output of this part is gone that will be gathered: then it has to be made
        again first, also of a part that went no further than that."""
        above = self.above
        if above is None:
            return False
        for name in self.graph.home[self.item.split]:
            known = self.known.get(name)
            if known is None or known.outcome != "done" or known.is_skipped or known.on_disk:
                continue
            if any(above.may_run(reader) for reader in self.graph.gatherers(name)):
                return True
        return False

    def _held(self, stage: str) -> End | None:
        """The end of `stage` in an earlier run, if it and all ends before it still hold."""
        known = self.known.get(stage)
        if known is None:
            return None
        if self.graph.level[stage] != self.item.split:
            return self.held_below(stage, known)
        mine = self.graph.below[self.item.split]
        reads = (name for name in self.graph.reads[stage] if name in mine)
        upstream = self.upstream_of(stage, {name: self._held(name) for name in reads})
        if upstream is None:
            return None
        fingerprint = self.would_be(stage, upstream)
        if known.on_disk == fingerprint:
            return End(stage, "done", fingerprint, known.expanded, parts=known.parts)
        if known.outcome is not None and known.fingerprint == fingerprint:
            return known.end(stage, known.outcome, fingerprint)
        return None

    def held_below(self, stage: str, known: Known) -> End | None:
        """The end of `stage`, which stands at the parts, for the item as a whole, if it holds."""
        if known.outcome is None or known.fingerprint is None:
            return None
        if base_of(known.fingerprint) != self._assumed(stage).fingerprint:
            return None
        return known.end(stage, known.outcome, known.fingerprint)

    def _may_get_further(self, stage: str, known: Known) -> bool:
        """Whether parts that ended ill, and so may not have got to `stage`, are begun with again,
        as another step at their level, which may be the one that ended them, does not stand.

        That may read what was gathered of `stage`: so this question may come back to itself too.
        """
        split = self.graph.level[stage]
        if not known.some_ended_ill or split in self._weighing:
            return False
        self._weighing.add(split)
        try:
            steps = self.graph.home[split]
            return not all(self._stands_below(one, self.known.get(one, Known())) for one in steps)
        finally:
            self._weighing.discard(split)

    def _stands_below(self, stage: str, known: Known) -> bool:
        """Whether the end of `stage`, which stands at the parts, holds, and so does all that was
        made below them."""
        if self.held_below(stage, known) is None or known.fingerprint is None:
            return False
        below = self.graph.below_in_short(stage)
        return known.fingerprint.split(":")[2:] == ([below] if below else [])

    def reusable(self, stage: str, fingerprint: str) -> End | None:
        """The end of `stage` in an earlier run, if it still holds; else None.

        An output that is gone still counts, as long as no stage that has to run would read it.
        """
        known = self.known.get(stage)
        if known is None:
            return None
        if self.graph.level[stage] != self.item.split:
            if stage in self.gathered_anew:
                return None  # its parts are at work, as one before it stood in
            end = self.held_below(stage, known)
            if end is None or end.outcome != "done" or self.is_decided:
                return end  # of a decided item nothing is looked at again
            if known.is_open or self._may_get_further(stage, known):
                return None  # its parts are looked at, and gathered again
            has_to_run = self._will_be_read(stage, end) or not self._stands_below(stage, known)
            return None if has_to_run else end
        is_done = known.outcome == "done" and not known.is_skipped
        if stage in self.graph.home and known.parts is None and is_done:
            return None  # it did not split the item then
        if known.expanded is not None and stage in self.graph.rereading and not self.is_decided:
            return None
        if known.outcome is not None and known.fingerprint == fingerprint and not is_done:
            return known.end(stage, known.outcome, fingerprint)
        # The folder is asked before the ledger: after a crash between rename and commit the output
        # is whole and the ledger knows nothing of it.
        end = End(stage, "done", fingerprint, known.expanded, parts=known.parts)
        if known.on_disk == fingerprint:
            return end
        if known.outcome == "done" and known.fingerprint == fingerprint:
            # The output is gone. That matters only if a reader has to run. A result is made again
            # anyway, unless it was deleted on purpose or was a list.
            gone_for_good = known.discarded or known.expanded is not None
            is_made_again = stage in self.graph.results and not gone_for_good
            if not is_made_again and not self._will_be_read(stage, end):
                return end
        return None

    def _will_be_read(self, stage: str, end: End) -> bool:
        """Whether a reader of `stage` would have to run if `stage` ended with `end`.

        A step at the parts may read what was gathered of them: so the question may come back to
        where it began. There, nothing more is to be found.
        """
        if self.is_decided or stage in self._asking:
            return False  # no stage begins with a decided item
        self._asking.add(stage)
        try:
            readers = self.graph.readers[stage]
            return any(self._has_to_read(reader, stage, end) for reader in readers)
        finally:
            self._asking.discard(stage)

    def _has_to_read(self, reader: str, stage: str, end: End) -> bool:
        """Whether `reader` would have to run if `stage`, which it reads, ended with `end`."""
        if self.owner(reader) is not self:
            return self.owner(reader).may_run(reader)  # a step that gathers, and would read this
        if self.graph.level[reader] != self.item.split:
            return self._is_read_by_parts(stage, reader)
        upstream = self.upstream_of(reader, self._expected_before(reader) | {stage: end})
        if upstream is None:
            return False  # another of its inputs keeps the item from this reader
        return self.reusable(reader, self.would_be(reader, upstream)) is None

    def may_run(self, stage: str) -> bool:
        """Whether `stage` has the item, or may have to have it: where it gathers, also while
        the parts are made again, as nobody knows yet whether they come out the same."""
        if stage in self.ended or stage in self.entered or self.is_decided:
            return stage in self.entered
        split, below = self.item.split, self.graph.below[self.item.split]
        for before in self.graph.reads[stage]:
            level = self.graph.level[before]
            is_gathered = before in below and level != split
            if is_gathered and before not in self.ended and level in self.splitting:
                return True
        upstream = self.upstream_of(stage, self._expected_before(stage))
        return upstream is not None and self.reusable(stage, self.would_be(stage, upstream)) is None

    def has_standing_parts(self, splitting: str) -> bool:
        """Whether `splitting` made the parts of this item in an earlier run, and not in this."""
        return splitting in self.ended and splitting not in self.splitting

    def parts_will_be_read(self, split: str) -> bool:
        """Whether a step at the item's level or above may yet read the parts that `split` made."""
        path = self.graph.path
        beside = [
            one
            for one in self.graph.readers[split]
            if path[one] == path[split][: len(path[one])]  # others read what it made of the item
        ]
        return any(self.owner(reader).may_run(reader) for reader in beside)

    def will_read_itself(self) -> bool:
        """Whether a step at the level of this part, or below, may yet read the part's own files."""
        split = self.item.split
        for reader in self.graph.readers[split]:
            if reader not in self.graph.below[split]:
                continue
            if self.graph.level[reader] == split:
                if self.may_run(reader):
                    return True
                continue
            steps = self.graph.home[self.graph.path[reader][len(self.graph.path[split]) + 1]]
            if any(name not in self.ended and self.may_come(name) for name in steps):
                return True
        return False

    def _is_read_by_parts(self, stage: str, reader: str) -> bool:
        """Whether `reader`, which stands at the item's parts or below, would have to run, and would
        read the item's own output of `stage`."""
        if self.graph.level[stage] != self.item.split:
            return False
        splitting = self.graph.path[reader][len(self.graph.path[stage])]
        if stage == splitting:
            return False  # it reads its part's own
        if self.may_run(splitting):
            return True  # some parts are gone, and all have to be looked at
        mine = self.known.get(reader, Known())
        if mine.all_there and self.held_below(reader, mine) is not None:
            return False  # each part has what it made; what is left to do comes after that
        below = [(name, self.known.get(name)) for name in self.graph.home[splitting]]
        return not all(one and self._stands_below(name, one) for name, one in below)

    def _expected_before(self, stage: str) -> dict[str, End | None]:
        """The ends to expect of all that `stage` reads."""
        return {name: self._expected_anywhere(name) for name in self.graph.reads[stage]}

    def _expected_anywhere(self, stage: str) -> End | None:
        """The end to expect of `stage`, at this level, below or above."""
        if self.above is None or stage in self.graph.below[self.item.split]:
            return self._expected(stage)
        if stage == self.item.split:
            return End(stage, "done", self.own)
        return self.above._expected_anywhere(stage)

    def _expected(self, stage: str) -> End | None:
        """The end of `stage`, or the one to expect if it ends well; None if it is not reached."""
        if stage in self.ended:
            return self.ended[stage]
        if self.graph.level[stage] != self.item.split:
            known = self.known.get(stage)
            if known is None or self._may_get_further(stage, known):
                return self._assumed(stage)
            return self.held_below(stage, known) or self._assumed(stage)
        upstream = self.upstream_of(stage, self._expected_before(stage))
        if upstream is None:
            return None
        known = self.known.get(stage, Known())
        fingerprint = self.would_be(stage, upstream)
        if known.outcome is not None and known.fingerprint == fingerprint:
            return known.end(stage, known.outcome, fingerprint)
        return End(stage, "done", fingerprint)
