"""A file's sound as samples: 16 kHz, mono, 16 bits, on the time of its video.

The samples lie in a WAV file, which is read in place: `read_samples` maps it into memory.
"""

import wave
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine import Permanent
from stages.media.damage import Damage
from stages.media.media_file import NoMediaError, open_media
from stages.media.sound_frames import SoundForm, decode_sound, resampled

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from numpy.typing import NDArray

RATE = 16_000
"""Samples a second: what models of speech and sounds take."""

_HEADER = 44
"""Bytes in front of the samples of a WAV file as Python's `wave` writes it."""

FORM = SoundForm(RATE, "mono", "s16")


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """What the file says of its sound: the codec's name, samples a second, number of channels."""

    codec: str
    rate: int
    channels: int


def write_track(
    path: Path,
    zero: Fraction,
    target: Path,
    damage: Damage,
    hear: "Callable[[NDArray[np.int16]], None] | None" = None,
) -> TrackFacts | None:
    """Write the sound of the media at `path` to the WAV file `target`; returns what it was.

    Sample 0 is at `zero`, a time on the container's clock in seconds: what lies before is left out,
    and where the sound begins later there is silence. The file ends with the sound. Channels are
    mixed down by their standard weights. What does not decode is silence, and noted in `damage`.
    `hear` is given the samples as they are written, in order, each time some, shape (samples,).

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
            for frame in resampled(decode_sound(container, stream, damage), zero, FORM):
                facts = facts or TrackFacts(context.name, context.sample_rate, context.channels)
                samples = frame.to_ndarray()[0]
                file.writeframesraw(samples.tobytes())
                if hear is not None:
                    hear(samples)
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
