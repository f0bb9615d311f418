"""The describe_scenes stage: a scene in words, as soon as all that is to be found in it is there.

It writes `description.json`: the description by its schema, and what made it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anyio.to_thread import run_sync

from engine import Item, setting
from stages.calls.errors import WouldAsk
from stages.scenes.describing.answers import Description
from stages.scenes.describing.composed import COMPOSED, compose_description
from stages.scenes.describing.counts import write_counts
from stages.scenes.describing.facts import facts_of
from stages.scenes.describing.prompts import SCENE_PROMPT, data_block
from stages.scenes.describing.settings import FREE, Backend, WordsSettings, made_by
from stages.scenes.describing.words_stage import WordsStage
from stages.vision.api import Subject
from stages.vision.connection import IMAGE_TOKENS

DESCRIPTION = "description.json"
RECORD = "record.json"

_FACTS_TOKENS = 500
"""The first estimate of the tokens of what was found in a scene."""


class DescribeScenes(WordsStage):
    """Describe a scene from its pictures and from what was found in it.

    Of `record` it reads record.json and the pictures that it names.
    """

    name = "describe_scenes"
    inputs = "record"
    defaults: ClassVar[dict[str, Any]] = {"workers": 8, **WordsStage.defaults}
    variables: ClassVar[Mapping[str, str]] = {
        "DESCRIBE_SCENES_MAX_WORKERS": "workers",
        "DESCRIBE_SCENES_RATE_LIMIT": "requests_per_minute",
    }
    form = Description

    class Settings(WordsSettings):
        backend: Backend = setting(
            FREE,
            'Who describes: "found" (free: a sentence of what was found), "openai" (any '
            'OpenAI-compatible server) or "gemini".',
        )
        prompt: str = setting(SCENE_PROMPT, "What the model is told to do.", min_length=1)
        max_tokens: int = setting(800, "Tokens that a description may take, at most.", gt=0)
        images: int = setting(
            3, "Sample frames of a scene that are sent, at most; 0: none.", ge=0, le=100
        )

    settings: "DescribeScenes.Settings"

    def expected_tokens(self) -> float:
        return _FACTS_TOKENS + self.settings.images * IMAGE_TOKENS

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.fill` does. With `dry_run` it writes counts, and a description only
        where the answer is kept."""
        folder = item.input("record")
        record = json.loads(await run_sync((folder / RECORD).read_text))
        if self.asker is None:
            await run_sync(write_description, out, compose_description(record), COMPOSED)
            return
        subject = await run_sync(self._subject, folder, record)
        try:
            description = await self.asker.fill(Description, subject)
        except WouldAsk as would:
            await run_sync(write_counts, out, [self.count(would.question)])
            return
        await run_sync(write_description, out, description, made_by(self.settings))
        if self.settings.dry_run:
            await run_sync(write_counts, out, [self.count(subject)])

    def _subject(self, folder: Path, record: Mapping[str, Any]) -> Subject:
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
