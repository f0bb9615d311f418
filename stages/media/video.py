"""Reading video with PyAV: opening a file, probing it, decoding its frames.

A frame's time counts from the stream's first presentation time, as a player shows it: 0 is when
the video's first frame appears, whatever the container's clock says then.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from engine import Permanent, Transient, checkpoint
from stages.media.clocks import Clock, FrameTimeline, TimelineClock
from stages.media.container_headers import Header, is_encrypted, read_header
from stages.media.damage import Damage
from stages.media.frame_times import shown_times
from stages.media.media_file import (
    MOST_PIXELS,
    NoMediaError,
    frame_size,
    limit_decoder,
    open_media,
    video_streams,
)
from stages.media.pictures.frame_aspects import Aspects
from stages.media.pictures.rendering import Crop

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_CLOCK_RANGE = 1 << 33
"""The number of ticks after which the clock of MPEG streams wraps, some 26 hours."""

MOST_TICKS_AHEAD = _CLOCK_RANGE // 2
"""The most ticks by which a timestamp can be later than the one before. More means that the clock
was set back."""


class Shown(NamedTuple):
    """A decoded frame, and the seconds from and until which it is shown."""

    frame: "VideoFrame"
    time: Fraction
    until: Fraction


@dataclass(frozen=True, slots=True)
class Video:
    """An open video file and the stream that a player would show. Close it, or use `with`."""

    path: Path
    container: "InputContainer"
    stream: "VideoStream"
    codec: str
    """The codec's standard name: "h264", "av1"."""
    aspects: Aspects
    """The shape of the pixels of each frame that has been decoded."""
    crop: Crop
    """The parts of each frame that the container leaves out."""
    max_pixels: int
    """Larger frames count as undecodable."""

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *exception: object) -> None:
        self.container.close()

    @property
    def time_base(self) -> Fraction:
        assert self.stream.time_base is not None
        return self.stream.time_base

    @property
    def declared_duration(self) -> Fraction | None:
        """The length in seconds in the file's header, None where it has none."""
        if self.stream.duration is not None:
            return self.stream.duration * self.time_base
        if self.container.duration is not None:
            return Fraction(self.container.duration, 1_000_000)
        return None

    @property
    def frame_duration(self) -> int:
        """The length in ticks of a frame at the average rate, where no better one is known."""
        rate = self.stream.average_rate or Fraction(25)
        return max(1, round(1 / (rate * self.time_base)))

    def packets(self, damage: Damage) -> Iterator["Packet[VideoStream]"]:
        """The stream's packets in decoding order, as far as the file can be read.

        Raises engine.Cancelled when the attempt has been given up, Permanent at an encrypted
        packet, and Transient, of kind "memory", where memory is short.
        """
        import av

        while True:
            try:
                for packet in self.container.demux(self.stream):
                    checkpoint()
                    if not packet.size:  # an empty packet would end the decoder's stream
                        continue
                    if is_encrypted(packet):
                        raise _encrypted(self.path)
                    yield packet
            except IndexError:  # PyAV may fail at a stream that begins midway, but can go on
                continue
            except av.FFmpegError as error:  # demuxers raise errors of any kind for damaged data
                _check_memory(self.path, error)
                damage.notes.append(f"the file cannot be read to its end: {error.strerror}")
            return

    def seek(self, ticks: int) -> None:
        """Continue with the packets from the keyframe at or before that presentation time."""
        self.container.seek(ticks, stream=self.stream)

    def decode(self, packet: "Packet[VideoStream] | None") -> list["VideoFrame"]:
        """The frames that the decoder has ready after this packet; None for all that are left.

        Raises UndecodableError, and Transient, of kind "memory", where memory is short.
        """
        import av

        try:
            frames = self.stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            _check_memory(self.path, error)
            raise UndecodableError(error.strerror) from error
        self.aspects.note(packet)
        small = [frame for frame in frames if frame.width * frame.height <= self.max_pixels]
        if frames and not small:
            raise UndecodableError("it has more pixels than its header says, and than max_pixels")
        return small


_SPARE = 2**30
"""Bytes: a process that can allocate this much is not short of memory."""


class UndecodableError(Exception):
    """The decoder failed at a packet. Later packets may decode again."""


def open_video(path: Path, threads: int = 1, max_pixels: int = MOST_PIXELS) -> Video:
    """Open the file and find its video, to be decoded by `threads` threads. Nothing is decoded yet.

    Raises Permanent, of kind "missing_file", "damaged", "no_video", "undecodable_codec",
    "encrypted", or "too_large" where a frame has more than `max_pixels`.
    """
    import av

    try:
        container = open_media(path, max_pixels)
    except FileNotFoundError:
        raise Permanent(f"{path.name} is not there any more", kind="missing_file") from None
    except NoMediaError as error:
        raise Permanent(f"{path.name} has no video in it: it is {error}", kind="no_video") from None
    except av.FFmpegError as error:
        empty = path.stat().st_size == 0
        problem = "is empty (0 bytes)" if empty else f"cannot be read as video: {error.strerror}"
        raise Permanent(f"{path.name} {problem}", kind="damaged") from None
    try:
        stream, header = _find_stream(path, container)
        codec = _prepare_decoder(path, container, stream, threads, max_pixels)
    except BaseException:
        container.close()
        raise
    return Video(
        path, container, stream, codec, Aspects(stream, header.aspect), header.crop, max_pixels
    )


def _find_stream(path: Path, container: "InputContainer") -> tuple["VideoStream", Header]:
    """The stream that a player would show, and its container's header."""
    streams = video_streams(container)
    if not streams:
        raise Permanent(f"{path.name} has no video in it", kind="no_video")
    best = container.streams.best("video")
    stream = next((one for one in streams if one is best), streams[0])
    context: Any = stream.codec_context
    header = read_header(
        path,
        container.format.name,
        track=stream.id,
        position=streams.index(stream),
        size=frame_size(path, stream),
        codec_aspect=context.sample_aspect_ratio if context else None,
    )
    sample_aes = container.format.name == "mpegts" and context and context.codec_tag[0] == "\xdb"
    if header.encrypted or sample_aes:
        raise _encrypted(path)
    return stream, header


def _check_memory(path: Path, error: Exception) -> None:
    """Raise Transient where FFmpeg got no memory because the machine is short of it.

    Otherwise the file is to blame: a damaged one may ask for any amount.
    """
    if not isinstance(error, MemoryError):
        return
    try:
        bytearray(_SPARE)
    except MemoryError:
        raise Transient(
            f"{path.name} takes more memory than there is: give the run fewer workers",
            kind="memory",
        ) from error


def _encrypted(path: Path) -> Permanent:
    return Permanent(
        f"{path.name} is encrypted, and can be decoded with its key alone: fetch a copy without"
        " encryption",
        kind="encrypted",
    )


def _prepare_decoder(
    path: Path,
    container: "InputContainer",
    stream: "VideoStream",
    threads: int,
    max_pixels: int,
) -> str:
    """Set up the stream's decoder, without opening it yet; returns its codec's standard name."""
    from av.container.core import Flags

    # PyAV's types promise a context; there is none where FFmpeg has no decoder.
    context: Any = stream.codec_context
    if context is None:
        raise Permanent(
            f"{path.name} is in a video codec that this build of FFmpeg cannot decode",
            kind="undecodable_codec",
        )
    width, height = frame_size(path, stream)
    if width * height > max_pixels:
        raise Permanent(
            f"{path.name} has frames of {width}x{height} pixels, more than"
            f" max_pixels ({max_pixels}): raise it where there is memory for them",
            kind="too_large",
        )
    context.thread_count = threads
    if threads > 1:
        context.thread_type = "AUTO"
    codec = context.codec.canonical_name
    limit_decoder(context, max_pixels)
    if codec in {"h264", "hevc", "vvc"}:
        # Where a container stores decoding times only (AVI, ASF), FFmpeg would make up presentation
        # times without knowing how these codecs reorder frames; their decoders know better.
        container.flags &= ~cast(int, Flags.gen_pts.value)
    return cast(str, codec)


def decode_frames(
    video: Video, damage: Damage, clock: Clock | None = None, skip: int = 0
) -> Iterator[Shown]:
    """Every frame that decodes, in presentation order, without the first `skip` packets.

    Without a `clock` the video is decoded twice, the first time to learn the frames' times. Packets
    that decode badly, or not at all, are recorded in `damage`.
    """
    clock = clock or TimelineClock(read_timeline(video.path, video.max_pixels), damage)
    held: tuple[VideoFrame, Fraction] | None = None
    for frame in _decoded(video, damage, skip, clock):
        time = clock.place(frame)
        if held:
            yield Shown(*held, until=time)
        held = (frame, time)
    if held:
        yield Shown(*held, until=clock.end())


def read_timeline(path: Path, max_pixels: int = MOST_PIXELS) -> FrameTimeline:
    """Decode the whole video to learn its frames' times. Raises as `open_video` does."""
    stamps: list[int | None] = []
    decoding_times: list[int | None] = []  # of the packet after which each frame was ready
    duration = 0
    with open_video(path, max_pixels=max_pixels) as video:
        for frame in _decoded(video, Damage(), 0, None):
            stamps.append(frame.pts)
            decoding_times.append(frame.dts)
            duration = frame.duration
        # Some containers store decoding times only. A frame is shown as soon as it is ready.
        only_decoding = decoding_times.count(None) < stamps.count(None)
        known = _not_wrapped(decoding_times if only_decoding else stamps)
        shown = shown_times(known, video.frame_duration)
        length = shown.ticks[-1] - shown.ticks[0] if stamps else 0
        gap = shown.ticks[-1] - shown.ticks[-2] if len(stamps) > 1 else 0
        last = duration or gap or video.frame_duration
        if video.stream.duration is not None and length < video.stream.duration < length + last:
            last = video.stream.duration - length
        return FrameTimeline(video.time_base, stamps, shown, last)


def _not_wrapped(stamps: Sequence[int | None]) -> list[int | None]:
    """The stamps of a later recording, whose clock is behind, as they are in the file.

    FFmpeg takes a 33-bit clock that is far back for one that has wrapped, and adds its range.
    """
    found: list[int | None] = []
    before, added = None, 0
    for stamp in stamps:
        if stamp is not None and before is not None and abs(stamp - before) > MOST_TICKS_AHEAD:
            added += _CLOCK_RANGE if stamp > before else -_CLOCK_RANGE
        found.append(None if stamp is None else stamp - added)
        before = before if stamp is None else stamp
    return found


def _decoded(
    video: Video, damage: Damage, skip: int, clock: Clock | None
) -> Iterator["VideoFrame"]:
    time = Fraction(0)
    for index, packet in enumerate(video.packets(damage)):
        if index < skip:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        time = clock.seconds(stamp) if clock and stamp is not None else time
        if packet.is_corrupt:
            damage.count("packet is incomplete", "packets are incomplete", time)
        yield from _try_to_decode(video, damage, packet, time)
    yield from _try_to_decode(video, damage, None, time)


def _try_to_decode(
    video: Video, damage: Damage, packet: "Packet[VideoStream] | None", time: Fraction
) -> list["VideoFrame"]:
    try:
        frames = video.decode(packet)
    except UndecodableError:
        damage.count("packet could not be decoded", "packets could not be decoded", time)
        return []
    for frame in frames:
        if frame.is_corrupt:
            damage.count("frame is damaged", "frames are damaged", time)
    return frames
