"""The clip stage: a section's picture and voice as a whole number of video frames."""

import json
import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Stage, StandIn, setting
from stages.lesson.pictures.image import IMAGE_FACTS, PICTURE
from stages.lesson.scripts.sections import read_section
from stages.lesson.services.counts import is_counted, write_counts
from stages.lesson.still import write_still
from stages.lesson.voices.pcm import RATE, read_wav, write_wav
from stages.lesson.voices.voice import FACTS, VOICE

PICTURES, SOUND, CLIP = "pictures.mp4", "sound.wav", "clip.json"

NOTHING_SAID: Mapping[str, Any] = {"said": (), "made_by": None}

SILENT_SECONDS = 3.0
"""How long a section is shown that has neither a text nor a length."""


class SectionClip(Stage):
    """Show a section's picture for as long as its voice lasts.

    Of `section` it reads section.json, of `image` picture.png, of `voice`, where the section has a
    text, voice.wav and voice.json. It writes pictures.mp4 (H.264, no sound), sound.wav, of just as
    many samples, and clip.json: {"title", "frames", "fps",
    "quality", "said", "made_by"}. In a dry run it raises
    StandIn, with requests.jsonl alone, where a service would be asked.
    """

    name = "clip"
    inputs: ClassVar[Any] = ("section", "image")
    optional_inputs = "voice"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        fps: int = setting(25, "Frames a second.", ge=1, le=60)
        before: float = setting(0.3, "Seconds of silence before a section's voice.", ge=0, le=10)
        after: float = setting(0.6, "Seconds of silence after it.", ge=0, le=10)
        quality: int = setting(20, "H.264's CRF: lower is better, and larger.", ge=0, le=40)

    settings: "SectionClip.Settings"

    def process(self, item: Item, out: Path) -> None:
        from PIL import Image

        made_of = [item.input(one) for one in ("image", "voice") if item.has_input(one)]
        if any(map(is_counted, made_of)):
            write_counts(out, [])
            raise StandIn("nothing, in a dry run")
        settings, section = self.settings, read_section(item.input("section"))
        voice, facts = None, NOTHING_SAID
        if item.has_input("voice"):
            voice = read_wav(item.input("voice") / VOICE)
            facts = json.loads((item.input("voice") / FACTS).read_text("utf-8"))
        seconds = section.seconds or (0.0 if voice is not None else SILENT_SECONDS)
        if voice is not None:
            seconds = max(seconds, settings.before + len(voice) / RATE + settings.after)
        frames = max(1, math.ceil(round(seconds * settings.fps, 6)))
        drawn = json.loads((item.input("image") / IMAGE_FACTS).read_text("utf-8"))
        with Image.open(item.input("image") / PICTURE) as picture:
            write_still(
                picture.convert("RGB"), frames, settings.fps, settings.quality, out / PICTURES
            )
        write_wav(padded(voice, frames, settings.fps, settings.before), out / SOUND)
        said = [
            one | {name: round(one[name] + settings.before, 3) for name in ("start", "end")}
            for one in facts["said"]
        ]
        told = {
            "title": section.title,
            "frames": frames,
            "fps": settings.fps,
            "quality": settings.quality,
            "said": said,
            "made_by": {"image": drawn["made_by"], "voice": facts["made_by"]},
        }
        if stand_ins := [
            n for n, one in (("image", drawn), ("voice", facts)) if "stands_in" in one
        ]:
            told["stand_ins"] = stand_ins
        (out / CLIP).write_text(f"{json.dumps(told, ensure_ascii=False, indent=2)}\n", "utf-8")


def padded(voice: Any, frames: int, fps: int, before: float) -> Any:
    """The voice in silence, of as many samples as the frames last."""
    import numpy as np

    whole = np.zeros(samples_of(frames, fps), np.int16)
    if voice is not None:
        begin = round(before * RATE)
        kept = voice[: len(whole) - begin]
        whole[begin : begin + len(kept)] = kept
    return whole


def samples_of(frames: int, fps: int) -> int:
    return round(Fraction(frames * RATE, fps))
