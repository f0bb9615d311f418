"""What becomes of a job, or of a list's item, that names an item of this run once more."""

import logging

from engine.flow.ending.item_finishes import ItemFinishes
from engine.flow.entry.endings import Endings
from engine.flow.journey.admission import Again
from engine.ledger.group_commit import GroupCommit
from engine.sources.jobs import Jobs, Taken

log = logging.getLogger("penstock.engine")


async def enter_again(
    again: Again,
    source: str,
    parent: str | None,
    taken: Taken | None,
    *,
    endings: Endings,
    jobs: Jobs,
    finishes: ItemFinishes,
    commit: GroupCommit,
) -> None:
    """The item is in this run already: this list, or another one, named it before. The job `taken`
    ends with it, and so does the list `parent`."""
    if not again.agrees:
        log.warning(
            "%s is in this run already, with other parameters, and goes by those that came "
            "first; give each an id of its own",
            source,
        )
        if taken is not None:
            jobs.settle(taken, None)
        return
    if again.item in endings:
        if parent is not None:
            endings.held_again(again.item, parent)
        if taken is not None:
            endings.hurry(again.item, taken.job.priority)
            jobs.bind(taken, again.item)
        return
    outcome, _ = await commit.do(lambda ledger: ledger.standing(again.item))
    if outcome is None and parent is not None:  # it has just been given up
        endings.lose(parent)
    if taken is not None:
        jobs.name(taken, again.item)
        if outcome is None:
            jobs.settle(taken, None)
        else:
            finishes.ended(again.item, outcome, lambda told: jobs.settle(taken, told))
