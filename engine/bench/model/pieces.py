"""An attempt that splits its item, in pieces: after each of them it hands over a part."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from engine.bench.model.recorded import Service


class Piece(NamedTuple):
    """A stretch of an attempt, and the position of the part that is handed over after it, None
    where none is."""

    service: Service
    part: int | None = None


def pieces_of(services: Sequence[Service], parts: int, attempt: int) -> Iterator[Piece]:
    """The pieces of the attempt with this number, from 0 on.

    A ledger does not tell when a part was handed over: when it is begun says as much about those
    that work on it. So the parts are spread evenly over the visit's seconds: after n of N parts,
    n/N of its work is done, the retries' counted in. The last one comes with the end of the work.
    """
    service, last = services[attempt], attempt == len(services) - 1
    each = sum(one.seconds for one in services) / parts if parts else 0.0
    before = sum(one.seconds for one in services[:attempt])
    done, position = 0.0, _handed_over_in(before, each, parts) if attempt else 0
    while position < parts:
        share = ((position + 1) * each - before) / service.seconds if service.seconds else 1.0
        if last and position == parts - 1:
            share = 1.0
        if share > 1.0 and not last:
            break
        share = min(share, 1.0)
        yield Piece(_stretch(service, share - done), position)
        done, position = share, position + 1
    if done < 1.0:
        yield Piece(_stretch(service, 1.0 - done))


def _handed_over_in(seconds: float, each: float, parts: int) -> int:
    """Number of parts that are handed over within the visit's first seconds."""
    if not each:
        return parts
    position = 0
    while position < parts and (position + 1) * each <= seconds:
        position += 1
    return position


def _stretch(service: Service, share: float) -> Service:
    return Service(service.wait * share, service.processor * share, service.cores)
