"""Whose an item is, and who pays for it, by the jobs and the lists that wait for it."""

from collections.abc import Callable, Iterator, Sequence

from engine.contract.ownership import ownership
from engine.contract.paid import Charge, charged
from engine.sources.jobs import Jobs

ListsOf = Callable[[str], Sequence[str]]
"""The lists under way that wait for the item of an id. Called from any thread."""


def stand_up_for(jobs: Jobs, lists_of: ListsOf) -> None:
    """Have the tasks that this one starts, and their threads, know whose items are, and who is
    charged for what is paid for them. Where the source cannot lose a job to another machine, or
    does not mind who pays, nobody need ask."""
    claims = JobClaims(jobs, lists_of)
    ownership.set(claims.is_ours if jobs.can_be_lost else None)
    charged.set(claims.charge if jobs.are_charged else None)


class JobClaims:
    """What the source has to do with items that are under way, or were. From any thread."""

    def __init__(self, jobs: Jobs, lists_of: ListsOf) -> None:
        self._jobs = jobs
        self._lists_of = lists_of

    def is_ours(self, item: str, surely: bool) -> bool | None:
        """Whether anybody who waits for the item of this id does so here; None where that cannot be
        known now. What no job stands behind, such as what an earlier run left, is ours. Blocks."""
        found: list[bool | None] = []
        for one in self._all_above(item):
            found += self._jobs.are_alive(one, surely=surely)
            if True in found:
                return True
        return None if None in found else not found

    def charge(self, item: str) -> Charge:
        """Charges the first who waits for the item of this id; nobody, where nobody does."""
        charges = map(self._jobs.charge, self._all_above(item))
        return next((one for one in charges if one is not None), lambda requests: None)

    def _all_above(self, item: str) -> Iterator[str]:
        """The item, and the lists that wait for it, and so on."""
        look, seen = [item], {item}
        while look:
            one = look.pop(0)
            yield one
            further = [parent for parent in self._lists_of(one) if parent not in seen]
            look += further
            seen.update(further)
