"""The same command again, with the same settings and with others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.contract.item import MARK
from stages.crawl.dataset.dedup import read_lines, write_lines
from stages.demo.server import MediaServer
from tests.acceptance.command import crawl
from tests.acceptance.outcome import STAGES, attempts, bytes_of, check_dataset

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]


def test_a_changed_setting_redoes_that_stage_and_what_follows(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    urls, work = serve(clips[:3]), tmp_path / "work"
    assert crawl(*urls, out=work).code == 0
    assert crawl(*urls, out=work).code == 0
    assert not attempts(work, run=2)
    before = (work / "dataset" / "frames.parquet").read_bytes()

    assert crawl(*urls, out=work, sets={"stages.filter.confidence": 0.2}).code == 0
    assert attempts(work, run=3) == {
        (stage, "done"): 3 for stage in STAGES[STAGES.index("filter") :]
    }
    check_dataset(work)

    # How the work is done, but not what comes out.
    sets = {
        "stages.filter.confidence": 0.2,
        "stages.filter.inference_batch": 3,
        "stages.extract.workers": 2,
    }
    assert crawl(*urls, out=work, sets=sets).code == 0
    assert not attempts(work, run=4)

    assert crawl(*urls, out=work).code == 0
    assert attempts(work, run=5) == attempts(work, run=3)
    assert (work / "dataset" / "frames.parquet").read_bytes() == before


def test_a_folder_of_an_earlier_choice_of_copies_redoes_nothing(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    urls, work, fresh = serve(clips[:3]), tmp_path / "work", tmp_path / "fresh"
    assert crawl(*urls, out=work).code == 0
    # As the first version left it: nothing says how good a copy each frame is, or how large a file.
    for path in (work / "items").glob("*/dedup/hashes.jsonl"):
        lines = read_lines(path)
        for line in lines:
            for name in ("colour", "clarity", "painted"):
                del line[name]
        write_lines(path, lines)
        (path.parent / MARK).write_text(
            json.dumps(json.loads((path.parent / MARK).read_text()) | {"files": {}})
        )
    shutil.rmtree(work / "dataset")

    for run in (2, 3):  # the frames are looked at, and then it is known
        assert crawl(*urls[:2], out=work).code == 0
        assert not attempts(work, run=run)
        assert len(list((work / "cache" / "looks").iterdir())) == 3
    assert crawl(*urls, out=fresh).code == 0
    assert bytes_of(work / "dataset") == bytes_of(fresh / "dataset")
    assert not (fresh / "cache" / "looks").exists()


def test_more_videos_join_what_is_there(tmp_path: Path, clips: list[Path], serve: Serve) -> None:
    urls, together, apart = serve(clips), tmp_path / "together", tmp_path / "apart"
    assert crawl(*urls, out=together).code == 0
    assert crawl(*urls[4:], out=apart).code == 0
    assert crawl(*urls[:5], out=apart).code == 0
    assert attempts(apart, run=2) == {(stage, "done"): 4 for stage in STAGES}
    check_dataset(apart)
    # The best copy of every frame is kept, whichever came first.
    assert bytes_of(apart / "dataset") == bytes_of(together / "dataset")


def test_what_was_deleted_is_made_again_only_where_it_is_needed(
    tmp_path: Path, clips: list[Path], server: MediaServer, serve: Serve
) -> None:
    urls, work = serve(clips[:2]), tmp_path / "work"
    sets = {"stages.download.keep": False, "stages.extract.keep": False}
    assert crawl(*urls, out=work, sets=sets).code == 0
    before = bytes_of(work / "dataset")
    server.requests.clear()

    assert crawl(*urls, out=work, sets=sets | {"stages.dedup.distance": 4}).code == 0
    assert attempts(work, run=2) == {("dedup", "done"): 2}
    assert not server.requests

    assert crawl(*urls, out=work, sets=sets | {"stages.filter.confidence": 0.2}).code == 0
    assert attempts(work, run=3) == {(stage, "done"): 2 for stage in STAGES}
    assert server.requests

    assert crawl(*urls, out=work, sets=sets).code == 0
    assert bytes_of(work / "dataset") == before
    assert not list((work / "items").glob("*/download"))
