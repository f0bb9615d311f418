"""The SQLite sink: one file with every scene, its words for full-text search, and vectors."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.sinks.sink import Record, VideoRecords, WrittenVideo, gone_name, next_turn
from stages.sinks.sqlite_file import explained, open_to_write
from stages.sinks.texts import COLUMNS, Column, spaced, texts_of

MOST_AT_ONCE = 500
"""Digests that one query asks about."""


class SqliteSink:
    """Scenes in an SQLite file; a `VectorSink`. Used from one thread at a time, by any number of
    processes."""

    def __init__(self, path: Path) -> None:
        """Makes the file if it is missing. Raises UsageError where it cannot be used."""
        self.path = path
        self.place = path.resolve()
        self._db = open_to_write(path)

    def __enter__(self) -> "SqliteSink":
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def begin(self) -> int:
        with self._transaction():
            return self._next_turn()

    def write(self, records: VideoRecords, turn: int | None = None) -> bool:
        with self._transaction():
            turn = turn if turn is not None else self._next_turn()
            there = self._written(records.video)
            if (there.turn if there is not None else self._gone(records.video)) > turn:
                return False
            if there is not None and there.generation == records.generation:
                self._db.execute("UPDATE videos SET turn = ? WHERE id = ?", (turn, records.video))
                return True
            before = self._delete(records.video)
            self._insert(records, turn)
            self._drop_vectors(before)
        return True

    def copy(
        self, video: str, document: Record, scenes: Iterable[tuple[Record, Mapping[Column, str]]]
    ) -> None:
        """Put in scenes of a video that is not there, as another sink has them: each record with
        its texts. For a copy that is asked and thrown away: it has no generation."""
        with self._transaction():
            told = (video, json.dumps(document))
            self._db.execute(
                "INSERT INTO videos (id, generation, document) VALUES (?, '', ?)", told
            )
            for record, texts in scenes:
                self._insert_scene(video, record, texts)

    def remove(self, video: str, turns: Collection[int] | None = None) -> bool:
        with self._transaction():
            there = self._written(video)
            if turns is not None and (there is None or there.turn not in turns):
                return False
            turn = self._next_turn() if turns is None or there is None else there.turn
            self._drop_vectors(self._delete(video))
            self._db.execute("INSERT OR REPLACE INTO gone VALUES (?, ?)", (gone_name(video), turn))
        return there is not None

    def written(self) -> Mapping[str, WrittenVideo]:
        with explained(self.path):
            rows = self._db.execute("SELECT id, generation, turn FROM videos")
            return {video: WrittenVideo(generation, turn) for video, generation, turn in rows}

    def without_vector(self, model: str, texts: Iterable[str]) -> list[str]:
        """Those of the texts that the model has made no vector of, each once."""
        known = {digest_of(text): text for text in texts}
        for digest, _ in self._vectors(model, list(known)):
            del known[digest]
        return list(known.values())

    def vectors_of(self, model: str, texts: Iterable[str]) -> dict[str, bytes]:
        """The vectors that are there of these texts."""
        known = {digest_of(text): text for text in texts}
        return {known[digest]: vector for digest, vector in self._vectors(model, list(known))}

    def _vectors(self, model: str, digests: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        with explained(self.path):
            for first in range(0, len(digests), MOST_AT_ONCE):
                some = digests[first : first + MOST_AT_ONCE]
                marks = ", ".join("?" * len(some))
                yield from self._db.execute(
                    f"SELECT digest, vector FROM vectors WHERE model = ? AND digest IN ({marks})",
                    (model, *some),
                )

    def keep_vectors(self, model: str, vectors: Sequence[tuple[str, bytes]]) -> None:
        """Keep what the model has made of these texts: little-endian float32, of length 1. They
        stand for themselves, so that no text is paid for twice."""
        rows = [(model, digest_of(text), vector) for text, vector in vectors]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def use_model(self, name: str, made_by: Mapping[str, Any]) -> None:
        """Name the model whose vectors are searched by from now on, and how to make them."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO models SELECT ?, ?, coalesce(max(used), 0) + 1 FROM models",
                (name, json.dumps(made_by)),
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # a full disk ends it by itself
                    self._db.execute("ROLLBACK")
                raise

    def _next_turn(self) -> int:
        (given,) = self._db.execute("SELECT given FROM turns").fetchone()
        turn = next_turn(given)
        self._db.execute("UPDATE turns SET given = ?", (turn,))
        return turn

    def _written(self, video: str) -> WrittenVideo | None:
        row = self._db.execute(
            "SELECT generation, turn FROM videos WHERE id = ?", (video,)
        ).fetchone()
        return WrittenVideo(*row) if row else None

    def _gone(self, video: str) -> int:
        """The turn in which the video was taken out; -1 where it was not."""
        row = self._db.execute("SELECT turn FROM gone WHERE name = ?", (gone_name(video),))
        return next((turn for (turn,) in row), -1)

    def _insert(self, records: VideoRecords, turn: int) -> None:
        self._db.execute("DELETE FROM gone WHERE name = ?", (gone_name(records.video),))
        told = (records.video, records.generation, json.dumps(records.document), turn)
        self._db.execute(
            "INSERT INTO videos (id, generation, document, turn) VALUES (?, ?, ?, ?)", told
        )
        for record in records.scenes:
            self._insert_scene(records.video, record, texts_of(record))

    def _insert_scene(self, video: str, record: Record, texts: Mapping[Column, str]) -> None:
        place = (video, record["index"], record["start"], record["end"])
        key = self._db.execute(
            "INSERT INTO scenes (video, scene, begins, ends, record) VALUES (?, ?, ?, ?, ?)",
            (*place, json.dumps(record)),
        ).lastrowid
        self._db.execute(
            "INSERT INTO words (rowid, said, seen, heard, described) VALUES (?, ?, ?, ?, ?)",
            (key, *(spaced(texts[column]) for column in COLUMNS)),
        )
        self._db.executemany("INSERT INTO facets VALUES (?, ?, ?)", _facets(key, texts))

    def _delete(self, video: str) -> list[tuple[bytes]]:
        """Take the video's rows out; returns the digests of the texts that it had."""
        digests = self._db.execute(
            "SELECT DISTINCT f.digest FROM facets f JOIN scenes s ON s.key = f.scene"
            " WHERE s.video = ?",
            (video,),
        ).fetchall()
        keys = self._db.execute("SELECT key FROM scenes WHERE video = ?", (video,)).fetchall()
        for table, column in (("words", "rowid"), ("facets", "scene"), ("scenes", "key")):
            self._db.executemany(f"DELETE FROM {table} WHERE {column} = ?", keys)
        self._db.execute("DELETE FROM videos WHERE id = ?", (video,))
        return digests

    def _drop_vectors(self, digests: list[tuple[bytes]]) -> None:
        """Delete those of these texts that no scene has any more."""
        self._db.executemany(
            "DELETE FROM vectors WHERE digest = ?1"
            " AND NOT EXISTS (SELECT 1 FROM facets WHERE digest = ?1)",
            digests,
        )


def digest_of(text: str) -> bytes:
    """The name of a text among the vectors: 16 bytes of its SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16]


def _facets(
    key: int | None, texts: Mapping[Column, str]
) -> Iterator[tuple[int | None, Column, bytes]]:
    for column, text in texts.items():
        if text:
            yield key, column, digest_of(text)
