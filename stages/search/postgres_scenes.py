"""Scenes in a Postgres database, to be searched as those in an SQLite file are.

What may answer a question is copied into an SQLite file, and that is asked: so the same question
has the same answers, in the same order, wherever the scenes are.
"""

import json
import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import Transient, UsageError
from stages.search.embedding import Embedded, Embedder
from stages.search.query import match_expression, terms_of
from stages.search.searching import MOST_RANKED, SearchQuestion
from stages.sinks.postgres_connection import PostgresConnection
from stages.sinks.postgres_schema import has_tables, has_vectors
from stages.sinks.sqlite import SqliteSink
from stages.sinks.texts import COLUMNS, Column, spaced

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from psycopg import Connection

WHOLE = 2000
"""Scenes up to which all are copied. Of more it is those that have any of the words in any form, at
most MOST_RANKED of them, and those that are closest in meaning: then how rare a word is counts
among these alone."""

CLOSEST = 400
"""Texts that are closest in meaning: those of 100 scenes at least."""


KeptScene = tuple[dict[str, Any], dict[Column, str]]
"""A scene's record and its texts: of these the database keeps the order of what they are made of,
of the record it does not."""

_SCENE = f"video, scene, record, {', '.join(COLUMNS)}"


class AskedOnce:
    """An embedder that has been asked one question, and answers just that, again and again."""

    def __init__(self, embedder: Embedder, words: str) -> None:
        """Embeds the words. Raises what the embedder raises."""
        self.name = embedder.name
        self.made_by: Mapping[str, Any] = embedder.made_by
        [asked] = embedder.embed([words])
        self.vector: NDArray[np.float32] = asked.vectors[0]

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        yield Embedded(texts, self.vector.reshape(1, -1))

    def drain(self) -> None:
        """Nothing more is asked."""

    def close(self) -> None:
        """It holds nothing."""


class PostgresScenes:
    """What the Postgres sink has put into a schema. Close it after use."""

    def __init__(self, variable: str, schema: str) -> None:
        """Raises UsageError where it cannot be read: without the driver, the URL, the server, or
        anything in the schema."""
        self._server = PostgresConnection(
            variable, schema, what="searching in Postgres", otherwise="or leave --postgres out"
        )
        try:
            with self._server.reading() as db:
                if not has_tables(db):
                    raise UsageError(
                        f"{self._server.host} has nothing of Penstock's in the schema {schema}; "
                        "name another one with --schema, or have a run put its records there "
                        '(stages.persist.sinks = ["sqlite", "postgres"])'
                    )
        except Transient as error:
            raise UsageError(error.reason) from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._server.close()

    def documents(self) -> dict[str, dict[str, Any]]:
        """The document of each video."""
        with self._server.reading() as db:
            return dict(db.execute("SELECT id, document FROM videos").fetchall())

    def latest_model(self) -> tuple[str, Mapping[str, Any]] | None:
        """What made the vectors last: its name, and how to make it; None: there are none."""
        with self._server.reading() as db:
            if not has_vectors(db):
                return None
            row = db.execute(
                "SELECT name, made_by FROM models WHERE EXISTS"
                " (SELECT 1 FROM vectors WHERE model = name) ORDER BY used DESC LIMIT 1"
            ).fetchone()
        return (row[0], row[1]) if row else None

    def copy(self, question: SearchQuestion, asked: AskedOnce | None, file: Path) -> None:
        """Make an SQLite file of what may answer the question. Raises UsageError where that has no
        word."""
        match_expression(question.words)
        with self._server.reading() as db:
            close = [] if asked is None else _closest(db, question, asked)
            places = {(video, scene) for video, scene, _, _ in close}
            records = _scenes(db, question, places)
            documents = dict(
                db.execute(
                    "SELECT id, document FROM videos WHERE id = ANY(%s)", (list(records),)
                ).fetchall()
            )
        with SqliteSink(file) as sink:
            for video, scenes in records.items():
                sink.copy(video, documents[video], scenes.values())
            if asked is not None:
                vectors = {
                    records[video][scene][1][column]: vector
                    for video, scene, column, vector in close
                }
                sink.keep_vectors(asked.name, list(vectors.items()))
                sink.use_model(asked.name, asked.made_by)


def _closest(
    db: "Connection[Any]", question: SearchQuestion, asked: AskedOnce
) -> list[tuple[str, int, Any, bytes]]:
    """The texts that are closest in meaning: video, scene, column and vector of each."""
    rows = db.execute(
        "SELECT f.video, f.scene, f.facet, v.vector::real[] FROM facets f"
        " JOIN vectors v ON v.model = %s AND v.digest = f.digest"
        " JOIN scenes s ON s.video = f.video AND s.scene = f.scene"
        " WHERE s.video = coalesce(%s, s.video) AND s.ends > %s AND f.facet = ANY(%s)"
        " ORDER BY v.vector <=> %s::vector, f.video, f.scene LIMIT %s",
        (
            *(asked.name, question.video, question.after),
            *(list(question.columns or COLUMNS), json.dumps(asked.vector.tolist()), CLOSEST),
        ),
    ).fetchall()
    return [
        (video, scene, column, struct.pack(f"<{len(vector)}f", *vector))
        for video, scene, column, vector in rows
    ]


def _scenes(
    db: "Connection[Any]", question: SearchQuestion, places: set[tuple[str, int]]
) -> dict[str, dict[int, KeptScene]]:
    """The scenes at these places and those that have the words, by video and place in it."""
    (count,) = db.execute("SELECT count(*) FROM scenes").fetchone() or (0,)
    if count <= WHOLE:
        rows = db.execute(f"SELECT {_SCENE} FROM scenes ORDER BY video, scene").fetchall()
    else:
        forms, within = _forms(db, question.words)
        rows = db.execute(
            f"SELECT {_SCENE} FROM scenes WHERE video = coalesce(%s, video)"
            " AND ends > %s AND (words @@ to_tsquery('simple', %s)"
            " OR concat_ws(' ', said, seen, heard, described) ILIKE ANY(%s))"
            " ORDER BY ts_rank(words, to_tsquery('simple', %s)) DESC, video, scene LIMIT %s",
            (question.video, question.after, forms, within, forms, MOST_RANKED),
        ).fetchall()
        more = places - {(video, scene) for video, scene, *_ in rows}
        rows += db.execute(
            f"SELECT {_SCENE} FROM scenes JOIN unnest(%s::text[], %s::int[])"
            " AS wanted (of_video, place) ON video = of_video AND scene = place",
            ([video for video, _ in more], [scene for _, scene in more]),
        ).fetchall()
    found: dict[str, dict[int, KeptScene]] = defaultdict(dict)
    for video, scene, record, *texts in rows:
        whole = {column: text or "" for column, text in zip(COLUMNS, texts, strict=True)}
        found[video][scene] = record, whole
    return found


def _forms(db: "Connection[Any]", words: str) -> tuple[str, list[str]]:
    """A query for any form of any of the words: what begins with its stem; and patterns for words
    of languages that are written without spaces, which the index takes for parts of longer ones."""
    pieces = {piece.lower() for term in terms_of(words) for piece in re.findall(r"\w+", term)}
    stems = set()
    for piece in pieces:
        row = db.execute("SELECT ts_lexize('english_stem', %s)", (piece,)).fetchone()
        stem = row[0][0] if row and row[0] else piece
        # "berries" is "berri" then, and "berry" begins with neither.
        stems.add(min(piece, stem.rstrip("i") or stem, key=len))
    forms = " | ".join(f"'{stem}':*" for stem in sorted(stems) if "'" not in stem)
    return forms or "''", [f"%{piece}%" for piece in pieces if spaced(piece) != piece]
