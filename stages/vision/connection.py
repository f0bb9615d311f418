"""From a stage's settings to a client of the server that they name: its address, model and key."""

from collections.abc import Callable
from pathlib import Path

from engine import UsageError
from stages.calls.client import ApiClient
from stages.calls.connecting import open_api_client
from stages.calls.day_quota import DayKind
from stages.calls.keys import read_key
from stages.vision import api as vision
from stages.vision.gemini_files import GeminiFiles
from stages.vision.settings import VisionSettings

IMAGE_TOKENS = 1000
"""The first estimate of the tokens of one image, until replies report their cost."""


def url_of(settings: VisionSettings) -> str:
    """The base of the server's addresses."""
    return settings.base_url or vision.DEFAULT_URLS[settings.backend]


def model_of(settings: VisionSettings) -> str:
    return settings.model or vision.DEFAULT_MODELS[settings.backend]


def key_name_of(settings: VisionSettings) -> str:
    """The environment variable with the key."""
    return settings.api_key_env or vision.DEFAULT_KEYS[settings.backend]


def files_of(settings: VisionSettings, step: str) -> GeminiFiles | None:
    """Where the server of the settings takes what is too large for a request; None where it has no
    such place."""
    if settings.backend != "gemini":
        return None
    return GeminiFiles(
        url_of(settings),
        key=read_key(key_name_of(settings)),
        timeout=settings.call_timeout,
        attempts=settings.call_attempts,
        patience=settings.rate_patience,
        setting=f"stages.{step}.base_url",
    )


def api_of(question: vision.Question, settings: VisionSettings) -> vision.VisionAPI:
    """How this question is put to the server of the settings."""
    if settings.backend == "gemini":
        return vision.Gemini(question, url_of(settings))
    return vision.OpenAI(question, url_of(settings), settings.auth, settings.api_version)


def connect(
    question: vision.Question,
    settings: VisionSettings,
    workdir: Path,
    *,
    step: str,
    free: str,
    expected_tokens: float,
    too_large: str = "",
    worked: Callable[[], bool] = lambda: False,
) -> ApiClient[vision.Subject, vision.Reply]:
    """A client that asks this question, for one step; close it after use.

    Steps that call one model of one server with one key pass one gate. `free` is the backend that
    needs no key. The requests of a day are counted in `workdir`. `too_large` and `worked`: see
    ApiClient. Raises UsageError where the public server's key is missing, or is none.
    """
    url, model = url_of(settings), question.model
    key_name = key_name_of(settings)
    key = read_key(key_name)
    if key is None and url == vision.DEFAULT_URLS[settings.backend]:
        raise UsageError(
            f"{settings.backend} needs a key: put it into the environment variable {key_name}, "
            f'or set stages.{step}.backend to "{free}", which needs none'
        )
    is_googles = settings.backend == "gemini" and settings.base_url is None
    day: DayKind = "Pacific" if is_googles else "24 hours"
    return open_api_client(
        api_of(question, settings),
        settings,
        server=url,
        model=model,
        key=key,
        key_name=key_name,
        step=step,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        day=settings.day_quota(workdir, server=url, model=model, key_name=key_name, day=day),
        advice=_advice(settings, step),
        too_large=too_large,
        worked=worked,
        expected_tokens=expected_tokens,
    )


def _advice(settings: VisionSettings, step: str) -> str:
    """The remedy for a missing model."""
    check = f"check model and base_url in [stages.{step}]"
    if settings.model:
        return check
    return (
        f"{check}: no model is set there, and the default, {model_of(settings)}, was looked up on "
        f"{vision.LOOKED_UP}; name one that the server offers now"
    )
