"""The frames stage: the few frames of a video that tell most of it.

For each it makes a part: `frame.json` and `frame.jpg`; and `asked.jpg`, the picture that a model is
asked about: where the frame shows what an earlier one shows, that one's. Of the whole video it
writes `frames.json`.
"""

import json
from pathlib import Path
from typing import Any, ClassVar

import engine
from engine import Item, Parts, Permanent, Stage, setting
from stages.files.folders import carry_info, link_or_copy
from stages.media.cores import PROCESS_CORES, Cores
from stages.recipe.frames.candidates import FrameCandidate, find_candidates, length_of
from stages.recipe.frames.choice import choose_looks, is_alike

FRAMES, FRAME, PICTURE, ASKED = "frames.json", "frame.json", "frame.jpg", "asked.jpg"


class ChosenFrames(Stage):
    """Choose the frames of the downloaded video that a model is shown.

    A part is a chosen frame, in the order of the video; the choice needs all candidates, so parts
    come at its end. Of `video` it reads info.json and the file that it names. Raises Permanent
    where no frame comes of it, of the kinds that extract has.
    """

    name = "frames"
    inputs = "video"
    # A frame that cannot be analysed is a gap; a document is written of the others.
    defaults: ClassVar[dict[str, Any]] = {"workers": 2, "most_failed": 0.99}
    item_failures = frozenset(
        {
            *("missing_file", "no_video", "damaged", "no_frames"),
            *("encrypted", "too_large", "unsupported_pixels"),
        }
    )

    cores: ClassVar[Cores] = PROCESS_CORES

    class Settings(engine.Settings):
        most: int = setting(7, "Frames that are chosen, at most.", per_item=True, ge=1, le=100)
        fps: float = setting(
            2.0,
            "Candidates per second of video.",
            per_item=True,
            gt=0,
            le=60,
            allow_inf_nan=False,
        )
        candidates: int = setting(
            150, "Candidates of a video, at most: of a long one fewer a second.", ge=1, le=2000
        )
        size: int = setting(
            1024, "Pixels along the longer side of a frame; never enlarges.", ge=64, le=16384
        )
        quality: int = setting(85, "JPEG quality.", ge=1, le=95)

    settings: "ChosenFrames.Settings"

    def split(self, item: Item, out: Path, parts: Parts) -> None:
        with self.cores.held():
            self._split(item, out, parts)

    def _split(self, item: Item, out: Path, parts: Parts) -> None:
        folder = item.input("video")
        settings: ChosenFrames.Settings = self.settings_for(item)
        path = folder / json.loads((folder / "info.json").read_text())["file"]
        found = list(
            find_candidates(
                path, settings.fps, settings.candidates, settings.size, settings.quality
            )
        )
        if not found:
            raise Permanent(f"no frame of {path.name} could be decoded", kind="no_frames")
        chosen = [found[place] for place in choose_looks([o.look for o in found], settings.most)]
        parts.expect(len(chosen))
        for number, one in enumerate(chosen):
            if not parts.reuse():
                with parts.make() as made:
                    _write(one, _first_like(chosen, number), Path(made))
        length = length_of(path)
        whole = {
            "length": length if length is not None else found[-1].look.time,
            "candidates": len(found),
            "frames": [one.look.time for one in chosen],
        }
        (out / FRAMES).write_text(f"{json.dumps(whole, indent=2)}\n")
        carry_info(folder, out)


def _first_like(chosen: list[FrameCandidate], number: int) -> FrameCandidate:
    """The first chosen frame that shows the same as this one: itself, or one before it."""
    own = chosen[number]
    return next((one for one in chosen[:number] if is_alike(one.look, own.look)), own)


def _write(frame: FrameCandidate, asked: FrameCandidate, folder: Path) -> None:
    (folder / PICTURE).write_bytes(frame.jpeg)
    if asked is frame:
        link_or_copy(folder / PICTURE, folder / ASKED)
    else:
        (folder / ASKED).write_bytes(asked.jpeg)
    told = {
        "at": frame.look.time,
        "like": None if asked is frame else asked.look.time,
        "width": frame.width,
        "height": frame.height,
        "sharpness": round(frame.look.sharpness, 2),
    }
    (folder / FRAME).write_text(f"{json.dumps(told)}\n")
