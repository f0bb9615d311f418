"""Compares what `penstock demo scenes` has found with what was planted.

What was found is read from the run's results and asked of its search, what was planted follows from
the films alone.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from stages.demo.film import Film
from stages.demo.films import FILMS, MODEL, QUESTIONS, PlantedQuestion
from stages.demo.verdict import Expectation, Findings
from stages.demo.voice import SENTENCES, SOUNDS, seconds_of
from stages.persistence.store import DATABASE
from stages.scenes.results import RESULTS, VIDEOS

Record = Mapping[str, Any]

LEAST_HEARD = 0.9
"""The share of words that a real Whisper has to get right; its errors are its own."""

LEAST_SEEN = 0.9
"""The share of sample frames that have to be captioned to the word: the captioner is tiny."""

SURE = 0.5
"""The score from which on a sound is taken for heard."""

NEAR = 0.6
"""Seconds by which a sentence's time may be off."""

SHOWN = 3
"""Answers among which a question's scene has to be."""


def judge_scenes(out: Path) -> list[Findings]:
    """All checks of a finished run over FILMS in this work folder."""
    found = FilmResults(out)
    return [
        Findings("Cuts", [_cuts(film, found.records(film)) for film in FILMS]),
        Findings("Captions", [_captions(film, found.records(film)) for film in FILMS]),
        Findings("Objects", [_objects(film, found.records(film)) for film in FILMS]),
        Findings("Sounds", [_sounds(film, found.records(film)) for film in FILMS]),
        Findings("Words", [_words(film, found.records(film)) for film in FILMS]),
        Findings("Descriptions", [_descriptions(film, found) for film in FILMS]),
        Findings("Search", [*_answers(found, out / DATABASE)]),
    ]


class FilmResults:
    """The records of a run, and the lines of its videos, by film."""

    def __init__(self, out: Path) -> None:
        lines = _read(out / RESULTS / VIDEOS)
        self._ids = {Path(line["source"]).stem: line["video"] for line in lines}
        self._videos = {line["video"]: line for line in lines}
        self._records = _read(out / RESULTS / "scenes.jsonl")

    def id_of(self, name: str) -> str | None:
        """The id of a film; None where it is not in the results."""
        return self._ids.get(name)

    def video(self, film: Film) -> Record:
        return self._videos.get(self._ids.get(film.name, ""), {})

    def records(self, film: Film) -> list[Record]:
        return [one for one in self._records if one["video"] == self._ids.get(film.name)]


def _cuts(film: Film, records: Sequence[Record]) -> Expectation:
    planted = " ".join(f"{end:g}" for end in film.cuts[:-1])
    found = " ".join(f"{one['end']:g}" for one in records[:-1]) or "none"
    what = f"{len(film.takes)} scenes in {film.seconds} s"
    return Expectation(film.name, what, planted, found, found == planted)


def _captions(film: Film, records: Sequence[Record]) -> Expectation:
    planted = [take.caption for take in film.takes]
    told = [(one["index"], caption["text"]) for one in records for caption in one["captions"] or ()]
    right = sum(text == planted[index] for index, text in told if index < len(planted))
    return Expectation(
        film.name,
        "sample frames, to the word",
        f"{LEAST_SEEN:.0%} or more",
        f"{right} of {len(told)}",
        bool(told) and right / len(told) >= LEAST_SEEN and len(records) == len(planted),
    )


def _objects(film: Film, records: Sequence[Record]) -> Expectation:
    """Scenes of which the classes, their numbers and the tracker's ids are right."""
    count = len(film.takes)
    right = sum(
        {line["class"]: (line["most_at_once"], line["ids"]) for line in one["objects"] or ()}
        == {kind: (number, number) for kind, number in take.objects.items()}
        for one, take in zip(records, film.takes, strict=False)
    )
    found = f"{right} of {count}"
    return Expectation(
        film.name, "scenes, with their numbers", f"{count} of {count}", found, right == count
    )


def _sounds(film: Film, records: Sequence[Record]) -> Expectation:
    """What is heard in each scene in which nobody speaks: the tagger has not learnt voices."""
    if film.silent:
        silent = len(records) == len(film.takes) and all(one["sound"] is None for one in records)
        found = "no sound track" if silent else "sound"
        return Expectation(film.name, "", "no sound track", found, silent)
    planted, heard = [], []
    scores = [{tag["label"]: tag["score"] for tag in one["sounds"] or ()} for one in records]
    for (start, end, take), tags in zip(film.spans(), scores, strict=False):
        if not film.is_spoken_over(start, end):
            planted.append(take.hears or "nothing")
            sure = [name for name in SOUNDS if tags.get(name, 0.0) >= SURE]
            heard.append("+".join(sure) or "nothing")
    expected, found = ", ".join(planted).lower(), ", ".join(heard).lower()
    what = "scenes without a voice"
    return Expectation(film.name, what, expected, found, expected == found)


def _words(film: Film, records: Sequence[Record]) -> Expectation:
    """Whether the words are those that are said, and each sentence's where it is said."""
    planted = [word for name in film.said.values() for word in _letters(SENTENCES[name])]
    segments = [one for record in records for one in (record["speech"] or {}).get("segments", ())]
    heard = [word for one in segments for word in _letters(one["text"])]
    if not planted:
        none = not heard
        return Expectation(film.name, "", "nobody speaks", " ".join(heard) or "no words", none)
    right = sum(block.size for block in SequenceMatcher(None, planted, heard).get_matching_blocks())
    late = [name for at, name in film.said.items() if not _is_said(records, at, name)]
    found = f"{right} of {len(planted)}"
    if len(heard) > right:
        found += f", {len(heard) - right} others"
    if late:
        found += f", elsewhere: {', '.join(late)}"
    good = right / len(planted) >= LEAST_HEARD and len(heard) - right <= len(planted) - right + 2
    expected = f"{len(planted)} words"
    return Expectation(film.name, f"{len(film.said)} sentences", expected, found, good and not late)


def _is_said(records: Sequence[Record], at: float, name: str) -> bool:
    """Whether there are words from about where a sentence begins to about where it ends, in the
    scenes that these seconds belong to. A word over a cut belongs to one of them as a whole."""
    spans = [
        (record["start"], record["end"], segment["start"], segment["end"])
        for record in records
        for segment in (record["speech"] or {}).get("segments", ())
    ]
    inside = all(
        first - NEAR <= begin and first <= (begin + finish) / 2 < last and finish <= last + NEAR
        for first, last, begin, finish in spans
    )
    end = at + seconds_of(name)
    begins = any(abs(begin - at) <= NEAR for _, _, begin, _ in spans)
    ends = any(abs(finish - end) <= NEAR for _, _, _, finish in spans)
    return inside and begins and ends


def _descriptions(film: Film, found: FilmResults) -> Expectation:
    """Whether each scene has one, from the server, that tells what the other branches found."""
    count = len(film.takes)
    right = sum(_is_told(one) for one in found.records(film))
    chapters = len(found.video(film).get("chapters") or ())
    text = f"{right} of {count} scenes, {chapters} chapters"
    expected = f"{count} of {count} scenes, {(count + 1) // 2} chapters"
    return Expectation(film.name, "in the server's words", expected, text, text == expected)


def _is_told(record: Record) -> bool:
    if not record["description"] or record["made_by"].get("description") != f"openai:{MODEL}":
        return False
    told = record["description"]["description"]
    pieces = [one["text"] for one in record["captions"] or ()]
    pieces += [one["label"] for one in record["sounds"] or ()]
    pieces += [one["text"].strip() for one in (record["speech"] or {}).get("segments", ())]
    return all(piece in told for piece in pieces)


def _answers(found: FilmResults, database: Path) -> Iterator[Expectation]:
    from stages.search.searching import SearchQuestion, search
    from stages.sinks.sqlite_file import opened_to_read

    with opened_to_read(database) as db:
        for asked in QUESTIONS:
            hits = search(db, SearchQuestion(asked.words), SHOWN)
            place = next(
                (
                    place
                    for place, hit in enumerate(hits, 1)
                    if hit.video == found.id_of(asked.film) and hit.first <= asked.scene <= hit.last
                ),
                None,
            )
            yield _answer(asked, place)


def _answer(asked: PlantedQuestion, place: int | None) -> Expectation:
    return Expectation(
        asked.film,
        asked.words,
        f"scene {asked.scene + 1}",
        f"answer {place}" if place else f"not in the first {SHOWN}",
        place is not None,
    )


def _letters(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
