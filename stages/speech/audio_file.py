"""Samples as a compressed audio file and back, in memory. The same samples give the same bytes."""

import io
from typing import TYPE_CHECKING, Literal, cast

from stages.media.media_file import open_sound
from stages.sound.track import RATE

if TYPE_CHECKING:
    import numpy as np
    from av.audio.stream import AudioStream
    from numpy.typing import NDArray

AudioFormat = Literal["flac", "ogg"]
"""FLAC loses nothing; Opus in Ogg takes a third of its bytes, and a model hears little of it."""

BYTES_PER_SECOND = {"flac": 34_000, "ogg": 5_000}
"""What a second takes at most."""

_OPUS_BITS = 32_000
_BLOCK = 60 * RATE


def encode(samples: "NDArray[np.int16]", form: AudioFormat) -> bytes:
    """The file of samples of shape (samples,), at RATE, one channel."""
    import av

    file = io.BytesIO()
    # Without this, an Ogg file holds a random number.
    with av.open(file, "w", format=form, options={"fflags": "+bitexact"}) as container:
        codec = "flac" if form == "flac" else "libopus"
        stream = cast("AudioStream", container.add_stream(codec, RATE, layout="mono"))
        if form == "ogg":
            stream.bit_rate = _OPUS_BITS
            stream.codec_context.options = {"vbr": "off", "compression_level": "3"}
        for start in range(0, len(samples), _BLOCK):
            block = samples[start : start + _BLOCK].reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def decode(content: bytes) -> "NDArray[np.int16]":
    """The samples of a file that `encode` made, shape (samples,)."""
    import av
    import numpy as np

    found: list[NDArray[np.int16]] = []
    with open_sound(content) as container:
        resampler = av.AudioResampler("s16", "mono", RATE)
        for frame in container.decode(audio=0):
            found += [one.to_ndarray()[0] for one in resampler.resample(frame)]
        found += [one.to_ndarray()[0] for one in resampler.resample(None)]
    return np.concatenate(found) if found else np.empty(0, np.int16)
