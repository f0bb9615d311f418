"""The sounds stage: what is heard in a video, window by window over its whole track.

It writes `sounds.json`: for each window its seconds, and the labels that a tagger hears there.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Skip, Stage, setting
from stages.models.content import content_hash
from stages.models.devices import DeviceName, device_setting, gpu_needs
from stages.models.loading import choose_device, told_by
from stages.models.pretrained import find_pretrained, pretrained_ingredients
from stages.sound.ast_tagger import AstTagger
from stages.sound.tagging import Tagger, tag_track
from stages.sound.track import read_samples
from stages.sound.yamnet import LABELS, SUFFIXES, Yamnet, check_yamnet

SOUNDS = "sounds.json"
OFF = 'stages.sounds.model = ""'


class Sounds(Stage):
    """Tag what is heard in the video's track.

    Of `audio` it reads audio.wav, and the seconds are the video's. Raises Skip, of kind "off" where
    no model is set, and of kind "no_audio" where there is no sound.
    """

    optional_inputs = "audio"
    max_workers: ClassVar[int | None] = 1
    defaults: ClassVar[dict[str, Any]] = {"optional": True}

    class Settings(engine.Settings):
        model: str = setting(
            "MIT/ast-finetuned-audioset-10-10-0.4593",
            "A folder with an AST, its name on the Hugging Face hub, or a YAMNet as .onnx or "
            '.tflite; "" does without sounds.',
            needs_trust=True,
        )
        revision: str = setting(
            "f826b80d28226b62986cc218e5cec390b1096902",
            "The revision of a model that has a name: a commit, so that it stays what it is.",
            in_ingredients=True,
        )
        window: float | None = setting(
            None,
            "Seconds of a window, at most what the model takes; none: 10, with YAMNet 0.975.",
            gt=0,
            allow_inf_nan=False,
            example=5.0,
        )
        hop: float | None = setting(
            None,
            "Seconds from one window to the next; none: half a window.",
            gt=0,
            allow_inf_nan=False,
            example=2.5,
        )
        threshold: float = setting(
            0.1, "Score, 0 to 1, from which on a label is kept; each has its own.", ge=0, le=1
        )
        most: int = setting(10, "Labels of a window, at most.", ge=1)
        inference_batch: int = setting(16, "Windows in one inference.", affects_output=False, ge=1)
        device: DeviceName = device_setting("; a YAMNet: the CPU")

    settings: "Sounds.Settings"
    tagger: Tagger

    def needs(self) -> Mapping[str, int]:
        """The GPU that the model is on."""
        if not self.settings.model or self._file() is not None:
            return {}
        return gpu_needs(self.settings.device)

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """What the model's files hold. Raises UsageError where they, or a package, are missing."""
        if not self.settings.model:
            return {}
        file = self._file()
        if file is None:
            return pretrained_ingredients(self.settings.model, self.settings.revision, "sounds")
        check_yamnet(file, "sounds")
        with told_by("sounds", "model"):
            hashes = [content_hash(one) for one in (file, file.with_name(LABELS))]
        return {"model": file.name, "content": hashes[0], "labels": hashes[1]}

    def open(self) -> None:
        """Load the model. Raises UsageError where it is missing, or does not load."""
        settings, file = self.settings, self._file()
        if not settings.model:
            return
        if file is not None:
            self.tagger = Yamnet(file, "sounds")
            return
        with told_by("sounds", "model"):
            device = choose_device(settings.device)
        folder = find_pretrained(settings.model, settings.revision, "sounds")
        self.tagger = AstTagger(
            folder,
            settings.model if folder.parent.name == "snapshots" else folder.name,
            device=device,
            batch=settings.inference_batch,
            step="sounds",
        )

    def _file(self) -> Path | None:
        """The model's file, if it is one."""
        path = Path(os.path.expanduser(self.settings.model))  # noqa: PTH111 - never raises
        return path if path.suffix in SUFFIXES else None

    def process(self, item: Item, out: Path) -> None:
        settings = self.settings
        if not settings.model:
            raise Skip(f"it is switched off: {OFF}", kind="off")
        if not item.has_input("audio"):
            raise Skip("the video has no sound", kind="no_audio")
        window = min(settings.window or self.tagger.usual, self.tagger.longest)
        heard = tag_track(
            self.tagger,
            read_samples(item.input("audio") / "audio.wav"),
            window=window,
            hop=settings.hop or window / 2,
            threshold=settings.threshold,
            most=settings.most,
            batch=settings.inference_batch,
        )
        windows = [
            {
                "start": one.start,
                "end": one.end,
                "tags": [{"label": label, "score": score} for label, score in one.tags],
            }
            for one in heard
        ]
        summary = {"windows": windows, "made_by": self.tagger.name}
        (out / SOUNDS).write_text(json.dumps(summary) + "\n")
