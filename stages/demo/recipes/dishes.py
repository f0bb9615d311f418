"""The planted content of `penstock demo recipe`: two videos of cooking, and what is searched for.

Everything that is expected of the run follows from these tables.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.demo.folder import LIST, VIDEOS, Footage, serving
from stages.demo.recipes.cooking import CookingFilm, PlantedStep
from stages.demo.recipes.kitchen import CHAT, EMBEDDINGS, DemoKitchen
from stages.demo.server import BareStatus, FirstThen
from stages.demo.videos import H264, write_film

MODEL = "demo"
"""What the demo's own server is called where a model is named."""

QUESTIONS_ASKED = "questions.txt"
"""Has a line for each question that the server has answered, in all runs on the folder."""

DOUBTED = "omelette"
"""The video whose recipe does not fit at first: a step ends after the video."""

DISHES: Sequence[CookingFilm] = (
    CookingFilm(
        "omelette.mp4",
        (
            PlantedStep(0, 3, "whisk", {"egg": 3}, "Whisk 3 eggs."),
            PlantedStep(3, 5, "board", {"tomato": 2}, "Cut 2 tomatoes."),
            # Comes while the camera is out of focus.
            PlantedStep(6.5, 9.5, "board", {"basil leaf": 4}, "Cut 4 basil leaves."),
            PlantedStep(9.5, 16, "pan", {"egg": 3}, "Fry 3 eggs.", still=True),
            PlantedStep(16, 18, "pan", {"egg": 3, "tomato": 2}, "Fry 3 eggs and 2 tomatoes."),
            PlantedStep(18, 20, "grater", {"piece of cheese": 1}, "Grate 1 piece of cheese."),
        ),
        blurred=(5, 8),
    ),
    CookingFilm(
        "salad.mkv",
        (
            # So long that a second frame of it is chosen.
            PlantedStep(0, 10, "board", {"tomato": 5}, "Cut 5 tomatoes.", still=True),
            PlantedStep(10, 12, "whisk", {"egg": 2}, "Whisk 2 eggs."),
            # Goes out of focus.
            PlantedStep(12, 14.5, "board", {"onion": 1}, "Cut 1 onion."),
            PlantedStep(15.5, 17.5, "grater", {"carrot": 2}, "Grate 2 carrots."),
            PlantedStep(17.5, 19.5, "pan", {"zucchini": 2}, "Fry 2 zucchini."),
            PlantedStep(19.5, 21.5, "pan", {"egg": 2}, "Fry 2 eggs."),
        ),
        blurred=(13.5, 16),
    ),
)

SAME_AS: Mapping[str, str] = {"courgettes": "zucchini", "parmesan": "cheese", "beat": "whisk"}
"""Words of one meaning, to the demo's model of meanings: the second stands in what is searched."""


@dataclass(frozen=True, slots=True)
class PlantedSearch:
    """Words to search for, and the step of a video that answers them: its film and number. `meant`:
    the words are not in it."""

    words: str
    film: str
    step: int
    meant: bool = False


SEARCHES: Sequence[PlantedSearch] = (
    PlantedSearch("grated cheese", "omelette", 5),
    PlantedSearch("frying tomatoes", "omelette", 4),
    PlantedSearch("carrots", "salad", 3),
    PlantedSearch("onion", "salad", 2),
    PlantedSearch("courgettes", "salad", 4, meant=True),
    PlantedSearch("parmesan", "omelette", 5, meant=True),
)


def settings(url: str) -> list[str]:
    """The arguments of `--set` for `penstock recipe`, with the demo's server at `url`."""
    server = [f"base_url={url}", f"model={MODEL}", "api_key_env=DEMO_API_KEY"]
    looks = [f"stages.analyse.{one}" for one in ("backend=openai", *server)]
    means = [f"stages.persist.{one}" for one in ("meaning=api", *server)]
    return [*looks, *means, "limits.backoff=0.5"]


def make_dishes(folder: Path) -> Iterator[CookingFilm]:
    """Write every video into `folder`; gives each once it is there."""
    for film in DISHES:
        write_film(film, H264, folder / film.file)
        yield film


FOOTAGE = Footage(DISHES, len(DISHES), make_dishes, port=8475)


@contextmanager
def serve_kitchen(out: Path) -> Iterator[str]:
    """Answer what the run asks, and write the list of videos; yields the server's address. The
    first that asks is told to slow down.

    Raises UsageError where the port of an earlier demo is taken.
    """
    films = [(out / VIDEOS / film.file).resolve() for film in DISHES]
    (out / LIST).write_text("".join(f"{film}\n" for film in films), encoding="utf-8")
    asked = (search.words for search in SEARCHES)
    kitchen = DemoKitchen(out / QUESTIONS_ASKED, DOUBTED, SAME_AS, unnoted=frozenset(asked))
    with serving(out, FOOTAGE) as server:
        slow_down = BareStatus(429, retry_after=1)
        server.routes[CHAT] = FirstThen(slow_down, 1, kitchen.chat)
        server.routes[EMBEDDINGS] = kitchen.embed
        yield server.url("/v1")
