"""Every export is read back by the library that its users read it with."""

import gc
import io
import json
import os
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from engine import UsageError
from stages.dataset import build_dataset
from stages.export import FORMATS, export
from stages.exports.reader import Dataset
from stages.yolo import import_ultralytics
from tests.stages.crawled import Crawl, Shot, tree

BOXES = [
    {"class": "person", "confidence": 0.9, "box": [10.0, 20.0, 50.0, 100.0]},
    {"class": "bus: no. 7", "confidence": 0.5, "box": [-5.0, 60.0, 200.0, 119.5]},
]
OUTSIDE = {"class": "person", "confidence": 0.4, "box": [165.0, 10.0, 190.0, 50.0]}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames of six videos: one without boxes, one without a description."""
    crawl = Crawl(tmp_path_factory.mktemp("crawl"))
    for video in range(6):
        shots = [
            Shot(2 * video, 0.0, detections=BOXES, description="Größe: a person, a bus."),
            Shot(2 * video + 1, 61.25, detections=[OUTSIDE] if video else []),
        ]
        if video == 5:
            shots[1].description = None
        licence = "CC0" if video % 2 else None
        crawl.video(f"https://a.test/clip-{video}", shots, {"license": licence})
    build_dataset(crawl.context())
    return crawl.workdir


def run(*arguments: object) -> Result:
    return CliRunner().invoke(export, [str(argument) for argument in arguments])


@pytest.fixture
def exported(workdir: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(form: str, split: float = 0.0) -> Path:
        out = tmp_path / form
        result = run(workdir, "--format", form, "--out", out, "--split", split)
        assert result.exception is None, result.output
        return out

    return make


def refusal(*arguments: object) -> str:
    error = run(*arguments).exception
    assert isinstance(error, UsageError)
    assert "\n" not in str(error)
    return str(error)


class TestYOLO:
    @pytest.fixture(autouse=True)
    def quiet(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("YOLO_OFFLINE", "true")
        monkeypatch.setenv("YOLO_AUTOINSTALL", "false")
        monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))

    @pytest.mark.parametrize("split", [0.0, 0.5])
    def test_ultralytics_reads_it(self, exported: Callable[..., Path], split: float) -> None:
        import_ultralytics()
        utils = pytest.importorskip("ultralytics.data.utils")
        from ultralytics.data.dataset import YOLODataset

        out = exported("yolo", split)
        data = utils.check_det_dataset(str(out / "data.yaml"), autodownload=False)
        assert data["names"] == {0: "bus: no. 7", 1: "person"}

        def load(part: str) -> dict[str, Any]:
            loaded = YOLODataset(img_path=data[part], data=data, augment=False, cache=False)
            assert len(loaded.labels) == len(loaded)
            return {Path(label["im_file"]).name: label for label in loaded.labels}

        labels = load("train")
        if split:
            assert len(labels) == len(list((out / "images" / "train").iterdir()))
            held_out = load("val")
            assert held_out.keys().isdisjoint(labels)
            labels |= held_out
        assert len(labels) == 12
        for name, label in labels.items():
            if name.endswith("000000.000.jpg"):
                assert label["cls"].ravel().tolist() == [1, 0]
                person, bus = label["bboxes"].tolist()
                assert person == pytest.approx([30 / 160, 60 / 120, 40 / 160, 80 / 120], abs=1e-5)
                assert bus == pytest.approx([0.5, 89.75 / 120, 1, 59.5 / 120], abs=1e-5)
            else:
                assert len(label["bboxes"]) == 0

    def test_a_dataset_without_detections_is_refused(self, tmp_path: Path) -> None:
        crawl = Crawl(tmp_path)
        crawl.video("https://a.test/clip", [Shot(1, 0.0, detections=[])])
        build_dataset(crawl.context())
        assert "has no detections" in refusal(tmp_path, "--format", "yolo")
        assert not (tmp_path / "export" / "yolo").exists()


def test_pycocotools_reads_coco(exported: Callable[..., Path]) -> None:
    coco_tools = pytest.importorskip("pycocotools.coco")
    out = exported("coco", split=0.5)

    images = {}
    for split in ("train", "validation"):
        with redirect_stdout(io.StringIO()):
            instances = coco_tools.COCO(str(out / "annotations" / f"instances_{split}.json"))
            captions = coco_tools.COCO(str(out / "annotations" / f"captions_{split}.json"))
        names = [category["name"] for category in instances.loadCats(instances.getCatIds())]
        assert names == ["bus: no. 7", "person"]
        for image in instances.loadImgs(instances.getImgIds()):
            with Image.open(out / "images" / image["file_name"]) as picture:
                assert picture.size == (image["width"], image["height"])
            found = instances.loadAnns(instances.getAnnIds(imgIds=image["id"]))
            said = captions.loadAnns(captions.getAnnIds(imgIds=image["id"]))
            images[image["file_name"]] = (image, found, said)
    assert len(images) == 12

    for name, (image, found, said) in images.items():
        if image["timestamp"] == 0:
            assert [box["bbox"] for box in found] == [[10, 20, 40, 80], [0, 60, 160, 59.5]]
            assert [box["area"] for box in found] == [3200, 9520]
            assert said[0]["caption"] == "Größe: a person, a bus."
        else:
            assert found == []
            assert name.endswith("/000061.250.jpg")
    assert sum(not said for _, _, said in images.values()) == 1


def test_datasets_reads_huggingface(
    exported: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    out = exported("huggingface", split=0.5)
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "validation"}
    assert loaded["train"].num_rows + loaded["validation"].num_rows == 12
    videos = [set(part["video_id"]) for part in loaded.values()]
    assert videos[0].isdisjoint(videos[1])

    row = loaded["train"][0]
    assert isinstance(row["image"], Image.Image)
    assert row["image"].size == (row["width"], row["height"]) == (160, 120)
    category = loaded["train"].features["objects"]["category"].feature
    assert [category.int2str(number) for number in row["objects"]["category"]] == [
        "person",
        "bus: no. 7",
    ]
    assert row["objects"]["bbox"] == [[10, 20, 40, 80], [0, 60, 160, 59.5]]
    assert row["description"] == "Größe: a person, a bus."
    assert loaded["train"][1]["objects"]["bbox"] == []


def test_a_large_huggingface_export_is_several_files(
    exported: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.exports import huggingface

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(huggingface, "BYTES_A_SHARD", 10_000)
    out = exported("huggingface")
    assert len(list((out / "data").iterdir())) > 2
    loaded = datasets.load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 12


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_webdataset_reads_its_shards(
    exported: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from stages.exports import webdataset

    wds = pytest.importorskip("webdataset")
    monkeypatch.setattr(webdataset, "SAMPLES_A_SHARD", 5)
    out = exported("webdataset")
    shards = sorted(str(path) for path in out.glob("*.tar"))
    assert [Path(shard).name for shard in shards] == [f"train-{n:06d}.tar" for n in range(3)]
    loaded = list(wds.WebDataset(shards, shardshuffle=False, empty_check=False).decode("pil"))
    gc.collect()  # the library leaves its files to be closed so, which warns: here, not later
    assert len({sample["__key__"] for sample in loaded}) == 12
    for sample in loaded:
        assert sample["jpg"].size == (sample["json"]["width"], sample["json"]["height"])
    assert loaded[0]["json"] | {"video_id": None, "source": None, "license": None} == {
        "video_id": None,
        "file": "000000.000.jpg",
        "timestamp": 0.0,
        "width": 160,
        "height": 120,
        "detections": [BOXES[0], BOXES[1] | {"box": [0, 60.0, 160, 119.5]}],
        "description": "Größe: a person, a bus.",
        "described_by": "openai:test-model",
        "source": None,
        "license": None,
    }


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_dataset_makes_the_same_bytes(workdir: Path, tmp_path: Path, form: str) -> None:
    for name in ("one", "other"):
        run(workdir, "--format", form, "--out", tmp_path / name, "--split", 0.5)
    assert tree(tmp_path / "one") == tree(tmp_path / "other")


@pytest.mark.parametrize("form", FORMATS)
def test_changing_an_export_does_not_change_the_dataset(
    workdir: Path, exported: Callable[..., Path], form: str
) -> None:
    before = tree(workdir)
    for path in exported(form).rglob("*"):
        if path.is_file():
            with path.open("ab") as file:
                file.write(b"changed")
    assert tree(workdir) == before


def test_it_goes_into_the_work_folder_and_replaces_the_export_before(workdir: Path) -> None:
    first = run(workdir, "--format", "coco")
    out = workdir / "export" / "coco"
    assert first.output == f"coco: 12 train frames in {out}\n"
    (out / "notes.txt").write_text("mine")
    run(workdir, "--format", "coco", "--split", "0.5")
    assert not (out / "notes.txt").exists()
    assert (out / "annotations" / "instances_validation.json").exists()
    assert [path.name for path in out.parent.iterdir()] == ["coco"]


def test_a_video_never_changes_sides_as_others_come(workdir: Path) -> None:
    dataset = Dataset(workdir / "dataset", 0.3)
    wider = Dataset(workdir / "dataset", 0.6)
    ids = [f"video-{number}" for number in range(2000)]
    held_out = {video for video in ids if dataset.split_of(video) == "validation"}
    assert held_out <= {video for video in ids if wider.split_of(video) == "validation"}
    assert 500 < len(held_out) < 700


def test_it_refuses_in_one_line(workdir: Path, tmp_path: Path) -> None:
    assert "holds no dataset" in refusal(tmp_path / "nothing", "--format", "coco")

    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    assert "is not empty and not an export" in refusal(workdir, "--format", "coco", "--out", mine)
    assert (mine / "thesis.tex").read_text() == "years of work"
    file = mine / "thesis.tex"
    assert "is a file" in refusal(workdir, "--format", "coco", "--out", file)
    inside = workdir / "dataset" / "export"
    assert "in the dataset itself" in refusal(workdir, "--format", "coco", "--out", inside)
    below = file / "export"
    assert "cannot export to" in refusal(workdir, "--format", "coco", "--out", below)

    empty = Crawl(tmp_path / "empty")
    build_dataset(empty.context())
    assert "has no frames" in refusal(empty.workdir, "--format", "coco")
    assert run(workdir, "--format", "pascal").exit_code == 2
    assert run(workdir, "--format", "coco", "--split", "1.5").exit_code == 2


def test_a_dataset_that_lost_a_frame_is_named_and_leaves_no_half_export(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path)
    crawl.video("https://a.test/clip", [Shot(1, 0.0), Shot(2, 1.0)])
    build_dataset(crawl.context())
    next((tmp_path / "dataset" / "frames").rglob("000001.000.jpg")).unlink()
    message = refusal(tmp_path, "--format", "webdataset")
    assert "000001.000.jpg" in message
    assert list((tmp_path / "export").iterdir()) == []


def test_the_mark_names_the_format(exported: Callable[..., Path]) -> None:
    out = exported("coco", split=0.5)
    assert json.loads((out / ".penstock-export.json").read_text()) == {
        "format": "coco",
        "split": 0.5,
    }
    assert os.access(out, os.R_OK | os.X_OK)
