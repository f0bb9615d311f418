"""Seconds to describe 1,000 frames at a server that allows 600 requests a minute.

    python -m benchmarks.describe_speed
    python -m benchmarks.describe_speed --frames 200

The stage runs in the engine, as in a crawl: 20 videos of 50 frames, 4 workers, 8 calls in flight,
every frame asked about by itself. The server takes 300 ms, and holds a second's worth of requests
in its bucket; then the same with a 429 for every tenth request and a 500 for every twentieth, drawn
at random. The limit is the server's own: the requests that it saw over the rate that it allows. It
counts what it answers, so a frame lost or paid for twice shows.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Figures, finish, parse, parser, table
from benchmarks.results import Measurement, Target
from benchmarks.servers import Behaviour, DescriptionServer, answering
from engine import SOURCE, Item, Pipeline, Stage, Step
from engine.bench.intervals import interval
from engine.config.load import load_config
from engine.flow.opening import run_pipeline
from stages.crawl.describe import Describe

RATE = 600.0
VIDEOS = 20
CALM = "calm"
FAULTY = "10% 429s, 5% 500s"


class NoiseFrames(Stage):
    """Frames of noise, in the shape in which the filter leaves them."""

    name = "filter"
    frames = 50

    def process(self, item: Item, out: Path) -> None:
        import cv2

        (out / "frames").mkdir()
        noise = np.random.default_rng(int(item.source.partition("-")[2]))
        with (out / "detections.jsonl").open("w") as lines:
            for second in range(self.frames):
                file = f"{second:010.3f}.jpg"
                picture = noise.integers(0, 255, (36, 64, 3), np.uint8)
                cv2.imwrite(str(out / "frames" / file), picture)
                lines.write(json.dumps({"file": file, "detections": []}) + "\n")


def describe(server: DescriptionServer, behaviour: Behaviour, frames: int) -> Figures:
    """One run over so many frames; returns what it and the server counted."""
    server.restart(behaviour)
    NoiseFrames.frames = frames // VIDEOS
    pipeline = Pipeline(
        "describing", "Frames described.", [Step(NoiseFrames, SOURCE), Step(Describe, "filter")]
    )
    settings = [
        "stages.describe.backend=openai",
        f"stages.describe.base_url={server.url}",
        f"stages.describe.requests_per_minute={RATE:g}",
        "stages.describe.reuse=off",
        "limits.free_disk=0",
    ]
    config = load_config(pipeline, None, {}, settings, {})
    with tempfile.TemporaryDirectory() as folder:
        report = run_pipeline(pipeline, config, Path(folder), [f"v-{n}" for n in range(VIDEOS)])
        described = sum(
            bool(json.loads(line)["description"])
            for path in Path(folder).glob("items/*/describe/descriptions.jsonl")
            for line in path.read_text().splitlines()
        )
    seen = server.figures()
    limit = seen["requests"] / (RATE / 60)
    return {
        "wall s": report.seconds,
        "limit s": limit,
        "wall over limit": report.seconds / limit,
        "frames described": described,
        "requests": seen["requests"],
        "over the limit": seen["over the limit"],
        "paid twice": seen["paid twice"],
    }


def main() -> None:
    command = parser(__doc__, rounds=2)
    command.add_argument("--frames", type=int, default=1000)
    arguments = parse(command)
    frames = 60 if arguments.quick else arguments.frames
    rounds = 1 if arguments.quick else arguments.rounds
    behaviours = {CALM: Behaviour(), FAULTY: Behaviour(refused=0.1, failed=0.05)}
    taken: dict[str, list[Figures]] = {name: [] for name in behaviours}
    with answering(Behaviour()) as server:
        for seed in range(rounds):
            for name, behaviour in behaviours.items():
                settled = Behaviour(**{**vars(behaviour), "seed": seed})
                taken[name].append(describe(server, settled, frames))

    def worst(figure: str) -> Any:
        return interval([turn[figure] for turns in taken.values() for turn in turns])

    shown = table(
        f"{frames} frames", {f"Penstock, {k}": v for k, v in taken.items()}, "", compared=()
    )
    targets = [
        Target(
            f"wall over requests / allowed rate, {name}",
            interval([turn["wall over limit"] for turn in turns]),
            1.05,
        )
        for name, turns in taken.items()
    ]
    targets.append(
        Target("share of frames described", interval([
            turn["frames described"] / (frames // VIDEOS * VIDEOS)
            for turns in taken.values() for turn in turns
        ]), 1.0, at_least=True)
    )  # fmt: skip
    targets.append(Target("frames paid for twice", worst("paid twice"), 0.0))
    finish(
        Measurement(
            name="describe_speed",
            title="Describe, against the rate that the server allows",
            tables=[shown],
            targets=targets,
            rounds=rounds,
            quick=arguments.quick,
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
