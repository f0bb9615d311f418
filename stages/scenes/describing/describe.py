"""The describe_scenes stage: a scene in words, as soon as all that is to be found in it is there.

It writes `description.json`: the description by its schema, and what made it.
"""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from anyio.to_thread import run_sync
from pydantic import model_validator

from engine import Item, setting
from stages.calls.errors import WouldAsk
from stages.files.folders import INFO
from stages.scenes.describing.answers import Description
from stages.scenes.describing.composed import COMPOSED, compose_description
from stages.scenes.describing.facts import facts_of
from stages.scenes.describing.prompts import SCENE_PROMPT
from stages.scenes.describing.scene_clip import NoClip, clip_of_scene
from stages.vision.api import Subject
from stages.vision.asking import Asker
from stages.vision.connection import IMAGE_TOKENS
from stages.vision.counts import write_counts
from stages.vision.gemini_files import NotUploaded
from stages.vision.instructions import data_block
from stages.vision.video_clip import VideoClip, watched_tokens
from stages.vision.words_settings import FREE, Backend, WordsSettings, made_by
from stages.vision.words_stage import WordsStage

DESCRIPTION = "description.json"
RECORD = "record.json"

_FACTS_TOKENS = 500
"""The first estimate of the tokens of what was found in a scene."""

_USUAL_SECONDS = 10.0
"""The first estimate of the length of a scene that is watched."""


class DescribeScenes(WordsStage):
    """Describe a scene from its pictures and from what was found in it.

    Of `record` it reads record.json and the pictures that it names or, where the model watches
    video, of `video` info.json and the file that it names: only the scene's stretch of that.
    """

    name = "describe_scenes"
    inputs = ("record", "video")
    defaults: ClassVar[dict[str, Any]] = {"workers": 8, **WordsStage.defaults}
    variables: ClassVar[Mapping[str, str]] = {
        "DESCRIBE_SCENES_MAX_WORKERS": "workers",
        "DESCRIBE_SCENES_RATE_LIMIT": "requests_per_minute",
    }
    form = Description
    too_large = "; smaller pictures may pass: stages.scenes.size"

    class Settings(WordsSettings):
        backend: Backend = setting(
            FREE,
            'Who describes: "found" (free: a sentence of what was found), "openai" (any '
            'OpenAI-compatible server) or "gemini".',
        )
        prompt: str = setting(SCENE_PROMPT, "What the model is told to do.", min_length=1)
        max_tokens: int = setting(800, "Tokens that a description may take, at most.", gt=0)
        send: Literal["frames", "video"] = setting(
            "frames",
            'What the model gets of a scene: sample "frames", or with gemini the "video" itself, '
            "with its sound; frames where that is too large.",
        )
        images: int = setting(
            3, "Sample frames of a scene that are sent, at most; 0: none.", ge=0, le=100
        )
        fps: float = setting(
            2.0, "Frames per second at which a clip is watched.", gt=0, le=24, allow_inf_nan=False
        )

        @model_validator(mode="after")
        def _who_watches(self) -> "DescribeScenes.Settings":
            if self.send == "video" and self.backend == "openai":
                raise ValueError('send = "video" takes backend = "gemini": others see frames alone')
            return self

    settings: "DescribeScenes.Settings"

    async def open(self) -> None:
        self._told = set[str]()
        self._no_uploads = ""
        await super().open()

    def expected_tokens(self) -> float:
        settings = self.settings
        if settings.send == "video":
            return _FACTS_TOKENS + watched_tokens(_USUAL_SECONDS, settings.fps, settings.detail)
        return _FACTS_TOKENS + settings.images * IMAGE_TOKENS

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.fill` does. With `dry_run` it writes counts, and a description only
        where the answer is kept."""
        folder = item.input("record")
        record = json.loads(await run_sync((folder / RECORD).read_text))
        if self.asker is None:
            await run_sync(write_description, out, compose_description(record), COMPOSED)
            return
        with tempfile.TemporaryDirectory(dir=out) as scratch:
            clip = await run_sync(self._clip, item, record, Path(scratch))
            try:
                await self._describe(self.asker, folder, record, clip, out)
            except NotUploaded as why:
                self._no_uploads = str(why) if why.every else self._no_uploads
                self._say(item.root.id, record["index"], str(why))
                await self._describe(self.asker, folder, record, None, out)

    async def _describe(
        self,
        asker: Asker,
        folder: Path,
        record: Mapping[str, Any],
        clip: VideoClip | None,
        out: Path,
    ) -> None:
        subject = await run_sync(self._subject, folder, record, clip)
        try:
            description = await asker.fill(Description, subject)
        except WouldAsk as would:
            await run_sync(write_counts, out, [self.count(would.question)])
            return
        by = f"{made_by(self.settings)}{' from video' if clip is not None else ''}"
        await run_sync(write_description, out, description, by)
        if self.settings.dry_run:
            await run_sync(write_counts, out, [self.count(subject)])

    def _clip(self, item: Item, record: Mapping[str, Any], scratch: Path) -> VideoClip | None:
        """The scene as a clip; None where frames are sent."""
        if self.settings.send != "video":
            return None
        folder = item.input("video")
        path = folder / json.loads((folder / INFO).read_text())["file"]
        start, end, fps = record["start"], record["end"], self.settings.fps
        try:
            return clip_of_scene(path, start, end, fps, scratch, self._no_uploads)
        except NoClip as why:
            self._say(item.root.id, record["index"], str(why))
            return None

    def _say(self, video: str, index: int, why: str) -> None:
        """Tell a person, once a video."""
        if video not in self._told:
            self._told.add(video)
            logging.getLogger(f"penstock.{self.name}").warning(
                "%s: %s: scene %d goes as frames, as others like it: %s",
                *(self.name, video, index + 1, why),
            )

    def _subject(self, folder: Path, record: Mapping[str, Any], clip: VideoClip | None) -> Subject:
        if clip is not None:
            return Subject(data=data_block(facts_of(record)), clip=clip)
        frames = evenly(record["frames"], self.settings.images)
        facts = facts_of(record) | {"pictures_at": [frame["timestamp"] for frame in frames]}
        images = tuple((folder / frame["file"]).read_bytes() for frame in frames)
        return Subject(images, data_block(facts))


def write_description(out: Path, description: Description, made_by: str) -> None:
    told = description.model_dump(mode="json") | {"made_by": made_by}
    (out / DESCRIPTION).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def evenly(frames: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the frames, evenly spread, in order."""
    count = min(most, len(frames))
    return [frames[(2 * place + 1) * len(frames) // (2 * count)] for place in range(count)]
