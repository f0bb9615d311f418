"""The summary stage: a video's chapters, and the video, from the descriptions of its scenes.

It writes `summary.json`: see `VideoSummary`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import anyio
from anyio.to_thread import run_sync

from engine import Ending, Item, Stage, StopRun, setting
from stages.files.folders import INFO
from stages.files.json_lines import read_lines
from stages.scenes.describing.answers import VideoAnswer, VideoSummary
from stages.scenes.describing.composed import compose_summary
from stages.scenes.describing.counts import Counts, write_counts
from stages.scenes.describing.entries import (
    OutlineEntry,
    chapters_of,
    check_chapters,
    entries_of,
    folded,
    in_requests,
    scene_entry,
)
from stages.scenes.describing.prompts import VIDEO_PROMPT, data_block
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

SUMMARY = "summary.json"
SCENES = "scenes.jsonl"

DESCRIBED_TOKENS = 100
"""What a dry run expects a scene's description to take."""


class Summarise(Stage):
    """Sum up a video: its chapters, a title, a summary, tags.

    Of `scenes` it reads scenes.jsonl and, where there is one, info.json. Where a video's scenes do
    not fit one request the stretches are summed up first, and then the chapters of these.
    """

    name = "summary"
    inputs = "scenes"
    defaults: ClassVar[dict[str, Any]] = {
        "workers": 4,
        "timeout": 86400.0,
        "patience": 172800.0,
        "optional": True,
    }
    item_failures = frozenset({"refused", "unfit"})

    class Settings(WordsSettings):
        backend: Backend | None = setting(  # type: ignore[assignment]
            None,
            'Who sums up: "found" (free: the scenes in groups), "openai" or "gemini"; none: as '
            "describe_scenes, with its server, key, model and limits.",
            example="openai",
        )
        prompt: str = setting(VIDEO_PROMPT, "What the model is told to do.", min_length=1)
        max_tokens: int = setting(3000, "Tokens that an answer may take, at most.", gt=0)
        input_tokens: int = setting(
            24_000, "Tokens of descriptions in one request, about.", ge=1000
        )
        call_timeout: float = setting(
            120.0, "Seconds that one call may take.", affects_output=False, gt=0
        )

    settings: "Summarise.Settings"
    _asker: Asker | None = None

    @property
    def is_free(self) -> bool:
        return self.settings.backend in (None, FREE)

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        settings = self.settings
        if not self.is_free and not settings.dry_run:
            expected = settings.input_tokens / 2
            self._asker = open_asker(settings, VideoAnswer, self.workdir, self.name, expected)

    def bound(self) -> str | None:
        return self._asker.bound() if self._asker is not None else None

    async def close(self) -> None:
        if self._asker is not None:
            await self._asker.close()

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.fill` does. With `dry_run` it writes counts in place of a summary."""
        folder = item.input("scenes")
        records = await run_sync(read_lines, folder / SCENES)
        described = any(record.get("description") for record in records)
        if self.settings.dry_run and not self.is_free:
            await run_sync(write_counts, out, self._count(records))
            return
        if self._asker is None or not described:
            summary = compose_summary(await run_sync(_title, folder), records)
        else:
            summary = await self._sum_up(records)
        told = summary.model_dump_json(indent=2)
        await run_sync((out / SUMMARY).write_text, f"{told}\n")

    async def _sum_up(self, records: Sequence[Mapping[str, Any]]) -> VideoSummary:
        entries = entries_of(records)
        while len(groups := in_requests(entries, self.settings.input_tokens)) > 1:
            entries = folded(entries, await self._ask_about_each(groups))
        [answer] = await self._ask_about_each(groups)
        return VideoSummary(
            title=answer.title,
            summary=answer.summary,
            tags=answer.tags,
            chapters=tuple(chapters_of(answer, entries)),
            missing=tuple(one["index"] for one in records if not one.get("description")),
            made_by=made_by(self.settings),
        )

    async def _ask_about_each(self, groups: Sequence[Sequence[OutlineEntry]]) -> list[VideoAnswer]:
        """Answers in the order of the groups. Calls in flight are waited for before anything is
        raised: they are paid for."""
        answers: dict[int, VideoAnswer] = {}
        ends: list[Exception] = []

        async def ask(place: int, group: Sequence[OutlineEntry]) -> None:
            try:
                answers[place] = await self._ask(group)
            except (Ending, StopRun, OSError) as end:  # OSError: an answer that cannot be written
                ends.append(end)

        async with anyio.create_task_group() as tasks:
            for place, group in enumerate(groups):
                tasks.start_soon(ask, place, group)
        if ends:
            # A stop of the whole run outranks the rest.
            raise min(ends, key=lambda end: not isinstance(end, StopRun))
        return [answers[place] for place in range(len(groups))]

    async def _ask(self, entries: Sequence[OutlineEntry]) -> VideoAnswer:
        assert self._asker is not None
        return await self._asker.fill(
            VideoAnswer, subject_of(entries), lambda answer: check_chapters(answer, entries)
        )

    def _count(self, records: Sequence[Mapping[str, Any]]) -> list[Counts]:
        """What is known of before there is any description: about so many requests, as large."""
        question = question_of(self.settings, VideoAnswer)
        cache = cache_of(self.settings, question, self.workdir)
        words = "x" * DESCRIBED_TOKENS * 4
        entries = [scene_entry(record, words) for record in records]
        groups = in_requests(entries, self.settings.input_tokens)
        counts = [
            Counts.of(host_of(self.settings), question, subject_of(group), cache)
            for group in groups
        ]
        return counts if len(counts) < 2 else [*counts, counts[0]]


def subject_of(entries: Sequence[OutlineEntry]) -> Subject:
    return Subject(data=data_block([entry.line() for entry in entries]))


def _title(folder: Path) -> str | None:
    info = folder / INFO
    title = json.loads(info.read_text())["title"] if info.exists() else None
    return title if isinstance(title, str) else None
