"""The tables of the Postgres sink, in a schema of their own.

    videos    one row a video: its generation, its document, and the turn that wrote it
    scenes    one row a scene: its times, its texts by column, the words in them, and its record
    facets    which text, by its digest, a scene has in a column
    vectors   what a model made of a text, by the text's digest; pgvector's type, with an index
    models    how to make such vectors, by the model's name
    turns     the last turn that was given to a writer
    gone      the turns in which videos were taken out, by digests of their ids

Not in `public`: Supabase lets everybody who has a project's public key read what is there.
"""

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psycopg import Connection

VERSION = 1

MOST_INDEXED = 250_000
"""Characters of a column whose words are indexed: Postgres indexes no longer text."""

TABLES = f"""
CREATE TABLE videos (
    id text PRIMARY KEY, generation text NOT NULL, document jsonb NOT NULL
);
CREATE TABLE scenes (
    video text NOT NULL REFERENCES videos ON DELETE CASCADE, scene integer NOT NULL,
    begins double precision NOT NULL, ends double precision NOT NULL,
    said text, seen text, heard text, described text, record jsonb NOT NULL,
    words tsvector GENERATED ALWAYS AS (
        to_tsvector('simple'::regconfig, left(coalesce(said, ''), {MOST_INDEXED}))
        || to_tsvector('simple'::regconfig, left(coalesce(seen, ''), {MOST_INDEXED}))
        || to_tsvector('simple'::regconfig, left(coalesce(heard, ''), {MOST_INDEXED}))
        || to_tsvector('simple'::regconfig, left(coalesce(described, ''), {MOST_INDEXED}))
    ) STORED,
    PRIMARY KEY (video, scene)
);
CREATE INDEX scenes_by_words ON scenes USING gin (words);
CREATE TABLE facets (
    video text NOT NULL, scene integer NOT NULL, facet text NOT NULL, digest bytea NOT NULL,
    PRIMARY KEY (video, scene, facet),
    FOREIGN KEY (video, scene) REFERENCES scenes ON DELETE CASCADE
);
CREATE INDEX facets_by_digest ON facets (digest);
CREATE TABLE models (name text PRIMARY KEY, made_by jsonb NOT NULL, used integer NOT NULL);
CREATE TABLE penstock (version integer NOT NULL);
INSERT INTO penstock VALUES ({VERSION});
"""

TURNS = """
ALTER TABLE videos ADD COLUMN turn bigint NOT NULL DEFAULT 0;
CREATE TABLE turns (given bigint NOT NULL);
INSERT INTO turns VALUES (0);
"""
"""Apart from the other tables: those that were made without it get it."""

GONE = "CREATE TABLE gone (name bytea PRIMARY KEY, turn bigint NOT NULL);"
"""The same."""

VECTORS = """
CREATE TABLE vectors (
    model text NOT NULL, digest bytea NOT NULL, vector vector NOT NULL, PRIMARY KEY (model, digest)
);
"""


class OtherVersion(Exception):
    """The tables were made by another version."""


def make_tables(db: "Connection[Any]", schema: str, *, vectors: bool) -> None:
    """Make what is missing, in a transaction with the writers' lock. Raises OtherVersion."""
    if db.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone() == (None,):
        db.execute(f'CREATE SCHEMA "{schema}"'.encode())
    if not has_tables(db):
        db.execute(TABLES.encode())
    elif db.execute("SELECT version FROM penstock").fetchone() != (VERSION,):
        raise OtherVersion
    if not _is_there(db, "turns"):
        db.execute(TURNS.encode())
    if not _is_there(db, "gone"):
        db.execute(GONE.encode())
    if vectors and not has_vectors(db):
        # In a schema that every search path has: other programs use it too.
        db.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        look_in(db, schema)
        db.execute(VECTORS.encode())


def look_in(db: "Connection[Any]", schema: str) -> None:
    """Have names looked up in the schema, and where pgvector is, until the transaction's end."""
    db.execute(
        "SELECT set_config('search_path', concat_ws(', ', quote_ident(%s), (SELECT"
        " quote_ident(n.nspname) FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace"
        " WHERE e.extname = 'vector')), true)",
        (schema,),
    )


def has_tables(db: "Connection[Any]") -> bool:
    return _is_there(db, "penstock")


def has_vectors(db: "Connection[Any]") -> bool:
    return _is_there(db, "vectors")


def make_index(db: "Connection[Any]", model: str, length: int) -> None:
    """Index this model's vectors by cosine: HNSW takes vectors of one length alone."""
    from psycopg.sql import SQL, Identifier, Literal

    kind = "vector" if length <= 2000 else "halfvec"
    name = f"vectors_{hashlib.sha256(model.encode()).hexdigest()[:12]}_{length}"
    if length > 4000 or _is_there(db, name):
        return
    db.execute(
        SQL(
            "CREATE INDEX {name} ON vectors USING hnsw ((vector::{kind}({length})) {order})"
            " WHERE model = {model}"
        ).format(
            name=Identifier(name),
            kind=SQL(kind),
            length=Literal(length),
            order=SQL(f"{kind}_cosine_ops"),
            model=Literal(model),
        )
    )


def _is_there(db: "Connection[Any]", name: str) -> bool:
    """Whether there is a table or an index of this name in the first schema of the path."""
    row = db.execute(
        "SELECT EXISTS (SELECT 1 FROM pg_class WHERE relname = %s"
        " AND relnamespace = to_regnamespace(quote_ident(current_schema())))",
        (name,),
    ).fetchone()
    return row is not None and bool(row[0])
