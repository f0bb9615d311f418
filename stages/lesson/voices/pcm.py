"""Sound as samples: 48 kHz, mono, 16 bits. Reading, joining, and evening out how loud it is."""

import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from numpy.typing import NDArray

    Samples = NDArray[np.int16]

RATE = 48_000
"""Samples a second: a whole number of them for each frame of every usual frame rate."""

LOUDNESS = -18.0
"""How loud a voice is to be, in LUFS (ITU-R BS.1770): that of spoken programmes on the web."""

CEILING = 0.89
"""The highest sample after that, as a share of the highest there is."""


def resampled(container: "InputContainer") -> "Samples":
    """All the sound of a file, shape (samples,). Empty where there is none."""
    import av
    import numpy as np

    made: list[Any] = []
    if container.streams.audio:
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for frame in container.decode(audio=0):
            made += resampler.resample(frame)
        made += resampler.resample(None)
    if not made:
        return np.zeros(0, np.int16)
    return np.concatenate([one.to_ndarray().reshape(-1) for one in made])


def from_pcm(content: bytes, rate: int) -> "Samples":
    """Bare samples of 16 bits, mono, at so many a second; half a sample at the end is nothing."""
    import av
    import numpy as np

    found = np.frombuffer(content[: len(content) // 2 * 2], "<i2").astype(np.int16)
    if not len(found):
        return found
    frame = av.AudioFrame.from_ndarray(found.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    made = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([one.to_ndarray().reshape(-1) for one in made])


def joined(pieces: Iterable["Samples"], pause: float) -> "Samples":
    """The pieces one after the other, with a pause of so many seconds between them."""
    import numpy as np

    silence = np.zeros(round(pause * RATE), np.int16)
    parts = [part for piece in pieces for part in (silence, piece)][1:]
    return np.concatenate(parts) if parts else silence[:0]


def loudness_of(samples: "Samples") -> float | None:
    """How loud it is in LUFS, by FFmpeg's ebur128; None for what is shorter than its window of 0.4
    s, or silent."""
    import av
    import numpy as np

    if len(samples) < RATE * 0.4 or not np.any(samples):
        return None
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=RATE, format="s16", layout="mono", time_base=av_time())
    meter = graph.add("ebur128", "metadata=1")
    sink = graph.add("abuffersink")
    source.link_to(meter)
    meter.link_to(sink)
    graph.configure()
    graph.push(_frame(samples))
    graph.push(None)
    told = None
    while True:
        try:
            frame: Any = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            break
        told = frame.metadata.get("lavfi.r128.I", told) if hasattr(frame, "metadata") else told
    found = float(told) if told is not None else None
    return found if found is not None and found > -70 else None


def evened(samples: "Samples", loudness: float = LOUDNESS) -> "Samples":
    """The same, as loud as that, as far as no sample goes over the ceiling."""
    import numpy as np

    now = loudness_of(samples)
    highest = int(np.max(np.abs(samples.astype(np.int32)))) if len(samples) else 0
    if now is None or not highest:
        return samples
    gain = min(10 ** ((loudness - now) / 20), CEILING * 32767 / highest)
    return np.round(samples * gain).astype(np.int16)


def write_wav(samples: "Samples", target: Path) -> None:
    with wave.open(str(target), "wb") as file:
        file.setparams((1, 2, RATE, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())


def read_wav(path: Path) -> "Samples":
    import numpy as np

    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def av_time() -> Any:
    return Fraction(1, RATE)


def _frame(samples: "Samples") -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, av_time()
    return frame
