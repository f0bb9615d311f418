"""Which events of a video seven chosen frames show, and which seven evenly spaced ones do.

The footage is made by code: things come on a table and go again at known times, the camera sways,
is out of focus at times, and for long nothing happens. An event counts as covered where a frame in
focus shows it. Three ways take seven frames of the same 60 s: one in the middle of each seventh,
the same but the sharpest within half a second, and Penstock's choice.
"""

import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.frame_footage import EventFootage, film_footage, planned
from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from engine.bench.intervals import interval
from stages.recipe.frames.candidates import FrameCandidate, find_candidates
from stages.recipe.frames.choice import FrameLook, choose_looks
from stages.recipe.frames.frames import ChosenFrames

OWN, EVEN, SHARPEST = "Penstock", "evenly spaced", "evenly spaced, the sharpest nearby"
FRAMES = 7
NEARBY = 0.5
"""Seconds to each side in which the sharpest frame is taken."""


def evenly(seconds: float) -> list[float]:
    """The middle of each of as many equal parts."""
    return [(2 * number + 1) * seconds / (2 * FRAMES) for number in range(FRAMES)]


def sharpest_nearby(looks: Sequence[FrameLook], seconds: float) -> list[float]:
    found = []
    for middle in evenly(seconds):
        near = [one for one in looks if abs(one.time - middle) <= NEARBY]
        found.append(max(near, key=lambda one: one.sharpness).time if near else middle)
    return found


def figures(footage: EventFootage, chosen: Sequence[float]) -> Figures:
    """What came of frames at these seconds."""
    edges = [0.0, *sorted(chosen), footage.seconds]
    return {
        "events covered, of 100": 100 * footage.covered_by(chosen) / len(footage.events),
        "frames out of focus, of 100": 100 * sum(map(footage.is_blurred, chosen)) / len(chosen),
        "longest stretch without a frame, s": max(later - one for one, later in pairwise(edges)),
    }


def chosen_times(looks: Sequence[FrameLook]) -> list[float]:
    return [looks[place].time for place in choose_looks(looks, FRAMES)]


def compared(footage: EventFootage, looks: Sequence[FrameLook]) -> dict[str, Figures]:
    """All three on one video."""
    return {
        EVEN: figures(footage, evenly(footage.seconds)),
        SHARPEST: figures(footage, sharpest_nearby(looks, footage.seconds)),
        OWN: figures(footage, chosen_times(looks)),
    }


def candidates_of(path: Path) -> list[FrameCandidate]:
    settings = ChosenFrames.Settings()
    return list(
        find_candidates(path, settings.fps, settings.candidates, settings.size, settings.quality)
    )


def main() -> None:
    command = parser(__doc__, rounds=40)
    arguments = parse(command)
    arguments.rounds = 3 if arguments.quick else arguments.rounds
    taken: dict[str, list[Figures]] = {}
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(arguments.rounds):
            footage = planned(seed)
            path = film_footage(footage, Path(folder) / "footage.mp4")
            began = time.perf_counter()
            looks = [one.look for one in candidates_of(path)]
            chosen_times(looks)
            spent.append(time.perf_counter() - began)
            for name, one in compared(footage, looks).items():
                taken.setdefault(name, []).append(one)
    finish(_measured(taken, spent, arguments.rounds, quick=arguments.quick), arguments)


def _measured(
    taken: dict[str, list[Figures]], spent: list[float], rounds: int, *, quick: bool
) -> Measurement:
    rows = [
        Row(name, {key: interval([one[key] for one in turns]) for key in turns[0]})
        for name, turns in taken.items()
    ]
    covered = {
        name: sum(one["events covered, of 100"] for one in turns) / len(turns)
        for name, turns in taken.items()
    }
    more = [covered[OWN] / covered[EVEN]]
    return Measurement(
        "frame_choice",
        "Which seven frames of a video show what happens in it",
        [
            Table("60 s of video, five events of 1.5 to 4 s", rows),
            Table(
                "of all videos together",
                [
                    Row(name, {"events covered, of 100": interval([value])})
                    for name, value in covered.items()
                ],
            ),
            Table("seconds for the choice, decoding included", [Row(OWN, {"s": interval(spent)})]),
        ],
        [
            Target("events covered, of 100", interval([covered[OWN]]), 75, at_least=True),
            Target("events covered, times as many as evenly spaced", interval(more), 2, True),
        ],
        rounds,
        quick=quick,
        notes=[f"Each round is another video, {rounds} in all; the footage is made by code."],
    )


if __name__ == "__main__":
    main()
