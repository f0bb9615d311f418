"""The captions stage: what a scene's sample frames show, in words.

It writes `captions.json`: for each frame its file in the scene's folder, and the text.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Ending, Item, Permanent, Skip, Stage, checkpoint, setting
from stages.models.captioner import Captioner
from stages.models.devices import DeviceName, device_setting, gpu_needs
from stages.models.loading import choose_device, told_by
from stages.models.pretrained import find_pretrained, pretrained_ingredients

CAPTIONS = "captions.json"
OFF = 'stages.captions.model = ""'


class Captions(Stage):
    """Caption the sample frames of a scene.

    Of `scene` it reads scene.json and frames/. Frames of several scenes, of any videos, share
    batches. Raises Skip, of kind "off", where no model is set, and Permanent, of kind
    "unreadable_frame", for a frame that is no picture.
    """

    inputs = "scene"
    max_workers: ClassVar[int | None] = 1
    defaults: ClassVar[dict[str, Any]] = {"batch": 8, "optional": True}

    class Settings(engine.Settings):
        model: str = setting(
            "Salesforce/blip-image-captioning-large",
            "A folder with an image-to-text model, or its name on the Hugging Face hub; "
            '"" does without captions.',
            needs_trust=True,
        )
        revision: str = setting(
            "353689b859fcf0523410b1806dace5fb46ecdf41",
            "The revision of a model that has a name: a commit, so that it stays what it is.",
            in_ingredients=True,
        )
        prompt: str = setting(
            "", "Words that a caption begins with, or what a model that is talked to is asked."
        )
        words: int = setting(40, "Tokens of a caption, at most.", ge=1, le=1000)
        inference_batch: int = setting(16, "Pictures in one inference.", affects_output=False, ge=1)
        device: DeviceName = device_setting()
        half: bool = setting(False, "Compute in half precision on a GPU.")

    settings: "Captions.Settings"
    captioner: Captioner

    def needs(self) -> Mapping[str, int]:
        """The GPU that the model is on."""
        return gpu_needs(self.settings.device) if self.settings.model else {}

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """What the model's files hold. Raises UsageError where they, or a package, are missing."""
        if not self.settings.model:
            return {}
        return pretrained_ingredients(self.settings.model, self.settings.revision, "captions")

    def open(self) -> None:
        """Load the model. Raises UsageError where it is missing, or does not load."""
        settings = self.settings
        if not settings.model:
            return
        with told_by("captions", "model"):
            device = choose_device(settings.device)
        folder = find_pretrained(settings.model, settings.revision, "captions")
        self._name = settings.model if folder.parent.name == "snapshots" else folder.name
        self.captioner = Captioner(
            folder,
            device=device,
            batch=settings.inference_batch,
            half=settings.half,
            words=settings.words,
            prompt=settings.prompt,
            step="captions",
        )

    def process(self, item: Item, out: Path) -> None:
        [ending] = self.process_batch([item], [out])
        if ending is not None:
            raise ending

    def process_batch(self, items: list[Item], outs: list[Path]) -> list[Ending | None]:
        if not self.settings.model:
            return [Skip(f"it is switched off: {OFF}", kind="off") for _ in items]
        endings: list[Ending | None] = [None] * len(items)
        pictures: list[Any] = []
        places: list[tuple[int, str]] = []
        for at, item in enumerate(items):
            checkpoint()
            try:
                found = _pictures(item.input("scene"))
            except Permanent as error:
                endings[at] = error
            else:
                pictures += found.values()
                places += [(at, file) for file in found]
        lines: list[list[dict[str, str]]] = [[] for _ in items]
        for (at, file), text in zip(places, self.captioner.captions(pictures), strict=True):
            lines[at].append({"frame": file, "text": text})
        for out, ending, captions in zip(outs, endings, lines, strict=True):
            if ending is None:
                summary = {"captions": captions, "made_by": self._name}
                (out / CAPTIONS).write_text(json.dumps(summary, indent=2) + "\n")
        return endings


def _pictures(scene: Path) -> dict[str, Any]:
    """The sample frames of a scene, by their files."""
    from PIL import Image

    pictures = {}
    for frame in json.loads((scene / "scene.json").read_text())["frames"]:
        try:
            with Image.open(scene / frame["file"]) as picture:
                pictures[frame["file"]] = picture.convert("RGB")
        except (OSError, SyntaxError) as error:
            raise Permanent(
                f"frame {frame['file']} cannot be read as a picture; delete the scene's folder and "
                f"run again",
                kind="unreadable_frame",
            ) from error
    return pictures
