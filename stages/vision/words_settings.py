"""The settings of steps that write words, and how they come to a model."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel

from engine import setting
from stages.vision import api as vision
from stages.vision.asking import Asker
from stages.vision.connection import connect, files_of, model_of, url_of
from stages.vision.forms import schema_of
from stages.vision.instructions import instruction
from stages.vision.reply_cache import ReplyCache
from stages.vision.settings import VisionSettings

FREE = "found"

TAKEN = (
    *("backend", "model", "base_url", "api_key_env", "auth", "api_version"),
    *("concurrency", "requests_per_minute", "tokens_per_minute", "requests_per_day"),
)
"""The settings of one step that hold for another one without a backend of its own."""


class WordsSettings(VisionSettings):
    """Those of every such step."""

    dry_run: bool = setting(False, "Send nothing; count what a run would send.")


def question_of(settings: WordsSettings, form: type[BaseModel]) -> vision.FormQuestion:
    schema = schema_of(form)
    return vision.FormQuestion(
        model=model_of(settings),
        prompt=instruction(settings.prompt, schema),
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
        detail=settings.detail,
        schema=schema,
    )


def cache_of(settings: WordsSettings, question: vision.FormQuestion, workdir: Path) -> ReplyCache:
    """Its kept answers, in the folder that a crawl's lie in."""
    identity = {"backend": settings.backend, "base_url": url_of(settings)} | asdict(question)
    return ReplyCache(workdir / "cache" / "replies", identity)


def open_asker(
    settings: WordsSettings,
    question: vision.FormQuestion,
    workdir: Path,
    *,
    step: str,
    expected_tokens: float,
    too_large: str = "",
) -> Asker:
    """Asks the model of these settings that question; in a dry run, only for answers that are
    kept. Raises UsageError where the public server's key is missing."""
    cache = cache_of(settings, question, workdir)
    if settings.dry_run:
        return Asker(None, cache)
    client = connect(
        question,
        settings,
        workdir,
        step=step,
        free=FREE,
        expected_tokens=len(question.prompt) / 4 + expected_tokens + question.max_tokens,
        too_large=too_large,
    )
    return Asker(client, cache, files_of(settings, step))


def host_of(settings: VisionSettings) -> str:
    """The host that is sent to."""
    return urlsplit(url_of(settings)).netloc


def made_by(settings: VisionSettings) -> str:
    """Who writes the words, for the record."""
    return f"{settings.backend}:{model_of(settings)}"


Backend = Literal["found", "openai", "gemini"]
