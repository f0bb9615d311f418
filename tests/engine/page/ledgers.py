"""Ledgers as runs would have written them, row by row, for what is read from them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.contract.item import Item
from engine.ledger.records import Change, End
from engine.ledger.schema import FILE
from engine.ledger.writer import Ledger
from engine.telemetry.statistics import PoolStatistics, Sample

START = 1_700_000_000.0
"""When the first run began, in seconds since the epoch."""

IDLE = PoolStatistics("a", 1, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, 0.0, 0)


def pool(stage: str = "a", **changes: Any) -> PoolStatistics:
    return replace(IDLE, stage=stage, **changes)


def sample(time: float, *pools: PoolStatistics, processor: float = 0.0) -> Sample:
    return Sample(START + time, 2, processor, 10**8, 10**9, pools)


@contextmanager
def made_ledger(workdir: Path) -> Iterator[Ledger]:
    """The ledger of a work folder, to be written in one transaction."""
    workdir.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(workdir / FILE)
    try:
        ledger.begin()
        yield ledger
        ledger.commit()
    finally:
        ledger.close()


def add_run(
    ledger: Ledger,
    started: float,
    ended: float | None,
    pipeline: str = "toy",
    *,
    resident: bool = False,
) -> int:
    """A run at `started` seconds after START; None for one that never ended."""
    settings, versions = {"stages": {"a": {"value": 1}}}, {"penstock": "0.1.0"}
    number = ledger.start_run(pipeline, settings, versions, resident=resident)
    end = None if ended is None else START + ended
    ledger._db.execute(
        "UPDATE runs SET started = ?, ended = ?, outcome = ? WHERE id = ?",
        (START + started, end, None if ended is None else "done", number),
    )
    return number


def add_attempts(
    ledger: Ledger, run: int, rows: Sequence[tuple[str, str, float, float | None, str]]
) -> None:
    """Attempts: source, stage, when it began and ended (None: at work), and how. "source#3" is the
    part at position 3 that the stage `a` makes of it."""
    for name, stage, started, ended, outcome in rows:
        source, _, position = name.partition("#")
        item = Item.at(ledger.path.parent, source)
        if position:
            item = item.part("a", int(position))
        ledger._db.execute(
            "INSERT OR IGNORE INTO items (id, source, entered_run) VALUES (?, ?, ?)",
            (item.id, source, run),
        )
        ledger._db.execute(
            "INSERT INTO attempts (run, item, stage, worker, attempt, started, ended, outcome)"
            " VALUES (?, ?, ?, 1, 1, ?, ?, ?)",
            (
                run,
                item.id,
                stage,
                START + started,
                None if ended is None else START + ended,
                None if ended is None else outcome,
            ),
        )
        if ended is not None and outcome in ("done", "dropped", "failed"):
            end = End(stage, outcome, "mark")  # type: ignore[arg-type]
            ledger.apply(Change(item, end), run)


def finish_attempt(ledger: Ledger, number: int, ended: float) -> None:
    ledger._db.execute(
        "UPDATE attempts SET ended = ?, outcome = 'done' WHERE id = ?", (START + ended, number)
    )
