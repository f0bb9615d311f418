"""A stretch of a video encoded anew, as H.264 and AAC in MP4: from the very frame to the very
frame."""

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engine import Permanent, checkpoint
from stages.media.clips.clip import SLACK, WrittenClip, open_clip
from stages.media.damage import Damage
from stages.media.media_file import MOST_PIXELS, open_media
from stages.media.packets.beginning import beginning
from stages.media.packets.scan import SEEK_FROM
from stages.media.packets.wanted_frames import decode_stretch
from stages.media.pictures.rendering import Renderer, UnrenderableError, not_rendered
from stages.media.sampling import every_frame
from stages.media.sound_frames import SoundForm, decode_sound, resampled

if TYPE_CHECKING:
    import av
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_TICKS = 90_000
"""Of a second: the time base, in which all usual frame rates are exact enough."""

_BT709 = 1
_LIMITED = 1
"""H.273's number of the matrix, the primaries and the transfer; FFmpeg's of the range 16 to 235."""

_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_USUAL_RATE = 48_000

_LEAD = 2
"""Seconds of sound that are decoded before the stretch, for codecs that need some to begin."""


def encode_stretch(
    path: Path,
    start: Fraction,
    end: Fraction,
    folder: Path,
    *,
    crf: int,
    max_pixels: int = MOST_PIXELS,
) -> WrittenClip:
    """Write the frames shown from second `start` to before second `end`, upright and with square
    pixels, and the sound between, to clip.mp4 in `folder`. `crf` is x264's quality: lower is
    better.

    Raises Permanent, of kind "damaged" where no frame decodes, and as `open_video` does.
    """
    pictures = _pictures(path, start, end, max_pixels)
    try:
        first = next(pictures)
    except StopIteration:
        raise Permanent(
            f"no frame of this stretch of {path.name} decodes", kind="damaged"
        ) from None
    file = "clip.mp4"
    with ExitStack() as opened:
        heard = opened.enter_context(open_media(path, max_pixels))
        written = opened.enter_context(open_clip(folder / file))
        video = _video_stream(written, first[1], crf)
        shown = (
            _picture_frame(one, video, end - start) for one in _ended(chain([first], pictures))
        )
        frames: list[Iterator[tuple[Fraction, Any, Any]]] = [shown]
        stream = cast("AudioStream | None", heard.streams.best("audio"))
        if stream is not None and stream.codec_context is not None:
            sound = _sound_stream(written, stream)
            samples = _sound(heard, stream, beginning(path), start, end, _form(sound))
            frames.append((time, sound, frame) for time, frame in samples)
        for _, target, frame in merge(*frames, key=lambda one: one[0]):
            checkpoint()
            written.mux(target.encode(frame))
        for target in written.streams:
            written.mux(cast("VideoStream", target).encode(None))
    return WrittenClip(file, start, end)


_Picture = tuple[Fraction, Any]
"""The second of the clip at which a picture is shown, and its pixels: blue, green, red."""


def _pictures(path: Path, start: Fraction, end: Fraction, max_pixels: int) -> Iterator[_Picture]:
    sampling = every_frame(max(Fraction(0), start - SLACK), end - SLACK, False, None)
    renderer = None
    for frame, time, video in decode_stretch(path, sampling, max_pixels):
        renderer = renderer or Renderer(None, crop=video.crop)
        try:
            pixels = renderer.render(frame, video.aspects.of(frame))
        except UnrenderableError as error:
            raise not_rendered(path, error) from error
        yield max(Fraction(0), time - start), pixels


def _ended(pictures: Iterator[_Picture]) -> Iterator[tuple[Fraction, Fraction | None, Any]]:
    """Each picture with the second at which the next one comes; None for the last one's."""
    held = next(pictures)
    for one in pictures:
        yield held[0], one[0], held[1]
        held = one
    yield held[0], None, held[1]


def _video_stream(written: "av.container.OutputContainer", pixels: Any, crf: int) -> "VideoStream":
    stream = written.add_stream("libx264", options={"crf": str(crf), "preset": "veryfast"})
    context = stream.codec_context
    height, width = pixels.shape[:2]
    # Half of the colours: what players take wants even sides.
    stream.width, stream.height = width + width % 2, height + height % 2
    stream.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, _TICKS)
    context.thread_count = 1
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = _LIMITED
    return stream


def _picture_frame(
    one: tuple[Fraction, Fraction | None, Any], stream: "VideoStream", length: Fraction
) -> tuple[Fraction, "VideoStream", "VideoFrame"]:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    time, until, pixels = one
    frame = av.VideoFrame.from_ndarray(pixels, "bgr24").reformat(
        stream.width,
        stream.height,
        "yuv420p",
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
    )
    frame.time_base = Fraction(1, _TICKS)
    frame.pts = round(time * _TICKS)
    frame.duration = max(1, round((length if until is None else until) * _TICKS) - frame.pts)
    return time, stream, frame


def _sound_stream(written: "av.container.OutputContainer", of: "AudioStream") -> "AudioStream":
    rate = of.codec_context.sample_rate
    layout = "mono" if of.codec_context.channels == 1 else "stereo"
    return written.add_stream(
        "aac", rate if rate in _AAC_RATES else _USUAL_RATE, layout=layout, bit_rate=128_000
    )


def _form(stream: "AudioStream") -> SoundForm:
    context = stream.codec_context
    return SoundForm(context.sample_rate, context.layout.name, "fltp")


def _sound(
    container: "InputContainer",
    stream: "AudioStream",
    zero: Fraction,
    start: Fraction,
    end: Fraction,
    form: SoundForm,
) -> Iterator[tuple[Fraction, "AudioFrame"]]:
    """The sound of the stretch in that form, with the second of the clip at which each frame
    begins. `zero` is the video's beginning on the container's clock."""
    import av

    if start >= SEEK_FROM:
        container.seek(round((zero + start - _LEAD) * av.time_base))
    left, told = round((end - start) * form.rate), 0
    frames = (
        frame
        for frame in decode_sound(container, stream, Damage())
        if frame.pts is not None
        and frame.time_base is not None
        and frame.pts * frame.time_base + Fraction(frame.samples, frame.sample_rate) > zero + start
    )
    for frame in resampled(frames, zero + start, form):
        samples = frame.to_ndarray()[:, : left - told]
        if not samples.shape[1]:
            return
        part = av.AudioFrame.from_ndarray(samples, format=form.samples, layout=form.layout)
        part.sample_rate, part.time_base = form.rate, Fraction(1, form.rate)
        part.pts = told
        yield Fraction(told, form.rate), part
        told += samples.shape[1]
