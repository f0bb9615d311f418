"""Scripts to videos by services, replayed: thread pools of others, ours, and what the calls allow.

    python -m benchmarks.lesson_calls                # in real time: 7 minutes
    python -m benchmarks.lesson_calls --faster 4     # in 2: what Penstock takes weighs more

The original makes ten sections in 150 s one after the other, and in 40 s with four sections at
once, a section's picture and voice side by side; eight videos in 20 minutes one after the other,
and in 10 with two at once. So a picture takes 13.3 s here and a section's voice 1.7 s: that makes
these figures. The pools call and do nothing else, which is in their favour: Penstock makes whole
videos, with clips, captions and sound.

Time is scaled by one factor: all latencies, the narration's length and the minutes of a rate. All
figures are in seconds of the original. What Penstock itself takes is not scaled: the faster time
runs, the more it weighs. The pools do nothing but wait, and so their time runs ten times as fast.
"""

import json
import math
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.lesson_pools import ScriptedSection, ThreadPools, Video
from benchmarks.media_service import (
    IMAGES,
    SPEECH,
    MediaPace,
    MediaServices,
    MediaTally,
    drawing_and_speaking,
)
from benchmarks.results import Measurement, Row, Table, Target
from engine import load_config, run_pipeline
from engine.bench.intervals import interval
from stages.lesson.pipeline import lesson

SECTIONS, VIDEOS = 10, 8
IMAGE, VOICE = 40 / 3, 15 - 40 / 3
"""Seconds of a picture and of a section's voice."""

SAID = 12.0
"""Seconds of a section's narration."""

THEIRS, USUAL, MANY = 4, 8, 20
"""Pictures at once: as many as in their pool, as are usual here, and as a larger account allows."""

RATE = 6.0
"""Pictures a minute that a new account may have drawn."""

POOLS_FASTER = 10.0
"""How many times faster time runs for the pools, at least."""

REFUSED, FAILED = 0.10, 0.05


def bound(images: int, at_once: int, per_minute: float | None = None) -> float:
    """Seconds that so many pictures take at least: the longest of one call, all calls through the
    slots, and all calls at the rate, evenly spaced. Voices take less in every case."""
    by_slots = math.ceil(images / at_once) * IMAGE
    by_rate = 0.0 if per_minute is None else (images - 1) * 60 / per_minute + IMAGE
    return max(IMAGE, by_slots, by_rate)


def _pace(faster: float) -> MediaPace:
    return MediaPace(IMAGE / faster, VOICE / faster, _said(faster))


def _said(faster: float) -> float:
    """Seconds of a section's sound: no less than what can be speech."""
    return max(1.0, SAID / faster)


def scripted(videos: int, name: str) -> list[Video]:
    """Videos with sections of their own."""
    return [
        [
            ScriptedSection(f"{name} {video}: picture {n}", f"{name} {video}: this is number {n}.")
            for n in range(SECTIONS)
        ]
        for video in range(videos)
    ]


@dataclass
class LessonReplay:
    """All that takes part: time that runs so many times `faster`, the services, a folder."""

    faster: float
    services: MediaServices
    folder: Path
    pools_faster: float
    made: int = field(default=0)

    def pace(self, **more: float) -> MediaPace:
        rate = more.get("images_per_minute")
        scaled = {"images_per_minute": rate * self.faster} if rate is not None else {}
        return replace(_pace(self.faster), **{**more, **scaled})

    def pools(self, count: int, videos: int = 1, sections: int = 1, both: bool = False) -> Figures:
        """So many videos by thread pools of these sizes."""
        self.services.restart(_pace(self.pools_faster))
        origin = self.services.url.removesuffix("/v1")
        pools = ThreadPools(
            lambda text: _call(f"{origin}{IMAGES}", prompt=text),
            lambda text: _call(f"{origin}{SPEECH}", input=text),
            videos,
            sections,
            both,
        )
        began = time.monotonic()
        pools.make(scripted(count, "pools"))
        seconds = self.pools_faster * (time.monotonic() - began)
        return {"seconds": seconds, "most pictures at once": self.services.tally().most_images}

    def ours(
        self, count: int, at_once: int, per_minute: float | None = None, **trouble: float
    ) -> tuple[Figures, MediaTally]:
        """So many videos by `penstock lesson`, and what the services saw."""
        self.made += 1
        place = self.folder / str(self.made)
        place.mkdir()
        rate = {"images_per_minute": per_minute} if per_minute is not None else {}
        self.services.restart(self.pace(**rate, **trouble))
        scripts = [_script(place, n, video) for n, video in enumerate(scripted(count, "ours"))]
        config = load_config(lesson, None, {}, self._settings(at_once, per_minute), {})
        began = time.monotonic()
        report = run_pipeline(lesson, config, place / "work", [str(one) for one in scripts])
        ended = time.monotonic()
        seconds = self.faster * (ended - began)
        if report.items["done"] != count:
            raise SystemExit(f"a run of the lesson pipeline failed: {report.failures}")
        tally = self.services.tally()
        least = bound(count * SECTIONS, at_once, per_minute)
        figures = {
            "seconds": seconds,
            "most pictures at once": float(tally.most_images),
            "bound, s": least,
            "over the bound": seconds / least,
            "before the first call": tally.first_asked - began,
            "after the last picture": ended - tally.last_answered,
            "sections lost": float(report.gaps),
        }
        return figures, tally

    def _settings(self, at_once: int, per_minute: float | None) -> list[str]:
        sets = ["limits.free_disk=0", "stages.sections.workers=2"]
        for step in ("image", "voice"):
            sets += [
                f"stages.{step}.backend=openai",
                f"stages.{step}.base_url={self.services.url}",
                f"stages.{step}.concurrency={at_once}",
                f"stages.{step}.workers={2 * at_once}",
            ]
        if per_minute is not None:
            sets.append(f"stages.image.requests_per_minute={per_minute * self.faster}")
        return sets


def _script(folder: Path, number: int, video: Video) -> Path:
    sections = [{"title": f"{n}", "text": s.text, "image": s.image} for n, s in enumerate(video)]
    path = folder / f"video-{number}.json"
    path.write_text(json.dumps({"title": f"Video {number}", "sections": sections}))
    return path


def _call(url: str, **body: str) -> None:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request) as answer:
        answer.read()


@dataclass(frozen=True)
class LessonRound:
    """One of each: ten sections, eight videos, at a rate, and in trouble."""

    in_turn: Figures
    pool: Figures
    ten: dict[int, Figures]
    pools: Figures
    eight: Figures
    slow: Figures
    troubled: Figures
    tally: MediaTally


def replayed(replay: LessonReplay) -> LessonRound:
    ten = {slots: replay.ours(1, slots)[0] for slots in (THEIRS, USUAL, MANY)}
    troubled, tally = replay.ours(2, MANY, refused=REFUSED, failed=FAILED)
    return LessonRound(
        in_turn=replay.pools(1),
        pool=replay.pools(1, 1, THEIRS, True),
        ten=ten,
        pools=replay.pools(VIDEOS, 2, THEIRS, True),
        eight=replay.ours(VIDEOS, USUAL)[0],
        slow=replay.ours(1, USUAL, RATE)[0],
        troubled=troubled,
        tally=tally,
    )


def measured(rounds: Sequence[LessonRound]) -> tuple[list[Table], list[Target]]:
    turns = [one.in_turn["seconds"] for one in rounds]
    many = [
        _row("one after the other (8 times ten sections)", [{"seconds": 8 * s} for s in turns]),
        _row("2 videos at once (half of that)", [{"seconds": 4 * s} for s in turns]),
        _row("2 videos, 4 sections, 2 calls at once", [one.pools for one in rounds]),
        _row(f"Penstock, {USUAL} pictures at once", [one.eight for one in rounds]),
    ]
    tables = [
        Table(
            "a video of ten sections, seconds",
            [
                _row("one after the other", [one.in_turn for one in rounds]),
                _row("their pool: 4 sections, 2 calls at once", [one.pool for one in rounds]),
                *(
                    _row(f"Penstock, {slots} pictures at once", [one.ten[slots] for one in rounds])
                    for slots in (THEIRS, USUAL, MANY)
                ),
                _row(f"Penstock, {RATE:g} pictures a minute", [one.slow for one in rounds]),
            ],
        ),
        Table("eight videos of ten sections, seconds", many),
        Table(
            f"two videos, {REFUSED:.0%} of the calls refused by a 429, {FAILED:.0%} failed",
            [_row("Penstock", [_troubled(one) for one in rounds])],
        ),
    ]
    return tables, _targets(rounds)


def _troubled(one: LessonRound) -> Figures:
    answers = one.tally.answers
    return {
        "seconds": one.troubled["seconds"],
        "sections lost": one.troubled["sections lost"],
        "answered calls paid twice": float(one.tally.paid_twice),
        "refused": float(answers.get("refused", 0)),
        "failed": float(answers.get("failed", 0)),
    }


def _targets(rounds: Sequence[LessonRound]) -> list[Target]:
    def over(name: str, figures: Sequence[Figures]) -> Target:
        found = interval([one["over the bound"] for one in figures])
        return Target(f"{name}, wall over the bound", found, 1.05)

    lost = interval([one.troubled["sections lost"] for one in rounds])
    twice = interval([float(one.tally.paid_twice) for one in rounds])
    return [
        over(f"ten sections, {THEIRS} pictures at once", [one.ten[THEIRS] for one in rounds]),
        over("eight videos", [one.eight for one in rounds]),
        over(f"{RATE:g} pictures a minute", [one.slow for one in rounds]),
        Target("sections lost, with 429s and failures", lost, 0),
        Target("answered calls paid twice", twice, 0),
    ]


def _row(name: str, figures: Sequence[Figures]) -> Row:
    return Row(name, {key: interval([one[key] for one in figures]) for key in figures[0]})


def main() -> None:
    command = parser(__doc__, rounds=1)
    command.add_argument(
        "--faster", type=float, help="how many times faster time runs than in the original (1)"
    )
    command.add_argument("--look", action="store_true", help="ours alone, ten sections")
    arguments = parse(command)
    arguments.rounds = 1 if arguments.quick else arguments.rounds
    faster = arguments.faster or (40.0 if arguments.quick else 1.0)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = stack.enter_context(drawing_and_speaking())
        LessonReplay(400.0, services, _made(folder / "warm"), 1.0).ours(1, MANY)
        replay = LessonReplay(faster, services, _made(folder / "runs"), max(POOLS_FASTER, faster))
        if arguments.look:
            print(json.dumps(replay.ours(1, THEIRS)[0], indent=1))
            return
        rounds = [replayed(replay) for _ in range(arguments.rounds)]
    _finish(arguments, faster, rounds)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _finish(arguments: Namespace, faster: float, rounds: Sequence[LessonRound]) -> None:
    tables, targets = measured(rounds)
    scaled = (
        "Time ran as in the original"
        if faster == 1
        else f"Time ran {faster:g} times faster than in the original, all figures are multiplied "
        "again but those of before the first call and after the last picture"
    )
    notes = [
        f"{scaled}: a picture took {IMAGE / faster:.2f} s, a section's voice "
        f"{VOICE / faster:.2f} s, and a section was {_said(faster):.1f} s long.",
        f"The bound is the longest of one call, of all pictures through the slots ({THEIRS}, "
        f"{USUAL} or {MANY} at once), and of all pictures at the rate, evenly spaced. It knows "
        "nothing of what there is to do before the first call, nor after the last picture: its "
        "clip, the film's sound, and putting all together.",
        "One sort of second is given away on purpose: at a rate so slow that calls go one by one, "
        "each goes a hundredth of the interval later than it might, 0.05 s at most, for a call "
        "that arrives some milliseconds too soon is refused and costs a whole interval.",
        f"The pools call and make no video; their time ran {max(POOLS_FASTER, faster):g} times "
        "faster. That two videos at once take half of eight in turn is "
        "arithmetic, as is eight times ten sections; all else was run.",
        f"Their pools have as many pictures at once as they happen to: up to 8 here. Penstock's "
        f"gate is one number for each key, and at {RATE:g} pictures a minute "
        f"{bound(SECTIONS, USUAL, RATE):.0f} s is what the rate allows for ten, and "
        f"{bound(SECTIONS * VIDEOS, USUAL, RATE) / 60:.1f} minutes for eight videos.",
    ]
    result = Measurement(
        "lesson_calls",
        "Ten sections and eight videos by services that draw and speak: thread pools, replayed",
        tables,
        targets,
        arguments.rounds,
        quick=arguments.quick,
        notes=notes,
    )
    finish(result, arguments)


if __name__ == "__main__":
    main()
