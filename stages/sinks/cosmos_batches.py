"""Batches of operations within what Azure Cosmos DB takes in one transaction."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

Operation = tuple[str, tuple[Any, ...]]
"""("upsert", (item,)) or ("delete", (id,)), as the client takes them."""

MOST_OPERATIONS = 100

MOST_BYTES = 2_000_000
"""Of a whole request, as the service counts 2 MB at its smallest."""

MOST_ITEM_BYTES = MOST_BYTES - 100
"""Of one item, within a request of its own."""


class ItemTooLarge(ValueError):
    """An item that no request can hold: its id, and its bytes."""

    def __init__(self, id_: str, size: int) -> None:
        super().__init__(f"{id_} has {size:,} bytes, and Cosmos DB takes {MOST_ITEM_BYTES:,}")


def batches(operations: Iterable[Operation]) -> Iterator[list[Operation]]:
    """The operations in order, in as few batches as the order allows. Raises ItemTooLarge."""
    batch: list[Operation] = []
    size = 2  # of the brackets
    for operation in operations:
        more = size_of(operation)
        if more > MOST_ITEM_BYTES:
            id_ = operation[1][0]["id"] if operation[0] == "upsert" else operation[1][0]
            raise ItemTooLarge(id_, more)
        if batch and (len(batch) == MOST_OPERATIONS or size + more > MOST_BYTES):
            yield batch
            batch, size = [], 2
        batch.append(operation)
        size += more
    if batch:
        yield batch


def size_of(operation: Operation) -> int:
    """Bytes of the operation in a request, with its comma: as JSON with spaces, which is never
    shorter than the request's."""
    name, (value,) = operation
    field = "resourceBody" if name == "upsert" else "id"
    return len(json.dumps({"operationType": name.title(), field: value})) + 2
