"""What runs the filter's model, and which weights: noticed, kept to, and of no matter to frames."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from engine import SOURCE, Item, Pipeline, Stage, Step, UsageError, load_config, run_pipeline
from engine.ledger.outputs.folders import open_scratch
from stages.crawl.filter import Filter
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS, random_scene
from stages.models.yolo import import_ultralytics


def needs(runtime: str) -> None:
    pytest.importorskip(runtime, reason=f"needs {runtime}, which the project does without")


class Frames(Stage):
    """Stands in for extract: each video has a few frames, of two sizes."""

    name = "extract"

    def process(self, item: Item, out: Path) -> None:
        (out / "frames").mkdir()
        with (out / "frames.jsonl").open("w") as lines:
            for second in range(6):
                name, size = f"{second:010.3f}.jpg", (640, 360) if second % 3 else (300, 400)
                random_scene(500 + second, *size)[0].save(out / "frames" / name, quality=90)
                line = {"file": name, "timestamp": float(second), "keyframe": True}
                line |= {"width": size[0], "height": size[1]}
                lines.write(json.dumps(line) + "\n")


class FilterOfBefore(Filter):
    """The stage of a release that did not record its weights, and ran them with torch."""

    name = "filter"
    find_ingredients = Stage.find_ingredients


def filtered(workdir: Path, weights: Path, stage: type[Filter] = Filter, **more: Any) -> int:
    """Run over two videos; returns how many attempts the filter has made in this folder by now."""
    pipeline = Pipeline("few", "A few.", [Step(Frames, SOURCE), Step(stage, "extract")])
    chosen = {"weights": str(weights), "image_size": IMAGE_SIZE, "classes": [], **more}
    sets = [f"stages.filter.{name}={json.dumps(value)}" for name, value in chosen.items()]
    config = load_config(pipeline, None, {}, [*sets, "limits.free_disk=0"], {})
    report = run_pipeline(pipeline, config, workdir, ["a", "b"])
    assert report.exit_code == 0
    with closing(sqlite3.connect(workdir / "penstock.db")) as db:
        (made,) = db.execute("SELECT count(*) FROM attempts WHERE stage = 'filter'").fetchone()
    return int(made)


def detections(workdir: Path) -> list[bytes]:
    files = sorted(workdir.glob("items/*/filter/detections.jsonl"))
    assert len(files) == 2
    return [file.read_bytes() for file in files]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return Path(shutil.copy(WEIGHTS, tmp_path / "model.pt"))


def saved_anew(weights: Path) -> None:
    """The same network in a file with other bytes, as after another training."""
    network = import_ultralytics().YOLO(str(weights))
    network.ckpt["date"] = "another day"
    network.save(weights)


@pytest.mark.slow
def test_new_weights_under_an_old_name_are_noticed(tmp_path: Path, weights: Path) -> None:
    work, runtime = tmp_path / "work", "torch"
    assert filtered(work, weights, runtime=runtime) == 2
    before = detections(work)
    assert filtered(work, weights, runtime=runtime) == 2
    weights.touch()
    assert filtered(work, weights, runtime=runtime) == 2, "its time says nothing"
    saved_anew(weights)
    assert filtered(work, weights, runtime=runtime) == 4
    assert filtered(work, weights, runtime=runtime) == 4
    assert detections(work) == before, "it is the same network, after all"


@pytest.mark.slow
def test_a_folder_of_an_earlier_release_is_taken_up(
    tmp_path: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    needs("openvino")
    work = tmp_path / "work"
    assert filtered(work, weights, FilterOfBefore) == 2
    assert filtered(work, weights) == 2
    assert "stays with torch" in caplog.text
    assert filtered(work, weights, runtime="torch") == 2
    assert filtered(work, weights, runtime="openvino") == 4
    assert "OpenVINO runs the model now, and torch did" in caplog.text
    assert filtered(work, weights) == 4, "auto stays with it"
    saved_anew(weights)
    assert filtered(work, weights) == 6


def test_where_exporting_fails_torch_does_the_work(
    tmp_path: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    needs("openvino")
    assert filtered(tmp_path / "torch", weights, runtime="torch") == 2
    cache = tmp_path / "cache" / "penstock"
    cache.mkdir(parents=True)
    (cache / "exported").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert filtered(tmp_path / "auto", weights) == 2
    assert "could not be exported for openvino" in caplog.text
    assert detections(tmp_path / "auto") == detections(tmp_path / "torch")
    with pytest.raises(UsageError, match="could not be exported for openvino"):
        filtered(tmp_path / "openvino", weights, runtime="openvino")


def test_weights_that_change_before_the_model_is_loaded_end_the_run(
    tmp_path: Path, weights: Path
) -> None:
    settings = Filter.Settings(weights=str(weights), image_size=IMAGE_SIZE, runtime="torch")
    stage = Filter(settings, tmp_path)
    stage.ingredients = stage.find_ingredients(None)
    saved_anew(weights)
    with pytest.raises(UsageError, match=r"model\.pt have changed since the run began; run again"):
        stage.open()


def test_only_torch_needs_the_gpu(tmp_path: Path) -> None:
    stage = Filter(Filter.Settings(device="cuda:1"), tmp_path)
    for runtime, needed in (("torch", {"cuda:1": 1}), ("openvino", {}), ("onnx", {})):
        stage.ingredients = {"runtime": runtime}
        assert stage.needs() == needed


def outputs(settings: dict[str, Any], item: Item, workdir: Path) -> bytes:
    stage = Filter(Filter.Settings(**settings), workdir)
    out = open_scratch(item, "filter")
    stage.open()
    try:
        stage.process(item.with_inputs({"frames": "extract"}), out)
    finally:
        stage.close()
    return (out / "detections.jsonl").read_bytes()


@pytest.mark.parametrize(
    "runtime",
    ["torch", *(pytest.param(name, marks=pytest.mark.slow) for name in ("onnx", "openvino"))],
)
def test_a_frames_result_depends_on_nothing_beside_it(
    tmp_path: Path,
    make_item: Callable[..., Item],
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
) -> None:
    needs(runtime)
    frames = Frames(Stage.Settings(), tmp_path)

    def write(folder: Path) -> None:
        frames.process(Item.at(tmp_path, "any"), folder)

    items = [make_item(f"video {number}", extract=write) for number in range(3)]
    found = set()
    for cores, batch, threads in ((1, 8, 1), (2, 1, 4), (5, 3, 2)):
        monkeypatch.setattr("stages.models.inference.available_cores", lambda cores=cores: cores)
        settings = {
            "weights": str(WEIGHTS),
            "image_size": IMAGE_SIZE,
            "runtime": runtime,
            "device": "cpu",
            "classes": (),
            "inference_batch": batch,
            "decode_threads": threads,
        }

        def detect(item: Item, settings: dict[str, Any] = settings) -> bytes:
            return outputs(settings, item, tmp_path)

        with ThreadPoolExecutor(2) as workers:
            found |= set(workers.map(detect, items))
    assert len(found) == 1
    assert len(found.pop().splitlines()) >= 4
