"""How many raw folders there are at once, when each is deleted once nothing reads it any more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stages.demo.server import MediaServer
from tests.acceptance.clips import make_corpus
from tests.acceptance.command import crawl, crawl_command, events, started
from tests.acceptance.outcome import attempts, check_dataset, check_no_scratch, status

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]

QUEUE = 2
WORKERS = {"download": 2, "extract": 2, "filter": 1}

SETS = {
    "stages.download.keep": False,
    "stages.extract.keep": False,
    "stages.extract.stretch": 1,
    **{f"stages.{stage}.workers": workers for stage, workers in WORKERS.items()},
    **{f"stages.{stage}.queue": QUEUE for stage in WORKERS},
}


RAW = {"download": "*/download", "extract": "*/*.parts/*/extract"}
"""Where the raw folders lie: that of a video, and those of its stretches."""


def most(stage: str, reader: str) -> int:
    """How many outputs of `stage` there can be at once: one in the hand of each of its workers,
    finished and waiting for room, and what its reader has waiting and in hand."""
    return WORKERS[stage] + QUEUE + WORKERS[reader]


def check_disk(tmp_path: Path, count: int, serve: Serve, server: MediaServer) -> None:
    work = tmp_path / "work"
    urls = serve(make_corpus(tmp_path / "clips", count, scenes=2))
    at_once = {"download": 0, "extract": 0}
    with started(crawl_command(*urls, out=work, sets=SETS)) as process:
        for _ in events(process):
            for stage in at_once:
                there = len(list((work / "items").glob(RAW[stage])))
                at_once[stage] = max(at_once[stage], there)
        assert process.wait(60) == 0
    assert 0 < at_once["download"] <= most("download", "extract") < count
    assert 0 < at_once["extract"] <= most("extract", "filter") < count
    assert not [path for raw in RAW.values() for path in (work / "items").glob(raw)]
    assert status(work)["items"]["done"] == count
    check_dataset(work)
    check_no_scratch(work)

    server.requests.clear()
    assert crawl(*urls, out=work, sets=SETS).code == 0
    assert not attempts(work, run=2)
    assert not server.requests


@pytest.mark.timeout(300)
def test_raw_folders_never_exceed_what_the_queues_allow(
    tmp_path: Path, serve: Serve, server: MediaServer
) -> None:
    check_disk(tmp_path, 12, serve, server)


@pytest.mark.torture
@pytest.mark.timeout(900)
def test_raw_folders_of_120_videos_never_exceed_what_the_queues_allow(
    tmp_path: Path, serve: Serve, server: MediaServer
) -> None:
    check_disk(tmp_path, 120, serve, server)
