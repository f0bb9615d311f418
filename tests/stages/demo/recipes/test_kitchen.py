"""The server of `penstock demo recipe`: what it sees in pictures, writes, and is asked."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from stages.demo.folder import VIDEOS
from stages.demo.recipes.cooking import TOOLS, CookingFilm, PlantedStep, in_words
from stages.demo.recipes.dishes import DISHES, DOUBTED, serve_kitchen
from stages.demo.recipes.kitchen import CHAT, EMBEDDINGS
from stages.demo.recipes.looking import notes_of, recipe_of
from stages.demo.recipes.recipe_verdict import questions_asked
from stages.recipe.writing.recipe_schema import RECIPE
from stages.recipe.writing.schema import problems_of

STEPS = [(film, step) for film in DISHES for step in film.steps]


def jpeg(film: CookingFilm, second: float) -> bytes:
    file = io.BytesIO()
    film.picture_at(second).save(file, "JPEG", quality=85)
    return file.getvalue()


def a_sharp_second(film: CookingFilm, step: PlantedStep) -> float:
    seconds = np.arange(step.start, step.end, 0.1)
    return float(next(one for one in seconds[::-1] if not film.is_blurred(one)))


@pytest.mark.parametrize(("film", "step"), STEPS, ids=[step.text for _, step in STEPS])
def test_it_sees_what_lies_on_the_table(film: CookingFilm, step: PlantedStep) -> None:
    notes = notes_of(jpeg(film, a_sharp_second(film, step)))
    assert notes["things"] == in_words(step.things)
    assert notes["actions"] == [TOOLS[step.tool].action]
    written = recipe_of({"title": film.name, "frames": [notes | {"at": step.start}]})
    assert [one["text"] for one in written["steps"]] == [step.text]


def test_it_sees_nothing_out_of_focus_and_on_an_empty_table() -> None:
    film = DISHES[0]
    assert notes_of(jpeg(film, film.blurred[0] + 1.9))["description"] == "It is out of focus."
    assert notes_of(jpeg(film, film.seconds + 1))["description"] == "A table."


def told(film: CookingFilm) -> dict[str, Any]:
    """What write tells of the whole video, of two frames of each step."""
    frames = [
        {"things": in_words(step.things), "actions": [TOOLS[step.tool].action], "at": at}
        for step in film.steps
        for at in (step.start + 0.5, step.end - 0.5)
    ]
    return {"title": film.name, "length": film.seconds, "frames": frames}


def test_a_recipe_follows_from_notes() -> None:
    film = DISHES[0]
    written = recipe_of(told(film))
    assert problems_of(RECIPE, written, film.seconds) == []
    assert written["ingredients"][1] == {"name": "tomatoes", "amount": "2", "at": 3.5}
    assert written["steps"][3] == {"text": "Fry 3 eggs.", "start": 10.0, "end": 15.5}
    assert len(written["steps"]) == len(film.steps)


@pytest.fixture
def kitchen(tmp_path: Path) -> Iterator[httpx.Client]:
    (tmp_path / VIDEOS).mkdir()
    (tmp_path / "demo.json").write_text('{"demo": "", "port": 0}')
    with serve_kitchen(tmp_path) as url, httpx.Client(base_url=url, trust_env=False) as client:
        yield client


def chat(client: httpx.Client, *messages: dict[str, Any]) -> httpx.Response:
    return client.post(CHAT.removeprefix("/v1"), json={"messages": messages})


def said(answer: httpx.Response) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(answer.json()["choices"][0]["message"]["content"])
    return content


def asks(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def test_it_answers_by_the_protocol_and_notes_what_it_was_asked(
    kitchen: httpx.Client, tmp_path: Path
) -> None:
    film = next(film for film in DISHES if film.name == DOUBTED)
    address = f"data:image/jpeg;base64,{base64.b64encode(jpeg(film, 1)).decode()}"
    look = asks({"type": "image_url", "image_url": {"url": address}})
    slow_down = chat(kitchen, look)
    assert (slow_down.status_code, slow_down.headers["retry-after"]) == (429, "1")
    assert said(chat(kitchen, look))["things"] == ["3 eggs"]
    write = asks({"type": "text", "text": f"<data>{json.dumps(told(film))}</data>"})
    first = said(chat(kitchen, write))
    assert problems_of(RECIPE, first, film.seconds)
    objected = ({"role": "assistant", "content": "{}"}, {"role": "user", "content": "It is wrong."})
    assert said(chat(kitchen, write, *objected)) == recipe_of(told(film))
    kinds = [line.split()[0] for line in questions_asked(tmp_path)]
    assert kinds == ["frame", "document", "document"]
    assert len(set(questions_asked(tmp_path))) == 3


def test_words_of_one_meaning_have_one_vector(kitchen: httpx.Client, tmp_path: Path) -> None:
    texts = ["2 zucchini", "courgettes", "carrots", "a carrot"]
    answer = kitchen.post(EMBEDDINGS.removeprefix("/v1"), json={"input": texts})
    zucchini, courgettes, carrots, carrot = (one["embedding"] for one in answer.json()["data"])
    assert zucchini == courgettes
    assert carrots == carrot
    assert zucchini != carrots
    noted = questions_asked(tmp_path)
    assert len(noted) == 2, "what the verdict searches for is no question of the run's"
