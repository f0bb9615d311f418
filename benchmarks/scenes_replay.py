"""The plan's figures, and all that takes part in replaying them: a clock, servers, stand-ins."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.harness import Figures
from benchmarks.scenes_material import recording, spoken
from benchmarks.scenes_path import RunLog
from benchmarks.scenes_run import ScenesRun, run_scenes
from benchmarks.scenes_stand_ins import Latencies, Latency
from benchmarks.servers import Behaviour, DescriptionServer
from benchmarks.speech_service import Pace, SpeechService
from stages.demo.shapes import WEIGHTS
from stages.sound.track import RATE
from stages.speech.audio_file import encode
from stages.speech.heard import SpeechClip
from stages.speech.transcription_api import TranscriptionAPI

HOUR, SCENES = 3600.0, 75
PLAN = {"scenes": 1.5, "speech": 688.0, "sounds": 90.0, "objects": 9.0}
PLAN_FIGURES = {"total s": sum(PLAN.values()), **{f"{name} s": PLAN[name] for name in PLAN}}
CARRIED_OUT = {
    "total s": 85.0,
    "scenes s": 1.5,
    "speech s": 60.0,
    "sounds s": 15.0,
    "objects s": 5.0,
}
"""The plan's table: one after the other, and once it is carried out."""

SPEECH = Pace(8.5, 0.057)
CLIP = 12.0
"""Seconds of each scene that are sent in turn: 75 calls of 8.5 + 0.057 * 12 s are the 688 s."""

LATENCIES = Latencies(
    tagger=Latency(0.112, 0.0134), detector=Latency(0.00175, 0.002), captioner=Latency(0.1, 0.02)
)
WINDOWS = 719
"""Windows of 10 s, one every 5, in an hour."""
FRAMES = 32
"""Frames of a scene that the detector sees: one batch."""

CALLS = {"scenes": 1, "speech": SCENES, "sounds": WINDOWS, "objects": SCENES * FRAMES}
SAMPLE = 10
"""Of so many calls one after the other one is made."""

DESCRIBING = Behaviour(
    latency=4.0,
    requests_per_minute=15.0,
    says='{"description": "Somebody speaks.", "tags": [], "people": [], "actions": [],'
    ' "setting": "", "text_seen": []}',
)
SLOW_RATE = 3.0
"""Requests a minute that an account of Azure has at first."""

DEMO = WEIGHTS.parent


@dataclass(frozen=True)
class PlanClock:
    """The plan's time, which runs so many times `faster`."""

    faster: float

    def real(self, seconds: float) -> float:
        return seconds / self.faster

    def planned(self, seconds: float) -> float:
        return seconds * self.faster

    def pace(self, pace: Pace) -> Pace:
        rate = pace.requests_per_minute
        return replace(
            pace,
            call=self.real(pace.call),
            requests_per_minute=None if rate is None else rate * self.faster,
        )

    def behaviour(self, told: Behaviour) -> Behaviour:
        return replace(
            told,
            latency=self.real(told.latency),
            requests_per_minute=told.requests_per_minute * self.faster,
        )


@dataclass(frozen=True)
class Replay:
    """All that takes part: the clock, the film, the two servers, a folder for what is made."""

    clock: PlanClock
    video: Path
    speech: SpeechService
    describing: DescriptionServer
    folder: Path

    def in_turn(self) -> Figures:
        """Each kind of work for itself, one call after the other. Of a film of an hour all calls
        take as long as each other, so one in SAMPLE is made, and counts as often."""
        self.speech.restart(self.clock.pace(SPEECH))
        latencies = replace(LATENCIES, scale=1 / self.clock.faster)
        tagger, detector = latencies.make_tagger(), latencies.make_detector(1)
        clip = self._clip()
        work: dict[str, Callable[[], object]] = {
            "scenes": lambda: time.sleep(self.clock.real(PLAN["scenes"])),
            "speech": lambda: self._ask(clip),
            "sounds": lambda: tagger.scores([None]),
            "objects": lambda: detector.look(1),
        }
        taken = {}
        for name, do in work.items():
            made = math.ceil(CALLS[name] / SAMPLE)
            began = time.monotonic()
            for _ in range(made):
                do()
            seconds = (time.monotonic() - began) * CALLS[name] / made
            taken[f"{name} s"] = self.clock.planned(seconds)
        return {"total s": sum(taken.values()), **taken}

    def _clip(self) -> Request:
        length = round(self.clock.real(CLIP) * RATE)
        sound = SpeechClip(encode(spoken(recording("two_cities"))[:length], "ogg"), "ogg")
        api = TranscriptionAPI(self.speech.url, "whisper-1", "word")
        asked = api.request(sound)
        return Request(api.url, asked.content, {"Content-Type": asked.content_type})

    def _ask(self, request: Request) -> None:
        with urlopen(request) as answer:
            answer.read()

    def ours(
        self, name: str, *sets: str, pace: Pace = SPEECH, describing: Behaviour = DESCRIBING
    ) -> RunLog:
        """`penstock scenes`; the work folder `name` is gone on with where it is there."""
        self.speech.restart(self.clock.pace(pace))
        self.describing.restart(self.clock.behaviour(describing))
        return run_scenes(
            ScenesRun(
                [str(self.video)],
                str(self.folder / name),
                [*self._settings(), *sets],
                replace(LATENCIES, scale=1 / self.clock.faster),
            )
        )

    def _settings(self) -> Iterator[str]:
        real = self.clock.real
        yield from (
            "limits.free_disk=0",
            "stages.transcribe.backend=openai",
            f"stages.transcribe.base_url={self.speech.url}",
            f"stages.chunks.chunk_seconds={real(900.0)}",
            f"stages.scenes.min_length={real(0.6)}",
            f"stages.scenes.max_length={real(60.0)}",
            f"stages.sounds.model={DEMO / 'tagger'}",
            f"stages.sounds.window={real(10.0)}",
            f"stages.sounds.hop={real(5.0)}",
            f"stages.objects.weights={WEIGHTS}",
            f"stages.objects.fps={self.clock.faster * FRAMES * SCENES / HOUR}",
            f"stages.captions.model={DEMO / 'captioner'}",
            "stages.persist.meaning=off",
        )

    def described(self) -> Sequence[str]:
        """Settings for descriptions by the server."""
        return [
            "stages.describe_scenes.backend=openai",
            f"stages.describe_scenes.base_url={self.describing.url}",
            "stages.describe_scenes.requests_per_minute="
            f"{self.clock.faster * DESCRIBING.requests_per_minute}",
            "stages.summary.backend=found",
        ]
