"""The memory that `penstock scenes` takes on a CPU, all processes together, by the video's length.

    python -m benchmarks.scenes_memory                      # ten minutes, half an hour, two hours
    python -m benchmarks.scenes_memory --minutes 120

A made-up film with a cut every 30 s, spoken through, goes through the whole pipeline, as the
command: cuts, captions, objects, sounds, speech, records, descriptions without a key, sinks. The
captioner, the tagger and the detector are the small ones that come with Penstock, on torch; the
transcription server, in a process that is not counted, answers at once. What is counted is the
resident memory of the command and of its child processes added up, five times a second: pages that
two of them share, or that map a file, count in each.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import psutil

from benchmarks.crawl_command import children_seconds, crawling, ended_well, penstock_of
from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.scenes_material import film
from benchmarks.speech_service import Pace, SpeechService, transcribing
from benchmarks.watches import ProcessWatch
from engine.bench.intervals import interval
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS

MINUTES, QUICK_MINUTES = (10.0, 30.0, 120.0), (1.0, 2.0)
SCENE = 30.0
"""Seconds from one cut to the next."""
SIZE, FRAME_RATE = (320, 180), 10
MOST = 2000.0
"""Megabytes."""


def settings(server: SpeechService) -> Sequence[str]:
    demo = WEIGHTS.parent
    return [
        "limits.free_disk=0",
        "stages.transcribe.backend=openai",
        f"stages.transcribe.base_url={server.url}",
        f"stages.sounds.model={demo / 'tagger'}",
        f"stages.captions.model={demo / 'captioner'}",
        f"stages.objects.weights={WEIGHTS}",
        f"stages.objects.image_size={IMAGE_SIZE}",
        "stages.persist.meaning=off",
    ]


def scenes_of(minutes: float, server: SpeechService, sets: Sequence[str]) -> Figures:
    """One run over a film of so many minutes."""
    video = film(60 * minutes, max(1, round(60 * minutes / SCENE)), FRAME_RATE, SIZE)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder, "work")
        used, began = children_seconds(), time.monotonic()
        told = [*settings(server), *sets]
        with (
            crawling(penstock_of(None), [str(video)], told, work, "scenes") as process,
            ProcessWatch(psutil.Process(process.pid), work) as watch,
        ):
            ended_well(process, "the run")
        found = (work / "scenes" / "scenes.jsonl").read_text().count("\n")
        return {
            "memory MB": watch.memory,
            "scenes": found,
            "disk MB": watch.disk,
            "wall s": time.monotonic() - began,
            "CPU s": children_seconds() - used,
        }


def main() -> None:
    command = parser(__doc__, rounds=1)
    command.add_argument(
        "--minutes", type=float, action="append", help="lengths, in place of these"
    )
    command.add_argument("--set", action="append", default=[], help="a setting more")
    arguments = parse(command)
    arguments.rounds = 1
    lengths = arguments.minutes or (QUICK_MINUTES if arguments.quick else MINUTES)
    with ExitStack() as stack:
        server = stack.enter_context(transcribing(Pace(0.0)))
        found = {minutes: scenes_of(minutes, server, arguments.set) for minutes in lengths}
    _finish(arguments, found)


def _finish(arguments: Namespace, found: dict[float, Figures]) -> None:
    longest, shortest = max(found), min(found)
    rows = [
        Row(f"{minutes:g} minutes", {key: interval([value]) for key, value in one.items()})
        for minutes, one in found.items()
    ]
    peak = f"memory MB, {longest:g} minutes"
    targets = [Target(peak, interval([found[longest]["memory MB"]]), MOST)]
    notes = [f"{SIZE[0]}x{SIZE[1]}, {FRAME_RATE} frames a second, a cut every {SCENE:g} s."]
    if longest > shortest:
        more = found[longest]["memory MB"] - found[shortest]["memory MB"]
        grown = f"{more / (longest - shortest) * 60:.0f} MB more for each hour"
        notes.append(f"From {shortest:g} to {longest:g} minutes: {grown}.")
    finish(
        Measurement(
            "scenes_memory",
            "The memory of scenes, by the video's length",
            [Table("a run", rows)],
            targets,
            1,
            quick=arguments.quick,
            notes=notes,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
