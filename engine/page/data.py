"""The data of the page, read from the ledger of a work folder; nothing here knows of HTML."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from engine.contract.pipeline import Pipeline
from engine.ledger.reader import Example, LedgerReader, RunRow
from engine.page.advice import advise
from engine.page.curves import curves
from engine.page.timeline import Span, Timeline, spans_of
from engine.telemetry.statistics import (
    FailureKind,
    PoolStatistics,
    Sample,
    StageCounts,
    bottleneck_sentence,
    join_holds,
)
from engine.telemetry.text import duration, one_line
from engine.views.levels import Levels
from engine.views.report import (
    abandoned_sentence,
    gaps_sentence,
    held_sentences,
    retry_command,
)

EXAMPLES = 5
"""The most items that the page names of each class of failure or drop."""

LONGEST_REASON = 1000
LONGEST_TRACEBACK = 20_000
"""The most characters of a traceback."""

RUNS = 50
"""The most runs that the page lists, the latest."""

State = Literal["running", "done", "stopped", "interrupted", "killed", "could not start"]


@dataclass(frozen=True, slots=True)
class EndingRow:
    """The items, or parts, that one stage ended in the same way; `retry` is the
    command that tries them again."""

    told: FailureKind
    examples: Sequence[Example]
    retry: str


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage: its items over all runs, and its pool's statistics in the last run, if it ran."""

    counts: StageCounts
    pool: PoolStatistics | None


@dataclass(frozen=True, slots=True)
class PageData:
    """The data of a work folder at one moment."""

    pipeline: str
    workdir: Path
    state: State
    why: str | None
    """More on the state: why the run takes nothing new."""
    taken: float
    """Seconds of running time, over all runs."""
    taken_at: float
    """The time of reading, in seconds since the epoch."""
    levels: Levels
    total: StageCounts
    parts: StageCounts
    gaps: str | None
    """A sentence on items that are done without some of their parts; None where there are none."""
    abandoned: str | None
    """A sentence on parts that go no further; None where there are none."""
    stages: Sequence[StageRow]
    bottleneck: str | None
    """A sentence; None where nothing was measured."""
    advice: str | None
    held: Sequence[str]
    """A sentence for each host, or other reason, that holds items."""
    failures: Sequence[EndingRow]
    drops: Sequence[EndingRow]
    runs: Sequence[RunRow]
    """The last one first."""
    more_runs: int


class Book:
    """Reads a work folder again and again, and keeps everything that need not be read twice.

    Not thread-safe: one caller at a time. `workdir` keeps the form in which it was given, for the
    commands that the page shows.
    """

    def __init__(self, pipeline: Pipeline, workdir: Path) -> None:
        self.pipeline = pipeline
        self.workdir = workdir
        self.levels = Levels.of(pipeline)
        self.timeline = Timeline(pipeline.names)
        self.spans: Sequence[Span] = ()
        self.history: dict[int, list[Sample]] = {}

    def read(
        self,
        *,
        running: bool,
        pools: Sequence[PoolStatistics] | None = None,
        why: str | None = None,
        ended: State | None = None,
    ) -> PageData:
        """Read the ledger.

        `running`: a run is going on; `pools` are its pools now, by default those of the last
        sample. `ended` is how the run has just ended, where the ledger does not say so yet.
        """
        now = time.time()
        with LedgerReader(self.workdir) as reader:
            reader.hold()
            runs = list(reader.runs())
            self.spans = spans_of(runs, reader, now if running or ended else None)
            self._read_history(reader)
            self.timeline.read(reader, self.spans)
            measured = pools if pools is not None else self._last_pools()
            by_stage = {pool.stage: pool for pool in measured}
            total, parts, levels = reader.item_counts(), reader.part_counts(), self.levels
            return PageData(
                pipeline=self.pipeline.name,
                workdir=self.workdir,
                state=ended or ("running" if running else _state(runs)),
                why=why,
                taken=sum(span.length for span in self.spans) / 1000,
                taken_at=now,
                levels=levels,
                total=total,
                parts=parts,
                gaps=gaps_sentence(reader.gaps(), self.workdir, levels.unit),
                abandoned=abandoned_sentence(parts, levels.unit),
                stages=[
                    StageRow(counts, by_stage.get(counts.stage))
                    for counts in reader.counts(self.pipeline)
                ],
                bottleneck=self._bottleneck(by_stage, runs),
                advice=self._advice(by_stage),
                held=self._held(reader, pools, running, now),
                failures=self._endings(reader, "failed", reader.failure_kinds()),
                drops=self._endings(reader, "dropped", reader.drops()),
                runs=runs[:RUNS],
                more_runs=max(0, len(runs) - RUNS),
            )

    def curves(self) -> dict[str, Any]:
        """The history as columns, JSON-able."""
        return curves(self.history, self.spans, self.pipeline.names)

    def axis(self) -> list[dict[str, Any]]:
        """The runs on the axis, JSON-able; times are milliseconds."""
        return [
            {
                "run": span.run,
                "started": round(1000 * span.started),
                "offset": span.offset,
                "length": span.length,
            }
            for span in self.spans
        ]

    def _read_history(self, reader: LedgerReader) -> None:
        newest = max((span.run for span in self.spans), default=0)
        for span in self.spans:
            if span.run not in self.history or span.run == newest:
                self.history[span.run] = [sample for _, sample in reader.samples(span.run)]

    def _last_pools(self) -> Sequence[PoolStatistics]:
        measured = [samples[-1] for _, samples in sorted(self.history.items()) if samples]
        return measured[-1].pools if measured else ()

    def _processor(self) -> float | None:
        """The used share of the cores' time in the last run that was measured."""
        measured = [samples for _, samples in sorted(self.history.items()) if samples]
        return measured[-1][-1].processor_since(measured[-1][0]) if measured else None

    def _bottleneck(
        self, pools: Mapping[str, PoolStatistics], runs: Sequence[RunRow]
    ) -> str | None:
        """The sentence that the run itself told at its end: that of the last one measured."""
        if not pools:
            return None
        measured = [run for run in runs if self.history.get(run.id)] or runs
        return bottleneck_sentence(pools, self._processor(), resident=measured[0].resident)

    def _advice(self, pools: Mapping[str, PoolStatistics]) -> str | None:
        advice = advise(pools, self._processor())
        return advice.sentence if advice is not None else None

    def _held(
        self,
        reader: LedgerReader,
        pools: Sequence[PoolStatistics] | None,
        running: bool,
        now: float,
    ) -> list[str]:
        if running and pools is not None:
            held = join_holds(one for pool in pools for one in pool.holds)
        else:
            held = reader.holds()
        return held_sentences(held, running=running, now=now)

    def _endings(
        self,
        reader: LedgerReader,
        outcome: Literal["failed", "dropped"],
        kinds: Sequence[FailureKind],
    ) -> list[EndingRow]:
        return [
            EndingRow(
                told=kind,
                examples=[_short(one) for one in reader.examples(outcome, kind, EXAMPLES)],
                retry=retry_command(self.workdir, kind),
            )
            for kind in kinds
        ]


def _short(example: Example) -> Example:
    reason = one_line(example.reason, LONGEST_REASON).removeprefix(f"{example.source}: ")
    traceback = example.traceback and example.traceback[-LONGEST_TRACEBACK:]
    return replace(example, reason=reason, traceback=traceback)


def _state(runs: Sequence[RunRow]) -> State:
    """How the last run ended; a killed run left no outcome."""
    outcome = runs[0].outcome if runs else None
    known: dict[str | None, State] = {
        "done": "done",
        "stopped": "stopped",
        "interrupted": "interrupted",
        "could not start": "could not start",
    }
    return known.get(outcome, "killed")


def clock(seconds: float) -> str:
    """A date and time of day in this machine's time zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def took(run: RunRow) -> str:
    """The duration of a run, as far as it is known."""
    return duration(run.ended - run.started) if run.ended is not None else ""
