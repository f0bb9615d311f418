"""The summary stage: a video's chapters, and the video, from the descriptions of its scenes.

It writes `summary.json`: see `VideoSummary`.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import anyio
from anyio.to_thread import run_sync

from engine import Ending, Item, StopRun, setting
from stages.calls.errors import WouldAsk
from stages.calls.settings import call_timeout_setting
from stages.files.folders import INFO
from stages.files.json_lines import read_lines
from stages.persistence.records import SCENES, SUMMARY
from stages.scenes.describing.answers import VideoAnswer, VideoSummary
from stages.scenes.describing.composed import compose_summary
from stages.scenes.describing.entries import (
    CHARACTERS,
    OutlineEntry,
    chapters_of,
    check_chapters,
    entries_of,
    folded,
    in_requests,
    scene_entry,
)
from stages.scenes.describing.facts import missing_from
from stages.scenes.describing.prompts import VIDEO_PROMPT
from stages.vision.api import Subject
from stages.vision.counts import Counts, write_counts
from stages.vision.instructions import data_block
from stages.vision.words_settings import Backend, WordsSettings, made_by
from stages.vision.words_stage import WordsStage

DESCRIBED_TOKENS = 100
"""What a dry run expects a scene's description to take."""


class Summarise(WordsStage):
    """Sum up a video: its chapters, a title, a summary, tags.

    Of `scenes` it reads scenes.jsonl and, where there is one, info.json. Where a video's scenes do
    not fit one request the stretches are summed up first, and then the chapters of these.
    """

    name = "summary"
    inputs = "scenes"
    defaults: ClassVar[dict[str, Any]] = {"workers": 4, **WordsStage.defaults}
    form = VideoAnswer
    too_large = "; smaller pictures may pass: stages.scenes.size"

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
        call_timeout: float = call_timeout_setting(120.0)

    settings: "Summarise.Settings"

    def expected_tokens(self) -> float:
        return self.settings.input_tokens / 2

    async def process(self, item: Item, out: Path) -> None:
        """Raises as `Asker.fill` does. With `dry_run` it writes counts, and a summary only where
        the answers are kept."""
        folder = item.input("scenes")
        records = await run_sync(read_lines, folder / SCENES)
        described = any(record.get("description") for record in records)
        if self.asker is not None and self.settings.dry_run:
            await self._sum_up_dry(records, out)
        elif self.asker is None or not described:
            title = await run_sync(_title, folder)
            await run_sync(write_summary, out, compose_summary(title, records))
        else:
            await run_sync(write_summary, out, await self._sum_up(records))

    async def _sum_up_dry(self, records: Sequence[Mapping[str, Any]], out: Path) -> None:
        counts = await run_sync(self._count, records)
        await run_sync(write_counts, out, counts)
        if all(one.kept for one in counts):
            with suppress(WouldAsk):
                await run_sync(write_summary, out, await self._sum_up(records))

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
            **missing_from(records),
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
            # OSError: an answer that cannot be written
            except (Ending, StopRun, WouldAsk, OSError) as end:
                ends.append(end)

        async with anyio.create_task_group() as tasks:
            for place, group in enumerate(groups):
                tasks.start_soon(ask, place, group)
        if ends:
            # A stop of the whole run outranks the rest.
            raise min(ends, key=lambda end: not isinstance(end, StopRun))
        return [answers[place] for place in range(len(groups))]

    async def _ask(self, entries: Sequence[OutlineEntry]) -> VideoAnswer:
        assert self.asker is not None
        return await self.asker.fill(
            VideoAnswer, subject_of(entries), lambda answer: check_chapters(answer, entries)
        )

    def _count(self, records: Sequence[Mapping[str, Any]]) -> list[Counts]:
        """The calls that it takes: where descriptions are still to come, about so many, as large.
        Where the stretches are summed up first, one more sums up these, or a few."""
        expected = "x" * DESCRIBED_TOKENS * CHARACTERS
        entries = [
            scene_entry(record, (record.get("description") or {}).get("description", expected))
            for record in records
        ]
        groups = in_requests(entries, self.settings.input_tokens)
        counts = [self.count(subject_of(group)) for group in groups]
        return counts if len(counts) < 2 else [*counts, counts[0]]


def write_summary(out: Path, summary: VideoSummary) -> None:
    (out / SUMMARY).write_text(f"{summary.model_dump_json(indent=2)}\n")


def subject_of(entries: Sequence[OutlineEntry]) -> Subject:
    return Subject(data=data_block([entry.line() for entry in entries]))


def _title(folder: Path) -> str | None:
    info = folder / INFO
    title = json.loads(info.read_text())["title"] if info.exists() else None
    return title if isinstance(title, str) else None
