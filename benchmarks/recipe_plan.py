"""From an uploaded video to its recipe: a table of others, replayed.

A web app's authors measured 46.94 s from upload to recipe: analysis of its frames 23.94, upload of
the video 11.77, writing 5.80, vectors 2.06, upload of the frames 1.78, extraction 0.96, database
0.62. A service here takes as long for each, and all uploads share one link; extraction and database
are Penstock's own and are held back until they have taken as long as in the table. Three ways go
through it: one thing after the other, as a script of `Promise.all` runs it, and Penstock. All in
real time. At the end Penstock goes through it once more, with 429s and a frame that fails.
"""

import asyncio
import base64
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from benchmarks.frame_footage import film_footage, planned
from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.recipe_clock import FRAMES, TABLE, RecipeClock
from benchmarks.recipe_service import RecipeService, RecipeTally, Tempo, cooking
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.scenes_run import Recorder
from engine import Events, RunReport, load_config, run_pipeline
from engine.bench.intervals import interval
from stages.recipe.figures import STORING, WRITING
from stages.recipe.frames import frames as frames_stage
from stages.recipe.frames.candidates import FrameCandidate
from stages.recipe.frames.choice import FrameLook
from stages.recipe.pipeline import recipe
from stages.recipe.writing.analyse import AnalyseFrame
from stages.sinks.sink import VideoRecords
from stages.sinks.sqlite import SqliteSink

OWN, SCRIPT, IN_TURN = "Penstock", "as a script of Promise.all runs it", "one after the other"
DOCUMENT, STORED = "time until the document, s", "time until all is stored, s"
KEYS = {"AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "nobody"}
"""What the store here is opened with: it looks at no key."""


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
    await script.put("video.mp4")
    for number in range(FRAMES):
        await script.put(f"{number}.jpg")
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
    await asyncio.gather(script.put("video.mp4"), *(script.put(f"{n}.jpg") for n in range(FRAMES)))
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
def held_back(clock: RecipeClock) -> Iterator[None]:
    """Extraction, which ends with the choice of frames, and database take as long as in the table,
    their real work included."""
    find, write = frames_stage.find_candidates, SqliteSink.write
    choose, begins = frames_stage.choose_looks, dict[int, float]()

    def found(*told: Any) -> list[FrameCandidate]:
        began = time.monotonic()
        candidates = list(find(*told))
        begins[id(candidates[0].look)] = began
        return candidates

    def chosen(looks: Sequence[FrameLook], most: int) -> list[int]:
        places = choose(looks, most)
        _wait(begins.pop(id(looks[0])), clock.real("extraction"))
        return places

    def put(sink: SqliteSink, records: VideoRecords, turn: int) -> bool:
        began = time.monotonic()
        stands = write(sink, records, turn)
        _wait(began, clock.real("database"))
        return stands

    with (
        patch.object(frames_stage, "find_candidates", found),
        patch.object(frames_stage, "choose_looks", chosen),
        patch.object(SqliteSink, "write", put),
    ):
        yield


def _wait(began: float, seconds: float) -> None:
    time.sleep(max(0.0, seconds - (time.monotonic() - began)))


@dataclass(frozen=True)
class OwnRun:
    """A run of ours: when the last document was there, and when all was stored."""

    figures: Figures
    report: RunReport
    tally: RecipeTally


def ours(
    service: RecipeService,
    clock: RecipeClock,
    videos: Sequence[Path],
    work: Path,
    tempo: Tempo | None = None,
    sets: Sequence[str] = (),
) -> OwnRun:
    """`penstock recipe` on the videos; the times of the last of them, from the first step on."""
    service.restart(tempo or clock.tempo)
    sets = [
        "limits.free_disk=0",
        "stages.download.placement=thread",
        f"stages.download.workers={len(videos)}",
        "stages.analyse.backend=openai",
        "stages.analyse.model=eye",
        f"stages.analyse.base_url={service.url}",
        "stages.persist.meaning=api",
        "stages.persist.model=words",
        f"stages.persist.base_url={service.url}",
        "stages.upload.url=s3://videos",
        f"stages.upload.endpoint={service.origin}",
        *sets,
    ]
    recorder, events = Recorder(), Events()
    events.subscribe(recorder.listen)
    config = load_config(recipe, None, {}, sets, {})
    with held_back(clock), patch.dict(os.environ, KEYS):
        recorder.began = time.monotonic()
        report = run_pipeline(recipe, config, work, list(map(str, videos)), events=events)
    if report.items["done"] != len(videos):
        raise SystemExit(f"a run of the recipe pipeline failed: {report.failures}")
    attempts = recorder.log.attempts
    begins = min(one.start for one in attempts if one.step in ("frames", "upload"))
    written = max(one.end for one in attempts if one.step == WRITING)
    stored = max(one.end for one in attempts if one.step in STORING)
    figures = {
        DOCUMENT: (written - begins) * clock.faster,
        STORED: (stored - begins) * clock.faster,
    }
    return OwnRun(figures, report, service.tally())


@dataclass(frozen=True)
class FaultyRun:
    """What became of a run with 429s and a frame that fails, and of mending its gap."""

    gaps: int
    left: int
    """Gaps that are left after `penstock retry --gaps`."""
    tally: RecipeTally
    documents: int


def faulty(service: RecipeService, video: Path, work: Path) -> FaultyRun:
    """One in three calls or so gets a 429, and a frame fails in both tries; the gap is mended."""
    clock = RecipeClock(50.0)
    tempo = replace(clock.tempo, refused=0.35, failing=2)
    own = ours(service, clock, [video], work, tempo, FAILING)
    with patch.dict(os.environ, KEYS):
        words = [sys.executable, "-m", "engine", "retry", str(work), "--gaps"]
        mended = subprocess.run(words, capture_output=True, text=True)
    if mended.returncode != 0:
        raise SystemExit(f"the gap could not be mended: {mended.stdout}{mended.stderr}")
    lines = (work / "documents" / "documents.jsonl").read_text().splitlines()
    left = sum(len(json.loads(line)["gaps"]) for line in lines)
    return FaultyRun(own.report.gaps, left, service.tally(), len(lines))


FAILING = ("stages.analyse.call_attempts=2", "stages.analyse.attempts=1")


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
            twice += one.tally.paid_twice + five.tally.paid_twice
        amiss = faulty(service, videos[0], folder / "faulty")
    measured = _measured(taken, clock, twice, amiss, arguments.rounds, quick=arguments.quick)
    finish(measured, arguments)


FIVE = f"{OWN}, five videos at once"


def _measured(
    taken: Mapping[str, Sequence[Figures]],
    clock: RecipeClock,
    twice: int,
    amiss: FaultyRun,
    rounds: int,
    *,
    quick: bool,
) -> Measurement:
    at_once = AnalyseFrame.Settings().concurrency
    document, stored = clock.paths_of(5, at_once)
    rows = [
        Row(name, {key: interval([one[key] for one in turns]) for key in turns[0]})
        for name, turns in taken.items()
    ]
    bounds = {
        "the critical path of one video": (clock.words_path, clock.stored_path),
        "the critical path of five": (document, stored),
        "the table": (sum(TABLE.values()), sum(TABLE.values())),
    }
    rows += [
        Row(name, {DOCUMENT: interval([one]), STORED: interval([all_of_it])})
        for name, (one, all_of_it) in bounds.items()
    ]
    tally = amiss.tally
    faults = {
        "answered": tally.answered,
        "429s": tally.refused,
        "failed": tally.failed,
        "gaps": amiss.gaps,
        "gaps after mending": amiss.left,
        "documents": amiss.documents,
    }
    own = taken[OWN]
    return Measurement(
        "recipe_plan",
        "From an uploaded video to its recipe: a table of others, replayed",
        [
            Table("seconds, of the last video where there are five", rows),
            Table(
                "with 429s and a frame that fails",
                [Row(OWN, {key: interval([float(value)]) for key, value in faults.items()})],
            ),
        ],
        [
            _over("document, over its critical path", own, DOCUMENT, clock.words_path),
            _over("stored, over its critical path", own, STORED, clock.stored_path),
            Target("answers paid twice", interval([float(twice)]), 0),
            Target("answers paid twice with faults", interval([float(tally.paid_twice)]), 0),
            Target("gaps left after mending", interval([float(amiss.left)]), 0),
        ],
        rounds,
        quick=quick,
        notes=[
            f"A document's critical path is {clock.words_path:.2f} s: extraction, the slowest "
            "frame, writing. The database comes after the uploads, since their links are in it: "
            f"{clock.stored_path:.2f} s until all of a video is stored, of which its files take "
            f"{clock.link_path:.2f} s on the link, which all uploads share. Were the frames' "
            f"upload free, that would be {_without_frames(clock):.2f} s.",
            f"Five videos are {5 * FRAMES} frames, and {at_once} calls go at once "
            f"(stages.analyse.concurrency): {math.ceil(5 * FRAMES / at_once)} rounds of them.",
            "Time ran 10 times faster." if clock.faster != 1 else "All in real time.",
        ],
    )


def _over(name: str, turns: Sequence[Figures], key: str, path: float) -> Target:
    return Target(name, interval([one[key] / path for one in turns]), 1.05)


def _without_frames(clock: RecipeClock) -> float:
    return max(clock.words_path, TABLE["upload of the video"]) + TABLE["database"]


if __name__ == "__main__":
    main()
