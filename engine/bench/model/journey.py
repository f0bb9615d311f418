"""Items and parts under way in the model, and what follows from the end of a stage.

The rules are those of `engine.flow.journey` and `engine.flow.parts`, which wait and have a ledger;
here what a worker does after an attempt is a generator of offers, and the run waits between them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.bench.model.recorded import RecordedItem, Recording, Visit

WHOLE = -1
"""The level of whole items, where others have the number of the step that splits."""


class ModelGraph:
    """The stages by number. `level` is the step at whose parts each stands, `home` has the stages
    of each level, `after` those that come after each, and `needs` has those that have to end before
    it, as bits."""

    def __init__(self, recording: Recording, numbers: Mapping[str, int]) -> None:
        stages, each = range(len(numbers)), recording.each
        before = [[numbers[b] for b in recording.predecessors[name]] for name in recording.stages]
        self.level = [numbers.get(each.get(name, ""), WHOLE) for name in recording.stages]
        self.home = {
            level: [s for s in stages if self.level[s] == level] for level in {WHOLE, *self.level}
        }
        self.after = [[s for s in stages if number in before[s]] for number in stages]
        # A part that is there was made: for the steps at it, the one that splits has ended.
        self.needs = [sum(1 << b for b in before[s] if b not in self.path(s)) for s in stages]
        self.roots = [s for s in stages if not before[s]]
        self.deciding = sum(
            1 << numbers[n] for n in recording.stages if n not in recording.optional
        )
        self.most_failed = [recording.most_failed.get(name, 0) for name in recording.stages]
        self.has_parts = bool(each)

    def path(self, stage: int) -> list[int]:
        """The splitting steps that the stage's level lies below, from the innermost on."""
        level = self.level[stage]
        return [level, *self.path(level)] if level != WHOLE else []

    def reads_from(self, split: int, stage: int) -> bool:
        """Whether a stage at the parts of `split`, or below, comes after `stage`, which is none."""
        below = any(split in self.path(reader) for reader in self.after[stage])
        return below and split not in self.path(stage)


class ModelItem:
    """A recorded item, or part, in the form that the model needs: its visits by the stage's number,
    and as bits, and its parts by the number of the step that makes them."""

    __slots__ = ("item", "mask", "parts", "visits")

    def __init__(self, item: RecordedItem, numbers: Mapping[str, int]) -> None:
        self.item = item.id
        self.visits: list[Visit | None] = [None] * len(numbers)
        self.mask = 0
        for stage, visit in item.visits.items():
            self.visits[numbers[stage]] = visit
            self.mask |= 1 << numbers[stage]
        self.parts = {
            numbers[split]: [ModelItem(part, numbers) for part in parts]
            for split, parts in item.parts.items()
        }


class ModelJourney:
    """One item or part under way. `entered` are the stages that have it now, `begun` those of them
    that are at work on it, and `ended` those that have ended it, as bits; after those that
    `ended_well` others may follow. A stage at its parts has ended it once all of them have ended
    there. It is `decided` once a stage has failed or dropped it, or too many of its parts have
    failed, and `abandoned` with the item that it is a part of.
    """

    __slots__ = (
        "abandoned", "begun", "decided", "division", "divisions", "ended", "ended_well", "entered",
        "failed", "parts_under_way", "plan", "position", "settled", "whole",
    )  # fmt: skip

    def __init__(
        self, plan: ModelItem, division: "ModelDivision | None" = None, position: int = 0
    ) -> None:
        self.plan = plan
        self.division = division
        self.position = position
        self.whole: str | None = None
        """For a part, the name of the whole item under way that it is a part of."""
        if division is not None:
            above = division.journey
            self.whole = above.whole or str(id(above))
        self.entered = self.begun = self.ended = self.ended_well = 0
        self.settled = 0
        """The stages where it counts as ended for those who gather."""
        self.decided = self.failed = self.abandoned = False
        self.divisions: dict[int, ModelDivision] = {}
        self.parts_under_way = 0
        """Number of its parts that are in a stage, and of tasks that feed some."""

    def known(self) -> int:
        """The stages after which it may go on, of its own level and those above, as bits."""
        if self.division is None:
            return self.ended_well
        return self.ended_well | self.division.journey.known()

    def enter(self, graph: ModelGraph, candidates: Sequence[int]) -> list[int]:
        """Enter those of the candidates that can take it now; returns them."""
        left = self.plan.mask & ~(self.ended | self.entered)
        if self.decided or not left:
            return []
        known = self.known()
        found = [s for s in candidates if left >> s & 1 and not graph.needs[s] & ~known]
        for stage in found:
            self.entered |= 1 << stage
        return found

    def leave(self, stage: int) -> None:
        """The stage does not have it any more."""
        self.entered &= ~(1 << stage)
        self.begun &= ~(1 << stage)

    @property
    def is_over(self) -> bool:
        """Whether nothing is left for it to do, or to wait for."""
        if self.entered or self.parts_under_way:
            return False
        if self.decided:
            return True
        all_gathered = all(division.is_complete for division in self.divisions.values())
        return all_gathered and not self.plan.mask & ~self.ended

    @property
    def is_idle(self) -> bool:
        """Whether it only waits for an end of a level above, or for parts that do."""
        return not (self.entered or self.parts_under_way or self.is_over)


class ModelDivision:
    """One item's parts of one splitting step. `live` are those that are in a stage, `waiting` those
    that wait for the levels above; `many` is their number, once all have been made.

    `counts` says how many have ended at each stage; of them `done` have ended well there, others
    have been `dropped` or have failed (`failed_at`), there or before.
    """

    __slots__ = (
        "counts", "done", "dropped", "failed", "failed_at", "gathered", "journey", "live", "many",
        "some_wait", "split", "steps", "waiting",
    )  # fmt: skip

    def __init__(self, journey: ModelJourney, split: int, steps: Sequence[int]) -> None:
        self.journey = journey
        self.split = split
        self.steps = steps
        self.live: dict[int, ModelJourney] = {}
        self.waiting: dict[int, ModelJourney] = {}
        self.some_wait = False
        """Whether some have begun to wait since others began to be fed."""
        self.many: int | None = None
        self.failed = self.gathered = 0
        self.counts, self.done = dict.fromkeys(steps, 0), dict.fromkeys(steps, 0)
        self.dropped, self.failed_at = dict.fromkeys(steps, 0), dict.fromkeys(steps, 0)

    @property
    def is_complete(self) -> bool:
        """Whether all parts have been made, and have ended everywhere."""
        return self.many is not None and self.gathered == sum(1 << stage for stage in self.steps)

    def settle(self, stage: int, part: ModelJourney) -> None:
        """The part has ended at the stage, or will never reach it."""
        if part.settled >> stage & 1:
            return
        part.settled |= 1 << stage
        self.counts[stage] += 1
        visit = part.plan.visits[stage]
        if visit is not None and visit.outcome == "done" and part.ended >> stage & 1:
            self.done[stage] += 1
        elif part.failed:
            self.failed_at[stage] += 1
        elif part.decided:
            self.dropped[stage] += 1

    def exceeds(self, most: float) -> bool:
        """Whether more parts than `most` have failed: a number, or a share of all parts."""
        if 0 < most < 1:
            return self.many is not None and self.failed > most * self.many
        return self.failed > most


Following = Iterator[tuple[ModelJourney, Sequence[int]]]
"""What a worker, or the source, does next: it offers an item to stages, waits until it is in all of
them, or has been taken out, and goes on."""


class ModelFlow:
    """What follows for an item, its parts and what it is a part of. `take_out` has a stage that has
    not begun with an item lose it; `begin` lets a task run that no worker waits for."""

    def __init__(
        self,
        graph: ModelGraph,
        take_out: Callable[[ModelJourney, int], None],
        begin: Callable[[Following], None],
    ) -> None:
        self._graph = graph
        self._take_out = take_out
        self._begin = begin

    def entered(self, journey: ModelJourney) -> Following:
        """The source's item has come in."""
        return self._carry_out(journey, self._graph.home[WHOLE])

    def ended(self, journey: ModelJourney, stage: int) -> Following:
        """The stage has ended with the item, as was recorded."""
        visit = journey.plan.visits[stage]
        assert visit is not None
        journey.leave(stage)
        self._note(journey, stage, good=visit.outcome == "done", failed=visit.outcome == "failed")
        return self._carry_out(journey, self._graph.after[stage], stage)

    def gave_up(self, journey: ModelJourney, stage: int) -> Following:
        """The stage does not try the decided item again."""
        journey.leave(stage)
        return self._carry_out(journey, ())

    def handed_over(self, journey: ModelJourney, split: int, position: int) -> Following:
        """The splitting step has made the part at `position` of the item."""
        division = self._division(journey, split)
        part = ModelJourney(journey.plan.parts[split][position], division, position)
        return self._admit(division, part)

    def _note(self, journey: ModelJourney, stage: int, *, good: bool, failed: bool) -> None:
        journey.ended |= 1 << stage
        if good or not self._graph.deciding >> stage & 1:
            journey.ended_well |= 1 << stage
        else:
            journey.decided = True
            journey.failed |= failed

    def _carry_out(
        self, journey: ModelJourney, candidates: Sequence[int], ended: int | None = None
    ) -> Following:
        """Pass the item on; `ended` is the stage whose end let it go on, if any."""
        entering = journey.enter(self._graph, candidates)
        if journey.decided and journey.entered:
            self._withdraw(journey)
        if self._graph.has_parts:
            return self._go_on(journey, entering, ended)
        return iter([(journey, entering)] if entering else [])

    def _go_on(
        self, journey: ModelJourney, entering: Sequence[int], ended: int | None
    ) -> Following:
        if entering:
            yield journey, entering
        yield from self._follow(journey, ended)

    def _withdraw(self, journey: ModelJourney) -> None:
        unbegun = journey.entered & ~journey.begun
        journey.entered &= journey.begun
        for stage in range(unbegun.bit_length()):
            if unbegun >> stage & 1:
                self._take_out(journey, stage)

    def _follow(self, journey: ModelJourney, ended: int | None) -> Following:
        """Tell those above and below what has changed for them."""
        if ended is not None:
            yield from self._ended_above(journey, ended)
        if journey.decided:
            for division in list(journey.divisions.values()):
                for part in list(division.live.values()):
                    if not part.abandoned:
                        yield from self._abandon(part)
        if journey.division is not None:
            yield from self._ended_below(journey, journey.division)

    def _abandon(self, part: ModelJourney) -> Following:
        part.decided = part.abandoned = True
        yield from self._carry_out(part, ())

    def _division(self, journey: ModelJourney, split: int) -> ModelDivision:
        if split not in journey.divisions:
            steps = self._graph.home.get(split, ())
            journey.divisions[split] = ModelDivision(journey, split, steps)
        return journey.divisions[split]

    # Parts that enter

    def _admit(self, division: ModelDivision, part: ModelJourney) -> Following:
        """The part enters, and goes on to its first steps, once there is room there."""
        journey, position, steps = division.journey, part.position, division.steps
        journey.parts_under_way += 1
        division.live[position] = part
        seen = journey.known()
        yield from self._carry_out(part, steps)
        if journey.known() != seen and division.live.get(position) is part:
            yield from self._carry_out(part, steps)
        if journey.decided and division.live.get(position) is part:
            yield from self._abandon(part)

    def _ended_above(self, journey: ModelJourney, stage: int) -> Following:
        """A step has ended with an item that may have parts."""
        if stage in journey.plan.parts:
            visit = journey.plan.visits[stage]
            if visit is not None and visit.outcome == "done":
                division = self._division(journey, stage)
                division.many = len(journey.plan.parts[stage])
                yield from self._fail_if_too_many(division)
                yield from self._gather(division)
            return
        for division in list(journey.divisions.values()):
            if self._graph.reads_from(division.split, stage):
                yield from self._tell_parts(division, stage)
                yield from self._gather(division)

    def _tell_parts(self, division: ModelDivision, stage: int) -> Following:
        """An output that parts read is there now."""
        for position, part in list(division.live.items()):
            if division.live.get(position) is part:
                yield from self._carry_out(part, self._graph.after[stage])
                for below in list(part.divisions.values()):
                    if self._graph.reads_from(below.split, stage):
                        yield from self._tell_parts(below, stage)
        if division.some_wait:
            division.some_wait = False
            division.journey.parts_under_way += 1
            self._begin(self._feed(division))

    def _feed(self, division: ModelDivision) -> Following:
        """Have the parts that wait enter again, in order, as there is room."""
        journey = division.journey
        for position in range(len(journey.plan.parts[division.split])):
            if journey.decided:
                break
            part = division.waiting.pop(position, None)
            if part is not None:
                yield from self._admit(division, part)
        journey.parts_under_way -= 1
        yield from self._gather(division)
        yield from self._after_leaving(journey)

    # Parts that end

    def _ended_below(self, part: ModelJourney, division: ModelDivision) -> Following:
        """A part has changed: count what it has ended, and gather what is complete with it."""
        if division.live.get(part.position) is not part:
            return
        is_over = part.is_over
        for stage in division.steps:
            if part.ended >> stage & 1 or (is_over and not part.abandoned):
                division.settle(stage, part)
        if is_over or part.is_idle:
            yield from self._leave(division, part, is_over=is_over)
        yield from self._gather(division)
        yield from self._after_leaving(division.journey)

    def _leave(self, division: ModelDivision, part: ModelJourney, *, is_over: bool) -> Following:
        """A part has ended, or waits for an output of what it is a part of."""
        del division.live[part.position]
        division.journey.parts_under_way -= 1
        if not is_over:
            division.some_wait = True
            division.waiting[part.position] = part
        elif part.failed:
            division.failed += 1
            yield from self._fail_if_too_many(division)

    def _after_leaving(self, journey: ModelJourney) -> Following:
        """The item may end with the last of its parts."""
        if not journey.parts_under_way and journey.is_over:
            yield from self._carry_out(journey, ())

    def _gather(self, division: ModelDivision) -> Following:
        """End the item at the steps that all its parts have ended."""
        journey = division.journey
        for stage in division.steps:
            if division.counts[stage] != division.many or division.gathered >> stage & 1:
                continue
            if journey.decided:
                return
            if not division.many and self._waits_for_inputs(journey, stage):
                continue
            division.gathered |= 1 << stage
            failed, dropped = division.failed_at[stage], division.dropped[stage]
            good = bool(division.done[stage]) or not (failed or dropped)
            self._note(journey, stage, good=good, failed=bool(failed))
            yield from self._carry_out(journey, self._graph.after[stage], stage)

    def _waits_for_inputs(self, journey: ModelJourney, stage: int) -> bool:
        """Whether an input of the stage, which stands at the item's parts, may yet come."""
        to_come = journey.plan.mask & ~journey.ended
        for one in journey.divisions.values():
            to_come |= sum(1 << step for step in one.steps) & ~one.gathered
        return bool(self._graph.needs[stage] & ~journey.known() & to_come)

    def _fail_if_too_many(self, division: ModelDivision) -> Following:
        """Fail the item where more of its parts have failed than may."""
        journey, most = division.journey, self._graph.most_failed[division.split]
        if division.failed and not journey.decided and division.exceeds(most):
            journey.decided = journey.failed = True
            yield from self._carry_out(journey, ())
