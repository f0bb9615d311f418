"""The Postgres sink, against a real server with pgvector."""

import struct
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import pytest

from engine import Transient, UsageError
from stages.persistence.store import Store, StoreSettings
from stages.search.embedding import Embedded
from stages.sinks.postgres import PostgresSink
from stages.sinks.sqlite import SqliteSink, digest_of
from tests.stages.sinks.postgres_server import PASSWORD
from tests.stages.sinks.records import said, scene, video

psycopg = pytest.importorskip("psycopg")


def opened(schema: str, *, vectors: bool = True) -> PostgresSink:
    return PostgresSink("DATABASE_URL", schema, vectors=vectors)


def packed(*numbers: float) -> bytes:
    return struct.pack(f"<{len(numbers)}f", *numbers)


def test_words_records_and_vectors_are_found_by_sql(postgres, schema):
    with opened(schema) as sink:
        texts = {"chop the onions": packed(1, 0, 0), "boil the water": packed(0, 1, 0)}
        sink.keep_vectors("m", list(texts.items()))
        sink.write(
            video("a", *(scene(place, speech=said(text)) for place, text in enumerate(texts)))
        )
        assert sink.vectors_of("m", [*texts, "other"]) == texts
    with psycopg.connect(postgres) as db:
        db.execute(f"SET search_path = {schema}, public")
        [(found, title)] = db.execute(
            "SELECT s.record->>'index', v.document->>'title' FROM scenes s JOIN videos v"
            " ON v.id = s.video WHERE s.words @@ plainto_tsquery('simple', 'onions')"
        ).fetchall()
        assert (found, title) == ("0", "A")
        nearest = db.execute(
            "SELECT s.said FROM scenes s JOIN facets f USING (video, scene)"
            " JOIN vectors e USING (digest)"
            " WHERE e.model = 'm' ORDER BY e.vector <=> '[0.1, 0.9, 0]'"
        ).fetchall()
        assert nearest == [("boil the water",), ("chop the onions",)]
        indexes = db.execute(
            "SELECT indexdef FROM pg_indexes WHERE schemaname = %s AND tablename = 'vectors'",
            (schema,),
        ).fetchall()
        assert any("hnsw" in definition and "(3)" in definition for (definition,) in indexes)


def test_a_vector_stays_as_long_as_a_scene_has_its_text(postgres, schema):
    def spoken(name: str, *texts: str):
        return video(name, *(scene(place, speech=said(one)) for place, one in enumerate(texts)))

    with opened(schema) as sink:
        sink.use_model("m", {"by": "test"})
        sink.use_model("m", {"by": "again"})
        sink.keep_vectors("m", [("one", packed(1)), ("two", packed(2))])
        sink.keep_vectors("m", [("two", packed(2))])
        sink.keep_vectors("large", [("one", packed(*[0.5] * 3072))])
        sink.write(spoken("a", "one", "two"))
        sink.write(spoken("b", "two"))
        assert sink.without_vector("m", ["one", "two", "three", "three"]) == ["three"]
        assert sink.without_vector("another", ["one"]) == ["one"]
        sink.write(spoken("a", "one", "other"))
        assert sink.without_vector("m", ["one", "two"]) == []
        sink.remove("a")
        assert sink.without_vector("m", ["one", "two"]) == ["one"]
    with psycopg.connect(postgres) as db:
        left = db.execute(f"SELECT digest FROM {schema}.vectors").fetchall()
        assert left == [(digest_of("two"),)]


class Counting:
    """An embedder that notes what it was asked for."""

    name = "m"
    made_by: ClassVar[dict[str, str]] = {"by": "test"}

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        self.asked += texts
        yield Embedded(texts, np.eye(3, dtype=np.float32)[: len(texts)])

    def close(self) -> None:
        pass


def test_vectors_are_made_once_for_all_sinks(schema, tmp_path):
    embedder = Counting()

    def write(*sinks: str) -> None:
        store = Store(StoreSettings(sinks=sinks, postgres_schema=schema), tmp_path, embedder)
        try:
            store.write(video("a", scene(0, speech=said("hello")), scene(1, speech=said("world"))))
        finally:
            store.close()

    write("sqlite", "postgres")
    assert embedder.asked == ["hello", "world"]
    (tmp_path / "search.db").unlink()
    write("postgres", "sqlite")
    assert embedder.asked == ["hello", "world"], "one sink has what the other had"
    with SqliteSink(tmp_path / "search.db") as sqlite, opened(schema) as postgres:
        found = sqlite.vectors_of("m", ["hello", "world"])
        assert found == postgres.vectors_of("m", ["hello", "world"])
        assert found == {"hello": packed(1, 0, 0), "world": packed(0, 1, 0)}


def test_a_connection_that_was_lost_is_made_anew(postgres, schema):
    with opened(schema, vectors=False) as sink:
        sink.write(video("a"))
        with psycopg.connect(postgres, autocommit=True) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'penstock'"
            )
        with pytest.raises(Transient, match="does not answer"):
            sink.write(video("b"))
        sink.write(video("b"))
        assert set(sink.written()) == {"a", "b"}


def test_what_is_wrong_is_told_in_one_line_without_the_password(postgres, schema, monkeypatch):
    def told(url: str, schema: str = schema) -> str:
        monkeypatch.setenv("DATABASE_URL", url)
        with pytest.raises(UsageError) as error:
            opened(schema)
        assert "\n" not in str(error.value)
        assert "secret" not in str(error.value)
        assert PASSWORD not in str(error.value)
        return str(error.value)

    assert "environment variable DATABASE_URL" in told("")
    assert "no connection URL" in told("postgresql://u:secret%zz@host")
    assert "no connection URL" in told("secret")
    away = told("postgresql://u:secret@127.0.0.1:1/there")
    assert "Postgres at 127.0.0.1, database there does not answer" in away
    user = postgres.replace("postgres:@", "with_password:secret@")
    assert "does not let us in" in told(user)
    assert "does not let us in" in told(postgres.replace("/postgres?", "/nowhere?"))
    user = postgres.replace("postgres:@", f"with_password:{PASSWORD}@")
    assert f"has to own the schema {schema}" in told(user)
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE DATABASE readable")
        db.execute("ALTER DATABASE readable SET default_transaction_read_only = on")
        try:
            assert "can only be read" in told(postgres.replace("/postgres?", "/readable?"))
        finally:
            db.execute("DROP DATABASE readable WITH (FORCE)")


def test_without_pgvector_it_says_what_to_do_and_works_without_vectors(
    postgres, schema, monkeypatch
):
    """A database whose user may make tables, but has no pgvector and may not make it."""
    with psycopg.connect(postgres, autocommit=True) as db:
        db.execute("CREATE DATABASE plain OWNER with_password")
    user = postgres.replace("postgres:@", f"with_password:{PASSWORD}@")
    monkeypatch.setenv("DATABASE_URL", user.replace("/postgres?", "/plain?"))
    with pytest.raises(UsageError, match="pgvector"):
        opened(schema)
    with opened(schema, vectors=False) as sink:
        sink.write(video("a", scene(0, speech=said("hello"))))
        assert sink.remove("a")


def test_another_version_of_the_tables_is_left_alone(postgres, schema):
    opened(schema).__exit__()
    with psycopg.connect(postgres) as db:
        db.execute(f"UPDATE {schema}.penstock SET version = 99")
    with pytest.raises(UsageError, match="another version"):
        opened(schema)
