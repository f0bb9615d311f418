"""Records the demo's voice: espeak-ng speaks each of its sentences.

    python -m benchmarks.record_demo_voice            # writes stages/demo/voice

What comes out depends on espeak-ng's version, so it is kept with Penstock.
"""

import argparse
import io
import subprocess
from pathlib import Path

import av
import numpy as np

from stages.demo.voice import RECORDINGS, SENTENCES
from stages.sound.track import RATE
from stages.speech.audio_file import encode

VOICE = ("espeak-ng", "-v", "en-us", "-s", "135", "--stdout")
SILENCE = 300
"""The highest sample of silence, which is cut off at both ends."""


def spoken(text: str) -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    """The samples of the sentence, at RATE, without silence around it."""
    wav = subprocess.run([*VOICE, text], capture_output=True, check=True).stdout
    resampler = av.AudioResampler("s16", "mono", RATE)
    with av.open(io.BytesIO(wav)) as file:
        pieces = [one for frame in file.decode(audio=0) for one in resampler.resample(frame)]
    pieces += resampler.resample(None)
    samples = np.concatenate([one.to_ndarray()[0] for one in pieces])
    loud = np.flatnonzero(np.abs(samples.astype(int)) > SILENCE)
    return samples[loud[0] : loud[-1] + 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=RECORDINGS, help="the folder to write into")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SENTENCES.items():
        samples = spoken(text)
        (folder / f"{name}.ogg").write_bytes(encode(samples, "ogg"))
        print(f"{name}: {len(samples) / RATE:.2f} s: {text}")


if __name__ == "__main__":
    main()
