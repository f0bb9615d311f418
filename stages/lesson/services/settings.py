"""The settings of the steps that may call a service, and how they come to it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine import UsageError, setting
from stages.calls.api import PaidAPI
from stages.calls.client import ApiClient
from stages.calls.connecting import open_api_client
from stages.calls.day_quota import DayKind
from stages.calls.keys import read_key
from stages.calls.settings import CallLimits, ServerSettings, call_timeout_setting
from stages.lesson.services.answers import KeptMedia, MediaAnswer
from stages.lesson.services.asking import MediaAsker
from stages.lesson.services.profiles import LOOKED_UP, ServiceProfile


class ServiceSettings(CallLimits, ServerSettings):
    """Those of both steps. A step words `backend` and `model` anew."""

    call_timeout: float = call_timeout_setting(300.0)
    dry_run: bool = setting(
        False,
        "Send nothing; count the calls that a run would make, and make only what takes none.",
        affects_output=False,
    )
    preview: bool = setting(
        False,
        "Send nothing; a card, or espeak-ng, stands in for what no service has made yet.",
        affects_output=False,
    )

    @property
    def sends(self) -> bool:
        """Whether a service may be called at all."""
        return not (self.dry_run or self.preview)


def url_of(settings: ServiceSettings, profile: ServiceProfile) -> str:
    """The base of the server's addresses."""
    return settings.base_url or profile.url


def model_of(settings: ServiceSettings, profile: ServiceProfile) -> str:
    return settings.model or profile.model


def open_asker(
    settings: ServiceSettings,
    profile: ServiceProfile,
    api: PaidAPI[str, MediaAnswer],
    asked: Mapping[str, Any],
    workdir: Path,
    *,
    step: str,
    free: str,
) -> MediaAsker:
    """Asks the service of these settings; close it after use. In a dry run, and in a preview, it
    answers what is kept.

    `asked` is all that shapes the answer beside the text, the server and the model; `free` is the
    backend that needs no key. Raises UsageError where the public server's key is missing.
    """
    url, model = url_of(settings, profile), model_of(settings, profile)
    identity = {"backend": settings.backend, "url": url, "model": model, **asked}
    kept = KeptMedia(workdir / "cache" / f"{step}s", identity)
    client = None
    if settings.sends:
        client = _client(settings, profile, api, workdir, step=step, free=free)
    made_by = f"{settings.backend}:{model}"
    return MediaAsker(client, kept, host=urlsplit(url).netloc, made_by=made_by, kind=f"{step}-api")


def _client(
    settings: ServiceSettings,
    profile: ServiceProfile,
    api: PaidAPI[str, MediaAnswer],
    workdir: Path,
    *,
    step: str,
    free: str,
) -> ApiClient[str, MediaAnswer]:
    url, model = url_of(settings, profile), model_of(settings, profile)
    key_name = settings.api_key_env or profile.key_env
    key = read_key(key_name)
    if key is None and settings.base_url is None:
        raise UsageError(
            f"{settings.backend} needs a key: put it into the environment variable {key_name}, "
            f'or set stages.{step}.backend to "{free}", which needs none'
        )
    is_googles = settings.backend == "gemini" and settings.base_url is None
    day: DayKind = "Pacific" if is_googles else "24 hours"
    return open_api_client(
        api,
        settings,
        server=url,
        model=model,
        key=key,
        key_name=key_name,
        step=step,
        requests_per_minute=settings.requests_per_minute,
        day=settings.day_quota(workdir, server=url, model=model, key_name=key_name, day=day),
        advice=_advice(settings, model, step),
    )


def _advice(settings: ServiceSettings, model: str, step: str) -> str:
    """The remedy for a missing model."""
    check = f"check model and base_url in [stages.{step}]"
    if settings.model:
        return check
    return (
        f"{check}: no model is set there, and the default, {model}, was looked up on {LOOKED_UP}; "
        "name one that the server offers now"
    )
