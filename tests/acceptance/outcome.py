"""What a crawl leaves behind, and whether its parts agree: the ledger, the folders, the dataset."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.crawl.dataset.tables import read_table
from tests.acceptance.command import penstock

STAGES = ("download", "extract", "filter", "describe", "dedup")


def query(workdir: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of the ledger."""
    db = sqlite3.connect(f"{(workdir / 'penstock.db').resolve().as_uri()}?mode=ro", uri=True)
    try:
        return db.execute(sql).fetchall()
    finally:
        db.close()


def status(workdir: Path) -> dict[str, Any]:
    """`penstock status --json`, whose counts have to add up."""
    told = penstock("status", workdir, "--json")
    assert told.code == 0, told.said
    found: dict[str, Any] = json.loads(told.out)
    for counts in (found["items"], *found["stages"].values()):
        ended = ("done", "dropped", "failed", "pending")
        assert counts["entered"] == sum(counts[how] for how in ended), counts
    return found


def attempts(workdir: Path, run: int | None = None) -> Counter[tuple[str, str]]:
    """How many attempts of each stage ended how, in all runs or in one."""
    rows = query(workdir, "SELECT stage, outcome, run FROM attempts")
    return Counter((stage, how) for stage, how, number in rows if run in (None, number))


def check_nothing_ran_twice(workdir: Path) -> None:
    """No stage of an item was attempted again once an attempt had ended done."""
    done: set[tuple[str, str]] = set()
    for item, stage, outcome in query(
        workdir, "SELECT item, stage, outcome FROM attempts ORDER BY id"
    ):
        assert (item, stage) not in done, f"{stage} ran again on {item}"
        if outcome == "done":
            done.add((item, stage))


def kept_answers(workdir: Path) -> set[str]:
    """The names of the paid answers that are on disk."""
    folders = [workdir / "cache" / name for name in ("replies", "transcripts")]
    return {file.name for folder in folders for file in folder.glob("*/*.json")}


def check_paid_once(
    asked: Sequence[Counter[str]], kept: Sequence[set[str]], every: Collection[str], in_hand: int
) -> None:
    """No question was sent again once its answer was kept, and at each kill all answers were kept
    but those in hand, of which there are at most so many.

    `asked` is what each run asked, `kept` the answers that each of the killed ones left; `every` is
    what an undisturbed run asks. A question is sent until its answer is kept: so the later runs
    send as many as lack an answer, if none is sent twice.
    """
    assert sum(asked, Counter()).keys() == set(every), "the same was asked, and nothing else"
    assert len(asked) == len(kept) + 1
    later: set[str] = set()
    for number, questions in reversed([*enumerate(asked)]):
        assert questions.total() == len(questions), f"asked twice in run {number + 1}"
        if number < len(kept):
            found = kept[number - 1] if number else set[str]()
            assert found <= kept[number]
            assert len(later) == len(every) - len(kept[number]), f"asked after kill {number + 1}"
            lost = len(questions) - len(kept[number] - found)
            assert 0 <= lost <= in_hand, f"lost at kill {number + 1}"
        later |= questions.keys()


def check_no_scratch(workdir: Path) -> None:
    """No attempt has left anything behind."""
    left = [path for path in (workdir / "items").glob("*/.*") if any(path.rglob("*"))]
    assert not left


def tables(workdir: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of the dataset's tables."""
    return {
        name: read_table(workdir / "dataset" / f"{name}.parquet").to_pylist()
        for name in ("frames", "videos", "duplicates")
    }


def videos(workdir: Path) -> dict[str, dict[str, Any]]:
    """The rows of videos.parquet, by the last part of their sources."""
    return {row["source"].rsplit("/", 1)[-1]: row for row in tables(workdir)["videos"]}


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, by its relative path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def check_dataset(workdir: Path, distance: int = 8) -> None:
    """The dataset's tables agree with one another, with its files, and with the ledger."""
    found = tables(workdir)
    ledger = dict(query(workdir, "SELECT id, outcome FROM items WHERE split IS NULL"))
    assert {row["id"]: row["outcome"] for row in found["videos"]} == ledger
    for row in found["videos"]:
        assert (row["reason"] is None) == (row["outcome"] == "done"), row

    frames = {row["file"]: row for row in found["frames"]}
    on_disk = {
        path.relative_to(workdir / "dataset").as_posix()
        for path in (workdir / "dataset" / "frames").rglob("*.jpg")
    }
    assert set(frames) == on_disk
    assert len(frames) == len(found["frames"])
    _check_kept(found, frames, ledger)
    _check_apart(found["frames"], distance)
    _check_duplicates(workdir, found["duplicates"], frames, distance)


def _check_kept(
    found: dict[str, list[dict[str, Any]]], frames: dict[str, Any], ledger: dict[str, str]
) -> None:
    kept = Counter(row["video_id"] for row in frames.values())
    removed = Counter(row["video_id"] for row in found["duplicates"])
    for row in found["videos"]:
        if row["outcome"] == "done" and row["expanded"] is None:
            assert row["frames_kept"] == kept[row["id"]]
            assert row["frames_filtered"] == kept[row["id"]] + removed[row["id"]]
            assert row["frames_sampled"] >= row["frames_filtered"]
        else:
            assert not kept[row["id"]]
    assert all(ledger[video] == "done" for video in kept)
    for row in frames.values():
        assert row["description"] is None or row["description"].strip()
        for seen in row["detections"]:
            left, top, right, bottom = seen["box"]
            assert 0 <= left < right <= row["width"]
            assert 0 <= top < bottom <= row["height"]


def _check_apart(frames: list[dict[str, Any]], distance: int) -> None:
    hashes = np.array([int(row["hash"], 16) for row in frames], np.uint64)
    for place, value in enumerate(hashes):
        rest = hashes[place + 1 :]
        assert not (np.bitwise_count(rest ^ value) <= distance).any()


def _check_duplicates(
    workdir: Path, duplicates: list[dict[str, Any]], frames: dict[str, Any], distance: int
) -> None:
    hashes: dict[str, dict[str, int]] = defaultdict(dict)
    for path in (workdir / "items").glob("*/dedup/hashes.jsonl"):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            hashes[path.parents[1].name][entry["file"]] = int(entry["hash"], 16)
    for row in duplicates:
        assert f"frames/{row['video_id']}/{row['file']}" not in frames
        kept = frames[f"frames/{row['kept_video_id']}/{row['kept_file']}"]
        apart = (hashes[row["video_id"]][row["file"]] ^ int(kept["hash"], 16)).bit_count()
        assert row["distance"] == apart <= distance
