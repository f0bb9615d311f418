"""Describe: a sentence or two on each kept frame, from its detections or from a vision model."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

from anyio.to_thread import run_sync

from engine import Item, Stage, setting
from stages.crawl import sentence
from stages.crawl.describe_frames import FrameDescriber, Line, check_described, line
from stages.crawl.originals import Originals
from stages.files.json_lines import read_lines, write_lines
from stages.vision import api as vision
from stages.vision.connection import IMAGE_TOKENS, connect, model_of, url_of
from stages.vision.reply_cache import ReplyCache, has_answered
from stages.vision.settings import VisionSettings

PROMPT = (
    "Describe this video frame in one or two plain sentences: who and what is visible, what they "
    "are doing, and where. State only what can be seen, and do not mention that it is a frame."
)

_REUSE_DISTANCE = 8


class Describe(Stage):
    """Describe each kept frame of a video, or of a part of one, in a sentence or two.

    Of `frames` it reads frames/ and detections.jsonl, as filter writes them.

    One instance serves the whole pool: calls in flight, rates and `max_requests` are bounded over
    all of its workers. Under WORKDIR/cache it keeps every paid reply, and which frames have one.
    """

    inputs = "frames"
    # A video with thousands of frames may have to wait hours for a free plan's few calls a minute;
    # each call has its own, short timeout.
    defaults: ClassVar[dict[str, Any]] = {"workers": 4, "timeout": 86400.0}
    item_failures = frozenset({"refused"})

    class Settings(VisionSettings):
        backend: Literal["detections", "openai", "gemini"] = setting(
            "detections",
            'Who describes: "detections" (free: a sentence from what the filter saw), "openai" '
            '(any OpenAI-compatible server) or "gemini".',
        )
        prompt: str = setting(PROMPT, "What the model is asked about each frame.", min_length=1)
        max_tokens: int = setting(300, "Tokens that a description may take, at most.", gt=0)
        reuse: Literal["auto", "run", "video", "off"] = setting(
            "auto",
            "Whose near-identical frames share one description: those of the whole work folder "
            '("run"), of one video ("video") or none ("off"); "auto": "run" where calls are paid.',
        )
        reuse_distance: int | None = setting(
            None,
            "How many of 64 bits may differ between near-identical frames; none: dedup.distance.",
            ge=0,
            le=64,
            example=4,
        )
        dry_run: bool = setting(False, "Send nothing; count the requests that a run would make.")

    settings: "Describe.Settings"
    _describer: FrameDescriber | None = None

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        if self.settings.backend != "detections":
            self._describer = await self._open_describer(self.settings.backend)

    def bound(self) -> str | None:
        client = self._describer.client if self._describer is not None else None
        return None if client is None else client.bound()

    def drain(self) -> None:
        if self._describer is not None and self._describer.client is not None:
            self._describer.client.drain()

    async def close(self) -> None:
        if self._describer is not None and self._describer.client is not None:
            await self._describer.client.close()

    async def process(self, item: Item, out: Path) -> None:
        """Writes descriptions.jsonl, one line a kept frame in the order of detections.jsonl.

        With `dry_run`, also requests.json: {"requests", "frames", "reused", "cached"}.

        Raises Transient when a frame has no description by the server's fault, or none of a whole
        video has one; Permanent when the model refused all of a whole video's; Throttled when the
        server asks for a long pause or is away; and StopRun when no video can be described: a
        refused key, an unknown model, no quota, `max_requests` reached.
        """
        folder = item.input("frames")
        frames = await run_sync(read_lines, folder / "detections.jsonl")
        files = [frame["file"] for frame in frames]
        if self._describer is None:
            lines = [_compose(frame) for frame in frames]
            counts = {"requests": 0, "frames": len(frames), "reused": 0, "cached": 0}
        elif self.settings.dry_run:
            lines, counts = await self._describer.count(item, folder / "frames", files)
        else:
            lines = await self._describer.describe(item, folder / "frames", files)
            if item.parent is None:
                check_described(lines)
        await run_sync(write_lines, out / "descriptions.jsonl", lines)
        if self.settings.dry_run:
            await run_sync(write_lines, out / "requests.json", [counts])

    def judge(self, outputs: Iterator[Path]) -> None:
        """Raises as `process` does where no frame of a video has a description."""
        if self.settings.backend != "detections" and not self.settings.dry_run:
            files = (output / "descriptions.jsonl" for output in outputs)
            check_described([line for file in files for line in read_lines(file)])

    async def _open_describer(self, backend: str) -> FrameDescriber:
        settings = self.settings
        question = vision.Question(
            model=model_of(settings),
            prompt=settings.prompt,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            detail=settings.detail,
        )
        folder = self.workdir / "cache"
        identity = {"backend": backend, "base_url": url_of(settings)} | asdict(question)
        cache = ReplyCache(folder / "replies", identity)
        client = None
        if not settings.dry_run:
            client = connect(
                question,
                settings,
                self.workdir,
                step=self.name,
                free="detections",
                expected_tokens=len(question.prompt) / 4 + IMAGE_TOKENS + question.max_tokens,
                too_large="; smaller frames may pass: stages.extract.size",
                worked=partial(has_answered, cache, self.workdir),
            )
        reuse = "run" if settings.reuse == "auto" else settings.reuse
        distance = settings.reuse_distance
        if distance is None:
            distance = _REUSE_DISTANCE
        originals = None
        if reuse == "run":
            file = folder / "described" / f"{cache.identity[:16]}.jsonl"
            originals = await run_sync(Originals, distance, file)
        return FrameDescriber(
            by=f"{backend}:{question.model}",
            cache=cache,
            client=client,
            originals=originals,
            distance=None if reuse == "off" else distance,
            images=2 * settings.concurrency,
        )


def _compose(frame: Mapping[str, Any]) -> Line:
    text = sentence.compose(frame["detections"], frame.get("width"), frame.get("height"))
    return line(frame["file"], "detections", text)
