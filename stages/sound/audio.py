"""The audio stage: the video's sound as samples, for the stages that listen to it.

It writes `audio.wav` (16 kHz, mono, 16 bits, sample 0 at the video's beginning) and `audio.json`;
and, where it listens for speech meanwhile, how likely somebody speaks in each window of the track.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import engine
from engine import Item, Permanent, Skip, Stage, setting
from stages.media.cores import PROCESS_CORES, Cores
from stages.media.damage import Damage
from stages.media.packets.beginning import beginning
from stages.sound.track import RATE, TrackFacts, read_samples, write_track
from stages.sound.voice import Listening, VoiceNetwork

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Audio(Stage):
    """Decode the sound of the downloaded video, and listen for speech meanwhile.

    Of `video` it reads info.json and the file that it names. Raises Skip, of kind "no_audio", where
    the video has no sound, or none that can be decoded: everything else goes on without. The chunks
    stage finds the same speech where nobody has listened here, later.

    The samples of an hour take 115 MB, and seconds to decode again: they are not kept.
    """

    inputs = "video"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2, "keep": False}
    item_failures = frozenset({"missing_file", "damaged"})

    class Settings(engine.Settings):
        enabled: bool = setting(
            True, "Whether the sound is decoded: false where nobody listens.", in_ingredients=True
        )
        listen: bool | None = setting(
            None,
            "Whether a network listens for speech while the sound is decoded, instead of after "
            "that; none: where speech is looked for.",
            affects_output=False,
            example=True,
        )

    settings: "Audio.Settings"
    _network: VoiceNetwork | None = None

    cores: ClassVar[Cores] = PROCESS_CORES
    """Counts threads that listen."""

    def open(self) -> None:
        """Raises UsageError where the network that finds speech is missing."""
        if self.settings.listen:
            self._network = VoiceNetwork()

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """That nothing is decoded, where that is so."""
        return {} if self.settings.enabled else {"enabled": False}

    def process(self, item: Item, out: Path) -> None:
        if not self.settings.enabled:
            raise Skip("nobody listens", kind="no_audio")
        folder = item.input("video")
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        if not path.exists():
            raise Permanent(f"{path.name} is not there any more", kind="missing_file")
        damage = Damage()
        facts = self._write(path, out, damage)
        summary = {
            "duration": len(read_samples(out / "audio.wav")) / RATE,
            "rate": RATE,
            "track": asdict(facts),
            "damage": damage.sentences(),
        }
        (out / "audio.json").write_text(json.dumps(summary, indent=2) + "\n")

    def _write(self, path: Path, out: Path, damage: Damage) -> TrackFacts:
        if self._network is None:
            return _decoded(path, out, damage)
        with self.cores.held(), Listening(self._network) as listening:
            facts = _decoded(path, out, damage, listening.hear)
            listening.write(out)
        return facts


def _decoded(
    path: Path,
    out: Path,
    damage: Damage,
    hear: "Callable[[NDArray[np.int16]], None] | None" = None,
) -> TrackFacts:
    try:
        facts = write_track(path, beginning(path), out / "audio.wav", damage, hear)
    except Permanent as error:
        if error.kind != "no_audio":
            raise
        raise Skip(error.reason, kind=error.kind) from error
    if facts is None:
        raise Skip(f"{path.name} has no sound", kind="no_audio")
    return facts
