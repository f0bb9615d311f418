"""Every sink has a video whole, in one generation, or not at all; also when it is killed."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine import UsageError
from stages.sinks.parquet import ParquetSink
from stages.sinks.postgres import PostgresSink
from stages.sinks.sink import Sink
from stages.sinks.sqlite import SqliteSink, digest_of
from tests.stages.sinks.records import said, scene, video

Contents = Callable[[], dict[str, list[str]]]


def in_sqlite(path: Path) -> dict[str, list[str]]:
    """What was said in the scenes of each video, in order."""
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.execute("INSERT INTO words(words) VALUES ('integrity-check')")
        rows = db.execute(
            "SELECT s.video, w.said FROM scenes s JOIN words w ON w.rowid = s.key"
            " ORDER BY s.video, s.scene"
        ).fetchall()
        [(loose,)] = db.execute(
            "SELECT count(*) FROM words WHERE rowid NOT IN (SELECT key FROM scenes)"
        )
        assert not loose
        found: dict[str, list[str]] = {name: [] for (name,) in db.execute("SELECT id FROM videos")}
    for name, text in rows:
        found[name].append(text)
    return found


def in_parquet(folder: Path) -> dict[str, list[str]]:
    return {
        path.stem: pq.read_table(path)["said"].to_pylist()
        for path in sorted(folder.glob("*.parquet"))
    }


def in_postgres(url: str, schema: str) -> dict[str, list[str]]:
    import psycopg

    with psycopg.connect(url) as db:
        rows = db.execute(
            "SELECT v.id, coalesce(array_agg(coalesce(s.said, '') ORDER BY s.scene)"
            " FILTER (WHERE s.scene IS NOT NULL), '{}')"
            f" FROM {schema}.videos v LEFT JOIN {schema}.scenes s ON s.video = v.id GROUP BY v.id"
        ).fetchall()
        [(loose,)] = db.execute(
            f"SELECT count(*) FROM {schema}.facets f"
            f" WHERE NOT EXISTS (SELECT 1 FROM {schema}.scenes s WHERE s.video = f.video)"
        ).fetchall()
    assert not loose
    return dict(rows)


@pytest.fixture(params=["sqlite", "parquet", "postgres"])
def store(request, tmp_path) -> tuple[Callable[[], Sink], Contents]:
    """How to open a sink, and what it holds."""
    place = tmp_path / request.param
    if request.param == "postgres":
        url, name = (request.getfixturevalue(one) for one in ("postgres", "schema"))
        made = partial(PostgresSink, "DATABASE_URL", name, vectors=True)
        return made, partial(in_postgres, url, name)
    if request.param == "sqlite":
        return (lambda: SqliteSink(place)), (lambda: in_sqlite(place))
    return (lambda: ParquetSink(place)), (lambda: in_parquet(place))


def spoken(name: str, *texts: str):
    return video(name, *(scene(place, speech=said(text)) for place, text in enumerate(texts)))


def test_a_video_is_replaced_whole_and_leaves_no_orphans(store):
    opened, contents = store
    with opened() as sink:
        sink.write(spoken("a", "one", "two", "three"))
        sink.write(spoken("b", "other"))
        sink.write(spoken("a", "ONE"))
        assert contents() == {"a": ["ONE"], "b": ["other"]}
        assert {name: one.generation for name, one in sink.written().items()} == {
            "a": spoken("a", "ONE").generation,
            "b": spoken("b", "other").generation,
        }
        assert sink.remove("a")
        assert not sink.remove("a")
    assert contents() == {"b": ["other"]}


def test_writing_again_changes_nothing(store):
    opened, contents = store
    with opened() as sink:
        sink.write(spoken("a", "one"))
    with opened() as sink:
        sink.write(spoken("a", "one"))
    assert contents() == {"a": ["one"]}


def test_a_video_without_scenes_and_odd_text_are_taken(store):
    opened, contents = store
    odd = "a\ud800 lone\0 surrogate"
    with opened() as sink:
        sink.write(video("none"))
        sink.write(video("odd", scene(0, speech=said(odd), thumbnail=odd), title=odd))
        sink.write(video("bare", {"index": 0, "start": 0.0, "end": 1.0}))
    assert contents()["none"] == []
    assert contents()["odd"] == ["a? lone surrogate"]
    assert len(contents()["bare"]) == 1


def test_several_threads_write_at_once(store):
    opened, contents = store

    def write(name: str) -> None:
        with opened() as sink:
            for turn in range(3):
                sink.write(spoken(name, *[f"{name} {turn}"] * (turn + 1)))

    threads = [threading.Thread(target=write, args=(f"v{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert contents() == {f"v{number}": [f"v{number} 2"] * 3 for number in range(4)}


WRITER = """
import sys
from pathlib import Path
from stages.sinks.parquet import ParquetSink
from stages.sinks.postgres import PostgresSink
from stages.sinks.sqlite import SqliteSink
from tests.stages.sinks.test_sinks import spoken

kind, place, name = sys.argv[1:]
opened = {
    "sqlite": lambda: SqliteSink(Path(place)),
    "parquet": lambda: ParquetSink(Path(place)),
    "postgres": lambda: PostgresSink("DATABASE_URL", place, vectors=False),
}
with opened[kind]() as sink:
    print("ready", flush=True)
    for turn in range(1, 1_000_000):
        sink.write(spoken(name, *[str(turn)] * (turn % 40 + 1)))
        print(turn, flush=True)
"""


@pytest.mark.parametrize(
    "kind",
    ["sqlite", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("parquet", "postgres"))],
)
def test_killed_at_any_moment_it_has_the_old_video_or_the_new_one(kind, tmp_path, request):
    """Two processes write side by side; each is killed after other numbers of videos."""
    place, read = tmp_path / kind, in_sqlite if kind == "sqlite" else in_parquet
    if kind == "postgres":
        url, place = (request.getfixturevalue(one) for one in ("postgres", "schema"))
        read = partial(in_postgres, url)
    for kill_after in (1, 4):
        running = {
            name: subprocess.Popen(
                [sys.executable, "-c", WRITER, kind, str(place), name],
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[3],
            )
            for name in ("a", "b")
        }
        told = {}
        for name, process in running.items():
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(kill_after + 1)]
            told[name] = int(lines[-1])
            os.kill(process.pid, signal.SIGKILL)
        for process in running.values():
            process.communicate()
        found = read(place)
        for name, last in told.items():
            [turn] = {int(text) for text in found[name]}
            assert turn >= last, "what it told of is there"
            assert len(found[name]) == turn % 40 + 1, "all scenes of one generation"


def test_a_vector_stays_as_long_as_a_scene_has_its_text(tmp_path):
    path = tmp_path / "search.db"
    with SqliteSink(path) as sink:
        sink.keep_vectors("m", [("one", b"1111"), ("two", b"2222")])
        sink.write(spoken("a", "one", "two"))
        sink.write(spoken("b", "two"))
        assert sink.without_vector("m", ["one", "two", "three", "three"]) == ["three"]
        assert sink.without_vector("another", ["one"]) == ["one"]
        sink.write(spoken("a", "one", "other"))
        assert sink.without_vector("m", ["one", "two"]) == [], "b has it, and a again"
        sink.remove("a")
        assert sink.without_vector("m", ["one", "two"]) == ["one"]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT digest FROM vectors").fetchall() == [(digest_of("two"),)]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no database, but long enough for a header" * 100, "no database"),
        (None, "another program"),
    ],
)
def test_a_file_that_is_no_database_of_ours_is_named_in_one_line(tmp_path, content, told):
    path = tmp_path / "search.db"
    if content is None:
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE mine (x)")
    else:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=told) as error:
        SqliteSink(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for make in (SqliteSink, ParquetSink):
        with pytest.raises(UsageError, match="file/x"):
            make(tmp_path / "file" / "x" / "y")


def test_parquet_has_the_record_and_the_document(tmp_path):
    from stages.sinks.parquet import DOCUMENT

    with ParquetSink(tmp_path) as sink:
        sink.write(spoken("a", "hello"))
    table = pq.read_table(tmp_path / "a.parquet")
    [row] = table.to_pylist()
    assert (row["title"], row["scene"], row["said"], row["seen"]) == ("A", 0, "hello", None)
    assert json.loads(row["record"])["speech"]["segments"][0]["text"] == "hello"
    assert json.loads(table.schema.metadata[DOCUMENT])["source"] == "https://example.com/a.mp4"
