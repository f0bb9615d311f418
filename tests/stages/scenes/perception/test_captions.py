"""The captions stage: the words of pictures, batches of several scenes, and bad models."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine import Ending, Item, Permanent, Skip, UsageError
from engine.ledger.outputs.folders import open_scratch
from stages.demo.shapes import Shape, draw, texture
from stages.scenes.perception.captions import Captions
from tests.stages.scenes.perception.footage import CAPTIONER, TAGGER

MakeItem = Callable[..., Item]

BESIDE = [Shape("square", "yellow", 150, 180, 70, 45), Shape("circle", "green", 480, 180, 70)]
ABOVE = [Shape("triangle", "red", 320, 90, 70), Shape("square", "blue", 320, 270, 70, 45)]


def scene(*pictures: Sequence[Shape]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "frames").mkdir()
        frames = []
        for number, shapes in enumerate(pictures):
            name = f"frames/{number:08}.jpg"
            draw(texture(640, 360, seed=number), shapes).save(folder / name, quality=90)
            frames.append({"file": name, "timestamp": number})
        (folder / "scene.json").write_text(json.dumps({"frames": frames}))

    return write


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captions]:
    settings = Captions.Settings(model=str(CAPTIONER), device="cpu", inference_batch=2)
    opened = Captions(settings, tmp_path_factory.mktemp("work"))
    opened.open()
    yield opened
    opened.close()


def caption(stage: Captions, items: Sequence[Item]) -> list[list[str] | Ending]:
    outs = [open_scratch(item, "captions") for item in items]
    endings = stage.process_batch([item.with_inputs({"scene": "scenes"}) for item in items], outs)
    return [
        [one["text"] for one in json.loads((out / "captions.json").read_text())["captions"]]
        if ending is None
        else ending
        for out, ending in zip(outs, endings, strict=True)
    ]


def test_the_frames_of_several_scenes_are_captioned_together(
    stage: Captions, make_item: MakeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(folder: Path) -> None:
        scene(BESIDE)(folder)
        (folder / "frames/00000000.jpg").write_bytes(b"no picture")

    first, second, broken, empty = caption(
        stage,
        [
            make_item("a", scenes=scene(BESIDE, ABOVE)),
            make_item("b", scenes=scene(ABOVE)),
            make_item("c", scenes=unreadable),
            make_item("d", scenes=scene()),
        ],
    )
    assert first == [
        "a yellow square left of a green circle",
        "a red triangle above a blue square",
    ]
    assert second == ["a red triangle above a blue square"]
    assert isinstance(broken, Permanent)
    assert broken.kind == "unreadable_frame"
    assert empty == []


def test_without_a_model_there_are_no_captions(tmp_path: Path, make_item: MakeItem) -> None:
    stage = Captions(Captions.Settings(model=""), tmp_path)
    assert stage.needs() == stage.find_ingredients(None) == {}
    stage.open()
    [ending] = caption(stage, [make_item("a", scenes=scene(BESIDE))])
    assert isinstance(ending, Skip)


def test_a_folder_with_something_else_is_named(tmp_path: Path) -> None:
    stage = Captions(Captions.Settings(model=str(TAGGER), device="cpu"), tmp_path)
    with pytest.raises(UsageError, match=r"tagger .*stages\.captions\.model") as failed:
        stage.open()
    assert "\n" not in str(failed.value)
    stage = Captions(Captions.Settings(model=str(CAPTIONER), device="cuda:99"), tmp_path)
    with pytest.raises(UsageError, match=r"stages\.captions\.device = 'cuda:99': torch sees no"):
        stage.open()


def test_other_weights_in_the_folder_are_another_ingredient(tmp_path: Path) -> None:
    def ingredients(folder: Path) -> Any:
        return Captions(Captions.Settings(model=str(folder)), tmp_path).find_ingredients(None)

    copy = tmp_path / "captioner"
    copy.mkdir()
    for file in CAPTIONER.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert ingredients(copy) == ingredients(CAPTIONER)
    (copy / "model.safetensors").write_bytes(b"others")
    assert ingredients(copy) != ingredients(CAPTIONER)


@pytest.mark.parametrize(("device", "needs"), [("cpu", {}), ("cuda:1", {"cuda:1": 1})])
def test_it_needs_the_gpu_that_it_is_on(tmp_path: Path, device: str, needs: dict[str, int]) -> None:
    assert Captions(Captions.Settings(device=device), tmp_path).needs() == needs
