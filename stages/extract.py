"""The extract stage: frames sampled from the downloaded video, as JPEG files.

It writes `frames/<timestamp>.jpg`; `frames.jsonl`, with one line a frame: file, timestamp in
seconds, width, height, keyframe; and `extract.json`: frames, duration in seconds, codec, damage.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import PositiveInt, model_validator

import engine
from engine import Item, Permanent, Stage, setting
from stages.clocks import OutOfStepError
from stages.cores import Cores, available_cores, share_out
from stages.damage import Damage
from stages.folders import carry_info
from stages.media import Renderer, Video, decode_frames, open_video, write_jpeg
from stages.media_file import MOST_PIXELS
from stages.packet_scan import scan_video
from stages.packet_table import Flag, PacketTable, Segment
from stages.rendering import UnrenderableError
from stages.sampling import Sampler, Sampling, at_rate, choose, evenly_spread, every_frame
from stages.shortcut import DamagedError, SegmentDecoder, ShortcutError

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class Extract(Stage):
    """Sample frames from the downloaded video.

    Raises Permanent where no frame comes of it, of kind "missing_file", "no_video",
    "undecodable_codec", "unsupported_pixels", "encrypted", "too_large", "damaged" or "no_frames".
    Raises Transient, of kind "memory", where there is too little of it. Of a damaged video what
    decodes is kept, and extract.json says what was wrong.
    """

    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    item_failures = frozenset(
        {
            *("missing_file", "no_video", "damaged", "no_frames"),
            *("encrypted", "too_large", "unsupported_pixels"),
        }
    )

    cores: ClassVar[Cores] = Cores(available_cores())
    """Shared by the workers of a process: who decodes, and which cores are idle."""

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
            None,
            "Seconds into the video to stop before; none: its end.",
            gt=0,
            allow_inf_nan=False,
            example=600.0,
        )
        max_frames: int | None = setting(
            None,
            "Frames kept of one video, at most: the first ones; none: no limit.",
            ge=1,
            example=1000,
        )
        size: int | None = setting(
            640, "Pixels along the longer side; never enlarges; 0: as it is.", ge=0, le=16384
        )
        quality: int = setting(90, "JPEG quality.", ge=1, le=95)
        max_pixels: int = setting(
            MOST_PIXELS,
            "Pixels of a frame, at most; a video with larger ones fails before it takes memory.",
            affects_output=False,
            ge=1,
            le=2**31 - 1,
        )
        threads: PositiveInt | Literal["auto"] = setting(
            "auto",
            'Threads that decode one video: a number, or "auto": more than one if cores are idle.',
            affects_output=False,
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
        with self.cores.held():
            self._process(item, out)

    def _process(self, item: Item, out: Path) -> None:
        folder = item.output("download")
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        damage = Damage()
        tone_mapped: set[str] = set()
        table = self._scan(path, damage)
        written = self._write_by_shortcut(path, table, out, tone_mapped)
        if written is None and table.seek is not None:
            # What the decoder lacked may be in the packets that were sought across.
            damage = Damage()
            table = self._scan(path, damage, seek=False)
            written = self._write_by_shortcut(path, table, out, tone_mapped)
        if written is None:
            written = self._write_whole(path, table, damage, out, tone_mapped)
        if not written:
            raise _nothing_found(path, table, damage, self.settings.sample)
        duration = table.end() if table.complete else table.declared_duration
        summary: dict[str, Any] = {
            "frames": written,
            "duration": None if duration is None else _rounded(duration),
            "codec": table.codec,
            "damage": damage.sentences(),
        }
        if tone_mapped:
            summary["tone_mapped"] = " and ".join(sorted(tone_mapped))
        (out / "extract.json").write_text(json.dumps(summary, indent=2) + "\n")
        carry_info(item.output("download"), out)

    def _scan(self, path: Path, damage: Damage, seek: bool = True) -> PacketTable:
        start, end = self.settings.start, self.settings.end
        until = None if end is None else _exact(end)
        keyframes_only = self.settings.sample == "keyframes"
        table = scan_video(
            path, damage, _exact(start), until, keyframes_only, self.settings.max_pixels, seek
        )
        if not table.times:
            raise _nothing_found(path, table, damage, self.settings.sample)
        _check_start(path, table, self.settings)
        return table

    def _write_by_shortcut(
        self, path: Path, table: PacketTable, out: Path, tone_mapped: set[str]
    ) -> int | None:
        """Write the wanted frames, decoding what they need and no more; returns how many there are.

        None where that is not sure to give what `decode_whole` gives.
        """
        try:
            return self._try_shortcut(path, table, out, tone_mapped)
        except ShortcutError as error:
            shutil.rmtree(out / "frames", ignore_errors=True)
            tone_mapped.clear()
            # Nothing that the decoder might lack may be left out any more.
            table.intact = table.intact and not isinstance(error, DamagedError)
            return None

    def _try_shortcut(
        self, path: Path, table: PacketTable, out: Path, tone_mapped: set[str]
    ) -> int:
        """A long video is decoded by several threads at once, as many as may be.

        Raises ShortcutError.
        """
        wanted = choose_frames(table, sampling_for(self.settings, table))
        segments = find_segments(table, wanted)
        files = FileNames()
        names = {ticks: files.take(table.seconds(ticks)) for ticks in wanted}
        threads = None if self.settings.threads == "auto" else self.settings.threads

        @contextmanager
        def begin() -> Iterator[Callable[[Segment], list[tuple[int, int]]]]:
            with open_video(path, decoder_threads, self.settings.max_pixels) as video:
                decoder = SegmentDecoder(video, table, table.only_keyframes(wanted))
                write = self._picture_writer(video, out, tone_mapped)
                yield lambda part: [write(frame, names[at]) for frame, at in decoder.frames(part)]

        (out / "frames").mkdir()
        with self._decoder_threads(segments) as decoder_threads:
            sizes = chain.from_iterable(share_out(segments, begin, self.cores, threads))
        with (out / "frames.jsonl").open("w") as lines:
            for (ticks, keyframe), size in zip(wanted.items(), sizes, strict=True):
                lines.write(_record(names[ticks], table.seconds(ticks), size, keyframe))
        return len(wanted)

    @contextmanager
    def _decoder_threads(self, segments: Sequence[Segment]) -> Iterator[int]:
        """How many threads each decoder should have: more than one where there is one segment."""
        if len(segments) > 1:
            yield 1
        elif self.settings.threads == "auto":
            with self.cores.borrowed(_MOST_DECODER_THREADS - 1) as idle:
                yield 1 + idle
        else:
            yield min(self.settings.threads, _MOST_DECODER_THREADS)

    def _write_whole(
        self, path: Path, table: PacketTable, damage: Damage, out: Path, tone_mapped: set[str]
    ) -> int:
        """Write the wanted frames of all that decode; returns how many there are."""
        found = Damage()
        try:
            written = self._write_all_wanted(path, table, found, out, tone_mapped)
        except OutOfStepError:
            shutil.rmtree(out / "frames")
            tone_mapped.clear()
            table.learn_times(path)
            _check_start(path, table, self.settings)
            found = Damage()
            written = self._write_all_wanted(path, table, found, out, tone_mapped)
        damage.add(found)
        return written

    def _write_all_wanted(
        self, path: Path, table: PacketTable, damage: Damage, out: Path, tone_mapped: set[str]
    ) -> int:
        """Raises OutOfStepError where the packets do not tell when the frames are shown."""
        threads = 1  # several might conceal damage in another way: only if they are asked for
        if self.settings.threads != "auto":
            threads = min(self.settings.threads, _MOST_DECODER_THREADS)
        sampling = sampling_for(self.settings, table)
        (out / "frames").mkdir()
        with (
            open_video(path, threads, self.settings.max_pixels) as video,
            (out / "frames.jsonl").open("w") as lines,
        ):
            write = self._picture_writer(video, out, tone_mapped)
            names = FileNames()
            written = 0
            for frame, time, keyframe in decode_whole(video, table, sampling, damage):
                name = names.take(time)
                lines.write(_record(name, time, write(frame, name), keyframe))
                written += 1
        return written

    def _picture_writer(
        self, video: Video, out: Path, tone_mapped: set[str]
    ) -> Callable[["VideoFrame", str], tuple[int, int]]:
        """What writes a frame of this video to a file of that name; returns its width and height.

        It adds to `tone_mapped` the kinds of high dynamic range that it met.
        Not for two threads at once.
        """
        renderer = Renderer(self.settings.size, crop=video.crop)

        def write(frame: "VideoFrame", name: str) -> tuple[int, int]:
            try:
                pixels = renderer.render(frame, video.aspects.of(frame))
            except UnrenderableError as error:
                raise _not_rendered(video, error) from error
            tone_mapped.update(renderer.tone_mapped)
            write_jpeg(pixels, out / "frames" / name, self.settings.quality)
            return pixels.shape[1], pixels.shape[0]

        return write


_MOST_DECODER_THREADS = 8
"""Threads of a decoder whose video cannot be cut into segments; more of them gain little."""


class Picked(NamedTuple):
    """A frame that is wanted, when it is shown in seconds, and whether it is a keyframe."""

    frame: "VideoFrame"
    time: Fraction
    keyframe: bool


def choose_frames(table: PacketTable, sampling: Sampling) -> dict[int, bool]:
    """The frames that are wanted, by their packets: the times in ticks, and which are keyframes.

    Raises ShortcutError where the packets do not tell.
    """
    if not table.ordered:
        raise ShortcutError("the packets do not tell when the frames are shown")
    packets = table.shown()
    if sampling.keyframes_only:
        packets = [packet for packet in packets if table.flags[packet] & Flag.KEYFRAME]
    times = [table.times[packet] for packet in packets]
    keyframes = [bool(table.flags[packet] & Flag.KEYFRAME) for packet in packets]
    seconds = [table.seconds(time) for time in times]
    chosen = choose(sampling, seconds, keyframes, table.end())
    return {times[index]: keyframes[index] for index in chosen}


def find_segments(table: PacketTable, wanted: Mapping[int, bool]) -> list[Segment]:
    """What has to be decoded for these frames, in parts that can be decoded apart.

    Raises ShortcutError where that is not sure to give what `decode_whole` gives.
    """
    actions = table.plan(wanted)
    if actions is None:
        raise ShortcutError("this stream has to be decoded whole")
    segments = table.segments(actions, wanted)
    if [time for segment in segments for time in segment.wanted] != list(wanted):
        raise ShortcutError("the frames come in another order")
    return segments


def decode_whole(
    video: Video, table: PacketTable, sampling: Sampling, damage: Damage
) -> Iterator[Picked]:
    """The wanted frames of all that decode. What does not decode is noted in `damage`.

    Raises OutOfStepError where the packets do not tell when the frames are shown after all.
    """
    sampler = Sampler(sampling)
    marked = table.keyframe_times() if table.ordered and table.keyframes_told else None
    if table.seek is not None:
        video.seek(table.seek)
    skip = table.first_needed(sampling.start)
    clock = table.clock(damage, from_beginning=not skip and table.seek is None)
    for frame, time, until in decode_frames(video, damage, clock, skip):
        keyframe = _is_keyframe(frame) if marked is None else frame.pts in marked
        if sampler.wants(time, until, keyframe):
            yield Picked(frame, time, keyframe)
        if sampler.finished:
            return


def _is_keyframe(frame: "VideoFrame") -> bool:
    """Whether it is one to the decoder, where the container is no guide."""
    from av.video.frame import PictureType

    return frame.key_frame or frame.pict_type == PictureType.I


def sampling_for(settings: Extract.Settings, table: PacketTable) -> Sampling:
    """What these settings want of the video with these packets."""
    start = _exact(settings.start)
    end = None if settings.end is None else _exact(settings.end)
    if settings.sample == "fps":
        return at_rate(_exact(settings.fps), start, end, settings.max_frames)
    if settings.sample == "count":
        last = table.end() if end is None else min(end, table.end())
        in_the_way = table.longest_shown() * settings.count > last - start
        times = table.shown_times() if in_the_way else ()
        return evenly_spread(settings.count, start, last, settings.max_frames, times)
    return every_frame(start, end, settings.sample == "keyframes", settings.max_frames)


class FileNames:
    """Names for the frames of one video, in the order in which they are shown."""

    def __init__(self) -> None:
        self._last = ""
        self._again = 0

    def take(self, time: Fraction) -> str:
        """The name of the next frame, which is shown at that second."""
        stem = f"{float(time):010.3f}"
        self._again = self._again + 1 if stem == self._last else 0
        self._last = stem
        return f"{stem}-{self._again}.jpg" if self._again else f"{stem}.jpg"


def _record(name: str, time: Fraction, size: tuple[int, int], keyframe: bool) -> str:
    """The line of frames.jsonl for a frame of that width and height."""
    width, height = size
    record = {
        "file": name,
        "timestamp": _rounded(time),
        "width": width,
        "height": height,
        "keyframe": keyframe,
    }
    return json.dumps(record) + "\n"


def _check_start(path: Path, table: PacketTable, settings: Extract.Settings) -> None:
    """Raises Permanent where the video ends before the part that is wanted of it."""
    nothing_decodes = table.timeline is not None and not table.timeline.stamps
    if settings.start >= table.end() and not nothing_decodes:
        length = f"{path.name} is {float(table.end()):.1f} s long"
        raise Permanent(f"{length}: nothing of it comes after `start`", kind="no_frames")


def _nothing_found(path: Path, table: PacketTable, damage: Damage, sample: str) -> Permanent:
    problems = "; ".join(damage.sentences())
    if problems:
        return Permanent(f"no frame of {path.name} could be decoded: {problems}", kind="damaged")
    if not table.times:
        return Permanent(f"{path.name} has a video stream with nothing in it", kind="no_frames")
    what = "keyframe" if sample == "keyframes" else "frame"
    return Permanent(f"{path.name} has no {what} where the settings look", kind="no_frames")


def _not_rendered(video: Video, error: UnrenderableError) -> Permanent:
    return Permanent(
        f"{video.path.name} has pixels that no picture can be made of ({error}): convert it to"
        " yuv420p with BT.709",
        kind="unsupported_pixels",
    )


def _exact(seconds: float) -> Fraction:
    return Fraction(str(seconds))  # 0.1 is a tenth, not the nearest binary fraction


def _rounded(seconds: Fraction) -> float:
    return round(float(seconds), 6)
