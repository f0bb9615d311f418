"""`penstock demo`, from end to end, and its verdict on crawls that went otherwise."""

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from engine.cli.main import main
from engine.ledger.lock import locked
from stages.demo.folder import prepare
from stages.demo.script import FOOTAGE, serve
from stages.demo.verdict import Expectation, judge, matches, overlap
from tests.finished_demo import Demo, run_demo
from tests.stages.crawled import tree

Rows = list[dict[str, Any]]


@pytest.fixture
def dataset(demo: Demo, tmp_path: Path) -> Path:
    """A copy of the demo's dataset, to tamper with."""
    return shutil.copytree(demo.out / "dataset", tmp_path / "dataset")


def test_all_is_found_as_it_was_planted(demo: Demo) -> None:
    assert demo.result.exit_code == 0, demo.result.output
    lines = demo.result.stdout.splitlines()
    verdict = lines[lines.index(next(line for line in lines if "Planted" in line)) :]
    assert max(map(len, lines[lines.index(verdict[0]) : -2])) <= 80
    marks = [line[:2] for line in verdict[1:-3] if line[:2].strip()]
    assert set(marks) == {"ok"}
    assert lines[-2].startswith(f"{len(marks)} of {len(marks)} as planted. ")
    assert lines[-1] == f"Try next: penstock export {demo.out} --format yolo"
    assert "429 at first" in demo.result.stdout


def test_the_next_command_works(demo: Demo, tmp_path: Path) -> None:
    command = demo.result.stdout.splitlines()[-1].split()[3:]
    result = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "yolo")])
    assert result.exit_code == 0, result.output


def test_given_again_it_goes_on(demo: Demo) -> None:
    """Nothing is made or fetched again, and the dataset is the same."""
    made = stamps(demo.out / "videos") | stamps(demo.out / "items")
    data = tree(demo.out / "dataset")
    result = run_demo("--out", demo.out, "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.split()[0] == "Planted"
    assert stamps(demo.out / "videos") | stamps(demo.out / "items") == made
    assert tree(demo.out / "dataset") == data


def test_what_is_not_as_planted_is_marked_and_fails(demo: Demo, tmp_path: Path) -> None:
    out = shutil.copytree(demo.out, tmp_path / "out")
    lines = out / "items" / id_of(demo, "/kite.mp4") / "dedup" / "frames.jsonl"
    lines.write_text(lines.read_text().replace('"star"', '"disc"'))
    result = run_demo("--out", out)
    assert result.exit_code == 1, result.output
    *verdict, total, _ = result.stdout.splitlines()
    marked = [line.split()[1] for line in verdict if line.startswith("NO")]
    assert marked == ["recall", "precision"]
    assert total.startswith("26 of 28 as planted.")


def stamps(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def id_of(demo: Demo, path: str) -> str:
    rows = pq.read_table(demo.out / "dataset" / "videos.parquet").to_pylist()
    return next(row["id"] for row in rows if row["source"] == demo.root + path)


def change(dataset: Path, table: str, how: Callable[[Rows], Rows]) -> None:
    path = dataset / f"{table}.parquet"
    before = pq.read_table(path)
    pq.write_table(pa.Table.from_pylist(how(before.to_pylist()), schema=before.schema), path)


def wrong(dataset: Path, demo: Demo) -> dict[str, Expectation]:
    """The checks that do not come out as planted."""
    checks = [check for section in judge(dataset, demo.root) for check in section.checks]
    return {check.name: check for check in checks if not check.as_planted}


def with_row(path: str, **values: Any) -> Callable[[Rows], Rows]:
    """Changes the row of the video at `path`."""
    return lambda rows: [row | values if row["source"].endswith(path) else row for row in rows]


@pytest.mark.parametrize(
    ("path", "values", "found"),
    [
        ("/kite.mp4", {"outcome": "failed", "kind": "transient"}, "failed: transient"),
        ("/kite.mp4", {"frames_filtered": 2}, "2 of 3 frames"),
        ("/kite.mp4", {"frames_sampled": 4}, "3 of 4 frames"),
        ("/gone.mp4", {"kind": "transient"}, "transient"),
        (
            "/gone.mp4",
            {"outcome": "done", "frames_sampled": 1, "frames_filtered": 1},
            "done: 1 of 1",
        ),
        ("/scenery.mp4", {"kind": "too_long"}, "too_long"),
        ("/scenery.mp4", {"outcome": "failed"}, "failed: nothing_wanted"),
        ("/feed.xml", {"expanded": 1}, "1 videos"),
    ],
)
def test_another_ending_is_noticed(
    path: str, values: dict[str, Any], found: str, dataset: Path, demo: Demo
) -> None:
    change(dataset, "videos", with_row(path, **values))
    problems = wrong(dataset, demo)
    assert list(problems) == [path[1:]]
    assert problems[path[1:]].found.startswith(found)


def test_what_never_came_in_is_noticed_and_what_nobody_planted(dataset: Path, demo: Demo) -> None:
    source = f"{demo.root}/other.mp4"
    change(dataset, "videos", with_row("/gone.mp4", source=source))
    problems = wrong(dataset, demo)
    assert problems["gone.mp4"].found == "never crawled"
    assert problems["anything else"].found == "/other.mp4"
    assert len(problems) == 2


def test_a_lost_frame_is_noticed(dataset: Path, demo: Demo) -> None:
    first = f"frames/{id_of(demo, '/comet.webm')}/000000.000.jpg"
    change(dataset, "frames", lambda rows: [row for row in rows if row["file"] != first])
    (check,) = wrong(dataset, demo).values()
    assert (check.name, check.found) == ("comet", "3 of 7 stay, 1 lost")
    assert check.planted == "4 of 8 stay"


def test_a_copy_that_stayed_is_noticed(dataset: Path, demo: Demo) -> None:
    small, first = id_of(demo, "/regatta-small.mp4"), "000000.000.jpg"

    def without(rows: Rows) -> Rows:
        return [row for row in rows if (row["video_id"], row["file"]) != (small, first)]

    def with_copy(rows: Rows) -> Rows:
        file = f"frames/{small}/{first}"
        size = {"width": 320, "height": 180}
        copy = rows[0] | size | {"video_id": small, "file": file, "timestamp": 0, "detections": []}
        return [*rows, copy]

    change(dataset, "duplicates", without)
    change(dataset, "frames", with_copy)
    (check,) = wrong(dataset, demo).values()
    assert (check.name, check.found) == ("regatta", "5 of 12 stay, 1 not the largest")


def test_a_worse_copy_that_stayed_is_noticed(dataset: Path, demo: Demo) -> None:
    """Its boxes, which are those of the larger one, no longer fit either."""
    large = id_of(demo, "/regatta.mp4")

    def shrink(rows: Rows) -> Rows:
        size = {"width": 320, "height": 180}
        return [row | size if row["video_id"] == large else row for row in rows]

    change(dataset, "frames", shrink)
    problems = wrong(dataset, demo)
    assert list(problems) == ["regatta", "recall", "precision"]
    assert problems["regatta"].found == "4 of 12 stay, 4 not the largest"


def test_frames_taken_for_others_are_noticed(dataset: Path, demo: Demo) -> None:
    """Those of one video are removed in favour of another video's."""
    kite, tram = id_of(demo, "/kite.mp4"), id_of(demo, "/tram.mkv")
    stand_in = {"kept_video_id": tram, "kept_file": "000000.000.jpg", "distance": 8}
    files = [f"{second:010.3f}.jpg" for second in range(3)]
    removed = [{"video_id": kite, "file": file} | stand_in for file in files]
    change(dataset, "frames", lambda rows: [row for row in rows if row["video_id"] != kite])
    change(dataset, "duplicates", lambda rows: [*rows, *removed])
    problems = wrong(dataset, demo)
    assert problems["all others"].found == "20 of 23 stay, 3 lost, 3 taken for another"


@pytest.mark.parametrize(
    "spoilt", [{"class": "square"}, {"box": [0.0, 0.0, 9.0, 9.0]}], ids=["class", "box"]
)
def test_wrong_detections_are_noticed(spoilt: dict[str, Any], dataset: Path, demo: Demo) -> None:
    def spoil(rows: Rows) -> Rows:
        wrong = [[found | spoilt for found in row["detections"]] for row in rows[:8]]
        return [row | {"detections": found} for row, found in zip(rows, wrong, strict=False)] + [
            *rows[8:]
        ]

    change(dataset, "frames", spoil)
    assert list(wrong(dataset, demo)) == ["recall", "precision"]


def test_an_object_that_is_not_there_is_noticed(dataset: Path, demo: Demo) -> None:
    def add(rows: Rows) -> Rows:
        ghost = {"class": "star", "confidence": 0.9, "box": [1.0, 1.0, 20.0, 20.0]}
        return [row | {"detections": [*row["detections"], ghost]} for row in rows]

    change(dataset, "frames", add)
    assert list(wrong(dataset, demo)) == ["precision"]


def test_boxes_and_shapes_are_matched_one_to_one() -> None:
    def found(kind: str, confidence: float, *box: float) -> dict[str, Any]:
        return {"class": kind, "confidence": confidence, "box": list(box)}

    star, circle = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)
    truth = [("star", star), ("circle", circle)]
    assert overlap(star, (0, 0, 10, 5)) == 0.5
    assert overlap(star, (5, 5, 15, 15)) == pytest.approx(25 / 175)
    assert overlap(star, (10, 0, 20, 10)) == overlap(star, (50, 50, 60, 60)) == 0
    assert matches([found("star", 0.9, *star), found("star", 0.8, *star)], truth) == 1
    assert matches([found("circle", 0.9, *star)], truth) == 0
    assert matches([found("circle", 0.9, 20, 0, 30, 5)], truth) == 1
    assert matches([found("circle", 0.9, 20, 0, 30, 4.9)], truth) == 0
    assert matches([], []) == 0


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    for arguments in ([], ["--fresh"]):
        result = run_demo("--out", tmp_path, *arguments)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"penstock: {tmp_path} holds something other than a demo")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_in_use_is_left_alone(demo: Demo) -> None:
    with locked(demo.out):
        result = run_demo("--out", demo.out, "--fresh")
    assert result.exit_code == 2
    assert "is in use by process" in result.stderr
    assert (demo.out / "dataset").is_dir()


def test_a_port_that_is_taken_since_the_first_run(demo: Demo) -> None:
    port = int(demo.root.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        result = run_demo("--out", demo.out, "--quiet")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"penstock: port {port} is taken")
    assert result.stderr.count("\n") == 1


def test_a_first_run_uses_another_port_where_the_usual_one_is_taken(
    demo: Demo, tmp_path: Path
) -> None:
    state = json.loads((demo.out / "demo.json").read_text()) | {"port": None}
    for name in ("one", "other"):
        shutil.copytree(demo.out / "videos", tmp_path / name / "videos")
        (tmp_path / name / "demo.json").write_text(json.dumps(state))
        prepare(tmp_path / name, FOOTAGE, fresh=False, quiet=True)
    with serve(tmp_path / "one") as one, serve(tmp_path / "other") as other:
        assert one != other
        answer = httpx.get(f"{other}/kite.mp4", trust_env=False)
        assert answer.content == (demo.out / "videos" / "kite.mp4").read_bytes()
        assert f"{other}/regatta.mp4\n" in (tmp_path / "other" / "list.txt").read_text()
    with serve(tmp_path / "other") as again:
        assert again == other


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [True, False], ids=["asked to", "of another demo"])
def test_starting_over_deletes_what_was_there(fresh: bool, demo: Demo, tmp_path: Path) -> None:
    out = shutil.copytree(demo.out, tmp_path / "out")
    if not fresh:
        (out / "demo.json").write_text('{"demo": "another", "port": 8000}')
    prepare(out, FOOTAGE, fresh=fresh, quiet=True)
    left = {path.name for path in out.iterdir()} - {"penstock.lock"}
    assert left == {"demo.json", "videos"}
    assert json.loads((out / "demo.json").read_text())["port"] is None
    assert tree(out / "videos") == tree(demo.out / "videos")
