"""The attempts that a pool has in hand, so that those at an item which is given up can be cut
short."""

from collections.abc import Sequence

from engine.ledger.outputs.drafts import Draft
from engine.workers.base import Worker
from engine.workers.result import Result


class InHand:
    """Passes attempts to workers, and knows them until they have ended."""

    def __init__(self) -> None:
        self._drafts: dict[int, tuple[Worker, Sequence[Draft]]] = {}
        """What is being worked on, by the number of the worker's place in the pool."""

    async def process(self, worker: Worker, number: int, draft: Draft) -> Result:
        """One attempt at one item."""
        self._drafts[number] = worker, (draft,)
        result = await worker.process(draft)
        del self._drafts[number]
        return result

    async def process_batch(
        self, worker: Worker, number: int, drafts: Sequence[Draft]
    ) -> list[Result]:
        """One attempt at several items together; a result for each, in order."""
        self._drafts[number] = worker, drafts
        results = await worker.process_batch(drafts)
        del self._drafts[number]
        return results

    def cut_short(self, item: str) -> None:
        """Have no attempt at the whole item of this id, or at a part of it, become an output. An
        attempt that no other item shares ends now, as far as its stage lets it."""
        for worker, drafts in self._drafts.values():
            mine = [draft for draft in drafts if draft.item.root.id == item]
            for draft in mine:
                draft.is_unwanted = True
            if mine and all(draft.is_unwanted for draft in drafts):
                worker.cut_short()
