"""What runs the weights: the choice, what it holds on to, and what it says."""

import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from engine import ConfigError, UsageError
from stages.demo.shapes import WEIGHTS
from stages.models.content import content_hash
from stages.models.exports import ExportError
from stages.models.runtimes import UNRECORDED, choose_runtime, find_made_of

ALL = ("openvino", "onnx", "onnxruntime", "torch")


def installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Have only these packages be there, beside torch."""

    def find(name: str) -> ModuleSpec | None:
        return ModuleSpec(name, None) if name in (*packages, "torch") else None

    monkeypatch.setattr("stages.models.runtimes.find_spec", find)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.models.runtimes.gpu_of", lambda device: None)


@pytest.mark.parametrize(
    ("packages", "before", "chosen"),
    [
        (ALL, None, "openvino"),
        (("openvino",), None, "openvino"),
        (("onnx", "onnxruntime"), None, "onnx"),
        (("onnxruntime",), None, "torch"),
        ((), None, "torch"),
        (ALL, "torch", "torch"),
        (ALL, "onnx", "onnx"),
        (("onnx", "onnxruntime"), "openvino", "onnx"),
        ((), "openvino", "torch"),
    ],
)
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_auto_is_the_fastest_that_is_there_and_stays_what_it_was(
    monkeypatch: pytest.MonkeyPatch,
    packages: tuple[str, ...],
    before: Any,
    chosen: str,
    device: str,
) -> None:
    installed(monkeypatch, *packages)
    assert choose_runtime("auto", device, before) == chosen
    assert choose_runtime("torch", device, before) == "torch"


@pytest.mark.parametrize(
    ("device", "before", "build", "chosen"),
    [
        ("auto", None, "2.13.0", "torch"),
        ("auto", "openvino", "2.13.0", "openvino"),  # rather a slow rest than all of it again
        ("auto", None, "2.13.0+cpu", "openvino"),
        ("cpu", None, "2.13.0", "openvino"),
        ("cuda", "openvino", "2.13.0", "torch"),
        ("cuda:1", None, "2.13.0", "torch"),
        ("mps", None, "2.13.0", "torch"),
    ],
)
def test_on_a_gpu_auto_is_torch(
    monkeypatch: pytest.MonkeyPatch, device: str, before: Any, build: str, chosen: str
) -> None:
    installed(monkeypatch, *ALL)
    monkeypatch.setattr(
        "stages.models.runtimes.gpu_of", lambda device: None if device == "cpu" else "cuda:0"
    )
    monkeypatch.setattr("stages.models.runtimes.metadata.version", lambda name: build)
    assert choose_runtime("auto", device, before) == chosen


@pytest.mark.parametrize(
    ("runtime", "packages", "missing"),
    [
        ("openvino", (), "openvino"),
        ("onnx", (), "onnx and onnxruntime"),
        ("onnx", ("onnxruntime",), "onnx"),
    ],
)
def test_a_named_runtime_that_is_not_installed_is_refused(
    monkeypatch: pytest.MonkeyPatch, runtime: Any, packages: tuple[str, ...], missing: str
) -> None:
    installed(monkeypatch, *packages)
    with pytest.raises(ConfigError) as error:
        choose_runtime(runtime, "cpu")
    message = str(error.value)
    assert message.startswith(f"stages.filter.runtime = '{runtime}' needs the Python package")
    assert f"package {missing}, which is not installed" in message
    assert f"pip install 'penstock[{runtime}]'" in message
    assert "\n" not in message


def test_a_runtime_for_the_cpu_is_not_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, *ALL)
    with pytest.raises(ConfigError, match=r"'openvino' is for the CPU, and .*device is 'cuda:1'"):
        choose_runtime("openvino", "cuda:1")


@pytest.mark.parametrize(
    ("weights", "runtime", "own"),
    [
        ("a.onnx", "torch", "ONNX Runtime"),
        ("a.onnx", "openvino", "ONNX Runtime"),
        ("a.engine", "onnx", "TensorRT"),
        ("a_openvino_model", "torch", "OpenVINO"),
    ],
)
def test_other_formats_have_their_own_runtime(weights: str, runtime: Any, own: str) -> None:
    with pytest.raises(ConfigError, match=f"'{runtime}': {weights} is run by {own}; set it to"):
        made_of(weights, runtime=runtime)


def made_of(
    weights: object, earlier: Mapping[str, Any] | None = None, **more: Any
) -> Mapping[str, Any]:
    options = {"runtime": "auto", "device": "cpu", "image_size": 224, **more}
    return find_made_of(str(weights), earlier=earlier, **options)


class Exports:
    """Stands in for `exported`: remembers what it was asked for, and may fail."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails = False

    def __call__(self, weights: Path, content: str, runtime: str, image_size: int) -> Path:
        self.asked.append(runtime)
        if self.fails:
            raise ExportError(f"weights {weights.name} could not be exported; do without")
        return weights


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> Exports:
    installed(monkeypatch, *ALL)
    fake = Exports()
    monkeypatch.setattr("stages.models.runtimes.exported", fake)
    return fake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "model.pt").write_bytes(b"one network")
    return tmp_path / "model.pt"


def test_a_new_folder_takes_the_fastest_and_exports_for_it(file: Path, exports: Exports) -> None:
    found = made_of(file)
    assert found == {"name": str(file), "content": content_hash(file), "runtime": "openvino"}
    assert exports.asked == ["openvino"]
    assert made_of(file, found) == found, "and stays with it"
    assert made_of(file, runtime="torch")["runtime"] == "torch"
    assert exports.asked == ["openvino"], "without a look at the cache"


def test_an_export_that_fails_means_torch_and_a_line(
    file: Path, exports: Exports, caplog: pytest.LogCaptureFixture
) -> None:
    exports.fails = True
    assert made_of(file)["runtime"] == "torch"
    (line,) = caplog.messages
    assert line == (
        "filter: weights model.pt could not be exported; do without; "
        "torch runs the model, which is slower"
    )
    with pytest.raises(ExportError, match=r"model\.pt could not be exported"):
        made_of(file, runtime="openvino")


def test_a_folder_of_the_first_release_stays_with_torch(
    file: Path, exports: Exports, caplog: pytest.LogCaptureFixture
) -> None:
    found = made_of(file, UNRECORDED)
    assert found["runtime"] == "torch"
    assert found["content"] == content_hash(file)
    assert exports.asked == []
    (line,) = caplog.messages
    assert "stays with torch" in line
    assert "stages.filter.runtime = 'openvino'" in line
    assert made_of(file, UNRECORDED, device="cuda")["runtime"] == "torch"
    assert made_of(file, UNRECORDED, runtime="torch")["runtime"] == "torch"
    assert len(caplog.messages) == 1, "nothing is faster on a GPU, and what is named is meant"
    assert made_of(file, UNRECORDED, runtime="openvino")["runtime"] == "openvino"
    assert "OpenVINO runs the model now, and torch did" in caplog.messages[1]


def test_another_runtime_or_other_weights_are_told(
    file: Path, exports: Exports, caplog: pytest.LogCaptureFixture
) -> None:
    found = made_of(file, runtime="torch")
    assert made_of(file, found, runtime="openvino")["runtime"] == "openvino"
    (line,) = caplog.messages
    assert "OpenVINO runs the model now, and torch did" in line
    assert "are looked at again" in line
    caplog.clear()
    file.write_bytes(b"another network")
    other = made_of(file, found)
    assert other["content"] != found["content"]
    assert other["runtime"] == "openvino", "all is done again: then with the fastest"
    (line,) = caplog.messages
    assert f"the weights {file} are not those of the last run" in line


def test_weights_that_are_not_here_are_fetched_only_where_they_matter(
    tmp_path: Path, exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"weights mine\.pt are neither here"):
        made_of("mine.pt")
    earlier = {"name": "mine.pt", "content": "0" * 64, "runtime": "openvino"}
    assert made_of("mine.pt", earlier) == earlier
    assert made_of("mine.pt", UNRECORDED) == {}
    with pytest.raises(UsageError, match=r"weights mine\.pt are neither here"):
        made_of("mine.pt", earlier | {"name": "others.pt"})
    assert exports.asked == []


def test_the_hash_is_of_the_content_alone(tmp_path: Path) -> None:
    some, same, other = (tmp_path / name for name in ("a.pt", "b.pt", "c.pt"))
    some.write_bytes(b"one")
    same.write_bytes(b"one")
    other.write_bytes(b"two")
    assert content_hash(some) == content_hash(same) != content_hash(other)
    assert content_hash(some).startswith("7692c3ad3540bb80")
    at = some.stat()
    some.write_bytes(b"six")
    os.utime(some, ns=(at.st_atime_ns, at.st_mtime_ns + 1))
    assert content_hash(some) != content_hash(same)


def test_the_hash_of_a_folder_is_that_of_its_files_and_names(tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        return tmp_path / name

    same = [folder("1_openvino_model", x="1", y="2"), folder("2_openvino_model", y="2", x="1")]
    assert content_hash(same[0]) == content_hash(same[1])
    others = [folder("3", x="2", y="1"), folder("4", x="1", z="2"), folder("5", x="1")]
    assert len({content_hash(one) for one in (same[0], *others)}) == 4


def test_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.pt cannot be read \(No such file"):
        content_hash(tmp_path / "gone.pt")


def test_nothing_heavy_is_imported_for_the_choice() -> None:
    code = (
        "import sys; from stages.models.runtimes import find_made_of as f; "
        f"m = f({str(WEIGHTS)!r}, runtime='torch', device='cpu', image_size=224, earlier=None); "
        "assert m['runtime'] == 'torch'; print(*sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "ultralytics", "numpy", "openvino", "onnx"} & set(ran.stdout.split())
