"""Batches of operations within what Azure Cosmos DB takes in one transaction."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

Operation = tuple[str, tuple[Any, ...]] | tuple[str, tuple[Any, ...], dict[str, Any]]
"""("upsert", (item,)), ("create", (item,)) or ("delete", (id,)), as the client takes them; or
("replace", (id, item), {"if_match_etag": etag})."""

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
            value = operation[1][-1]
            raise ItemTooLarge(value["id"] if isinstance(value, dict) else value, more)
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
    name, values = operation[0], operation[1]
    told: dict[str, Any] = {"operationType": name.title()}
    for value in values:
        told["resourceBody" if isinstance(value, dict) else "id"] = value
    if len(operation) == 3:
        told["ifMatch"] = operation[2]["if_match_etag"]
    return len(json.dumps(told)) + 2
