"""The dedup stage: hashes, in-video marks, and an output that needs no other stage's."""

import json
from collections.abc import Callable
from pathlib import Path

import imagehash
import pytest
from PIL import Image
from pydantic import ValidationError

from engine import Item, Permanent
from stages.crawl.dataset.dedup import Dedup
from stages.files.json_lines import read_lines
from stages.media.cores import Cores
from tests.stages.crawled import Crawl, Shot, output, write_lines


@pytest.fixture
def crawl(tmp_path: Path) -> Crawl:
    return Crawl(tmp_path)


def test_every_frame_gets_its_hash_and_near_duplicates_their_best_copy(crawl: Crawl) -> None:
    shots = [
        Shot(scene=1, time=0.0, sharpness=50.0),
        Shot(scene=2, time=1.0),
        Shot(scene=1, time=2.0, sharpness=90.0, quality=60),
        Shot(scene=1, time=3.0, sharpness=10.0, size=(320, 240)),
        Shot(scene=2, time=4.0),
    ]
    item = crawl.video("https://a.test/clip", shots)
    lines = read_lines(item.output("dedup") / "hashes.jsonl")

    best = {1: "000003.000.jpg", 2: "000001.000.jpg"}
    assert [line["file"] for line in lines] == [shot.file for shot in shots]
    for line, shot in zip(lines, shots, strict=True):
        with Image.open(item.output("filter") / "frames" / line["file"]) as image:
            assert line["hash"] == str(imagehash.phash(image))
        assert line["timestamp"] == shot.time
        assert line["pixels"] == shot.size[0] * shot.size[1]
        assert line["sharpness"] == shot.sharpness
        kept = best[shot.scene] == shot.file
        assert line["duplicate_of"] == (None if kept else best[shot.scene])
        assert (line["distance"] is None) == kept


def test_however_many_cores_are_idle_the_lines_are_the_same(
    crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    shots = [Shot(scene=number % 12, time=float(number)) for number in range(24)]
    made = {}
    for cores in (1, 4):
        monkeypatch.setattr(Dedup, "cores", Cores(cores))
        item = crawl.video(f"https://a.test/{cores}", shots)
        made[cores] = (item.output("dedup") / "hashes.jsonl").read_bytes()
        assert Dedup.cores.busy == 0

    assert made[1].count(b"\n") == len(shots)
    assert made[1] == made[4]


def test_its_output_holds_all_that_the_dataset_needs(crawl: Crawl) -> None:
    info = {"uploader": "Ann", "duration": 12.5, "license": "CC0", "ext": "mp4", "file": "v.mp4"}
    shots = [Shot(1, 0.0, description="A dog."), Shot(2, 1.0, description=None)]
    item = crawl.video("https://a.test/clip", shots, info)
    out = item.output("dedup")

    assert json.loads((out / "video.json").read_text()) == {
        "title": "Video https://a.test/clip",
        "uploader": "Ann",
        "duration": 12.5,
        "upload_date": None,
        "webpage_url": None,
        "license": "CC0",
        "frames_sampled": 5,
        "frames_filtered": 2,
        "classes": None,
        "requests": None,
    }
    first, second = read_lines(out / "frames.jsonl")
    assert first == {
        "file": "000000.000.jpg",
        "timestamp": 0.0,
        "width": 160,
        "height": 120,
        "detections": list(shots[0].detections),
        "description": "A dog.",
        "described_by": "openai:test-model",
        "reused_from": None,
    }
    assert second["description"] is None
    for shot in shots:
        copy = out / "frames" / shot.file
        assert copy.samefile(item.output("filter") / "frames" / shot.file)


def test_it_finds_what_is_known_of_the_video_beside_its_frames(crawl: Crawl) -> None:
    item = Item.at(crawl.workdir, "https://a.test/clip")
    with output(item, "filter") as out:
        (out / "frames").mkdir()
        write_lines(out / "detections.jsonl", [])
        write_lines(out / "filter.json", [{"frames_in": 4, "frames_kept": 0}])
        write_lines(out / "info.json", [{"title": "Found"}])
    with output(item, "download") as out:
        write_lines(out / "info.json", [{"title": "Not read"}])
    crawl.deduplicate(item)
    video = json.loads((item.output("dedup") / "video.json").read_text())
    assert (video["title"], video["frames_sampled"]) == ("Found", 4)


def test_a_video_goes_on_without_descriptions_and_without_frames(crawl: Crawl) -> None:
    item = Item.at(crawl.workdir, "https://a.test/clip")
    with output(item, "filter") as out:
        (out / "frames").mkdir()
        write_lines(out / "detections.jsonl", [])
        write_lines(out / "filter.json", [{"frames_in": 4, "frames_kept": 0}])
    crawl.deduplicate(item)
    assert read_lines(item.output("dedup") / "hashes.jsonl") == []
    assert read_lines(item.output("dedup") / "frames.jsonl") == []


def test_a_frame_that_is_no_image_fails_the_video_for_good(
    make_item: Callable[..., Item], tmp_path: Path
) -> None:
    def broken(out: Path) -> None:
        (out / "frames").mkdir()
        (out / "frames" / "000000.000.jpg").write_bytes(b"not a picture")
        line = {"file": "000000.000.jpg", "timestamp": 0, "width": 2, "height": 2, "sharpness": 1}
        write_lines(out / "detections.jsonl", [line | {"detections": []}])

    item = make_item("https://a.test/clip", filter=broken)
    stage = Dedup(Dedup.Settings(), tmp_path)
    with output(item, "dedup") as out, pytest.raises(Permanent) as failed:
        stage.process(item.with_inputs({"frames": "filter", "descriptions": None}), out)
    assert failed.value.kind == "unreadable_frame"
    assert "000000.000.jpg is not a readable image" in failed.value.reason
    assert str(tmp_path) not in failed.value.reason


@pytest.mark.parametrize("distance", [-1, 17, 2.5])
def test_the_distance_is_bounded(distance: float) -> None:
    with pytest.raises(ValidationError):
        Dedup.Settings(distance=distance)


def test_the_output_is_the_same_every_time(tmp_path: Path) -> None:
    from tests.stages.crawled import tree

    shots = [Shot(scene=n % 3, time=float(n), sharpness=n) for n in range(9)]
    one, other = (
        Crawl(tmp_path / name).video("https://a.test/clip", shots) for name in ("one", "other")
    )
    assert tree(one.output("dedup")) == tree(other.output("dedup"))


def test_one_clip_in_two_encodings_is_told_from_another_clip(
    data: Path, crawl: Crawl, tmp_path: Path
) -> None:
    import av

    item = Item.at(crawl.workdir, "https://a.test/reel")
    lines = []
    with output(item, "filter") as out:
        (out / "frames").mkdir()
        clips = ("mdn_elf.mp4", "mdn_elf.webm", "mdn_pig.mp4", "mdn_pig.webm")
        for number, clip in enumerate(clips):
            with av.open(data / "neardup" / clip) as container:
                picture = next(container.decode(video=0)).to_image()
            picture.save(out / "frames" / f"{number}.jpg")
            lines.append(
                {
                    "file": f"{number}.jpg",
                    "timestamp": float(number),
                    "width": picture.width,
                    "height": picture.height,
                    "sharpness": 10.0,
                    "detections": [],
                }
            )
        write_lines(out / "detections.jsonl", lines)
    crawl.deduplicate(item)
    marks = [line["duplicate_of"] for line in read_lines(item.output("dedup") / "hashes.jsonl")]
    assert marks == [None, "0.jpg", None, "2.jpg"]
