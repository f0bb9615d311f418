"""The sounds stage: whole tracks, window by window, and what becomes of missing models."""

import json
import wave
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import Item, Skip, UsageError
from engine.ledger.outputs.folders import open_scratch
from stages.media.damage import Damage
from stages.scenes.perception.sounds import Sounds
from stages.sound.track import RATE, write_track
from tests.stages.scenes.perception.footage import TAGGER

TONE = 0.5 * np.sin(2 * np.pi * 600 * np.arange(10 * RATE) / RATE)
NOISE = np.random.default_rng(1).uniform(-0.5, 0.5, 10 * RATE)
SILENCE = np.zeros(10 * RATE)

MakeItem = Callable[..., Item]


@pytest.fixture
def tag(make_item: MakeItem, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Runs the stage over an audio.wav that `write` makes; returns the windows."""

    def run(write: Callable[[Path], object], **settings: Any) -> list[dict[str, Any]]:
        stage = Sounds(Sounds.Settings(**{"device": "cpu", **settings}), tmp_path)
        item = make_item("talk", audio=lambda folder: write(folder / "audio.wav"))
        out = open_scratch(item, "sounds")
        stage.open()
        try:
            stage.process(item.with_inputs({"audio": "audio"}), out)
        finally:
            stage.close()
        found: list[dict[str, Any]] = json.loads((out / "sounds.json").read_text())["windows"]
        return found

    return run


def track(*sounds: Any) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes((np.concatenate(sounds) * 32767).astype("<i2").tobytes())

    return write


def loudest(windows: Sequence[dict[str, Any]]) -> list[str | None]:
    return [one["tags"][0]["label"] if one["tags"] else None for one in windows]


def test_a_long_track_is_heard_to_its_end(tag: Callable[..., list[dict[str, Any]]]) -> None:
    sounds = (TONE, SILENCE, NOISE, SILENCE, TONE[: 4 * RATE])
    found = tag(track(*sounds), model=str(TAGGER), threshold=0.5, inference_batch=3)
    starts = [0, 5, 10, 15, 20, 25, 30, 35]
    assert [(one["start"], one["end"]) for one in found] == [
        (start, min(start + 10, 44)) for start in starts
    ]
    assert loudest(found)[::2][:4] == ["Tone", None, "Noise", None]
    assert loudest(found)[-1] == "Tone"
    each = tag(track(*sounds), model=str(TAGGER), threshold=0.5, inference_batch=1)
    assert [[one["label"] for one in window["tags"]] for window in each] == [
        [one["label"] for one in window["tags"]] for window in found
    ], "batches do not change what is heard"


def test_without_a_model_or_sound_there_is_nothing_to_do(
    make_item: MakeItem, tmp_path: Path
) -> None:
    off = Sounds(Sounds.Settings(model=""), tmp_path)
    assert off.needs() == off.find_ingredients(None) == {}
    off.open()
    with pytest.raises(Skip, match="switched off"):
        off.process(make_item("a"), tmp_path)
    on = Sounds(Sounds.Settings(model=str(TAGGER), device="cpu"), tmp_path)
    with pytest.raises(Skip, match="no sound"):
        on.process(make_item("a").with_inputs({"audio": "audio"}), tmp_path)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            "missing/yamnet.onnx",
            r"yamnet\.onnx, for sounds, is not there.*stages\.sounds\.model = ",
        ),
        ("no such/model at all", r"is no folder, and no name.*stages\.sounds\.model"),
    ],
)
def test_a_missing_model_is_named_with_what_to_do(tmp_path: Path, model: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as failed:
        Sounds(Sounds.Settings(model=model), tmp_path).find_ingredients(None)
    assert "\n" not in str(failed.value)


def test_a_model_that_cannot_be_fetched_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(name: str, **options: Any) -> str:
        if options.get("local_files_only"):
            raise FileNotFoundError(name)
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    monkeypatch.setattr("httpx.head", lambda address, timeout: None)
    with pytest.raises(UsageError, match=r"no route to host.*hf download MIT/ast\S+ --revision f8"):
        Sounds(Sounds.Settings(), tmp_path).find_ingredients(None)
    monkeypatch.setattr("stages.models.pretrained.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"transformers, which is not.*penstock\[scenes\]"):
        Sounds(Sounds.Settings(), tmp_path).find_ingredients(None)


def test_a_model_without_safetensors_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(UsageError, match=r"no \.safetensors in .*pickled"):
        Sounds(Sounds.Settings(model=str(folder)), tmp_path).find_ingredients(None)


@pytest.mark.parametrize(
    ("media", "heard"),
    [
        ("audio/flutter_rooster.mp3", {"Fowl", "Animal"}),
        ("audio/whispercpp_jfk.wav", {"Speech"}),
        ("edge/androidx_silent-black-25s.mp4", {"Silence"}),
    ],
)
def test_yamnet_hears_what_is_there(
    data: Path, tag: Callable[..., list[dict[str, Any]]], media: str, heard: set[str]
) -> None:
    found = tag(
        lambda path: write_track(data / media, Fraction(0), path, Damage()),
        model=str(data / "models" / "yamnet_dhiveej.tflite"),
    )
    assert found[0]["end"] - found[0]["start"] == pytest.approx(0.975)
    best = [label for label in loudest(found) if label]
    assert heard & set(best)
    assert max(set(best), key=best.count) in heard | {"Chicken, rooster"}


def test_a_yamnet_as_onnx(tmp_path: Path, tag: Callable[..., list[dict[str, Any]]]) -> None:
    """One that tells loud from quiet, in the form of YAMNet."""
    import onnx
    from onnx import TensorProto, helper

    wave_in = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["samples"])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 2])
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 2])
    nodes = [
        helper.make_node("ReduceMax", ["waveform"], ["loud"], keepdims=1),
        helper.make_node("Sub", ["one", "loud"], ["quiet"]),
        helper.make_node("Concat", ["loud", "quiet"], ["both"], axis=0),
        helper.make_node("Reshape", ["both", "shape"], ["scores"]),
    ]
    graph = helper.make_graph(nodes, "yamnet", [wave_in], [scores], [one, shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "yamnet.onnx")
    (tmp_path / "yamnet_class_map.csv").write_text(
        'index,mid,display_name\n0,/m/1,"Loud, very"\n1,/m/2,Quiet\n'
    )
    found = tag(track(SILENCE, TONE * 1.6), model=str(tmp_path / "yamnet.onnx"), threshold=0.4)
    assert loudest(found)[0] == "Quiet"
    assert loudest(found)[-1] == "Loud, very"
