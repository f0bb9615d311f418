"""Makes the demo's video files: clips as they are drawn, and worse copies of them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from stages.demo.clips import Clip
from stages.media.media_file import open_media
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from numpy.typing import NDArray
    from PIL import Image


class DrawnFilm(Protocol):
    """Pictures, RGB, of a size in pixels, and a sound at RATE, one channel; None: it is silent."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    @property
    def fps(self) -> int: ...

    def pictures(self) -> "Iterator[Image.Image]": ...

    def track(self) -> "NDArray[np.int16] | None": ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """The common name of a codec, FFmpeg's name of an encoder for it, and the encoder's options."""

    name: str
    encoder: str
    options: Mapping[str, str] = field(hash=False)


# x264's macroblock tree gives different bytes now and then, even with one thread.
_X264 = {"preset": "veryfast", "mbtree": "0"}
_VPX = {"deadline": "realtime", "cpu-used": "8", "b": "0"}
H264 = Encoding("H.264", "libx264", {**_X264, "crf": "20"})
H264_COARSE = Encoding("H.264", "libx264", {**_X264, "crf": "33"})
VP9 = Encoding("VP9", "libvpx-vp9", {**_VPX, "crf": "30"})
VP9_COARSE = Encoding("VP9", "libvpx-vp9", {**_VPX, "crf": "48"})
MPEG4 = Encoding("MPEG-4", "mpeg4", {"qmin": "3", "qmax": "3"})
MPEG4_COARSE = Encoding("MPEG-4", "mpeg4", {"qmin": "8", "qmax": "8"})


def write_clip(clip: Clip, encoding: Encoding, path: Path) -> None:
    """Draw the clip and write it; the container follows from the file's suffix.

    An `.m3u8` becomes an HLS stream, its pieces of two seconds beside it.
    """
    import av
    import numpy as np

    frames = (
        av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
        for picture in clip.pictures()
    )
    _encode(frames, clip.fps, (clip.width, clip.height), encoding, path)


def write_film(film: DrawnFilm, encoding: Encoding, path: Path) -> None:
    """Draw the film and write it, with its sound: Opus in WebM and Matroska, else AAC."""
    import av
    import numpy as np

    frames = (
        av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
        for picture in film.pictures()
    )
    _encode(frames, film.fps, (film.width, film.height), encoding, path, film.track())


def write_copy(source: Path, size: tuple[int, int], encoding: Encoding, path: Path) -> None:
    """Decode a video, scale it to this width and height in pixels, and encode it again."""
    with open_media(source) as video:
        fps = round(video.streams.video[0].average_rate or 0)
        _encode(video.decode(video=0), fps, size, encoding, path)


def cut_short(source: Path, share: float, path: Path) -> None:
    """Copy the first share of a file's bytes, as an upload that broke off leaves them."""
    content = source.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def _encode(
    frames: Iterable["VideoFrame"],
    fps: int,
    size: tuple[int, int],
    encoding: Encoding,
    path: Path,
    track: "NDArray[np.int16] | None" = None,
) -> None:
    """Write a video with a keyframe every second, and with this sound, at RATE; the same frames and
    samples make the same bytes."""
    import av

    width, height = size
    options = {"fflags": "bitexact"}
    if path.suffix == ".m3u8":
        pieces = path.with_name(f"{path.stem}-%d.ts")
        options |= {"hls_time": "2", "hls_list_size": "0", "hls_segment_filename": str(pieces)}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(encoding.encoder, rate=fps, options=dict(encoding.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.gop_size = fps
        context.thread_count = 1  # with more threads the bytes depend on their number
        context.flags |= av.codec.context.Flags.bitexact
        sound = None if track is None else _SoundTrack(container, track, path.suffix)
        for number, frame in enumerate(_numbered(frames, fps, size), 1):
            container.mux(stream.encode(frame))
            if sound is not None:
                sound.write_until(number / fps)
        container.mux(stream.encode(None))
        if sound is not None:
            sound.end()


class _SoundTrack:
    """The sound of a file that is being written: each piece beside its pictures."""

    def __init__(
        self, container: "OutputContainer", track: "NDArray[np.int16]", suffix: str
    ) -> None:
        import av

        codec = "libopus" if suffix in (".webm", ".mkv") else "aac"
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        self._stream = cast("AudioStream", stream)
        self._stream.codec_context.flags |= av.codec.context.Flags.bitexact
        self._container, self._track, self._done = container, track, 0

    def write_until(self, seconds: float) -> None:
        import av

        end = min(round(seconds * RATE), len(self._track))
        piece = self._track[self._done : end].reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, self._done
        self._container.mux(self._stream.encode(frame))
        self._done = end

    def end(self) -> None:
        self._container.mux(self._stream.encode(None))


def _numbered(
    frames: Iterable["VideoFrame"], fps: int, size: tuple[int, int]
) -> Iterator["VideoFrame"]:
    """The frames at this size, evenly timed."""
    from fractions import Fraction

    from av.video.reformatter import Interpolation

    for number, frame in enumerate(frames):
        scaled = frame.reformat(*size, format="yuv420p", interpolation=Interpolation.AREA)
        scaled.pts, scaled.time_base = number, Fraction(1, fps)
        yield scaled
