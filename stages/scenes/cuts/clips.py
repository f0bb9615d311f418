"""The clips stage: each scene as a file of its own, where that is asked for.

It writes the file, and `clip.json`: its name, and the seconds of the video from and until which it
goes.
"""

import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import engine
from engine import Item, Skip, Stage, setting
from stages.files.folders import INFO
from stages.media.clips.clip import WrittenClip
from stages.media.clips.copied import NotCopyableError, copy_stretch
from stages.media.clips.encoded import encode_stretch
from stages.media.cores import PROCESS_CORES
from stages.media.sampling import exact_seconds, rounded

ClipForm = Literal["copy", "exact"]

CLIP = "clip.json"


class Clips(Stage):
    """Write a scene's stretch of the video, with its sound, to a file.

    Of `scene` it reads scene.json, of `video` info.json and the file that it names. Raises Skip, of
    kind "off", where nobody asked for clips, and Permanent as `open_video` does.
    """

    inputs = ("scene", "video")
    defaults: ClassVar[dict[str, Any]] = {"workers": 2, "optional": True}
    item_failures = frozenset({"missing_file", "damaged", "unsupported_pixels", "too_large"})

    class Settings(engine.Settings):
        form: Literal["off", "copy", "exact"] | None = setting(
            None,
            '"copy" takes the packets as they are, from the keyframe before the scene on, "exact" '
            "encodes the scene's frames anew; none: as stages.scenes.clips says.",
            example="exact",
        )
        crf: int = setting(
            20, "Quality of what is encoded anew, as x264 counts it: lower is better.", ge=0, le=51
        )

    settings: "Clips.Settings"

    def process(self, item: Item, out: Path) -> None:
        form = self.settings.form or "off"
        if form == "off":
            raise Skip("nobody asked for clips: stages.scenes.clips", kind="off")
        scene = json.loads((item.input("scene") / "scene.json").read_text())
        folder = item.input("video")
        path = folder / json.loads((folder / INFO).read_text())["file"]
        start, end = exact_seconds(scene["start"]), exact_seconds(scene["end"])
        clip: WrittenClip | None = None
        with PROCESS_CORES.held():
            if form == "copy":
                try:
                    clip = copy_stretch(path, start, end, out)
                except NotCopyableError:
                    for left in out.iterdir():
                        left.unlink()
                    form = "exact"
            if clip is None:
                clip = encode_stretch(path, start, end, out, crf=self.settings.crf)
        told = {
            "file": clip.file,
            "start": rounded(clip.start),
            "end": rounded(clip.end),
            "form": form,
        }
        (out / CLIP).write_text(json.dumps(told) + "\n")


def read_clip(folder: Path) -> dict[str, Any]:
    """What the stage wrote of a clip, as a record has it."""
    told: dict[str, Any] = json.loads((folder / CLIP).read_text())
    return told
