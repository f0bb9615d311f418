"""The frames stage: the few frames of a video that tell most of it.

For each it makes a part: `frame.json` and `frame.jpg`; and `asked.jpg`, the picture that a model is
asked about: where the frame shows what an earlier one shows, that one's. Of the whole video it
writes `frames.json`; and in a dry run in which a model would choose, what it would be sent.
"""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, ClassVar, Literal

from anyio.to_thread import run_sync
from pydantic import PrivateAttr

import engine
from engine import Item, Parts, Permanent, Stage, UsageError, setting
from stages.files.folders import carry_info, link_or_copy
from stages.media.cores import PROCESS_CORES, Cores
from stages.recipe.frames.candidates import FrameCandidate, find_candidates, length_of
from stages.recipe.frames.choice import choose_looks, is_alike
from stages.recipe.frames.picking import ENDS, LOOKS, FramePick, FramePicker
from stages.vision.counts import write_counts
from stages.vision.words_settings import FREE, WordsSettings, made_by

FRAMES, FRAME, PICTURE, ASKED = "frames.json", "frame.json", "frame.jpg", "asked.jpg"


class ChosenFrames(Stage):
    """Choose the frames of the downloaded video that a model is shown.

    A part is a chosen frame, in the order of the video; the choice needs all candidates, so parts
    come at its end. Of `video` it reads info.json and the file that it names. Raises Permanent
    where no frame comes of it, of the kinds that extract has; where a model chooses, as
    `FramePicker.pick` does.
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
        choose: Literal["looks", "model"] = setting(
            "looks",
            'Who chooses: "looks" (what is sharp and new), or "model": the one that looks at the '
            "frames, in one call about a sheet of small pictures.",
            in_ingredients=True,
        )
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

        _model: WordsSettings | None = PrivateAttr(default=None)

        @property
        def model(self) -> WordsSettings | None:
            """Those of the model that chooses; None where none does."""
            return self._model if self.choose == "model" else None

        def asking(self, model: WordsSettings) -> "ChosenFrames.Settings":
            """These, where a model with those settings chooses if one is to."""
            made = self.model_copy()
            made._model = model
            return made

    settings: "ChosenFrames.Settings"
    _picker: FramePicker | None = None
    """None where no model chooses."""

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The model that chooses. Raises UsageError where none is set."""
        if (model := self.settings.model) is None:
            return {}
        if model.backend in (None, FREE):
            raise UsageError(
                'stages.frames.choose is "model", and nobody looks at the frames: set '
                'stages.analyse.backend to "openai" or "gemini", or choose by "looks"'
            )
        return {"choose": made_by(model)} | ({"dry_run": True} if model.dry_run else {})

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        if (model := self.settings.model) is not None:
            self._picker = FramePicker(model, self.workdir, "analyse")

    async def close(self) -> None:
        if self._picker is not None:
            await self._picker.close(self.name)

    async def split(self, item: Item, out: Path, parts: Parts) -> None:
        folder = item.input("video")
        settings: ChosenFrames.Settings = self.settings_for(item)
        path = folder / json.loads(await run_sync((folder / "info.json").read_text))["file"]
        given_up = Event()
        finding = partial(self._find, settings, path, given_up)
        try:
            found = await run_sync(finding, abandon_on_cancel=True)
        finally:
            given_up.set()
        if not found:
            raise Permanent(f"no frame of {path.name} could be decoded", kind="no_frames")
        pick = await self._pick(found, settings.most)
        chosen = [found[place] for place in pick.places]
        parts.expect(len(chosen))
        for number, one in enumerate(chosen):
            if not parts.reuse():
                async with parts.make() as made:
                    await run_sync(_write, one, _first_like(chosen, number), Path(made))
        await run_sync(self._sum_up, path, found, pick, out)
        await run_sync(carry_info, folder, out)

    def _find(self, settings: Settings, path: Path, given_up: Event) -> list[FrameCandidate]:
        found = list[FrameCandidate]()
        with self.cores.held():
            for one in find_candidates(
                path, settings.fps, settings.candidates, settings.size, settings.quality
            ):
                if given_up.is_set():
                    break
                found.append(one)
        return found

    async def _pick(self, found: list[FrameCandidate], most: int) -> FramePick:
        if self._picker is not None and len(found) > most > ENDS:
            return await self._picker.pick(found, most)
        return FramePick(await run_sync(choose_looks, [one.look for one in found], most), LOOKS)

    def _sum_up(self, path: Path, found: list[FrameCandidate], pick: FramePick, out: Path) -> None:
        length = length_of(path)
        whole: dict[str, Any] = {
            "length": length if length is not None else found[-1].look.time,
            "candidates": len(found),
            "frames": [found[place].look.time for place in pick.places],
        }
        if self._picker is not None:
            whole |= {"chosen_by": pick.made_by, "note": pick.note}
        (out / FRAMES).write_text(f"{json.dumps(whole, indent=2)}\n")
        if pick.counted is not None:
            write_counts(out, [pick.counted])


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
