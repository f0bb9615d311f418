"""The extract stage: frames sampled from the downloaded video, as JPEG files, stretch by stretch.

For each stretch of the video that has frames it makes a part: `frames/<timestamp>.jpg`, and
`frames.jsonl`, with one line a frame: file, timestamp in seconds, width, height, keyframe. Of the
whole video it writes `extract.json`: frames, duration in seconds, codec, damage.
"""

import json
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from engine import Item, Parts, Permanent, Stage
from stages.crawl.extract_settings import ExtractSettings
from stages.crawl.frame_choice import sampling_for
from stages.crawl.frame_files import FileNames, frame_line
from stages.crawl.stretches import Stretches
from stages.files.folders import carry_info
from stages.media.clocks import OutOfStepError
from stages.media.cores import PROCESS_CORES, Cores, share_out
from stages.media.damage import Damage
from stages.media.packets.scan import scan_video
from stages.media.packets.segments import DamagedError, SegmentDecoder, SegmentError
from stages.media.packets.table import PacketTable, Segment
from stages.media.packets.wanted_frames import choose_frames, decode_whole, find_segments
from stages.media.pictures.rendering import Renderer, UnrenderableError, not_rendered, write_jpeg
from stages.media.sampling import exact_seconds, rounded
from stages.media.video import Video, open_video

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


class Extract(Stage):
    """Sample frames from the downloaded video.

    A part is a stretch of it, and goes on while the rest is being decoded. Of `video` it reads
    info.json and the file that it names.

    Raises Permanent where no frame comes of it, of kind "missing_file", "no_video",
    "undecodable_codec", "unsupported_pixels", "encrypted", "too_large", "damaged" or "no_frames".
    Raises Transient, of kind "memory", where there is too little of it. Of a damaged video what
    decodes is kept, and extract.json says what was wrong.
    """

    inputs = "video"
    defaults: ClassVar[dict[str, Any]] = {"workers": 2}
    item_failures = frozenset(
        {
            *("missing_file", "no_video", "damaged", "no_frames"),
            *("encrypted", "too_large", "unsupported_pixels"),
        }
    )

    cores: ClassVar[Cores] = PROCESS_CORES
    """Counts decoding threads and idle cores."""

    class Settings(ExtractSettings):
        """Defined in a file of its own, for code that needs the settings without the stage."""

    settings: "Extract.Settings"
    own: "Extract.Settings"
    """Those for the video in hand, of which an instance has one at a time."""

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        with self.cores.held():
            self._split(item, out, parts)

    def _split(self, item: Item, out: Path, parts: Parts) -> None:
        self.own = self.settings_for(item)
        folder = item.input("video")
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        kept, length = item.partial(self.name), self.own.stretch
        stretches = Stretches(parts, length, self.cores, folder, kept)
        damage = Damage()
        table = self._scan(path, damage)
        written = self._write_by_segments(path, table, stretches)
        if written is None and table.seek is not None:
            # The packets that the decoder lacked may be among those that the seek skipped.
            damage = Damage()
            table = self._scan(path, damage, seek=False)
            written = self._write_by_segments(path, table, stretches)
        if written is None:
            written = self._write_whole(path, table, damage, stretches)
        if not written:
            raise _nothing_found(path, table, damage, self.own.sample)
        duration = table.end() if table.complete else table.declared_duration
        summary: dict[str, Any] = {
            "frames": written,
            "duration": None if duration is None else rounded(duration),
            "codec": table.codec,
            "damage": damage.sentences(),
        }
        if stretches.tone_mapped:
            summary["tone_mapped"] = " and ".join(sorted(stretches.tone_mapped))
        (out / "extract.json").write_text(json.dumps(summary, indent=2) + "\n")
        carry_info(folder, out)

    def _scan(self, path: Path, damage: Damage, seek: bool = True) -> PacketTable:
        start, end = self.own.start, self.own.end
        until = None if end is None else exact_seconds(end)
        keyframes_only = self.own.sample == "keyframes"
        table = scan_video(
            path,
            damage,
            exact_seconds(start),
            until,
            keyframes_only,
            self.own.max_pixels,
            seek,
        )
        if not table.times:
            raise _nothing_found(path, table, damage, self.own.sample)
        _check_start(path, table, self.own)
        return table

    def _write_by_segments(
        self, path: Path, table: PacketTable, stretches: Stretches
    ) -> int | None:
        """Write the wanted frames, decoding only the packets that they need; returns their number.

        None where the result might differ from that of `decode_whole`. What was handed over by then
        is made again, and kept where it comes out the same.
        """
        try:
            return self._try_segments(path, table, stretches)
        except SegmentError as error:
            stretches.begin_again()
            # From now on leave out no packet that the decoder might need.
            table.intact = table.intact and not isinstance(error, DamagedError)
            return None

    def _try_segments(self, path: Path, table: PacketTable, stretches: Stretches) -> int:
        """Write the wanted frames by segments, stretch by stretch, each in several threads where
        cores are idle.

        Raises SegmentError.
        """
        wanted = choose_frames(table, sampling_for(self.own, table))
        segments = find_segments(table, wanted)
        files = FileNames()
        names = {ticks: files.take(table.seconds(ticks)) for ticks in wanted}
        threads = None if self.own.threads == "auto" else self.own.threads

        def write_stretch(stretch: Sequence[Segment], folder: Path) -> list[tuple[int, int]]:
            @contextmanager
            def begin() -> Iterator[Callable[[Segment], list[tuple[int, int]]]]:
                with open_video(path, decoder_threads, self.own.max_pixels) as video:
                    decoder = SegmentDecoder(video, table, table.only_keyframes(wanted))
                    write = self._picture_writer(video, folder, stretches.tone_mapped)
                    yield lambda one: [write(frame, names[at]) for frame, at in decoder.frames(one)]

            with self._decoder_threads(stretch) as decoder_threads:
                return [*chain.from_iterable(share_out(stretch, begin, self.cores, threads))]

        all_stretches = [*self._stretches_of(segments, table)]
        first = [next((s.wanted[0] for s in one if s.wanted), None) for one in all_stretches]
        stretches.starts = [table.seconds(ticks) for ticks in first if ticks is not None]
        stretches.expect(len(stretches.starts))
        for stretch in all_stretches:
            times = [ticks for segment in stretch for ticks in segment.wanted]
            if not times:
                write_stretch(stretch, path.parent)  # nothing to write, but it may be damaged
            elif not stretches.reuse():
                with stretches.make() as (folder, lines):
                    sizes = write_stretch(stretch, folder)
                    for at, size in zip(times, sizes, strict=True):
                        lines.write(frame_line(names[at], table.seconds(at), size, wanted[at]))
        return len(wanted)

    def _stretches_of(
        self, segments: Sequence[Segment], table: PacketTable
    ) -> Iterator[list[Segment]]:
        """The segments of each stretch, by their first wanted frames; those with none join the
        others before them."""
        number = 0

        def stretch_of(segment: Segment) -> int:
            nonlocal number
            if segment.wanted:
                number = self._stretch_of(table.seconds(segment.wanted[0]))
            return number

        for _, stretch in groupby(segments, key=stretch_of):
            yield list(stretch)

    def _stretch_of(self, seconds: Fraction) -> int:
        """The stretch of the video in which this second lies."""
        return int(seconds // exact_seconds(self.own.stretch)) if self.own.stretch else 0

    @contextmanager
    def _decoder_threads(self, segments: Sequence[Segment]) -> Iterator[int]:
        """The number of threads for each decoder: more than one if there is only one segment."""
        if len(segments) > 1:
            yield 1
        elif self.own.threads == "auto":
            with self.cores.borrowed(_MOST_DECODER_THREADS - 1) as idle:
                yield 1 + idle
        else:
            yield min(self.own.threads, _MOST_DECODER_THREADS)

    def _write_whole(
        self, path: Path, table: PacketTable, damage: Damage, stretches: Stretches
    ) -> int:
        """Write all wanted frames that decode; returns their number."""
        found = Damage()
        try:
            written = self._write_all_wanted(path, table, found, stretches)
        except OutOfStepError:
            stretches.begin_again()
            table.learn_times(path)
            _check_start(path, table, self.own)
            found = Damage()
            written = self._write_all_wanted(path, table, found, stretches)
        damage.add(found)
        return written

    def _write_all_wanted(
        self, path: Path, table: PacketTable, damage: Damage, stretches: Stretches
    ) -> int:
        """Write all wanted frames that decode; returns their number. Raises OutOfStepError where
        the packets do not tell the frames' times."""
        threads = 1  # several threads may conceal damage differently: only if requested
        if self.own.threads != "auto":
            threads = min(self.own.threads, _MOST_DECODER_THREADS)
        sampling = sampling_for(self.own, table)
        written = 0
        with open_video(path, threads, self.own.max_pixels) as video:
            names = FileNames()
            frames = decode_whole(video, table, sampling, damage)
            # Cut as by segments, where that was tried: the stretches before the damage then stand.
            starts = stretches.starts
            cut = partial(bisect_right, starts) if starts else self._stretch_of
            for _, stretch in groupby(frames, key=lambda one: cut(one.time)):
                with stretches.make() as (folder, lines):
                    write = self._picture_writer(video, folder, stretches.tone_mapped)
                    for frame, time, keyframe in stretch:
                        name = names.take(time)
                        lines.write(frame_line(name, time, write(frame, name), keyframe))
                        written += 1
        return written

    def _picture_writer(
        self, video: Video, out: Path, tone_mapped: set[str]
    ) -> Callable[["VideoFrame", str], tuple[int, int]]:
        """A function that writes a frame of this video to a file of the given name and returns its
        width and height.

        It adds to `tone_mapped` the kinds of high dynamic range that it met. Not for two threads at
        once.
        """
        renderer = Renderer(self.own.size, crop=video.crop)

        def write(frame: "VideoFrame", name: str) -> tuple[int, int]:
            try:
                pixels = renderer.render(frame, video.aspects.of(frame))
            except UnrenderableError as error:
                raise not_rendered(video.path, error) from error
            tone_mapped.update(renderer.tone_mapped)
            write_jpeg(pixels, out / "frames" / name, self.own.quality)
            return pixels.shape[1], pixels.shape[0]

        return write


_MOST_DECODER_THREADS = 8
"""The most threads of a decoder for a video that cannot be cut into segments; more gain little."""


def _check_start(path: Path, table: PacketTable, settings: Extract.Settings) -> None:
    """Raises Permanent where the video ends before its wanted part."""
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
