"""Answers to a question from the SQLite file of scenes."""

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stages.search.query import match_expression
from stages.search.ranking import Neighbours, RankedScene, fused, merged, relative
from stages.search.snippet import Snippet, snippet_of
from stages.sinks.texts import COLUMNS, MARKS, Column, segments_of

SHOWN_FIRST: tuple[Column, ...] = ("said", "described", "seen", "heard")
"""The order in which columns are shown that have as much of what was looked for: a description may
quote what is said, and speech has the better time."""

MOST_RANKED = 1000
"""Scenes that are ranked by their words; the others fit worse."""


@dataclass(frozen=True, slots=True)
class SearchQuestion:
    """What is looked for: words, in these columns (() is all), of one video or any, in scenes that
    end after so many seconds."""

    words: str
    columns: tuple[Column, ...] = ()
    video: str | None = None
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer: neighbouring scenes of a video.

    `scene` is the best of them, `first` to `last` all of them; `start` and `end` are theirs
    together, in seconds of the video. At `time` stands what the snippet shows: a segment of speech,
    or else the best scene. `column` is where the snippet is from; it has MARKS around what was
    found. `record` and `document` are the best scene's and its video's.
    """

    video: str
    scene: int
    first: int
    last: int
    start: float
    end: float
    time: float
    column: Column
    snippet: str
    score: float
    record: Mapping[str, Any]
    document: Mapping[str, Any]


Ranker = Callable[[SearchQuestion], Sequence[RankedScene]]
"""Another ranking of scenes, best first."""


def search(
    db: sqlite3.Connection, question: SearchQuestion, most: int, rankers: Sequence[Ranker] = ()
) -> list[Hit]:
    """The best answers, at most so many, by the words and by the other rankings.

    Raises UsageError where the question has no word.
    """
    expression = match_expression(question.words, question.columns)
    by_words = _by_words(db, question, expression)
    rankings = [by_words, *(ranker(question) for ranker in rankers)]
    answers = merged(fused(rankings))[:most]
    return [_hit(db, answer, expression, question.columns) for answer in answers]


def _by_words(
    db: sqlite3.Connection, question: SearchQuestion, expression: str
) -> list[RankedScene]:
    rows = db.execute(
        "SELECT s.key, s.video, s.scene, -bm25(words)"
        " FROM words JOIN scenes s ON s.key = words.rowid"
        " WHERE words MATCH ? AND s.video = coalesce(?, s.video) AND s.ends > ?"
        " ORDER BY 4 DESC, s.video, s.scene LIMIT ?",
        (expression, question.video, question.after, MOST_RANKED),
    ).fetchall()
    shares = relative({key: score for key, _, _, score in rows})
    return [RankedScene(key, video, scene, shares[key]) for key, video, scene, _ in rows]


def _hit(
    db: sqlite3.Connection, answer: Neighbours, expression: str, columns: tuple[Column, ...]
) -> Hit:
    best = answer.scenes[0]
    text, document = db.execute(
        "SELECT s.record, v.document FROM scenes s JOIN videos v ON v.id = s.video WHERE s.key = ?",
        (best.key,),
    ).fetchone()
    record = json.loads(text)
    start, end = db.execute(
        "SELECT min(begins), max(ends) FROM scenes WHERE video = ? AND scene BETWEEN ? AND ?",
        (best.video, *answer.places),
    ).fetchone()
    texts = _marked(db, best.key, expression) or _texts(db, best.key)
    column, snippet = _shown(texts, (best.column,) if best.column else columns)
    first, last = answer.places
    return Hit(
        video=best.video,
        scene=best.scene,
        first=first,
        last=last,
        start=start,
        end=end,
        time=_time(record, column, snippet.passage),
        column=column,
        snippet=snippet.text,
        score=answer.score,
        record=record,
        document=json.loads(document),
    )


def _marked(db: sqlite3.Connection, key: int, expression: str) -> dict[Column, str] | None:
    """The scene's texts with MARKS around what the words found; None where they found nothing."""
    each = ", ".join(f"highlight(words, {place}, ?, ?)" for place in range(len(COLUMNS)))
    row = db.execute(
        f"SELECT {each} FROM words WHERE words MATCH ? AND rowid = ?",
        (*MARKS * len(COLUMNS), expression, key),
    ).fetchone()
    return dict(zip(COLUMNS, row, strict=True)) if row else None


def _texts(db: sqlite3.Connection, key: int) -> dict[Column, str]:
    row = db.execute(f"SELECT {', '.join(COLUMNS)} FROM words WHERE rowid = ?", (key,)).fetchone()
    return dict(zip(COLUMNS, row, strict=True))


def _shown(texts: Mapping[Column, str], columns: tuple[Column, ...]) -> tuple[Column, Snippet]:
    """The column that has most of what was looked for, and the snippet of it."""
    among = [column for column in columns or SHOWN_FIRST if texts[column]] or [COLUMNS[0]]
    snippets = {column: snippet_of(texts[column]) for column in among}
    best = max(among, key=lambda column: snippets[column].words)
    return best, snippets[best]


def _time(record: Mapping[str, Any], column: Column, passage: int) -> float:
    if column == "said":
        segments = segments_of(record)
        if passage < len(segments) and isinstance(segments[passage].get("start"), int | float):
            return float(segments[passage]["start"])
    return float(record["start"])
