"""`penstock bench crawl` on real clips: the crawl itself, under a stopwatch."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config.load import load_config
from stages.crawl.pipeline import crawl
from tests.acceptance.command import SHAPES, penstock, settings
from tests.acceptance.outcome import STAGES

pytestmark = pytest.mark.slow

Serve = Callable[..., list[str]]


def test_a_crawl_is_tried_with_one_and_two_workers(
    tmp_path: Path, clips: list[Path], serve: Serve
) -> None:
    listed, out = tmp_path / "list.txt", tmp_path / "bench"
    listed.write_text("\n".join([*serve(clips[:4]), *serve([tmp_path / "missing.mp4"])]))
    ran = penstock(
        *("bench", "crawl", "--from", listed, "--try", "extract=1,2", "--repeat", 1),
        *("--out", out, "--allow-private", *settings(SHAPES, {"stages.download.attempts": 1})),
    )
    assert ran.code == 0, ran.said
    found = json.loads((out / "bench.json").read_text())
    assert found["items"] == 5
    assert [standing["failed"] for standing in found["measured"]] == [1, 1]
    for trial in found["trials"]:
        assert trial["outcomes"]["done"] + trial["outcomes"]["dropped"] == 4
        assert list(trial["stages"]) == list(STAGES)
        assert trial["peak_memory"] > 100_000_000  # the model's library alone is more
        assert trial["peak_disk"] > sum(clip.stat().st_size for clip in clips[:4])
    assert found["settings"]["stages"]["download"]["allow_private"] is True
    assert sorted(path.name for path in out.iterdir()) == ["bench.csv", "bench.html", "bench.json"]
    assert not Path("penstock-crawl").exists()

    block = tmp_path / "config.toml"
    block.write_text(found["recommended"]["toml"])
    assert f"Written: {out / 'bench.html'}" in ran.out
    recommended = load_config(crawl, block, {}, (), {}).stages["extract"].options.workers
    assert recommended == found["recommended"]["workers"]["extract"]
    assert found["recommended"]["toml"] in ran.out
