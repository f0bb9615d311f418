"""A file's sound as samples: 16 kHz, mono, 16 bits, on the time of its video.

The samples lie in a WAV file, which is read in place: `read_samples` maps it into memory.
"""

import wave
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine import Permanent, checkpoint
from stages.media.damage import Damage
from stages.media.media_file import NoMediaError, open_media

if TYPE_CHECKING:
    import numpy as np
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

RATE = 16_000
"""Samples a second: what models of speech and sounds take."""

_HEADER = 44
"""Bytes in front of the samples of a WAV file as Python's `wave` writes it."""

_GAP = 0.05
"""Seconds of a gap in the time stamps that is filled with silence, and of an overlap that is cut,
at least: smaller ones are how containers round."""


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What the file says of its sound: the codec's name, samples a second, number of channels."""

    codec: str
    rate: int
    channels: int


def write_track(path: Path, zero: Fraction, target: Path, damage: Damage) -> TrackFacts | None:
    """Write the sound of the media at `path` to the WAV file `target`; returns what it was.

    Sample 0 is at `zero`, a time on the container's clock in seconds: what lies before is left out,
    and where the sound begins later there is silence. The file ends with the sound. Channels are
    mixed down by their standard weights. What does not decode is silence, and noted in `damage`.

    Returns None, and writes nothing, where there is no sound in the file. Raises Permanent, kind
    "damaged" or "no_audio", where none of it can be decoded.
    """
    import av

    try:
        container = open_media(path)
    except NoMediaError as error:
        raise Permanent(f"{path.name} is {error}", kind="damaged") from None
    except av.FFmpegError as error:
        raise Permanent(f"{path.name} cannot be read: {error.strerror}", kind="damaged") from None
    with container:
        stream = cast("AudioStream | None", container.streams.best("audio"))
        if stream is None:
            return None
        if stream.codec_context is None:
            raise Permanent(
                f"the sound of {path.name} is in a codec that this build of FFmpeg cannot decode",
                kind="no_audio",
            )
        context = stream.codec_context
        facts = None
        with wave.open(str(target), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            for frame in _resampled(_decoded(container, stream, damage), zero):
                facts = facts or TrackFacts(context.name, context.sample_rate, context.channels)
                file.writeframesraw(frame.to_ndarray().tobytes())
    if facts is None:
        target.unlink()
        problems = "; ".join(damage.sentences()) or "there is none in it"
        raise Permanent(f"no sound of {path.name} could be decoded: {problems}", kind="no_audio")
    return facts


def read_samples(path: Path) -> "NDArray[np.int16]":
    """The samples of a file that `write_track` wrote, shape (samples,), mapped and not read."""
    import numpy as np

    if path.stat().st_size <= _HEADER:
        return np.empty(0, np.int16)
    return np.memmap(path, np.dtype("<i2"), "r", offset=_HEADER)


def _decoded(
    container: "InputContainer", stream: "AudioStream", damage: Damage
) -> Iterator["AudioFrame"]:
    """The frames that decode, in the order of the file."""
    import av

    time = Fraction(0)
    try:
        for packet in container.demux(stream):
            checkpoint()
            if packet.pts is not None and packet.time_base is not None:
                time = packet.pts * packet.time_base
            try:
                yield from packet.decode()
            except av.FFmpegError:
                damage.count(
                    "packet of sound could not be decoded",
                    "packets of sound could not be decoded",
                    time,
                )
    except av.FFmpegError as error:
        damage.notes.append(f"the sound cannot be read to its end: {error.strerror}")


def _resampled(frames: Iterator["AudioFrame"], zero: Fraction) -> Iterator["AudioFrame"]:
    """The frames as they are to be written, from second `zero` on."""
    resampler, form, written = None, None, 0
    for frame in frames:
        if frame.time_base is None or frame.pts is None:
            continue  # no time: it follows others that have one, which stretch to the next
        now = frame.format.name, frame.layout.name, frame.sample_rate, frame.time_base
        if resampler is None or now != form:
            if resampler is not None:
                for done in resampler.rest():
                    written += done.samples
                    yield done
            resampler, form = Resampler(frame, written), now
        frame.pts -= round(zero / frame.time_base)
        for done in resampler.resample(frame):
            written += done.samples
            yield done
    if resampler is not None:
        yield from resampler.rest()


class Resampler:
    """FFmpeg's filters for sound of the form of `first`: to RATE, mono, 16 bits, without gaps.

    `async=1` fills gaps with silence and cuts overlaps; `first_pts`, the number of the first sample
    wanted, does so at the beginning. So no sample is later than its time says, however much of the
    track is missing.
    """

    def __init__(self, first: "AudioFrame", begin: int) -> None:
        import av

        self._graph = av.filter.Graph()
        source = self._graph.add_abuffer(
            sample_rate=first.sample_rate,
            format=first.format.name,
            layout=first.layout.name,
            time_base=first.time_base,
        )
        # Without a largest value, channels that are alike add up to more than full scale.
        resampler = self._graph.add(
            "aresample",
            f"{RATE}:async=1:first_pts={begin}:min_hard_comp={_GAP}"
            ":out_chlayout=mono:out_sample_fmt=s16:rematrix_maxval=1",
        )
        sink = self._graph.add("abuffersink")
        self._graph.link_nodes(source, resampler, sink).configure()

    def resample(self, frame: "AudioFrame | None") -> Iterator["AudioFrame"]:
        """The frames that are ready after this one, of this form."""
        import av

        self._graph.push(frame)
        while True:
            try:
                ready = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            yield cast("AudioFrame", ready)

    def rest(self) -> Iterator["AudioFrame"]:
        """Those that are left, once the last one of this form has come."""
        return self.resample(None)
