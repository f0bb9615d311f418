"""What came of a list: how the items that it held have ended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.contract.pipeline import ItemRecord
from engine.ledger.reader import LedgerReader
from engine.ledger.schema import FILE, connect

# A list may hold lists, which may name one another: each item counts once, and lists do not.
_HELD = """
WITH RECURSIVE held (item) AS (
    SELECT item FROM expansions WHERE parent = ?
    UNION SELECT e.item FROM expansions e JOIN held ON e.parent = held.item
)
SELECT i.id, i.outcome FROM held JOIN items i ON i.id = held.item
WHERE NOT EXISTS (SELECT 1 FROM stages s WHERE s.item = i.id AND s.expanded IS NOT NULL)
ORDER BY i.id
"""


@dataclass(frozen=True, slots=True)
class ListEnds:
    """The number of items that a list holds by their outcomes, and the first of them, ordered by
    id."""

    counts: Mapping[str, int]
    first: Sequence[ItemRecord]


def read_list(workdir: Path, id_: str, most: int) -> ListEnds:
    """What the ledger of `workdir` has now of the list of this id, with `most` of its items at
    most. Blocks."""
    with closing(connect(workdir / FILE, read_only=True)) as db:
        held = db.execute(_HELD, (id_,)).fetchall()
    with LedgerReader(workdir) as reader:
        found = [reader.item_record(item) for item, _ in held[:most]]
    first = [one for one in found if one is not None]
    return ListEnds(Counter(outcome for _, outcome in held), first)
