"""Compares what `penstock demo recipe` has found with what was planted.

What was found is read from the run's work folder and asked of its search, what was planted follows
from the videos alone.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import Item
from stages.demo.recipes.cooking import TOOLS, CookingFilm, PlantedStep, in_words
from stages.demo.recipes.dishes import (
    DISHES,
    DOUBTED,
    MODEL,
    QUESTIONS_ASKED,
    SEARCHES,
    PlantedSearch,
)
from stages.demo.verdict import Expectation, Findings
from stages.persistence.records import DOCUMENTS
from stages.persistence.store import DATABASE
from stages.recipe.frames.frames import ASKED, FRAME, ChosenFrames
from stages.recipe.writing.analyse import NOTES, AnalyseFrame
from stages.recipe.writing.recipe_schema import RECIPE
from stages.recipe.writing.schema import problems_of

if TYPE_CHECKING:
    from stages.search.searching import Hit, Ranker

SHOWN = 3
"""Answers among which a search's step has to be."""


@dataclass(frozen=True, slots=True)
class NotedFrame:
    """A chosen frame: its second, what identifies the picture that was asked about, its notes."""

    at: float
    asked: str
    notes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FoundDish:
    """What the run has made of a video: its id, its frames, and the line of its document."""

    video: str
    frames: Sequence[NotedFrame]
    told: Mapping[str, Any]


NOTHING = FoundDish("", (), {"document": {}, "partial": True, "problems": ["there is none"]})


def judge_recipes(out: Path, sent_again: int) -> list[Findings]:
    """All checks of a finished run over DISHES in this work folder. `sent_again` is the number of
    questions that were sent when the run was given once more.

    The demo's server has to be there: it makes a vector of what is searched for.
    """
    found = _read(out)
    dishes = [(film, found.get(film.name, NOTHING)) for film in DISHES]
    return [
        Findings("Frames", [one for film, dish in dishes for one in _frames(film, dish)]),
        Findings("Notes", [_notes(film, dish) for film, dish in dishes]),
        Findings("Recipes", [one for film, dish in dishes for one in _recipe(film, dish)]),
        Findings("Search", [*_answers(out / DATABASE, found)]),
        Findings("Questions", [*_questions(out, dishes, sent_again)]),
    ]


def questions_asked(out: Path) -> list[str]:
    """A line for each question that was answered, in all runs: its kind, and what identifies it."""
    try:
        return (out / QUESTIONS_ASKED).read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []


def _read(out: Path) -> dict[str, FoundDish]:
    """What was made of each video, by its name."""
    found: dict[str, FoundDish] = {}
    file = out / DOCUMENTS / "documents.jsonl"
    for told in map(json.loads, file.read_text("utf-8").splitlines() if file.is_file() else ()):
        item = Item.at(out, told["source"], told["video"])
        frames = [_frame(part) for part in item.parts_with(ChosenFrames.name)]
        found[Path(told["source"]).stem] = FoundDish(told["video"], frames, told)
    return found


def _frame(part: Item) -> NotedFrame:
    folder = part.output(ChosenFrames.name)
    at = json.loads((folder / FRAME).read_text("utf-8"))["at"]
    asked = hashlib.sha256((folder / ASKED).read_bytes()).hexdigest()
    notes = {}
    if part.has_output(AnalyseFrame.name):
        notes = json.loads((part.output(AnalyseFrame.name) / NOTES).read_text("utf-8"))
    return NotedFrame(at, asked, notes)


def _frames(film: CookingFilm, dish: FoundDish) -> Iterator[Expectation]:
    """Whether the chosen frames show every step, none of them out of focus; and whether those that
    show the same, while nothing moves, are one question."""
    shown = [film.step_at(frame.at) for frame in dish.frames]
    seen = sum(any(one is step for one in shown) for step in film.steps)
    yield _of_all(film, "steps shown", seen, len(film.steps))
    blurred = [f"{one.at:g} s" for one in dish.frames if film.is_blurred(one.at)]
    what = "blurred {:g} to {:g} s".format(*film.blurred)
    found = ", ".join(blurred) or "no frame"
    yield Expectation(film.name, what, "no frame", found, not blurred)
    [still] = [step for step in film.steps if step.still]
    pictures = len({one.asked for one in dish.frames if still.lasts_at(one.at)})
    found = "1 question" if pictures == 1 else f"{pictures} questions"
    what = f"still {still.start:g} to {still.end:g} s"
    yield Expectation(film.name, what, "1 question", found, pictures == 1)


def _of_all(film: CookingFilm, what: str, right: int, count: int, wrong: int = 0) -> Expectation:
    """Whether so many are right, of all that there have to be, and none besides is wrong."""
    found = f"{right} of {count}" + (f", {wrong} wrong" if wrong else "")
    expected = f"{count} of {count}"
    return Expectation(film.name, what, expected, found, right == count > 0 and not wrong)


def _notes(film: CookingFilm, dish: FoundDish) -> Expectation:
    right = sum(_is_noted(film, one) for one in dish.frames)
    return _of_all(film, "frames, rightly", right, len(dish.frames))


def _is_noted(film: CookingFilm, frame: NotedFrame) -> bool:
    """Whether the notes tell what lies on the table in that second, and nothing else."""
    step = film.step_at(frame.at)
    told = [*frame.notes.get("actions", ()), *frame.notes.get("things", ())]
    return told == ([] if step is None else [TOOLS[step.tool].action, *in_words(step.things)])


def _recipe(film: CookingFilm, dish: FoundDish) -> Iterator[Expectation]:
    told, document = dish.told, dish.told["document"]
    problems = [*told["problems"], *problems_of(RECIPE, document, film.seconds)]
    by = told.get("made_by")
    if not problems and (told["partial"] or by != f"openai:{MODEL}"):
        problems.append(f"made by {by}")
    what = "at the 2nd asking" if film.name == DOUBTED else "by its schema"
    found = f"no: {problems[0]}" if problems else "whole"
    yield Expectation(film.name, what, "whole", found, not problems)
    yield _ingredients(film, document)
    yield _steps(film, document)


def _ingredients(film: CookingFilm, document: Mapping[str, Any]) -> Expectation:
    """Whether each is there once, with its amount, and a second at which it is first shown."""
    planted: dict[str, tuple[str, PlantedStep]] = {}
    for step in film.steps:
        for words in in_words(step.things):
            amount, _, name = words.partition(" ")
            planted.setdefault(name, (amount, step))
    entries = [one for one in document.get("ingredients", ()) if isinstance(one, Mapping)]
    right = sum(
        one.get("amount") == planted[one["name"]][0] and _is_in(planted[one["name"]][1], one, "at")
        for one in entries
        if one.get("name") in planted
    )
    return _of_all(film, "ingredients", right, len(planted), len(entries) - right)


def _steps(film: CookingFilm, document: Mapping[str, Any]) -> Expectation:
    """Whether each is there in its place, and within the seconds at which it is shown."""
    entries = [one for one in document.get("steps", ()) if isinstance(one, Mapping)]
    right = sum(
        one.get("text") == step.text and _is_in(step, one, "start") and _is_in(step, one, "end")
        for step, one in zip(film.steps, entries, strict=False)
    )
    return _of_all(film, "steps", right, len(film.steps), len(entries) - right)


def _is_in(step: PlantedStep, entry: Mapping[str, Any], name: str) -> bool:
    second = entry.get(name)
    return isinstance(second, int | float) and step.lasts_at(second)


def _answers(database: Path, found: Mapping[str, FoundDish]) -> Iterator[Expectation]:
    """Whether a second at which the step is shown is among the first answers."""
    for asked in SEARCHES:
        [film] = [film for film in DISHES if film.name == asked.film]
        step, video = film.steps[asked.step], found.get(asked.film, NOTHING).video
        places = (
            place
            for place, hit in enumerate(_hits(database, asked), 1)
            if hit.video == video and step.lasts_at(hit.time)
        )
        place = next(places, None)
        yield Expectation(
            asked.words,
            "by meaning" if asked.meant else "by words",
            f"{film.name} {step.start:g} to {step.end:g} s",
            f"answer {place}" if place else f"not in the first {SHOWN}",
            place is not None,
        )


def _hits(database: Path, asked: PlantedSearch) -> "Sequence[Hit]":
    from stages.search.asking import by_meaning, embedder_of
    from stages.search.searching import SearchQuestion, search
    from stages.sinks.sqlite_file import opened_to_read

    if not database.is_file():
        return []
    rankers: Sequence[Ranker] = ()
    with opened_to_read(database) as db:
        if asked.meant:
            rankers = by_meaning(
                db, asked.words, lambda made_by: embedder_of(made_by, trusted=True)
            ).rankers
        return search(db, SearchQuestion(asked.words), SHOWN, rankers)


def _questions(
    out: Path, dishes: Sequence[tuple[CookingFilm, FoundDish]], sent_again: int
) -> Iterator[Expectation]:
    """Whether the server was asked what it had to be asked, and nothing twice."""
    asked = Counter(questions_asked(out))
    sent = Counter[str]()
    for line, times in asked.items():
        sent[line.partition(" ")[0]] += times
    pictures = len({one.asked for _, dish in dishes for one in dish.frames})
    frames = sum(len(dish.frames) for _, dish in dishes)
    yield _sent("pictures", f"of {frames} frames", pictures, sent["frame"])
    yield _sent("recipes", "one once more", len(DISHES) + 1, sent["document"])
    twice = sum(times > 1 for times in asked.values())
    what = f"and {sent['text']} texts"
    found = f"{twice or 'none'} twice"
    yield Expectation("all of these", what, "none twice", found, not twice and sent["text"] > 0)
    yield _sent("given again", "all of it", 0, sent_again)


def _sent(name: str, what: str, planted: int, found: int) -> Expectation:
    return Expectation(name, what, f"{planted} sent", f"{found} sent", planted == found)
