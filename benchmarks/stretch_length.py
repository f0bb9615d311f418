"""One ten-minute video through a whole crawl, cut into stretches of different lengths.

    python -m benchmarks.stretch_length                        # a video that it makes itself
    python -m benchmarks.stretch_length --folder CLIPS --weights yolo11n.onnx --classes person
    python -m benchmarks.stretch_length --lengths 5,10,30,0    # seconds; 0: the whole video

The crawl is that of `benchmarks/long_video.py`, with the setting `extract.stretch` of each length.
Short stretches are described sooner and take less room on the disk; each costs a folder for each
step, and a few rows in the ledger. The default is the shortest one that costs no time.
"""

import tempfile
from argparse import Namespace
from contextlib import ExitStack
from pathlib import Path

from benchmarks.crawl_material import (
    add_crawl_options,
    crawl_settings,
    found_videos,
    long_video,
)
from benchmarks.harness import Figures, finish, parse, parser, table, take_turns
from benchmarks.long_video import QUICK_SECONDS, SECONDS, SPEED, contestant
from benchmarks.results import Measurement, Target
from benchmarks.servers import Behaviour, answering, serving
from engine.bench.intervals import interval
from stages.crawl.extract import Extract

LENGTHS, QUICK_LENGTHS = (5.0, 10.0, 20.0, 30.0, 60.0, 0.0), (5.0, 10.0)
SHOWN = (
    *("wall s", "CPU s", "until a frame was described s"),
    *("raw frames at once", "raw frames MB", "short of both limits s", "memory MB"),
)


def name_of(length: float) -> str:
    return f"{length:g} s" if length else "the whole video"


def main() -> None:
    command = parser(__doc__, rounds=3)
    add_crawl_options(command)
    command.add_argument("--lengths", type=lambda text: [float(part) for part in text.split(",")])
    arguments = parse(command)
    lengths = arguments.lengths or (QUICK_LENGTHS if arguments.quick else LENGTHS)
    if arguments.quick:
        arguments.rounds = 1
    with ExitStack() as stack:
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        videos = found_videos(arguments.folder, temporary)
        video = long_video(videos, QUICK_SECONDS if arguments.quick else SECONDS)
        [url] = stack.enter_context(serving([video], SPEED))
        server = stack.enter_context(answering(Behaviour()))
        settings = [
            *crawl_settings(arguments, server.url),
            *("stages.extract.keep=false", *arguments.set),
        ]
        contestants = {
            name_of(length): contestant(
                None, url, [*settings, f"stages.extract.stretch={length:g}"], server
            )
            for length in lengths
        }
        taken = take_turns(contestants, arguments.rounds, warm_up=0)
    finish(_result(arguments, taken), arguments)


def _result(arguments: Namespace, taken: dict[str, list[Figures]]) -> Measurement:
    default = name_of(Extract.Settings().stretch)
    own = default if default in taken else next(iter(taken))
    shown = {
        name: [{key: turn[key] for key in SHOWN} for turn in turns] for name, turns in taken.items()
    }
    datasets = {turn["dataset"] for turns in taken.values() for turn in turns}
    return Measurement(
        name="stretch_length",
        title="One ten-minute video, cut into stretches of different lengths",
        tables=[table("stretches of", shown, own)],
        targets=[Target("datasets that differ from the first", interval([len(datasets) - 1.0]), 0)],
        rounds=arguments.rounds,
        quick=arguments.quick,
        notes=[f"The default is {default}."],
    )


if __name__ == "__main__":
    main()
