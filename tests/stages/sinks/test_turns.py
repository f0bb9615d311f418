"""Two writers of one video: the sink has the later one's records, whole, however they come."""

import io
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stages.sinks.cosmos import CosmosSink
from stages.sinks.parquet import ParquetSink
from stages.sinks.postgres import PostgresSink
from stages.sinks.sink import Sink
from stages.sinks.sqlite import SqliteSink
from tests.stages.sinks.cosmos_server import cosmos_server
from tests.stages.sinks.records import said, scene, video
from tests.stages.sinks.test_sinks import in_postgres, in_sqlite

KINDS = ["sqlite", "parquet", "postgres", "cosmos"]
HERE = Path(__file__).parents[3]


def opened(kind: str, place: str) -> Sink:
    match kind:
        case "sqlite":
            return SqliteSink(Path(place))
        case "parquet":
            return ParquetSink(Path(place))
        case "postgres":
            return PostgresSink("DATABASE_URL", place, vectors=False)
        case _:
            return CosmosSink(place, "COSMOS_KEY", "penstock", "scenes")


def spoken(name: str, text: str, scenes: int = 2):
    return video(name, *(scene(place, speech=said(text)) for place in range(scenes)))


def in_cosmos(place: str) -> dict[str, list[str]]:
    with CosmosSink(place, "COSMOS_KEY", "penstock", "scenes") as sink:
        return {
            name: [one["speech"]["segments"][0]["text"] for one in sink.read(name)]
            for name in sink.written()
        }


def files_in(folder: Path) -> dict[str, list[str]]:
    """Each file is opened once: pyarrow, given a path, would open it a second time for the rows."""
    return {
        path.stem: pq.read_table(io.BytesIO(path.read_bytes()))["said"].to_pylist()
        for path in folder.glob("[!.]*.parquet")
    }


@pytest.fixture(params=KINDS)
def shared(request, tmp_path, monkeypatch) -> Iterator[tuple[str, str, Callable[[], dict]]]:
    """A kind of sink, its place, and what it holds."""
    kind, place = request.param, str(tmp_path / request.param)
    if kind == "postgres":
        url, name = (request.getfixturevalue(one) for one in ("postgres", "schema"))
        yield kind, name, partial(in_postgres, url, name)
    elif kind == "cosmos":
        pytest.importorskip("azure.cosmos")
        monkeypatch.setenv("COSMOS_KEY", "c2VjcmV0")
        with cosmos_server() as server:
            yield kind, server.url, partial(in_cosmos, server.url)
    else:
        yield kind, place, partial(in_sqlite if kind == "sqlite" else files_in, Path(place))


def test_who_began_later_stands_whoever_comes_last(shared):
    kind, place, contents = shared
    with opened(kind, place) as one, opened(kind, place) as other:
        first, second = one.begin(), other.begin()
        assert first < second
        assert other.write(spoken("a", "new", 3), second)
        assert not one.write(spoken("a", "old"), first)
        assert contents() == {"a": ["new"] * 3}

        first, second = one.begin(), other.begin()
        assert one.write(spoken("a", "older"), first)
        assert other.write(spoken("a", "newer"), second)
        assert contents() == {"a": ["newer"] * 2}
        assert one.written()["a"].turn == second


def test_only_what_was_put_there_in_these_turns_is_taken_out(shared):
    kind, place, contents = shared
    with opened(kind, place) as one, opened(kind, place) as other:
        first, second = one.begin(), other.begin()
        one.write(spoken("a", "old"), first)
        other.write(spoken("a", "new"), second)
        assert not one.remove("a", {first})
        assert contents() == {"a": ["new"] * 2}
        assert other.remove("a", {first, second})
        assert not other.remove("a", {first, second})
        assert contents() == {}
        assert other.begin() > second, "what is gone gives no turn free"


def test_what_was_taken_out_is_put_back_by_later_turns_alone(shared):
    kind, place, contents = shared
    with opened(kind, place) as one, opened(kind, place) as other:
        early = one.begin()
        assert not other.remove("a"), "it was not there, and an early write may be on its way"
        assert not one.write(spoken("a", "old"), early)
        assert contents() == {}

        assert one.write(spoken("a", "new"), one.begin())
        late = other.begin()
        assert one.remove("a")
        assert not other.write(spoken("a", "late"), late)
        assert contents() == {} == one.written()
        assert other.write(spoken("a", "newest"), other.begin())
        assert contents() == {"a": ["newest"] * 2}


def test_who_takes_out_its_own_leaves_room_for_those_who_have_begun(shared):
    """They are other machines, which have done the video; what went before its own stays out."""
    kind, place, contents = shared
    with opened(kind, place) as one, opened(kind, place) as other:
        before, own, begun = one.begin(), one.begin(), other.begin()
        one.write(spoken("a", "own"), own)
        assert one.remove("a", {own})
        assert not one.write(spoken("a", "before"), before)
        assert contents() == {}
        assert other.write(spoken("a", "begun"), begun)
        assert contents() == {"a": ["begun"] * 2}
        assert other.remove("a", {begun})
        assert other.write(spoken("a", "again"), begun), "what is done may be put in again"


def test_a_sink_made_before_there_were_turns_gets_them(tmp_path, postgres, schema):
    """Its videos are older than any that is put there from now on."""
    import psycopg

    path = tmp_path / "search.db"
    for kind, place in (("sqlite", str(path)), ("postgres", schema)):
        with opened(kind, place) as sink:
            sink.write(spoken("a", "old"))
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE turns; DROP TABLE gone; ALTER TABLE videos DROP COLUMN turn;")
    with psycopg.connect(postgres) as db:
        db.execute(f"DROP TABLE {schema}.turns")
        db.execute(f"DROP TABLE {schema}.gone")
        db.execute(f"ALTER TABLE {schema}.videos DROP COLUMN turn")
    for kind, place in (("sqlite", str(path)), ("postgres", schema)):
        with opened(kind, place) as sink:
            assert sink.written()["a"].turn == 0
            assert sink.write(spoken("a", "new"), sink.begin())
    assert in_sqlite(path) == in_postgres(postgres, schema) == {"a": ["new"] * 2}


STANDING = """
import sys
from tests.stages.sinks.test_turns import opened, spoken

kind, place = sys.argv[1:]
with opened(kind, place) as sink:
    turn = sink.begin()
    print("begun", flush=True)
    sys.stdin.readline()
    print(sink.write(spoken("a", "old", 5), turn), flush=True)
"""


def test_a_machine_that_stood_still_overwrites_nothing(shared):
    """It stops within its write, another one does the video meanwhile, and it goes on."""
    kind, place, contents = shared
    process = started(STANDING, kind, place)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, signal.SIGSTOP)
    with opened(kind, place) as sink:
        assert sink.write(spoken("a", "new", 3))
    os.kill(process.pid, signal.SIGCONT)
    told, _ = process.communicate("go on\n", timeout=60)
    assert told == "False\n"
    assert contents() == {"a": ["new"] * 3}


def test_a_machine_that_stood_still_puts_nothing_back_that_was_taken_out(shared):
    kind, place, contents = shared
    process = started(STANDING, kind, place)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    os.kill(process.pid, signal.SIGSTOP)
    with opened(kind, place) as sink:
        assert sink.write(spoken("a", "new", 3))
        assert sink.remove("a")
    os.kill(process.pid, signal.SIGCONT)
    told, _ = process.communicate("go on\n", timeout=60)
    assert told == "False\n"
    assert contents() == {}


WRITING = """
import sys
from tests.stages.sinks.test_turns import opened, spoken

kind, place, name, times = sys.argv[1:]
with opened(kind, place) as sink:
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(int(times)):
        turn = sink.begin()
        text = f"{name} {turn}"
        sink.write(spoken("a", text, 60 + turn % 90), turn)
        print(turn, flush=True)
"""


@pytest.mark.parametrize(
    "shared",
    ["sqlite", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])],
    indirect=True,
)
def test_two_processes_at_one_video_are_never_read_mixed(shared):
    """Whoever reads meanwhile finds all scenes of one write; at the end it is the last turn's."""
    kind, place, contents = shared
    with opened(kind, place) as sink:
        sink.write(spoken("a", "x 0", 60), 0)
    times = 8
    processes = [started(WRITING, kind, place, name, str(times)) for name in ("one", "two")]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told: list[str] = []

    def ended() -> None:
        threads = [
            threading.Thread(target=lambda p=p: told.append(p.communicate("go\n", timeout=120)[0]))
            for p in processes
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    writing = threading.Thread(target=ended)
    writing.start()
    reads = 0
    while writing.is_alive():
        check_whole(contents()["a"])
        reads += 1
    writing.join()
    turns = [int(line) for text in told for line in text.split()]
    assert len(turns) == len(set(turns)) == 2 * times
    found = contents()["a"]
    check_whole(found)
    assert int(found[0].split()[1]) == max(turns)
    assert reads


def check_whole(texts: list[str]) -> None:
    [text] = set(texts)
    assert len(texts) == 60 + int(text.split()[1]) % 90


def started(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE,
    )
