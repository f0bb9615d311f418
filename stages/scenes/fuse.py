"""The fuse stage: all that is known of a scene, as one record."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import engine
from engine import Item, Stage
from stages.files.folders import link_or_copy
from stages.scenes.record import Frame, Gap, SceneRecord, Sound
from stages.scenes.seen_of_scene import captions_of_scene, objects_of_scene
from stages.scenes.sounds_of_scene import sounds_of_scene, speech_without_words
from stages.scenes.speech_of_scene import speech_of_scene
from stages.sound.track import RATE, read_samples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BRANCHES = {
    "captions": "captions",
    "objects": "objects",
    "sounds": "sounds",
    "transcript": "speech",
}
"""The record's fields that optional steps fill, by the role in which fuse reads them."""

FULL_SCALE = 32768
RECORD = "record.json"


class Fuse(Stage):
    """Put together what was found in a scene.

    Of `scene` it reads scene.json and the pictures, of `audio`, where the video has sound,
    audio.wav, and of the branches what they found, where they did. It writes record.json, and
    beside it the pictures that the record names.
    """

    inputs = "scene"
    optional_inputs = ("audio", "sounds", "captions", "objects", "transcript")
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        """There are none."""

    settings: "Fuse.Settings"

    def process(self, item: Item, out: Path) -> None:
        source = item.input("scene")
        scene = json.loads((source / "scene.json").read_text())
        made_by = {"start": scene["method"]}
        frames = tuple(Frame(**frame) for frame in scene["frames"])
        captions = captions_of_scene(item, frames, made_by)
        objects = objects_of_scene(item, made_by)
        sounds = sounds_of_scene(item, scene["start"], scene["end"], made_by)
        speech, gaps = speech_of_scene(item, scene["start"], scene["end"], made_by)
        record = SceneRecord(
            video=item.root.id,
            index=scene["index"],
            start=scene["start"],
            end=scene["end"],
            first_frame=scene["first_frame"],
            after_frame=scene["after_frame"],
            frames=frames,
            thumbnail="thumbnail.jpg",
            sound=_sound(item, scene["start"], scene["end"]),
            captions=captions,
            objects=objects,
            sounds=sounds,
            speech_without_words=speech_without_words(item, scene["start"], scene["end"]),
            speech=speech,
            gaps=(*_failed(item), *gaps),
            made_by=made_by,
        )
        (out / "frames").mkdir()
        for name in (*(frame.file for frame in record.frames), record.thumbnail):
            link_or_copy(source / name, out / name)
        (out / RECORD).write_text(record.model_dump_json(indent=2, by_alias=True) + "\n")


def _failed(item: Item) -> Iterator[Gap]:
    """The branches that failed with the scene, or its video; not those that had nothing to do."""
    for role, branch in BRANCHES.items():
        why = item.why_failed(role)
        if why is not None:
            yield Gap(branch=branch, why=why)


def _sound(item: Item, start: float, end: float) -> Sound | None:
    if not item.has_input("audio"):
        return None
    samples = read_samples(item.input("audio") / "audio.wav")
    return levels(samples[round(start * RATE) : round(end * RATE)])


def levels(samples: "NDArray[np.int16]") -> Sound:
    """The levels of samples, shape (samples,)."""
    import numpy as np

    if not samples.size or not samples.any():
        return Sound(loudness=None, peak=None)
    # Whole numbers are summed up exactly, and a fifth of the time of fractions does.
    wide = samples.astype(np.int32)
    power = int(np.square(wide).sum(dtype=np.int64)) / wide.size
    return Sound(
        loudness=_decibels(math.sqrt(power) / FULL_SCALE),
        peak=_decibels(int(np.abs(wide).max()) / FULL_SCALE),
    )


def _decibels(level: float) -> float:
    return round(20 * math.log10(level), 2)
