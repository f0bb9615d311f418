"""A finished video is in the sinks when it is done, and they agree with the ledger at the end."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engine import Events, ItemEnded, load_config, run_pipeline
from stages.scenes.pipeline import scenes
from tests.stages.scenes.test_pipeline import SETS
from tests.stages.scenes.test_scenes import clip


def run(work: Path, *files: Path, sets: list[str] | None = None, events: Events | None = None):
    config = load_config(scenes, None, {}, [*SETS, *(sets or [])], {})
    return run_pipeline(scenes, config, work, [str(file) for file in files], events=events)


def held(database: Path) -> dict[str, int]:
    """The number of scenes of each video, by its title."""
    with closing(sqlite3.connect(database)) as db:
        return dict(
            db.execute(
                "SELECT json_extract(document, '$.title'), count(key) FROM videos"
                " LEFT JOIN scenes ON video = id GROUP BY 1"
            )
        )


@pytest.fixture
def videos(tmp_path: Path) -> tuple[Path, Path]:
    return clip(tmp_path / "cut.mp4", 60, (30,)), clip(tmp_path / "whole.mp4", 60, ())


def test_a_video_is_there_when_it_is_done_and_sinks_are_settled_at_the_end(tmp_path, videos):
    work = tmp_path / "work"
    database = work / "search.db"
    seen = []
    events = Events()
    events.subscribe(lambda e: seen.append(held(database)) if isinstance(e, ItemEnded) else None)
    report = run(work, *videos, events=events)
    assert report.items["done"] == 2
    assert held(database) == {"cut": 2, "whole": 1}
    assert [len(one) for one in seen][-1] == 2, "before the run's end"
    assert len(seen[0]) >= 1
    assert not [line for line in report.finish if line.startswith("sqlite")]

    database.unlink()
    again = run(work, *videos)
    assert held(database) == {"cut": 2, "whole": 1}
    assert "sqlite: 2 put in that were missing, 0 taken out" in again.finish
    assert again.items["reused"] == 2, "nothing is done again for it"

    more = run(work, *videos, sets=['stages.persist.sinks=["sqlite", "parquet"]'])
    tables = [pq.read_table(path) for path in (work / "parquet").glob("*.parquet")]
    assert sorted(table.num_rows for table in tables) == [1, 2]
    assert more.items["done"] == 2

    videos[0].write_bytes(b"no video any more")
    failed = run(work, *videos, sets=["stages.scenes.threshold=4"])
    assert failed.items["failed"] == 1
    assert held(database) == {"whole": 1}
    assert "sqlite: 0 put in that were missing, 1 taken out" in failed.finish


def test_fewer_scenes_leave_no_orphans_and_a_database_may_lie_elsewhere(tmp_path, videos):
    work, database = tmp_path / "work", tmp_path / "all" / "scenes.db"
    place = [f"stages.persist.database={database}"]
    run(work, videos[0], sets=place)
    assert held(database) == {"cut": 2}
    run(work, videos[0], sets=[*place, "stages.scenes.min_length=2"])
    assert held(database) == {"cut": 1}
    assert not (work / "search.db").exists()
    run(tmp_path / "other", videos[1], sets=place)
    assert held(database) == {"cut": 1, "whole": 1}, "one file for several folders"


def test_what_failed_here_stays_where_another_folder_has_put_it(tmp_path, videos):
    work, database = tmp_path / "work", tmp_path / "all" / "scenes.db"
    place = [f"stages.persist.database={database}"]
    run(work, videos[0], sets=place)
    (work / "cache" / "persisted.jsonl").unlink()  # as an earlier version leaves it
    run(work, videos[0], sets=place)
    videos[0].write_bytes(b"no video any more")
    failed = run(tmp_path / "other", videos[0], sets=place)
    assert failed.items["failed"] == 1
    assert held(database) == {"cut": 2}
    assert run(work, videos[0], sets=[*place, "stages.scenes.threshold=4"]).items["failed"] == 1
    assert held(database) == {}, "it failed where it had been done"


def test_two_folders_that_both_did_a_video_do_not_write_it_in_turns(tmp_path, videos):
    """What stands is the later one's, also when the earlier one ends another run."""
    one, other, database = tmp_path / "one", tmp_path / "other", tmp_path / "all" / "scenes.db"
    place = [f"stages.persist.database={database}"]
    longer = [*place, "stages.scenes.min_length=2"]
    run(one, videos[0], sets=place)
    assert held(database) == {"cut": 2}
    run(other, videos[0], sets=longer)
    assert held(database) == {"cut": 1}
    again = run(one, videos[0], videos[1], sets=place)
    assert held(database) == {"cut": 1, "whole": 1}, "the older one does not come back"
    assert not [line for line in again.finish if line.startswith("sqlite")]

    database.unlink()
    run(one, videos[0], sets=place)
    assert held(database)["cut"] == 2, "where nothing is there, what is done is put there"
    run(other, videos[0], sets=longer)
    assert held(database)["cut"] == 1, "and the later one takes its place again"
    videos[0].write_bytes(b"no video any more")
    assert run(one, videos[0], sets=longer).items["failed"] == 1
    assert held(database)["cut"] == 1, "it failed where it was not done last"
