"""Exports of .pt weights: made once, whole or not at all, and finding what torch finds."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import UsageError
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS, random_scene
from stages.models.content import content_hash
from stages.models.detector import Detection, Detector
from stages.models.exports import ExportError, exported

REPOSITORY = Path(__file__).parents[3]

RUNTIMES = ("onnx", "openvino")

FAKE = {"onnx": "weights.onnx", "openvino": "weights_openvino_model/weights.xml"}


def needs(runtime: str) -> None:
    pytest.importorskip(runtime, reason=f"needs {runtime}, which the project does without")


def bgr(seed: int, size: tuple[int, int] = (640, 360)) -> np.ndarray:
    return np.asarray(random_scene(seed, *size)[0])[:, :, ::-1].copy()


def apart(some: Detection, other: Detection) -> tuple[float, float]:
    """How far the boxes' edges are apart, in pixels, and the confidences."""
    edges = max(abs(a - b) for a, b in zip(some.box, other.box, strict=True))
    return edges, abs(some.confidence - other.confidence)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_finds_what_torch_finds(runtime: str) -> None:
    needs(runtime)
    network = exported(WEIGHTS, content_hash(WEIGHTS), runtime, IMAGE_SIZE)
    pictures = [bgr(seed, size) for seed in range(12) for size in ((640, 360), (300, 400))]
    options: dict[str, Any] = {"image_size": IMAGE_SIZE, "confidence": 0.1, "device": "cpu"}
    by_torch = Detector(WEIGHTS, **options)
    other = Detector(WEIGHTS, exported=network, **options)
    assert (other.weights, other.names, other.batch) == (WEIGHTS, by_torch.names, 1)
    found, expected = other.detect(pictures), by_torch.detect(pictures)
    assert sum(map(len, expected)) > 30
    for some, others in zip(found, expected, strict=True):
        assert [one.name for one in some] == [one.name for one in others]
        for one, as_torch in zip(some, others, strict=True):
            pixels, confidence = apart(one, as_torch)
            assert pixels < 0.01
            assert confidence < 0.0001


def test_it_computes_in_single_precision_unless_half_is_allowed() -> None:
    """On a processor with AMX OpenVINO would take half by itself."""
    needs("openvino")
    network = exported(WEIGHTS, content_hash(WEIGHTS), "openvino", IMAGE_SIZE)
    modes = []
    for half in (False, True):
        detector = Detector(WEIGHTS, exported=network, image_size=IMAGE_SIZE, half=half)
        compiled = detector.model.backend.ov_compiled_model
        modes.append(str(compiled.get_property("EXECUTION_MODE_HINT")))
        if not half:
            assert "float32" in str(compiled.get_property("INFERENCE_PRECISION_HINT"))
        detector.close()
    assert ["ACCURACY" in mode for mode in modes] == [True, False]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder; returns the folder of the exports in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "penstock" / "exported"


class Exporter:
    """Stands in for the process that exports: writes files, says something, counts."""

    def __init__(self, runtime: str) -> None:
        self.runs = 0
        self.says: object = {}
        self.writes = (FAKE[runtime],)
        self.code = 0

    def __call__(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.runs += 1
        for name in self.writes:
            file = Path(command[-1], name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("a network")
        said = self.says if isinstance(self.says, str) else f"chatter\n{json.dumps(self.says)}\n"
        return subprocess.CompletedProcess(command, self.code, said, "a warning\nthe last line\n")


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Exporter:
    needs("openvino")
    fake = Exporter("openvino")
    monkeypatch.setattr("stages.models.exports.subprocess.run", fake)
    return fake


def make(content: str = "0" * 64, image_size: int = 640) -> Path:
    return exported(WEIGHTS, content, "openvino", image_size)


def test_an_export_is_made_once_for_each_recipe(
    cache: Path, exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = make()
    assert network.name == "weights_openvino_model"
    assert make() == network
    assert exporter.runs == 1
    others = {make("1" * 64), make(image_size=320)}
    monkeypatch.setattr("stages.models.exports.metadata.version", lambda name: "99")
    others.add(make())
    assert len(others | {network}) == exporter.runs == 4
    assert {path.parent.parent for path in others} == {cache}


def truncated(entry: Path) -> None:
    (entry / FAKE["openvino"]).write_text("a net")


def altered(entry: Path) -> None:
    (entry / FAKE["openvino"]).write_text("b network")


def without_a_file(entry: Path) -> None:
    (entry / FAKE["openvino"]).unlink()


def without_manifest(entry: Path) -> None:
    (entry / "export.json").unlink()


def with_half_a_manifest(entry: Path) -> None:
    (entry / "export.json").write_text('{"files": ')


def empty(entry: Path) -> None:
    shutil.rmtree(entry)
    entry.mkdir()


@pytest.mark.parametrize(
    "damage",
    [truncated, altered, without_a_file, without_manifest, with_half_a_manifest, empty],
)
def test_a_damaged_export_is_made_anew(
    cache: Path, exporter: Exporter, damage: Callable[[Path], None]
) -> None:
    entry = make().parent
    damage(entry)
    assert make() == entry / "weights_openvino_model"
    assert exporter.runs == 2
    assert (entry / FAKE["openvino"]).read_text() == "a network"
    make()
    assert exporter.runs == 2


@pytest.mark.parametrize(
    ("says", "writes", "words"),
    [
        ({"failed": "no such operator"}, (), r"\(no such operator\)"),
        ("Segmentation", (), r"\(the last line\)"),
        ({}, (), r"\(it left no file\)"),
        ({"failed": "half of it"}, (FAKE["openvino"],), r"\(half of it\)"),
    ],
)
def test_a_failed_export_leaves_nothing_and_says_why(
    cache: Path, exporter: Exporter, says: object, writes: tuple[str, ...], words: str
) -> None:
    exporter.says, exporter.writes = says, writes
    with pytest.raises(ExportError, match=words) as error:
        make()
    message = str(error.value)
    assert message.startswith("weights shapes.pt could not be exported for openvino (")
    assert message.endswith("stages.filter.runtime = 'torch' does without")
    assert "\n" not in message
    assert [path.suffix for path in cache.iterdir()] == [".lock"]


def test_weights_that_do_not_load_are_no_failure_of_the_export(
    cache: Path, exporter: Exporter
) -> None:
    exporter.says = {"unusable": "weights x.pt cannot be used (it is damaged)"}
    with pytest.raises(UsageError, match=r"^weights x\.pt cannot be used") as error:
        make()
    assert not isinstance(error.value, ExportError)


def test_a_cache_that_cannot_be_written_is_named(cache: Path, exporter: Exporter) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("no folder")
    with pytest.raises(ExportError, match=rf"\({cache}: .*\); stages\.filter\.runtime") as error:
        make()
    assert "\n" not in str(error.value)
    assert exporter.runs == 0


def test_weights_that_changed_meanwhile_are_not_exported_under_the_old_hash(cache: Path) -> None:
    needs("onnx")
    with pytest.raises(ExportError, match="they have changed meanwhile"):
        exported(WEIGHTS, "0" * 64, "onnx", IMAGE_SIZE)


def test_weights_that_are_no_model_are_named(cache: Path, tmp_path: Path) -> None:
    needs("onnx")
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"half of a download")
    with pytest.raises(UsageError, match=r"broken\.pt cannot be used \(it is damaged") as error:
        exported(broken, content_hash(broken), "onnx", IMAGE_SIZE)
    assert "\n" not in str(error.value)


EXPORT_AND_DETECT = """
import sys
import numpy
from stages.demo.shapes import IMAGE_SIZE, WEIGHTS, random_scene
from stages.models.detector import borrow_detector
from stages.models.runtimes import find_made_of
for runtime in sys.argv[1:]:
    made_of = find_made_of(
        str(WEIGHTS), runtime=runtime, device="cpu", image_size=IMAGE_SIZE, earlier=None
    )
    with borrow_detector(str(WEIGHTS), made_of, image_size=IMAGE_SIZE, device="cpu") as loan:
        picture = numpy.asarray(random_scene(500, 640, 360)[0])
        assert loan.thing.detect([picture[:, :, ::-1].copy()])[0]
        print(loan.thing.model.format)
"""


@pytest.mark.slow
def test_processes_share_one_export_and_no_runtime_reports_home(tmp_path: Path) -> None:
    runtimes = [runtime for runtime in RUNTIMES if find_spec(runtime) is not None]
    if not runtimes:
        pytest.skip("needs onnx or openvino")
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-W", "error::ResourceWarning", "-c", EXPORT_AND_DETECT, *runtimes],
            env=home,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert [out.split() for out, _ in said] == [runtimes] * 2
    told = [line for _, errors in said for line in errors.splitlines()]
    assert len(told) == len(runtimes), told
    assert all("exporting shapes.pt for" in line for line in told)
    assert [path.name for path in tmp_path.iterdir()] == [".cache"]
    assert [path.name for path in (tmp_path / ".cache").iterdir()] == ["penstock"]
    entries = [path for path in (tmp_path / ".cache/penstock/exported").iterdir() if path.is_dir()]
    assert len(entries) == len(runtimes)
