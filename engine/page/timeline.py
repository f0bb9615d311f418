"""Every attempt of a ledger as columns of numbers, for a chart: item, part, stage, time.

The attempts at an item's parts belong to the item. Time is counted in milliseconds of running: the
time between two runs is left out.
"""

import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from engine.contract.item import first_part, whole_id
from engine.ledger.reader import EndedAttempt, LedgerReader, RunRow

MOST = 100_000
"""The most attempts in a timeline: beyond it some items, and parts, are left out, with all their
attempts."""

LAST_STRIDE = 2**32
"""The number of possible keys."""

OUTCOMES = ("done", "dropped", "failed", "retried", "throttled", "interrupted")


@dataclass(frozen=True, slots=True)
class Span:
    """One run on the axis: it began at `started` (seconds since the epoch), at `offset` on the
    axis, and lasted `length`, both in milliseconds."""

    run: int
    started: float
    offset: int
    length: int

    def at(self, time: float) -> int:
        return self.offset + max(0, round(1000 * (time - self.started)))


def spans_of(runs: Iterable[RunRow], reader: LedgerReader, now: float | None) -> list[Span]:
    """The runs end to end, in order. `now` is the time if the last one is still going on."""
    spans: list[Span] = []
    offset = 0
    for run in sorted(runs, key=lambda run: run.id):
        ended = run.ended or reader.last_sign(run.id) or run.started
        spans.append(Span(run.id, run.started, offset, round(1000 * (ended - run.started))))
        offset += spans[-1].length
    if spans and now is not None:
        last = spans[-1]
        spans[-1] = Span(last.run, last.started, last.offset, last.at(now) - last.offset)
    return spans


class Timeline:
    """Grows with the ledger: `read` adds the attempts that ended since the last call.

    The columns are in the order in which attempts were found to have ended, so the number of
    attempts that a client has tells which ones are new. When there are too many, half of the items
    and parts are removed and `generation` changes: a client with older columns has to start anew.
    The column `part` counts from 1 on, and is 0 for an attempt at a whole item.
    """

    def __init__(self, stages: Sequence[str], most: int = MOST) -> None:
        self.generation = 0
        self.stride = 1
        """One in `stride` items, and parts, is shown."""
        self._most = most
        self._stages = {name: number for number, name in enumerate(stages)}
        self._last = 0
        self._open: dict[int, EndedAttempt] = {}
        self._spans: dict[int, Span] = {}
        self._clear()

    def _clear(self) -> None:
        self.items: list[str] = []
        self._numbers: dict[str, int] = {}
        self._keys = array("Q")
        names = ("item", "part", "stage", "worker", "start", "length", "outcome")
        self.columns = {name: array("q") for name in names}

    def __len__(self) -> int:
        return len(self.columns["item"])

    def read(self, reader: LedgerReader, spans: Sequence[Span]) -> None:
        """Add the attempts that are new in the ledger."""
        self._spans = {span.run: span for span in spans}
        gone = set(self._open)  # with a part that is none any more
        for row in reader.attempts(self._last, self._open):
            gone.discard(row.id)
            self._last = max(self._last, row.id)
            self._open.pop(row.id, None)
            if row.stage not in self._stages:
                continue  # a stage of an earlier version, which has no colour
            if row.ended is None or row.outcome is None:
                self._open[row.id] = row
            elif _key(row.item) % self.stride == 0:
                self._add(row, row.ended, row.outcome)
                while len(self) > self._most and self.stride < LAST_STRIDE:
                    self._thin()
        for number in gone:
            del self._open[number]

    def since(self, generation: int, seen: int, seen_items: int) -> dict[str, Any]:
        """The data that a client with this much lacks, JSON-able;
        everything if its generation is another."""
        if generation != self.generation:
            seen = seen_items = 0
        new = {name: list(column[seen:]) for name, column in self.columns.items()}
        return {
            "generation": self.generation,
            "stride": self.stride,
            "from": seen,
            "fromItem": seen_items,
            "items": self.items[seen_items:],
            "open": self._at_work(),
            **new,
        }

    def _at_work(self) -> list[list[Any]]:
        """The attempts of the newest run that have not ended: source, part, stage, worker, start.
        Those of an earlier run were killed with it, and their length is unknown."""
        newest = max(self._spans, default=0)
        return [
            [
                row.source,
                first_part(row.item),
                self._stages[row.stage],
                row.worker,
                self._spans[row.run].at(row.started),
            ]
            for row in self._open.values()
            if row.run == newest and _key(row.item) % self.stride == 0
        ]

    def _add(self, row: EndedAttempt, ended: float, outcome: str) -> None:
        whole = whole_id(row.item)
        number = self._numbers.get(whole)
        if number is None:
            number = self._numbers[whole] = len(self.items)
            self.items.append(row.source)
        self._keys.append(_key(row.item))
        start = self._spans[row.run].at(row.started)
        length = max(1, round(1000 * (ended - row.started)))
        values = (
            number,
            first_part(row.item),
            self._stages[row.stage],
            row.worker,
            start,
            length,
            OUTCOMES.index(outcome),
        )
        for column, value in zip(self.columns.values(), values, strict=True):
            column.append(value)

    def _thin(self) -> None:
        """Remove every second item, or part, chosen by its key: the same ones in every timeline."""
        self.stride *= 2
        self.generation += 1
        items, keys, columns = self.items, self._keys, self.columns
        ids = list(self._numbers)
        self._clear()
        for key, old, *rest in zip(keys, *columns.values(), strict=True):
            if key % self.stride == 0:
                number = self._numbers.get(ids[old])
                if number is None:
                    number = self._numbers[ids[old]] = len(self.items)
                    self.items.append(items[old])
                self._keys.append(key)
                for column, value in zip(self.columns.values(), (number, *rest), strict=True):
                    column.append(value)


def _key(item: str) -> int:
    return zlib.crc32(item.encode("utf-8", "surrogateescape"))
