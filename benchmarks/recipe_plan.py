"""From an uploaded video to its recipe: a table of others, replayed.

A web app's authors measured 46.94 s from upload to recipe: analysis of its frames 23.94, upload of
the video 11.77, writing 5.80, vectors 2.06, upload of the frames 1.78, extraction 0.96, database
0.62. A service here takes as long for each; extraction and database are Penstock's own and are held
back until they have taken as long as in the table. Three ways go through it: one thing after the
other, as a script of `Promise.all` runs it, and Penstock. All in real time.
"""

import asyncio
import base64
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from benchmarks.frame_footage import film_footage, planned
from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.recipe_service import RecipeService, Tempo, cooking
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.scenes_run import Recorder
from engine import Events, RunReport, load_config, run_pipeline
from engine.bench.intervals import interval
from stages.recipe.figures import STORING
from stages.recipe.frames import frames as frames_stage
from stages.recipe.pipeline import recipe
from stages.recipe.writing.analyse import AnalyseFrame
from stages.sinks.sink import VideoRecords
from stages.sinks.sqlite import SqliteSink

TABLE = {
    "analysis of the frames": 23.94,
    "upload of the video": 11.77,
    "writing": 5.80,
    "vectors": 2.06,
    "upload of the frames": 1.78,
    "extraction": 0.96,
    "database": 0.62,
}
FRAMES = 7
OWN, SCRIPT, IN_TURN = "Penstock", "as a script of Promise.all runs it", "one after the other"
DOCUMENT, STORED = "time until the document, s", "time until all is stored, s"
UPLOADS = "upload" in recipe.names
"""Whether the pipeline has steps that upload."""


@dataclass(frozen=True)
class RecipeClock:
    """The table's time, which runs so many times `faster`."""

    faster: float = 1.0

    def real(self, name: str) -> float:
        return TABLE[name] / self.faster

    @property
    def tempo(self) -> Tempo:
        return Tempo(
            looking=self.real("analysis of the frames") / FRAMES,
            writing=self.real("writing"),
            embedding=self.real("vectors"),
            video=self.real("upload of the video"),
            frame=self.real("upload of the frames") / FRAMES,
        )

    @property
    def stored_path(self) -> float:
        """Seconds of the chain that takes longest until all is stored: the document's, with the
        vectors of its entries beside the database; or the video's upload, and the database."""
        slowest = TABLE["analysis of the frames"] / FRAMES
        meanwhile = max(TABLE["vectors"], TABLE["database"])
        words = slowest + TABLE["extraction"] + TABLE["writing"] + meanwhile
        return max(words, TABLE["upload of the video"] + TABLE["database"]) if UPLOADS else words

    @property
    def document_path(self) -> float:
        """Seconds of the chain that a document needs: extraction, a frame, writing, database."""
        slowest = TABLE["analysis of the frames"] / FRAMES
        return slowest + sum(TABLE[one] for one in ("extraction", "writing", "database"))


@dataclass
class PlainScript:
    """What others' script asks of the service; its calls are those of the table."""

    service: RecipeService
    clock: RecipeClock
    client: httpx.AsyncClient

    async def extract(self) -> None:
        await asyncio.sleep(self.clock.real("extraction"))

    async def save(self) -> None:
        await asyncio.sleep(self.clock.real("database"))

    async def look(self, number: int) -> None:
        picture = base64.b64encode(b"frame %d" % number).decode()
        url = {"url": f"data:image/jpeg;base64,{picture}"}
        await self._post("chat/completions", {"content": [{"type": "image_url", "image_url": url}]})

    async def write(self) -> None:
        await self._post("chat/completions", {"content": "Write it."})

    async def embed(self) -> None:
        await self._post("embeddings", {"input": ["a pan"] * FRAMES})

    async def put(self, what: str) -> None:
        await self.client.put(f"{self.service.origin}/{what}", content=b"content")

    async def _post(self, path: str, body: Mapping[str, Any]) -> None:
        await self.client.post(f"{self.service.origin}/v1/{path}", json=body)


async def in_turn(script: PlainScript, told: Callable[[str], None]) -> None:
    """One thing after the other."""
    await script.extract()
    await script.put("video")
    for number in range(FRAMES):
        await script.put(f"frame-{number}")
    for number in range(FRAMES):
        await script.look(number)
    await script.write()
    await script.embed()
    await script.save()
    told(DOCUMENT)
    told(STORED)


async def side_by_side(script: PlainScript, told: Callable[[str], None]) -> None:
    """What a plain script runs at once: the uploads, whose addresses the calls then name; the
    frames' analysis; writing and vectors."""
    await script.extract()
    await asyncio.gather(script.put("video"), *(script.put(f"frame-{n}") for n in range(FRAMES)))
    await asyncio.gather(*(script.look(number) for number in range(FRAMES)))
    await asyncio.gather(script.write(), script.embed())
    await script.save()
    told(DOCUMENT)
    told(STORED)


def scripted(
    service: RecipeService,
    clock: RecipeClock,
    way: Callable[[PlainScript, Callable[[str], None]], Awaitable[None]],
) -> Figures:
    """The times of one of those ways, in seconds of the table."""
    times: dict[str, float] = {}

    async def run() -> None:
        async with httpx.AsyncClient(timeout=None) as client:
            began = time.monotonic()

            def told(what: str) -> None:
                times[what] = (time.monotonic() - began) * clock.faster

            await way(PlainScript(service, clock, client), told)

    service.restart(clock.tempo)
    asyncio.run(run())
    return times


@contextmanager
def held_back(clock: RecipeClock, written: list[float]) -> Iterator[None]:
    """Extraction and database take as long as in the table, their real work included; `written`
    gets the time of each document in the database."""
    find, write = frames_stage.find_candidates, SqliteSink.write

    def found(*told: Any) -> list[Any]:
        began = time.monotonic()
        candidates = list(find(*told))
        _wait(began, clock.real("extraction"))
        return candidates

    def put(sink: SqliteSink, records: VideoRecords) -> None:
        began = time.monotonic()
        write(sink, records)
        _wait(began, clock.real("database"))
        written.append(time.monotonic())

    with (
        patch.object(frames_stage, "find_candidates", found),
        patch.object(SqliteSink, "write", put),
    ):
        yield


def _wait(began: float, seconds: float) -> None:
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))


@dataclass(frozen=True)
class OwnRun:
    """A run of ours: when each video's steps began, its document was there, and all was stored."""

    figures: Figures
    report: RunReport
    paid_twice: int


def ours(service: RecipeService, clock: RecipeClock, videos: Sequence[Path], work: Path) -> OwnRun:
    """`penstock recipe` on the videos; the times of the last of them, from the first step on."""
    service.restart(clock.tempo)
    sets = [
        "limits.free_disk=0",
        "stages.download.placement=thread",
        f"stages.download.workers={len(videos)}",
        "stages.analyse.backend=openai",
        "stages.analyse.model=eye",
        f"stages.analyse.base_url={service.origin}/v1",
        "stages.persist.meaning=api",
        "stages.persist.model=words",
        f"stages.persist.base_url={service.origin}/v1",
    ]
    recorder, events, written = Recorder(), Events(), list[float]()
    events.subscribe(recorder.listen)
    config = load_config(recipe, None, {}, sets, {})
    with held_back(clock, written):
        recorder.began = time.monotonic()
        report = run_pipeline(recipe, config, work, list(map(str, videos)), events=events)
    if report.items["done"] != len(videos):
        raise SystemExit(f"a run of the recipe pipeline failed: {report.failures}")
    begins = min(one.start for one in recorder.log.attempts if one.step == "frames")
    stored = max(one.end for one in recorder.log.attempts if one.step in STORING)
    figures = {
        DOCUMENT: (max(written) - recorder.began - begins) * clock.faster,
        STORED: (stored - begins) * clock.faster,
    }
    return OwnRun(figures, report, service.paid_twice())


def main() -> None:
    arguments = parse(parser(__doc__, rounds=3))
    arguments.rounds = 1 if arguments.quick else arguments.rounds
    clock = RecipeClock(10.0 if arguments.quick else 1.0)
    taken: dict[str, list[Figures]] = {IN_TURN: [], SCRIPT: [], OWN: [], FIVE: []}
    twice = 0
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        service = stack.enter_context(cooking())
        videos = [
            film_footage(planned(seed, seconds=20.0, events=2), folder / f"{seed}.mp4")
            for seed in range(5)
        ]
        ours(service, RecipeClock(1000.0), videos[:1], folder / "warm")  # what is imported once
        for number in range(arguments.rounds):
            taken[IN_TURN].append(scripted(service, clock, in_turn))
            taken[SCRIPT].append(scripted(service, clock, side_by_side))
            one = ours(service, clock, videos[:1], folder / f"one-{number}")
            five = ours(service, clock, videos, folder / f"five-{number}")
            taken[OWN].append(one.figures)
            taken[FIVE].append(five.figures)
            twice += one.paid_twice + five.paid_twice
    finish(_measured(taken, clock, twice, arguments.rounds, quick=arguments.quick), arguments)


FIVE = f"{OWN}, five videos at once"


def _measured(
    taken: Mapping[str, Sequence[Figures]],
    clock: RecipeClock,
    twice: int,
    rounds: int,
    *,
    quick: bool,
) -> Measurement:
    rows = [
        Row(name, {key: interval([one[key] for one in turns]) for key in turns[0]})
        for name, turns in taken.items()
    ]
    rows.append(
        Row("the table", dict.fromkeys((DOCUMENT, STORED), interval([sum(TABLE.values())])))
    )
    over = [one[DOCUMENT] / clock.document_path for one in taken[OWN]]
    stored = [one[STORED] / clock.stored_path for one in taken[OWN]]
    at_once = AnalyseFrame.Settings().concurrency
    return Measurement(
        "recipe_plan",
        "From an uploaded video to its recipe: a table of others, replayed",
        [Table("seconds, of the last video where there are five", rows)],
        [
            Target("document, over its critical path", interval(over), 1.05),
            Target("stored, over its critical path", interval(stored), 1.05),
            Target("answers paid twice", interval([float(twice)]), 0),
        ],
        rounds,
        quick=quick,
        notes=[
            f"The document's critical path is {clock.document_path:.2f} s: extraction, the slowest "
            f"frame, writing, database; that of all {clock.stored_path:.2f} s.",
            *([] if UPLOADS else [NO_UPLOADS]),
            f"Five videos are {5 * FRAMES} frames; {at_once} calls go at once "
            "(stages.analyse.concurrency).",
            "Time ran 10 times faster." if clock.faster != 1 else "All in real time.",
        ],
    )


NO_UPLOADS = (
    "Penstock's figures are without uploads, which its pipeline has no steps for yet: the others' "
    "have them."
)


if __name__ == "__main__":
    main()
