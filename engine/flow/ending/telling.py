"""The end of an item is told, after the pipeline's finish of it: to listeners, to the source."""

from engine.flow.ending.item_finishes import ItemFinishes
from engine.ledger.group_commit import GroupCommit
from engine.ledger.records import Settled
from engine.sources.jobs import Jobs
from engine.telemetry.events import Events, ItemEnded, ItemGivenUp


class Telling:
    """Tells the ends of items that the ledger has. `ended` counts those that are told, by outcome,
    and `reused`: those of which earlier runs had done all."""

    def __init__(
        self, finishes: ItemFinishes, commit: GroupCommit, events: Events, jobs: Jobs
    ) -> None:
        self._finishes = finishes
        self._commit = commit
        self._events = events
        self._jobs = jobs
        self.ended = {"done": 0, "dropped": 0, "failed": 0, "reused": 0}

    def tell(self, item: str, outcome: Settled | None, reused: bool) -> None:
        """The item has ended; None: it was given up."""
        if outcome is None:
            self._commit.note(lambda ledger: ledger.leave(item))
            self._events.emit(ItemGivenUp(item))
            self._jobs.gave_up(item)
            return
        jobs = self._jobs.ending(item)

        def told(end: Settled | None) -> None:
            if end is not None:
                self.ended[end] += 1
                self.ended["reused"] += reused
                self._events.emit(ItemEnded(item, end, reused))
            for taken in jobs:
                self._jobs.settle(taken, end)

        self._finishes.ended(item, outcome, told)
