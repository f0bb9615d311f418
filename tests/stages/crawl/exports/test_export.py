"""Every export is read back by the library that its users read it with."""

import gc
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from engine import PageContext, UsageError
from stages.crawl.dataset.build import build_dataset
from stages.crawl.dataset.class_numbers import numbered
from stages.crawl.dataset.gallery import crawl_sections
from stages.crawl.exports.reader import Dataset, held_out
from stages.exports.command import OF_A_CRAWL as FORMATS
from stages.exports.command import export
from stages.models.yolo import import_ultralytics
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
    from stages.crawl.exports import huggingface

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
    from stages.crawl.exports import webdataset

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


def test_a_video_never_changes_sides_as_others_come() -> None:
    ids = [f"video-{number}" for number in range(2000)]
    few, all_, more = held_out(ids[:1000], 0.3), held_out(ids, 0.3), held_out(ids, 0.6)
    assert few == all_ & set(ids[:1000])
    assert all_ <= more
    assert 500 < len(all_) < 700


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_of_few_videos_too_some_are_held_out_and_some_not(share: float, count: int) -> None:
    ids = [f"video-{number}" for number in range(count)]
    assert 1 <= len(held_out(ids, share)) < count
    assert held_out(ids, 0) == held_out(ids[:1], share) == held_out([], share) == set()


def test_it_says_where_nothing_can_be_held_out(tmp_path: Path) -> None:
    crawl = Crawl(tmp_path)
    crawl.video("https://a.test/clip", [Shot(1, 0.0)])
    build_dataset(crawl.context())
    result = run(tmp_path, "--format", "coco", "--split", 0.3)
    assert "nothing is held out: all frames are of one video" in result.stderr


# What a dataset's tables may name


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A work folder whose dataset of two frames is about to be changed by somebody."""
    crawl = Crawl(tmp_path / "work")
    crawl.video("https://a.test/clip", [Shot(1, 0.0), Shot(2, 1.0)])
    build_dataset(crawl.context())
    (tmp_path / "secret.txt").write_text("PRIVATE")
    return crawl.workdir


def change(workdir: Path, **columns: str) -> None:
    """Put these into the first row of frames.parquet."""
    path = workdir / "dataset" / "frames.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0] |= columns
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    "columns",
    [
        {"file": "../../secret.txt"},
        {"file": "/etc/hostname"},
        {"file": "README.md"},
        {"video_id": "../../../outside"},
        {"video_id": "..", "file": "frames/../frames.parquet"},
        {"video_id": "", "file": "frames//x"},
    ],
)
def test_a_table_that_names_what_is_no_frame_is_refused(
    foreign: Path, columns: dict[str, str], form: str
) -> None:
    change(foreign, **columns)
    out = foreign.parent / "exported" / form
    assert "which is no frame in it" in refusal(foreign, "--format", form, "--out", out)
    assert [path.name for path in out.parent.iterdir()] == []
    assert sorted(path.name for path in foreign.parent.iterdir()) == [
        "exported", "secret.txt", "work",
    ]  # fmt: skip
    context = PageContext(foreign, lambda: iter(()))
    with pytest.raises(UsageError, match="which is no frame in it"):
        list(crawl_sections(context))


@pytest.mark.parametrize("link", ["frame", "video", "frames"])
def test_a_link_in_a_dataset_is_not_followed(foreign: Path, link: str) -> None:
    frame = next((foreign / "dataset" / "frames").rglob("*.jpg"))
    path = {"frame": frame, "video": frame.parent, "frames": frame.parents[1]}[link]
    elsewhere = foreign.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert "which is no frame in it" in refusal(foreign, "--format", "coco")


@pytest.mark.parametrize("name", ["frames", "videos"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PAR1 and then nothing of use PAR1"])
def test_a_table_that_is_none_is_refused(foreign: Path, name: str, content: bytes) -> None:
    (foreign / "dataset" / f"{name}.parquet").write_bytes(content)
    assert f"{name}.parquet cannot be read" in refusal(foreign, "--format", "coco")


# The numbers of classes


def test_classes_are_numbered_as_the_setting_names_them_or_else_as_the_weights_do() -> None:
    weights = ["circle", "square", "star"]
    assert numbered(["star", "circle"], [weights], ["circle"]) == ["star", "circle"]
    assert numbered([], [weights], ["star"]) == weights
    assert numbered([], [weights, ["star", "bus"]], []) == ["circle", "square", "star", "bus"]
    assert numbered(["star"], [], ["car", "bus", "star"]) == ["star", "bus", "car"]
    assert numbered([], [], ["car", "bus"]) == ["bus", "car"]


@pytest.mark.parametrize("form", ["yolo", "coco", "huggingface"])
def test_the_number_of_a_class_stays_as_the_dataset_grows(tmp_path: Path, form: str) -> None:
    crawl = Crawl(tmp_path, knows=["bus", "car", "person"])
    seen = {"confidence": 0.9, "box": [10.0, 20.0, 50.0, 100.0]}
    exported = []
    for number, name in enumerate(["person", "bus"]):
        crawl.video(
            f"https://a.test/{number}", [Shot(number, 0.0, detections=[{"class": name} | seen])]
        )
        build_dataset(crawl.context())
        assert json.loads((tmp_path / "dataset" / "classes.json").read_text()) == [
            "bus", "car", "person",
        ]  # fmt: skip
        exported.append(Dataset(tmp_path / "dataset", 0).classes)
        assert run(tmp_path, "--format", form).exit_code == 0
    assert exported == [("bus", "car", "person")] * 2


def test_a_dataset_of_an_earlier_version_has_its_classes_in_alphabetical_order(
    workdir: Path, tmp_path: Path
) -> None:
    shutil.copytree(workdir / "dataset", tmp_path / "dataset")
    (tmp_path / "dataset" / "classes.json").unlink()
    assert Dataset(tmp_path / "dataset", 0).classes == ("bus: no. 7", "person")


# What `datasets` remembers


LOAD = "import sys, datasets; print(len(datasets.load_dataset(sys.argv[1])['train']))"


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["dataset", "export/huggingface"])
def test_datasets_loads_each_crawl_and_what_a_crawl_has_grown_to(
    tmp_path: Path, folder: str
) -> None:
    pytest.importorskip("datasets")
    crawls = [Crawl(tmp_path / name) for name in ("a", "b")]

    def rows(crawl: Crawl, source: str, frames: int) -> int:
        crawl.video(source, [Shot(int(source[-1]) * 100 + at, float(at)) for at in range(frames)])
        build_dataset(crawl.context())
        assert run(crawl.workdir, "--format", "huggingface").exit_code == 0
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD, str(crawl.workdir / folder)],
            env=os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(loaded.stdout)

    assert rows(crawls[0], "https://a.test/1", 2) == 2
    assert rows(crawls[1], "https://a.test/1", 3) == 3
    assert rows(crawls[0], "https://a.test/2", 2) == 4


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_makes_masks_of_the_boxes(exported: Callable[..., Path]) -> None:
    coco_tools = pytest.importorskip("pycocotools.coco")
    out = exported("coco")
    with redirect_stdout(io.StringIO()):
        coco = coco_tools.COCO(str(out / "annotations" / "instances_train.json"))
    for found in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(found)
        assert mask.sum() == pytest.approx(found["area"], rel=0.02)


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
