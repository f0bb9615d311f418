"""A chunk on disk: chunk.json says what speech.flac (or .ogg) holds. Times are the video's."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.sound.track import RATE
from stages.speech.audio_file import AudioFormat, decode, encode
from stages.speech.chunk_plan import PADDING, Chunk
from stages.speech.heard import SpeechClip
from stages.speech.spans import SampleSpan
from stages.speech.transcript_words import PieceTimes, Stretch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SavedChunk:
    """A chunk as `write_chunk` wrote it; the fields are those of `Chunk`, in seconds.
    `is_detected`: its speech was found, not just assumed."""

    clip: SpeechClip
    pieces: tuple[Stretch, ...]
    speech: tuple[Stretch, ...]
    before: Stretch | None
    after: Stretch | None
    is_detected: bool = True

    @property
    def timeline(self) -> PieceTimes:
        return PieceTimes(self.pieces)

    @property
    def start(self) -> float:
        return self.pieces[0].start

    @property
    def end(self) -> float:
        return self.pieces[-1].end

    def cut_out(self, hole: Stretch) -> "SavedChunk":
        """A stretch of the chunk, with what is around it, as a chunk of its own."""
        around = PADDING / RATE
        pieces = _within(self.pieces, Stretch(hole.start - around, hole.end + around))
        samples = decode(self.clip.content)
        first = round(self.timeline.second(pieces[0].start) * RATE)
        length = sum(round((piece.end - piece.start) * RATE) for piece in pieces)
        content = encode(samples[first : first + length], self.clip.form)
        clip = replace(self.clip, content=content)
        return SavedChunk(clip, pieces, _within(self.speech, hole), None, None)


def clip_of(chunk: Chunk, samples: "NDArray[np.int16]", form: AudioFormat) -> SpeechClip:
    """The sound of a chunk of a track's `samples`, shape (samples,)."""
    import numpy as np

    pieces = [samples[one.start : one.end] for one in chunk.pieces]
    return SpeechClip(encode(np.concatenate(pieces), form), form)


def write_chunk(folder: Path, chunk: Chunk, clip: SpeechClip, *, is_detected: bool) -> None:
    """Write a chunk and its sound."""
    form = clip.form
    (folder / f"speech.{form}").write_bytes(clip.content)
    told = {
        "start": chunk.pieces[0].start / RATE,
        "end": chunk.pieces[-1].end / RATE,
        "file": f"speech.{form}",
        "pieces": [_seconds(one) for one in chunk.pieces],
        "speech": [_seconds(one) for one in chunk.speech],
        "before": chunk.before and _seconds(chunk.before),
        "after": chunk.after and _seconds(chunk.after),
        "is_detected": is_detected,
    }
    (folder / "chunk.json").write_text(json.dumps(told) + "\n")


def read_chunk(folder: Path) -> SavedChunk:
    """The chunk that `write_chunk` wrote there."""
    told = json.loads((folder / "chunk.json").read_text())
    file = folder / told["file"]
    form: AudioFormat = "ogg" if file.suffix == ".ogg" else "flac"
    return SavedChunk(
        SpeechClip(file.read_bytes(), form),
        tuple(Stretch(*one) for one in told["pieces"]),
        tuple(Stretch(*one) for one in told["speech"]),
        told["before"] and Stretch(*told["before"]),
        told["after"] and Stretch(*told["after"]),
        told["is_detected"],
    )


def _within(stretches: tuple[Stretch, ...], limits: Stretch) -> tuple[Stretch, ...]:
    return tuple(
        Stretch(max(one.start, limits.start), min(one.end, limits.end))
        for one in stretches
        if one.start < limits.end and one.end > limits.start
    )


def _seconds(span: SampleSpan) -> tuple[float, float]:
    return span.start / RATE, span.end / RATE
