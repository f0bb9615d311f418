"""The Postgres sink: scenes in tables of a schema of its own, with vectors where they are wanted.

Each method is one transaction. Writers wait for one another by a lock of the schema's name; who
reads sees a video whole, as it was or as it is now.
"""

import json
import os
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from engine import StopRun, Transient, UsageError, shown_in, writable
from stages.sinks.postgres_schema import (
    OtherVersion,
    has_vectors,
    look_in,
    make_index,
    make_tables,
)
from stages.sinks.sink import Record, VideoRecords
from stages.sinks.sqlite import digest_of
from stages.sinks.texts import COLUMNS, texts_of

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 15

MOST_WORDS = 300


class PostgresSink:
    """Scenes in a Postgres database; a `VectorSink`. The tables are made if they are missing. Used
    from one thread at a time, by any number of processes."""

    def __init__(self, variable: str, schema: str, *, vectors: bool) -> None:
        """`variable` names the environment variable with the connection's URL. Without `vectors`
        the database needs no pgvector. Raises UsageError where it cannot be used."""
        try:
            import psycopg
        except ImportError:
            raise UsageError(
                "the Postgres sink needs psycopg: pip install 'penstock[postgres]', or leave "
                '"postgres" out of stages.persist.sinks'
            ) from None
        self._url = os.environ.get(variable, "").strip()
        if not self._url:
            raise UsageError(
                f"the Postgres sink needs a connection URL: put it into the environment variable "
                f'{variable}, or leave "postgres" out of stages.persist.sinks'
            )
        self.place = (self._url, schema)
        self._variable = variable
        self._schema = schema
        self._psycopg = psycopg
        self._connection: Connection[Any] | None = None
        try:
            self._host = _host_of(psycopg.conninfo.conninfo_to_dict(self._url))
        except psycopg.ProgrammingError:
            raise UsageError(
                f"the environment variable {variable} holds no connection URL; give one such as "
                "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
            ) from None
        try:
            with self._transaction() as db:
                make_tables(db, schema, vectors=vectors)
        except OtherVersion:
            self._disconnect()
            raise UsageError(
                f"{self._host}: the schema {schema} was written by another version of Penstock; "
                "use that one, or name another schema (stages.persist.postgres_schema)"
            ) from None
        except Transient as error:  # before the run it is the settings that are looked at
            raise UsageError(error.reason) from error
        except BaseException:
            self._disconnect()
            raise

    def __enter__(self) -> "PostgresSink":
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def write(self, records: VideoRecords) -> None:
        with self._transaction() as db:
            if _generation(db, records.video) == records.generation:
                return
            before = _delete(db, records.video)
            _insert(db, records)
            _drop_vectors(db, before)

    def remove(self, video: str) -> bool:
        with self._transaction() as db:
            found = _generation(db, video) is not None
            _drop_vectors(db, _delete(db, video))
        return found

    def generations(self) -> Mapping[str, str]:
        with self._transaction() as db:
            return dict(db.execute("SELECT id, generation FROM videos").fetchall())

    def without_vector(self, model: str, texts: Iterable[str]) -> list[str]:
        known = {digest_of(text): text for text in texts}
        with self._transaction() as db:
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
        with self._transaction() as db:
            make_index(db, model, len(vectors[0][1]) // 4)
            db.cursor().executemany(
                "INSERT INTO vectors VALUES (%s, %s, %s) ON CONFLICT (model, digest) DO NOTHING",
                rows,
            )

    def vectors_of(self, model: str, texts: Iterable[str]) -> dict[str, bytes]:
        known = {digest_of(text): text for text in texts}
        with self._transaction() as db:
            rows = db.execute(
                "SELECT digest, vector::real[] FROM vectors WHERE model = %s AND digest = ANY(%s)",
                (model, list(known)),
            ).fetchall()
        return {known[digest]: struct.pack(f"<{len(vector)}f", *vector) for digest, vector in rows}

    def use_model(self, name: str, made_by: Mapping[str, Any]) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO models SELECT %s, %s, coalesce(max(used), 0) + 1 FROM models"
                " ON CONFLICT (name)"
                " DO UPDATE SET made_by = excluded.made_by, used = excluded.used",
                (name, _json(made_by)),
            )

    @contextmanager
    def _transaction(self) -> "Iterator[Connection[Any]]":
        """One transaction, which holds the writers' lock; it is made anew where it was lost."""
        with self._explained():
            db = self._connected()
            with db.transaction():
                look_in(db, self._schema)
                lock = f"penstock {self._schema}"
                db.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", (lock,))
                yield db

    def _connected(self) -> "Connection[Any]":
        if self._connection is None or self._connection.closed:
            self._connection = self._psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=CONNECT_SECONDS,
                prepare_threshold=None,  # a pooler such as Supabase's keeps no statements
                application_name="penstock",
            )
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turns the driver's errors into one line: UsageError for what a person has to mend,
        StopRun for a full disk, Transient for a server that is away. None repeats the URL."""
        errors = self._psycopg.errors
        try:
            yield
        except errors.DiskFull as error:
            raise StopRun(f"{self._host}: the disk is full; make room and run again") from error
        except errors.InsufficientPrivilege as error:
            if "extension" in _told(error):
                raise UsageError(
                    f"{self._host} has no pgvector, and the user in {self._variable} may not add "
                    "it; have somebody who may run CREATE EXTENSION vector, or set "
                    'stages.persist.meaning = "off"'
                ) from error
            raise UsageError(
                f"{self._host}: {_told(error)}; the user in {self._variable} has to own the "
                f"schema {self._schema}, or be allowed to make it"
            ) from error
        except (errors.FeatureNotSupported, errors.UndefinedFile) as error:
            raise UsageError(
                f"{self._host} has no pgvector ({_told(error)}); install it on the server, or "
                'set stages.persist.meaning = "off"'
            ) from error
        except errors.ReadOnlySqlTransaction as error:
            raise UsageError(f"{self._host} can only be read; name another server") from error
        except (self._psycopg.OperationalError, self._psycopg.InterfaceError) as error:
            self._disconnect()
            told = _told(error)
            if re.search("authentication|pg_hba|does not exist|Tenant or user", told):
                raise UsageError(
                    f"{self._host} does not let us in: {told}; check {self._variable}"
                ) from None
            raise Transient(
                f"{self._host} does not answer: {told}; check the server, and {self._variable}",
                kind="postgres",
            ) from None


def _generation(db: "Connection[Any]", video: str) -> str | None:
    row = db.execute("SELECT generation FROM videos WHERE id = %s", (video,)).fetchone()
    return row[0] if row else None


def _insert(db: "Connection[Any]", records: VideoRecords) -> None:
    db.execute(
        "INSERT INTO videos VALUES (%s, %s, %s)",
        (records.video, records.generation, _json(records.document)),
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


def _host_of(parts: Mapping[str, Any]) -> str:
    """The server and the database, without user and password."""
    host, name = parts.get("host") or "this machine", parts.get("dbname")
    return f"Postgres at {host}, database {name}" if name else f"Postgres at {host}"


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


def _told(error: BaseException) -> str:
    """What the server said, in one line."""
    diagnosis = getattr(error, "diag", None)
    if diagnosis is not None and diagnosis.message_primary:
        return shown_in(" ".join(diagnosis.message_primary.split()))[:MOST_WORDS]
    lines = [line for line in str(error).splitlines() if line.strip()]
    return shown_in(" ".join(lines[-1].split()))[:MOST_WORDS] if lines else type(error).__name__
