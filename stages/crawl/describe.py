"""Describe: a sentence or two on each kept frame, from its detections or from a vision model."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from pydantic import ConfigDict, field_validator

import engine
from engine import Item, Stage, UsageError, setting
from stages.calls.client import ApiClient
from stages.calls.rate import CallGate
from stages.crawl import sentence
from stages.crawl.describe_frames import FrameDescriber, Line, check_described, line
from stages.crawl.originals import Originals
from stages.files.json_lines import read_lines, write_lines
from stages.vision import api as vision
from stages.vision.reply_cache import ReplyCache, has_answered

PROMPT = (
    "Describe this video frame in one or two plain sentences: who and what is visible, what they "
    "are doing, and where. State only what can be seen, and do not mention that it is a frame."
)

_ADVICE = "check model and base_url in [stages.describe]"
_REUSE_DISTANCE = 8
_IMAGE_TOKENS = 1000
"""The first estimate of the tokens of one image, until replies report their cost."""


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

    class Settings(engine.Settings):
        # A key pasted into the wrong setting is not repeated in the error.
        model_config = ConfigDict(hide_input_in_errors=True)

        backend: Literal["detections", "openai", "gemini"] = setting(
            "detections",
            'Who describes: "detections" (free: a sentence from what the filter saw), "openai" '
            '(any OpenAI-compatible server) or "gemini".',
        )
        model: str | None = setting(
            None,
            f"The vision model's name; none: {vision.DEFAULT_MODELS['openai']} or "
            f"{vision.DEFAULT_MODELS['gemini']}, as looked up on {vision.LOOKED_UP}.",
            example="gpt-4.1-mini",
        )
        base_url: str | None = setting(
            None,
            "Where the server is, such as http://localhost:11434/v1; none: the public one.",
            needs_trust=True,
            example="http://localhost:11434/v1",
        )
        api_key_env: str | None = setting(
            None,
            "The variable that holds the key, named *_API_KEY; none: OPENAI_ or GEMINI_API_KEY.",
            affects_output=False,
            needs_trust=True,
            example="OPENAI_API_KEY",
        )
        auth: Literal["auto", "bearer", "api-key"] = setting(
            "auto",
            'How an OpenAI-compatible server is shown the key; "api-key" is Azure\'s way.',
            affects_output=False,
        )
        api_version: str | None = setting(
            None,
            "The api-version that Azure's URLs carry; none: one that fits.",
            affects_output=False,
            example="2024-10-21",
        )
        prompt: str = setting(PROMPT, "What the model is asked about each frame.", min_length=1)
        max_tokens: int = setting(300, "Tokens that a description may take, at most.", gt=0)
        temperature: float | None = setting(
            0.0, "How freely the model words its answer; 0 is the most repeatable.", ge=0, le=2
        )
        detail: vision.Detail = setting(
            "auto", 'How closely the model looks: "low" is cheaper, "high" dearer.'
        )
        concurrency: int = setting(
            8, "Calls in flight at once, over all workers.", affects_output=False, gt=0
        )
        requests_per_minute: float | None = setting(
            None,
            "Requests a minute, at most; none: no limit.",
            affects_output=False,
            gt=0,
            example=60.0,
        )
        tokens_per_minute: float | None = setting(
            None,
            "Tokens a minute, at most; none: no limit.",
            affects_output=False,
            gt=0,
            example=100_000.0,
        )
        call_timeout: float = setting(
            60.0, "Seconds that one call may take.", affects_output=False, gt=0
        )
        call_attempts: int = setting(
            4,
            "Tries at one frame when the server fails or cannot be reached.",
            affects_output=False,
            gt=0,
        )
        rate_patience: float = setting(
            600.0,
            "Seconds a call waits while the server asks to slow down, before the video is put off.",
            affects_output=False,
            ge=0,
        )
        max_requests: int = setting(
            0, "Requests of one run, at most; 0: no limit.", affects_output=False, ge=0
        )
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

        @field_validator("api_key_env")
        @classmethod
        def _a_name(cls, value: str | None) -> str | None:
            if value is not None and not re.fullmatch("[A-Z0-9_]*_API_KEY", value):
                raise ValueError(
                    "give the NAME of an environment variable that ends in _API_KEY, such as "
                    "OPENAI_API_KEY, and put the key itself into that variable; no other is sent"
                )
            return value

        @field_validator("base_url")
        @classmethod
        def _an_address(cls, value: str | None) -> str | None:
            if value is None:
                return None
            parts = urlsplit(value)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError("give an address such as https://host/v1")
            if parts.query or parts.username or parts.password:
                raise ValueError(
                    "give the address without key, user name or query; "
                    "the key comes from the environment variable named in api_key_env"
                )
            return value.rstrip("/")

    settings: "Describe.Settings"
    _describer: FrameDescriber | None = None

    async def open(self) -> None:
        """Raises UsageError where the public server's key is missing."""
        if self.settings.backend != "detections":
            self._describer = await self._open_describer(self.settings.backend)

    def bound(self) -> str | None:
        client = self._describer.client if self._describer is not None else None
        if client is None or (lowest := client.gate.slots.lowest) == self.settings.concurrency:
            return None
        calls = f"{lowest} call{'s' if lowest > 1 else ''} at once"
        return (
            f"{client.host} did not get through {self.settings.concurrency} calls within "
            f"stages.describe.call_timeout, so it was down to {calls}; more workers would not help"
        )

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
        url = settings.base_url or vision.DEFAULT_URLS[backend]
        question = vision.Question(
            model=settings.model or vision.DEFAULT_MODELS[backend],
            prompt=settings.prompt,
            max_tokens=settings.max_tokens,
            temperature=settings.temperature,
            detail=settings.detail,
        )
        folder = self.workdir / "cache"
        cache = ReplyCache(
            folder / "replies", {"backend": backend, "base_url": url} | asdict(question)
        )
        client = None if settings.dry_run else self._connect(question, url, cache)
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

    def _connect(
        self, question: vision.Question, url: str, cache: ReplyCache
    ) -> ApiClient[bytes, vision.Reply]:
        settings = self.settings
        key_name = settings.api_key_env or vision.DEFAULT_KEYS[settings.backend]
        key = _key(key_name)
        if key is None and url == vision.DEFAULT_URLS[settings.backend]:
            raise UsageError(
                f"{settings.backend} needs a key: put it into the environment variable {key_name}, "
                f'or set stages.describe.backend to "detections", which needs none'
            )
        api: vision.VisionAPI
        if settings.backend == "gemini":
            api = vision.Gemini(question, url)
        else:
            api = vision.OpenAI(question, url, settings.auth, settings.api_version)
        gate = CallGate(
            settings.concurrency,
            settings.requests_per_minute,
            settings.tokens_per_minute,
            expected_tokens=len(question.prompt) / 4 + _IMAGE_TOKENS + question.max_tokens,
            timeout=settings.call_timeout,
        )
        return ApiClient(
            api,
            gate,
            key=key,
            key_name=key_name,
            timeout=settings.call_timeout,
            attempts=settings.call_attempts,
            patience=settings.rate_patience,
            max_requests=settings.max_requests,
            step="stages.describe",
            too_large="; smaller frames may pass: stages.extract.size",
            advice=_ADVICE if settings.model else _ADVICE + _aged(question.model),
            worked=partial(has_answered, cache, self.workdir),
        )


def _key(name: str) -> str | None:
    key = os.environ.get(name, "").strip()
    # An HTTP library's error about such a header would repeat it.
    if key and not re.fullmatch("[!-~]+", key):
        raise UsageError(
            f"the environment variable {name} holds no key: a key has no spaces and no special "
            f"characters; put the key alone into it"
        )
    return key or None


def _aged(model: str) -> str:
    return (
        f": no model is set there, and the default, {model}, was looked up on {vision.LOOKED_UP}; "
        f"name one that the server offers now"
    )


def _compose(frame: Mapping[str, Any]) -> Line:
    text = sentence.compose(frame["detections"], frame.get("width"), frame.get("height"))
    return line(frame["file"], "detections", text)
