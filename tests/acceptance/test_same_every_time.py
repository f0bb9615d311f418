"""The dataset is the same to the last byte, whatever cores, workers and batches made it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.clips import SHARP, make_clip
from tests.acceptance.command import crawl, crawl_command
from tests.acceptance.outcome import bytes_of, check_dataset, query

pytestmark = pytest.mark.slow

STAGES = ("download", "extract", "filter", "describe", "dedup")


def crawled(clips: list[Path], out: Path, *, cores: set[int], workers: int, batch: int) -> Path:
    """A crawl in a process of its own, which has only these cores; returns its work folder."""
    sets = {f"stages.{stage}.workers": workers for stage in STAGES}
    sets |= {"stages.filter.inference_batch": batch, "stages.filter.device": "cpu"}
    ran = subprocess.run(
        crawl_command(*clips, out=out, sets=sets),
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    assert ran.returncode == 0, ran.stderr
    return out


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_neither_cores_nor_workers_nor_batches_change_a_byte(
    clips: list[Path], tmp_path: Path
) -> None:
    everything = sorted(os.sched_getaffinity(0))
    if len(everything) < 2:
        pytest.skip("needs two cores")
    one, two = set(everything[:1]), set(everything[:2])
    variants = [
        crawled(clips, tmp_path / "one", cores=one, workers=1, batch=1),
        crawled(clips, tmp_path / "two", cores=two, workers=2, batch=8),
        crawled(clips[::-1], tmp_path / "other", cores=two, workers=1, batch=3),
    ]
    first, *others = [bytes_of(out / "dataset") for out in variants]
    check_dataset(variants[0])
    assert len([name for name in first if name.endswith(".jpg")]) > 20
    assert others == [first] * 2
    # Behind the dataset too: what every stage made of every video.
    first, *others = [
        {
            name: content
            for name, content in bytes_of(out / "items").items()
            if not Path(name).name.startswith(".") and "/download/" not in name
        }
        for out in variants
    ]
    assert others == [first] * 2


def test_the_length_of_stretches_changes_no_byte(tmp_path: Path) -> None:
    options = SHARP | {"g": "5"}  # a video is cut where something can be decoded by itself
    clips = [
        make_clip(tmp_path / f"{first}.mp4", range(first, first + 6), options=options)
        for first in (0, 4, 10)
    ]
    made, parts = [], []
    for stretch in (0, 1.3, 0.4):
        out = tmp_path / f"work-{stretch}"
        sets = {"stages.extract.stretch": stretch, "stages.extract.fps": 4}
        assert crawl(*clips, out=out, sets=sets).code == 0
        made.append(bytes_of(out / "dataset"))
        parts += query(out, "SELECT count(*) FROM items WHERE parent IS NOT NULL")
    assert made[1:] == [made[0]] * 2
    assert parts[0] < parts[1] < parts[2]
