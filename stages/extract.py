"""The extract stage: frames sampled from the downloaded video, as JPEG files.

It writes `frames/<timestamp>.jpg`; `frames.jsonl`, with one line a frame: file, timestamp in
seconds, width, height, keyframe; and `extract.json`: frames, duration in seconds, codec, damage.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import model_validator

import engine
from engine import Item, Permanent, Stage, setting
from stages.folders import carry_info
from stages.media import Damage, Renderer, Video, decode_frames, open_video, write_jpeg
from stages.packets import Flag, PacketTable, ShortcutError, decode_needed, scan_video
from stages.sampling import Sampler, Sampling, at_rate, choose, evenly_spread, every_frame

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class Extract(Stage):
    """Sample frames from the downloaded video.

    Raises Permanent where no frame comes of it, of kind "missing_file", "no_video",
    "undecodable_codec", "damaged" or "no_frames". Of a damaged video what decodes is kept, and
    extract.json says what was wrong.
    """

    # One decoder thread a worker costs the least processor time for many videos at once.
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}

    class Settings(engine.Settings):
        sample: Literal["fps", "count", "keyframes", "all"] = setting(
            "fps", 'Which frames: "fps" a second, "count" spread evenly, "keyframes", or "all".'
        )
        fps: float = setting(
            1.0, 'Frames kept per second of video, with sample = "fps".', gt=0, le=1000
        )
        count: int = setting(
            20, 'Frames kept of the whole video, with sample = "count".', ge=1, le=1_000_000
        )
        start: float = setting(
            0.0, "Seconds into the video to start at.", ge=0, allow_inf_nan=False
        )
        end: float | None = setting(
            None, "Seconds into the video to stop before; none: its end.", gt=0, allow_inf_nan=False
        )
        max_frames: int | None = setting(
            None, "Frames kept of one video, at most: the first ones; none: no limit.", ge=1
        )
        size: int | None = setting(
            640, "Pixels along the longer side; never enlarges; 0: as it is.", ge=0, le=16384
        )
        quality: int = setting(90, "JPEG quality.", ge=1, le=95)
        threads: int = setting(
            1, "Decoder threads of one worker.", affects_output=False, ge=1, le=64
        )

        @model_validator(mode="after")
        def _end_after_start(self) -> "Extract.Settings":
            if self.end is not None and self.end <= self.start:
                raise ValueError(
                    f"end ({self.end:g} s) must be later than start ({self.start:g} s)"
                )
            return self

    settings: "Extract.Settings"

    def process(self, item: Item, out: Path) -> None:
        folder = item.output("download")
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        damage = Damage()
        start, end = self.settings.start, self.settings.end
        table = scan_video(path, damage, _exact(start), None if end is None else _exact(end))
        if not table.times:
            raise _nothing_found(path, table, damage)
        if start >= table.end():
            length = f"{path.name} is {float(table.end()):.1f} s long"
            raise Permanent(f"{length}: nothing of it comes after `start`", kind="no_frames")
        try:
            written = self._write(path, table, decode_by_shortcut, damage, out)
        except ShortcutError:
            shutil.rmtree(out / "frames")
            written = self._write(path, table, decode_whole, damage, out)
        if not written:
            raise _nothing_found(path, table, damage)
        duration = table.end() if table.complete else table.declared_duration
        summary = {
            "frames": written,
            "duration": None if duration is None else _rounded(duration),
            "codec": table.codec,
            "damage": damage.sentences(),
        }
        (out / "extract.json").write_text(json.dumps(summary, indent=2) + "\n")
        carry_info(item.output("download"), out)

    def _write(
        self, path: Path, table: PacketTable, decode: "Decode", damage: Damage, out: Path
    ) -> int:
        """Write the wanted frames as `decode` finds them; returns how many there are."""
        written = 0
        last_stem, again = "", 0
        (out / "frames").mkdir()
        with (
            open_video(path, self.settings.threads) as video,
            (out / "frames.jsonl").open("w") as lines,
        ):
            renderer = Renderer(self.settings.size, video.stream.sample_aspect_ratio)
            for picked in decode(video, table, sampling_for(self.settings, table), damage):
                stem = f"{float(picked.time):010.3f}"
                again = again + 1 if stem == last_stem else 0
                last_stem = stem
                name = f"{stem}-{again}.jpg" if again else f"{stem}.jpg"
                pixels = renderer.render(picked.frame)
                write_jpeg(pixels, out / "frames" / name, self.settings.quality)
                record = {
                    "file": name,
                    "timestamp": _rounded(picked.time),
                    "width": pixels.shape[1],
                    "height": pixels.shape[0],
                    "keyframe": picked.keyframe,
                }
                lines.write(json.dumps(record) + "\n")
                written += 1
        return written


class Picked(NamedTuple):
    """A frame that is wanted, when it is shown in seconds, and whether it is a keyframe."""

    frame: "VideoFrame"
    time: Fraction
    keyframe: bool


Decode = Callable[[Video, PacketTable, Sampling, Damage], Iterator[Picked]]
"""Finds the wanted frames of a freshly opened video."""


def decode_by_shortcut(
    video: Video, table: PacketTable, sampling: Sampling, damage: Damage
) -> Iterator[Picked]:
    """The wanted frames, chosen by their packets' times; the others are decoded only if needed.

    Raises ShortcutError where that is not sure to give what `decode_whole` gives.
    """
    packets = table.shown()
    times = [table.times[packet] for packet in packets]
    keyframes = [bool(table.flags[packet] & Flag.KEYFRAME) for packet in packets]
    seconds = [table.seconds(time) for time in times]
    chosen = choose(sampling, seconds, keyframes, table.end())
    wanted = {times[index]: keyframes[index] for index in chosen}
    for frame, ticks in decode_needed(video, table, wanted):
        yield Picked(frame, table.seconds(ticks), wanted[ticks])


def decode_whole(
    video: Video, table: PacketTable, sampling: Sampling, damage: Damage
) -> Iterator[Picked]:
    """The wanted frames of all that decode. What does not decode is noted in `damage`."""
    sampler = Sampler(sampling)
    keyframes = table.keyframe_times() if table.ordered else None
    if table.seek is not None:
        video.seek(table.seek)
    skip = table.first_needed(sampling.start)
    shown_from = Fraction(0) if not skip and table.seek is None else None
    for frame, time, until in decode_frames(video, damage, table.origin, skip):
        keyframe = frame.key_frame if keyframes is None else frame.pts in keyframes
        # Where the beginning is lost, the first frame that there is stands for it.
        if sampler.wants(time if shown_from is None else shown_from, until, keyframe):
            yield Picked(frame, time, keyframe)
        if sampler.finished:
            return
        shown_from = None


def sampling_for(settings: Extract.Settings, table: PacketTable) -> Sampling:
    """What these settings want of the video with these packets."""
    start = _exact(settings.start)
    end = None if settings.end is None else _exact(settings.end)
    if settings.sample == "fps":
        return at_rate(_exact(settings.fps), start, end, settings.max_frames)
    if settings.sample == "count":
        last = table.end() if end is None else min(end, table.end())
        return evenly_spread(settings.count, start, last, settings.max_frames)
    return every_frame(start, end, settings.sample == "keyframes", settings.max_frames)


def _nothing_found(path: Path, table: PacketTable, damage: Damage) -> Permanent:
    problems = "; ".join(damage.sentences())
    if problems:
        return Permanent(f"no frame of {path.name} could be decoded: {problems}", kind="damaged")
    if not table.times:
        return Permanent(f"{path.name} has a video stream with nothing in it", kind="no_frames")
    return Permanent(f"{path.name} has no frame where the settings look", kind="no_frames")


def _exact(seconds: float) -> Fraction:
    return Fraction(str(seconds))  # 0.1 is a tenth, not the nearest binary fraction


def _rounded(seconds: Fraction) -> float:
    return round(float(seconds), 6)
