"""The audio stage: the video's sound as samples, for the stages that listen to it.

It writes `audio.wav` (16 kHz, mono, 16 bits, sample 0 at the video's beginning) and `audio.json`.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Permanent, Skip, Stage
from stages.media.damage import Damage
from stages.media.packets.beginning import beginning
from stages.sound.track import RATE, TrackFacts, read_samples, write_track


class Audio(Stage):
    """Decode the sound of the downloaded video.

    Of `video` it reads info.json and the file that it names. Raises Skip, of kind "no_audio", where
    the video has no sound, or none that can be decoded: everything else goes on without.
    """

    inputs = "video"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    item_failures = frozenset({"missing_file", "damaged"})

    class Settings(engine.Settings):
        """There are none: what listens wants 16 kHz and one channel."""

    settings: "Audio.Settings"

    def process(self, item: Item, out: Path) -> None:
        folder = item.input("video")
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        if not path.exists():
            raise Permanent(f"{path.name} is not there any more", kind="missing_file")
        damage = Damage()
        facts = _write(path, out / "audio.wav", damage)
        summary = {
            "duration": len(read_samples(out / "audio.wav")) / RATE,
            "rate": RATE,
            "track": asdict(facts),
            "damage": damage.sentences(),
        }
        (out / "audio.json").write_text(json.dumps(summary, indent=2) + "\n")


def _write(path: Path, target: Path, damage: Damage) -> TrackFacts:
    try:
        facts = write_track(path, beginning(path), target, damage)
    except Permanent as error:
        if error.kind != "no_audio":
            raise
        raise Skip(error.reason, kind=error.kind) from error
    if facts is None:
        raise Skip(f"{path.name} has no sound", kind="no_audio")
    return facts
