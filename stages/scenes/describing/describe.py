"""The describe_scenes stage: a scene in words, as soon as all that is to be found in it is there.

It writes `description.json`: the description by its schema, and what made it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from anyio.to_thread import run_sync

from engine import Item, Stage, setting
from stages.scenes.describing.answers import Description
from stages.scenes.describing.composed import COMPOSED, compose_description
from stages.scenes.describing.counts import Counts, write_counts
from stages.scenes.describing.facts import facts_of
from stages.scenes.describing.prompts import SCENE_PROMPT, data_block
from stages.scenes.describing.settings import (
    FREE,
    Backend,
    WordsSettings,
    cache_of,
    host_of,
    made_by,
    open_asker,
    question_of,
)
from stages.vision.api import Subject
from stages.vision.asking import Asker
from stages.vision.connection import IMAGE_TOKENS

DESCRIPTION = "description.json"
RECORD = "record.json"

_FACTS_TOKENS = 500
"""The first estimate of the tokens of what was found in a scene."""


class DescribeScenes(Stage):
    """Describe a scene from its pictures and from what was found in it.

    Of `record` it reads record.json and the pictures that it names. One instance serves the whole
    pool. Every paid answer is kept under WORKDIR/cache, so that none is paid twice.
    """

    name = "describe_scenes"
    inputs = "record"
    # On a free plan scenes wait for a day's requests; each call has its own, short timeout.
    defaults: ClassVar[dict[str, Any]] = {
        "workers": 8,
        "timeout": 86400.0,
        "patience": 172800.0,
        "optional": True,
    }
    variables: ClassVar[Mapping[str, str]] = {
        "DESCRIBE_SCENES_MAX_WORKERS": "workers",
        "DESCRIBE_SCENES_RATE_LIMIT": "requests_per_minute",
    }
    item_failures = frozenset({"refused", "unfit"})

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
    _asker: Asker | None = None

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        settings = self.settings
        if settings.backend != FREE and not settings.dry_run:
            expected = _FACTS_TOKENS + settings.images * IMAGE_TOKENS
            self._asker = open_asker(settings, Description, self.workdir, self.name, expected)

    def bound(self) -> str | None:
        return self._asker.bound() if self._asker is not None else None

    async def close(self) -> None:
        if self._asker is not None:
            await self._asker.close()

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.fill` does. With `dry_run` it writes counts in place of a description:
        see `Counts`."""
        folder = item.input("record")
        record = json.loads(await run_sync((folder / RECORD).read_text))
        settings = self.settings
        if settings.backend == FREE:
            await run_sync(write_description, out, compose_description(record), COMPOSED)
            return
        subject = await run_sync(self._subject, folder, record)
        if self._asker is None:
            await run_sync(write_counts, out, [self._count(subject)])
            return
        description = await self._asker.fill(Description, subject)
        await run_sync(write_description, out, description, made_by(settings))

    def _subject(self, folder: Path, record: Mapping[str, Any]) -> Subject:
        frames = evenly(record["frames"], self.settings.images)
        facts = facts_of(record) | {"pictures_at": [frame["timestamp"] for frame in frames]}
        images = tuple((folder / frame["file"]).read_bytes() for frame in frames)
        return Subject(images, data_block(facts))

    def _count(self, subject: Subject) -> Counts:
        question = question_of(self.settings, Description)
        cache = cache_of(self.settings, question, self.workdir)
        return Counts.of(host_of(self.settings), question, subject, cache)


def write_description(out: Path, description: Description, made_by: str) -> None:
    told = description.model_dump(mode="json") | {"made_by": made_by}
    (out / DESCRIPTION).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def evenly(frames: Sequence[Any], most: int) -> list[Any]:
    """At most `most` of the frames, evenly spread, in order."""
    count = min(most, len(frames))
    return [frames[(2 * place + 1) * len(frames) // (2 * count)] for place in range(count)]
