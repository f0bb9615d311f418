"""Whether an item is still this run's, by the jobs and the lists that wait for it."""

from collections.abc import Callable, Sequence

from engine.contract.ownership import ownership
from engine.sources.jobs import Jobs

ListsOf = Callable[[str], Sequence[str]]
"""The lists under way that wait for the item of an id. Called from any thread."""


def stand_up_for(jobs: Jobs, lists_of: ListsOf) -> None:
    """Have the tasks that this one starts, and their threads, know whose items are. Where the
    source cannot lose a job to another machine, nobody need ask."""
    ownership.set(JobClaims(jobs, lists_of).is_ours if jobs.can_be_lost else None)


class JobClaims:
    """Asks the source whether items are still this run's. Called in threads of workers."""

    def __init__(self, jobs: Jobs, lists_of: ListsOf) -> None:
        self._jobs = jobs
        self._lists_of = lists_of

    def is_ours(self, item: str, surely: bool) -> bool | None:
        """Whether anybody who waits for the item of this id does so here; None where that cannot be
        known now. What no job stands behind, such as what an earlier run left, is ours."""
        found: list[bool | None] = []
        look, seen = [item], {item}
        while look:
            one = look.pop()
            found += self._jobs.are_alive(one, surely=surely)
            if True in found:
                return True
            further = [parent for parent in self._lists_of(one) if parent not in seen]
            look += further
            seen.update(further)
        return None if None in found else not found
