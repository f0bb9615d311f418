"""The Postgres sink: scenes in tables of a schema of its own, with vectors where they are wanted.

Each method is one transaction. Writers wait for one another by a lock of the schema's name; who
reads sees a video whole, as it was or as it is now.
"""

import json
import struct
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine import Transient, UsageError, writable
from stages.sinks.postgres_connection import PostgresConnection
from stages.sinks.postgres_schema import OtherVersion, has_vectors, make_index, make_tables
from stages.sinks.sink import Record, VideoRecords, WrittenVideo, gone_name, next_turn
from stages.sinks.sqlite import digest_of
from stages.sinks.texts import COLUMNS, texts_of

if TYPE_CHECKING:
    from psycopg import Connection


class PostgresSink:
    """Scenes in a Postgres database; a `VectorSink`. The tables are made if they are missing. Used
    from one thread at a time, by any number of processes."""

    def __init__(self, variable: str, schema: str, *, vectors: bool) -> None:
        """`variable` names the environment variable with the connection's URL. Without `vectors`
        the database needs no pgvector. Raises UsageError where it cannot be used."""
        self._server = PostgresConnection(
            variable,
            schema,
            what="the Postgres sink",
            otherwise='or leave "postgres" out of stages.persist.sinks',
        )
        self.place = (self._server.url, schema)
        try:
            with self._server.writing() as db:
                make_tables(db, schema, vectors=vectors)
        except OtherVersion:
            self._server.close()
            raise UsageError(
                f"{self._server.host}: the schema {schema} was written by another version of "
                "Penstock; use that one, or name another schema (stages.persist.postgres_schema)"
            ) from None
        except Transient as error:  # before the run it is the settings that are looked at
            raise UsageError(error.reason) from error
        except BaseException:
            self._server.close()
            raise

    def __enter__(self) -> "PostgresSink":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def begin(self) -> int:
        with self._server.writing() as db:
            return _next_turn(db)

    def write(self, records: VideoRecords, turn: int | None = None) -> bool:
        with self._server.writing() as db:
            turn = turn if turn is not None else _next_turn(db)
            there = _written(db, records.video)
            if (there.turn if there is not None else _gone(db, records.video)) > turn:
                return False
            if there is not None and there.generation == records.generation:
                db.execute("UPDATE videos SET turn = %s WHERE id = %s", (turn, records.video))
                return True
            before = _delete(db, records.video)
            _insert(db, records, turn)
            _drop_vectors(db, before)
        return True

    def remove(self, video: str, turns: Collection[int] | None = None) -> bool:
        with self._server.writing() as db:
            there = _written(db, video)
            if turns is not None and (there is None or there.turn not in turns):
                return False
            turn = _next_turn(db) if turns is None or there is None else there.turn
            _drop_vectors(db, _delete(db, video))
            db.execute(
                "INSERT INTO gone VALUES (%s, %s)"
                " ON CONFLICT (name) DO UPDATE SET turn = excluded.turn",
                (gone_name(video), turn),
            )
        return there is not None

    def written(self) -> Mapping[str, WrittenVideo]:
        with self._server.writing() as db:
            rows = db.execute("SELECT id, generation, turn FROM videos").fetchall()
        return {video: WrittenVideo(generation, turn) for video, generation, turn in rows}

    def without_vector(self, model: str, texts: Iterable[str]) -> list[str]:
        known = {digest_of(text): text for text in texts}
        with self._server.writing() as db:
            for (digest,) in db.execute(
                "SELECT digest FROM vectors WHERE model = %s AND digest = ANY(%s)",
                (model, list(known)),
            ):
                known.pop(digest, None)
        return list(known.values())

    def keep_vectors(self, model: str, vectors: Sequence[tuple[str, bytes]]) -> None:
        if not vectors:
            return
        rows = [(model, digest_of(text), _as_text(vector)) for text, vector in vectors]
        with self._server.writing() as db:
            make_index(db, model, len(vectors[0][1]) // 4)
            db.cursor().executemany(
                "INSERT INTO vectors VALUES (%s, %s, %s) ON CONFLICT (model, digest) DO NOTHING",
                rows,
            )

    def vectors_of(self, model: str, texts: Iterable[str]) -> dict[str, bytes]:
        known = {digest_of(text): text for text in texts}
        with self._server.writing() as db:
            rows = db.execute(
                "SELECT digest, vector::real[] FROM vectors WHERE model = %s AND digest = ANY(%s)",
                (model, list(known)),
            ).fetchall()
        return {known[digest]: struct.pack(f"<{len(vector)}f", *vector) for digest, vector in rows}

    def use_model(self, name: str, made_by: Mapping[str, Any]) -> None:
        with self._server.writing() as db:
            db.execute(
                "INSERT INTO models SELECT %s, %s, coalesce(max(used), 0) + 1 FROM models"
                " ON CONFLICT (name)"
                " DO UPDATE SET made_by = excluded.made_by, used = excluded.used",
                (name, _json(made_by)),
            )


def _next_turn(db: "Connection[Any]") -> int:
    """In a transaction with the writers' lock."""
    row = db.execute("SELECT given FROM turns").fetchone()
    turn = next_turn(row[0] if row is not None else 0)
    db.execute("UPDATE turns SET given = %s", (turn,))
    return turn


def _written(db: "Connection[Any]", video: str) -> WrittenVideo | None:
    row = db.execute("SELECT generation, turn FROM videos WHERE id = %s", (video,)).fetchone()
    return WrittenVideo(*row) if row else None


def _gone(db: "Connection[Any]", video: str) -> int:
    """The turn in which the video was taken out; -1 where it was not."""
    row = db.execute("SELECT turn FROM gone WHERE name = %s", (gone_name(video),)).fetchone()
    return int(row[0]) if row else -1


def _insert(db: "Connection[Any]", records: VideoRecords, turn: int) -> None:
    db.execute("DELETE FROM gone WHERE name = %s", (gone_name(records.video),))
    db.execute(
        "INSERT INTO videos (id, generation, document, turn) VALUES (%s, %s, %s, %s)",
        (records.video, records.generation, _json(records.document), turn),
    )
    scenes, facets = [], []
    for record in records.scenes:
        texts = texts_of(record)
        place = (records.video, record["index"])
        times = (record["start"], record["end"])
        scenes.append((*place, *times, *(texts[one] or None for one in COLUMNS), _json(record)))
        facets += [(*place, one, digest_of(text)) for one, text in texts.items() if text]
    cursor = db.cursor()
    cursor.executemany(
        "INSERT INTO scenes (video, scene, begins, ends, said, seen, heard, described, record)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        scenes,
    )
    cursor.executemany("INSERT INTO facets VALUES (%s, %s, %s, %s)", facets)


def _delete(db: "Connection[Any]", video: str) -> list[bytes]:
    """Take the video's rows out; returns the digests of the texts that it had."""
    digests = db.execute("SELECT DISTINCT digest FROM facets WHERE video = %s", (video,)).fetchall()
    db.execute("DELETE FROM videos WHERE id = %s", (video,))  # and all that refers to it
    return [digest for (digest,) in digests]


def _drop_vectors(db: "Connection[Any]", digests: list[bytes]) -> None:
    """Delete those of these texts that no scene has any more."""
    if digests and has_vectors(db):
        db.execute(
            "DELETE FROM vectors v WHERE v.digest = ANY(%s)"
            " AND NOT EXISTS (SELECT 1 FROM facets f WHERE f.digest = v.digest)",
            (digests,),
        )


def _json(value: Record) -> str:
    return json.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """The value without characters that Postgres takes in no text: NUL, and lone surrogates."""
    if isinstance(value, str):
        return writable(value).replace("\0", " ")
    if isinstance(value, Mapping):
        return {_plain(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _as_text(vector: bytes) -> str:
    numbers = struct.unpack(f"<{len(vector) // 4}f", vector)
    return f"[{','.join(map(repr, numbers))}]"
