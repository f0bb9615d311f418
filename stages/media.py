"""Reading video with PyAV: opening a file, probing it, decoding its frames, writing them as JPEG.

A frame's time counts from the stream's first presentation time, as a player shows it: 0 is when
the video's first frame appears, whatever the container's clock says then.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from engine import Permanent, checkpoint
from stages.media_file import NoMediaError, open_media

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


@dataclass(slots=True)
class Damage:
    """What was found wrong with a video: each kind counted, and the second it was first seen at."""

    notes: list[str] = field(default_factory=list)
    _counted: dict[tuple[str, str], tuple[int, Fraction]] = field(default_factory=dict)

    def count(self, one: str, many: str, time: Fraction) -> None:
        """One more of a kind: ("packet could not be decoded", "packets could not …", 1.2)."""
        times, first = self._counted.get((one, many), (0, time))
        self._counted[one, many] = (times + 1, min(first, time))

    def sentences(self) -> list[str]:
        """One line for each kind of damage: what, how often, and when first."""
        lines = []
        for (one, many), (times, first) in self._counted.items():
            what = f"1 {one}, at" if times == 1 else f"{times} {many}, first at"
            lines.append(f"{what} {float(first):.1f} s")
        return [*lines, *dict.fromkeys(self.notes)]


class Shown(NamedTuple):
    """A decoded frame, and the seconds from and until which it is shown."""

    frame: "VideoFrame"
    time: Fraction
    until: Fraction


@dataclass(frozen=True, slots=True)
class Video:
    """An open video file and the stream of it that a player would show. Close it, or use `with`."""

    path: Path
    container: "InputContainer"
    stream: "VideoStream"
    codec: str
    """The codec's standard name: "h264", "av1"."""

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
        """The length in seconds that the file's header states, None where it states none."""
        if self.stream.duration is not None:
            return self.stream.duration * self.time_base
        if self.container.duration is not None:
            return Fraction(self.container.duration, 1_000_000)
        return None

    @property
    def frame_duration(self) -> int:
        """The length in ticks of a frame at the average rate, for want of a better one."""
        rate = self.stream.average_rate or Fraction(25)
        return max(1, round(1 / (rate * self.time_base)))

    def packets(self, damage: Damage) -> Iterator["Packet[VideoStream]"]:
        """The stream's packets in decoding order, as far as the file can be read.

        Raises engine.Cancelled when the attempt has been given up.
        """
        import av

        while True:
            try:
                for packet in self.container.demux(self.stream):
                    checkpoint()
                    if packet.size:  # an empty one would tell the decoder that the stream has ended
                        yield packet
            except IndexError:  # PyAV may trip over a stream that turns up midway, but can go on
                continue
            except (av.error.InvalidDataError, av.error.ArgumentError) as error:
                damage.notes.append(f"the file cannot be read to its end: {error.strerror}")
            return

    def seek(self, ticks: int) -> None:
        """Go on with the packets from the keyframe at or before that presentation time."""
        self.container.seek(ticks, stream=self.stream)

    def decode(self, packet: "Packet[VideoStream] | None") -> list["VideoFrame"]:
        """The frames that the decoder has ready after this packet; None for all that are left.

        Raises UndecodableError.
        """
        import av

        try:
            return self.stream.codec_context.decode(packet)
        except av.FFmpegError as error:
            if isinstance(error, MemoryError):
                raise
            raise UndecodableError(error.strerror) from error


class UndecodableError(Exception):
    """The decoder could make nothing of a packet. The ones after it may be good again."""


def open_video(path: Path, threads: int = 1) -> Video:
    """Open the file and find its video, to be decoded by so many threads. Nothing is decoded yet.

    Raises Permanent, of kind "missing_file", "damaged", "no_video" or "undecodable_codec".
    """
    import av

    try:
        container = open_media(path)
    except FileNotFoundError:
        raise Permanent(f"{path.name} is not there any more", kind="missing_file") from None
    except NoMediaError as error:
        raise Permanent(f"{path.name} has no video in it: it is {error}", kind="no_video") from None
    except av.FFmpegError as error:
        empty = path.stat().st_size == 0
        problem = "is empty (0 bytes)" if empty else f"cannot be read as video: {error.strerror}"
        raise Permanent(f"{path.name} {problem}", kind="damaged") from None
    try:
        stream, codec = _find_stream(path, container, threads)
    except BaseException:
        container.close()
        raise
    return Video(path, container, stream, codec)


def _find_stream(
    path: Path, container: "InputContainer", threads: int
) -> tuple["VideoStream", str]:
    from av.container.core import Flags
    from av.stream import Disposition

    covers = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [stream for stream in container.streams.video if not stream.disposition & covers]
    if not streams:
        raise Permanent(f"{path.name} has no video in it", kind="no_video")
    best = container.streams.best("video")
    stream = next((one for one in streams if one is best), streams[0])
    # PyAV's types say that it is always there; it is not where FFmpeg has no decoder.
    context: Any = stream.codec_context
    if context is None:
        raise Permanent(
            f"{path.name} is in a video codec that this build of FFmpeg cannot decode",
            kind="undecodable_codec",
        )
    context.thread_count = threads
    if threads > 1:
        context.thread_type = "AUTO"
    codec = context.codec.canonical_name
    if codec in {"h264", "hevc", "vvc"}:
        # Where a container stores decoding times only (AVI, ASF), FFmpeg would make up presentation
        # times without knowing how these codecs reorder frames; their decoders know better.
        container.flags &= ~cast(int, Flags.gen_pts.value)
    return stream, codec


def decode_frames(
    video: Video, damage: Damage, origin: int | None = None, skip: int = 0
) -> Iterator[Shown]:
    """Every frame that decodes, in presentation order, leaving out the first `skip` packets.

    `origin` is the stream's first presentation time in ticks, None for the first frame's. What does
    not decode, or not well, is noted in `damage`.
    """
    clock = _Clock(video, damage, origin)
    held: tuple[VideoFrame, Fraction] | None = None
    for frame in _decoded(video, damage, skip, clock):
        time = clock.place(frame)
        if held:
            yield Shown(*held, until=time)
        held = (frame, time)
    if held:
        yield Shown(*held, until=clock.seconds(clock.next))


class _Clock:
    """Places frames on a timeline that only runs forward.

    A frame without a presentation time follows the one before it, or goes by its decoding time
    where the container stores no other. Where timestamps run back, as where two recordings were
    joined, the time goes on from there.
    """

    def __init__(self, video: Video, damage: Damage, origin: int | None) -> None:
        self._video = video
        self._damage = damage
        self._origin = origin
        self._shift = 0
        self._has_times = False
        self._placed: int | None = None
        self.next = 0
        """The tick at which the frame placed last stops being shown."""

    def seconds(self, ticks: int) -> Fraction:
        """When that is shown; what comes before the first presentation time is shown at once."""
        return max(Fraction(0), (ticks - (self._origin or 0)) * self._video.time_base)

    def place(self, frame: "VideoFrame") -> Fraction:
        self._has_times = self._has_times or frame.pts is not None
        stamp = frame.pts if self._has_times else frame.dts
        if self._origin is None:
            self._origin = stamp or 0
        ticks = self.next if stamp is None else stamp + self._shift
        if self._placed is None:
            gap = 0
        elif ticks < self._placed:
            self._shift += self.next - ticks
            gap = self.next - self._placed
            ticks = self.next
            self._damage.count(
                "jump back in the timestamps", "jumps back in the timestamps", self.seconds(ticks)
            )
        else:
            gap = ticks - self._placed
        self._placed = ticks
        self.next = ticks + (frame.duration or gap or self._video.frame_duration)
        return self.seconds(ticks)


def _decoded(video: Video, damage: Damage, skip: int, clock: _Clock) -> Iterator["VideoFrame"]:
    time = Fraction(0)
    for index, packet in enumerate(video.packets(damage)):
        if index < skip:
            continue
        stamp = packet.pts if packet.pts is not None else packet.dts
        time = time if stamp is None else clock.seconds(stamp)
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


class Renderer:
    """Turns decoded frames into upright pictures with square pixels, no longer than `size` pixels.

    `aspect` is the width of the stream's pixels over their height. `size` None or 0 leaves the
    length as it is; no picture is ever enlarged. Not for two threads at once.
    """

    def __init__(self, size: int | None, aspect: Fraction | None = None) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._size = size
        self._aspect = aspect or Fraction(1)
        self._reformatter = VideoReformatter()
        # Bicubic as the ffmpeg command does it; the flags make it the same on every processor.
        self._method = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.BITEXACT

    def render(self, frame: "VideoFrame") -> "np.ndarray[Any, np.dtype[np.uint8]]":
        """The picture that a player shows, as blue, green, red: (height, width, 3), 0 to 255."""
        import numpy as np
        from av.video.reformatter import Colorspace

        width, height = picture_size(frame.width, frame.height, self._aspect, self._size)
        # A frame that does not say which matrix made it: players take BT.709 from HD upwards.
        unsaid = frame.colorspace == 2 and not frame.format.is_rgb
        hd = frame.width >= 1280 or frame.height > 576
        has_alpha = any(component.is_alpha for component in frame.format.components)
        pixels: Any = self._reformatter.reformat(
            frame,
            width,
            height,
            "bgra" if has_alpha else "bgr24",
            src_colorspace=Colorspace.ITU709 if unsaid and hd else None,
            interpolation=self._method,
            threads=1,
        ).to_ndarray()
        if has_alpha:  # transparent parts show the black that a player has behind them
            opacity = pixels[:, :, 3:].astype(np.uint16)
            pixels = ((pixels[:, :, :3] * opacity + 127) // 255).astype(np.uint8)
        return _turned_upright(pixels, frame)


def picture_size(width: int, height: int, aspect: Fraction, size: int | None) -> tuple[int, int]:
    """The width and height, in square pixels, of a frame shown at most `size` pixels long."""
    if not Fraction(1, 8) <= aspect <= 8:  # no camera's: the header is wrong
        aspect = Fraction(1)
    shown = width * aspect
    scale = min(Fraction(1), size / max(shown, Fraction(height))) if size else Fraction(1)
    return max(1, round(shown * scale)), max(1, round(height * scale))


def _turned_upright(
    pixels: "np.ndarray[Any, np.dtype[np.uint8]]", frame: "VideoFrame"
) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """The picture turned and mirrored as its display matrix says, to the nearest quarter turn.

    The matrix takes (x, y) to (ax + cy, bx + dy), in 16.16 fixed point (ISO/IEC 14496-12, 6.2.2).
    """
    import numpy as np
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data  # a mapping by Type, unlike what PyAV's types say
    try:
        matrix = np.frombuffer(side_data[Type.DISPLAYMATRIX], "<i4").reshape(3, 3)
    except KeyError:
        return pixels
    except ValueError:  # PyAV does not know another kind of side data that this frame has
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))
    (a, b), (c, d) = matrix[:2, :2].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        pixels, a, d = pixels.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])


def write_jpeg(pixels: "np.ndarray[Any, np.dtype[np.uint8]]", path: Path, quality: int) -> None:
    """Write a picture of shape (height, width, 3), in blue, green, red; the same bytes every time.

    By OpenCV, which ultralytics brings: 1.2 ms for 640x360 on the machine where Pillow took 1.9.
    Raises OSError where the disk is full.
    """
    import cv2

    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    path.write_bytes(encoded.tobytes())
