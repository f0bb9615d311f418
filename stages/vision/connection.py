"""From a stage's settings to a client of the server that they name: its address, model and key."""

from collections.abc import Callable

from engine import UsageError
from stages.calls.client import ApiClient
from stages.calls.gates import Limits, share_gate
from stages.calls.keys import read_key
from stages.vision import api as vision
from stages.vision.settings import VisionSettings

IMAGE_TOKENS = 1000
"""The first estimate of the tokens of one image, until replies report their cost."""


def url_of(settings: VisionSettings) -> str:
    """The base of the server's addresses."""
    return settings.base_url or vision.DEFAULT_URLS[settings.backend]


def model_of(settings: VisionSettings) -> str:
    return settings.model or vision.DEFAULT_MODELS[settings.backend]


def connect(
    question: vision.Question,
    settings: VisionSettings,
    *,
    step: str,
    free: str,
    expected_tokens: float,
    too_large: str = "",
    worked: Callable[[], bool] = lambda: False,
    limits: Limits | None = None,
) -> ApiClient[vision.Subject, vision.Reply]:
    """A client that asks this question, for one step; close it after use.

    Steps that call one model of one server with one key pass one gate. `free` is the backend that
    needs no key. `limits` are those of the settings, unless they are given. `too_large` and
    `worked`: see ApiClient. Raises UsageError where the public
    server's key is missing, or is none.
    """
    url = url_of(settings)
    key_name = settings.api_key_env or vision.DEFAULT_KEYS[settings.backend]
    key = read_key(key_name)
    if key is None and url == vision.DEFAULT_URLS[settings.backend]:
        raise UsageError(
            f"{settings.backend} needs a key: put it into the environment variable {key_name}, "
            f'or set stages.{step}.backend to "{free}", which needs none'
        )
    api: vision.VisionAPI
    if settings.backend == "gemini":
        api = vision.Gemini(question, url)
    else:
        api = vision.OpenAI(question, url, settings.auth, settings.api_version)
    loan = share_gate(limits or limits_of(settings), server=url, key=key, model=question.model)
    try:
        return ApiClient(
            api,
            loan.thing,
            key=key,
            key_name=key_name,
            timeout=settings.call_timeout,
            attempts=settings.call_attempts,
            patience=settings.rate_patience,
            max_requests=settings.max_requests,
            step=f"stages.{step}",
            advice=_advice(settings, step),
            too_large=too_large,
            worked=worked,
            expected_tokens=expected_tokens,
            loan=loan,
        )
    except BaseException:
        loan.give_back()
        raise


def limits_of(settings: VisionSettings) -> Limits:
    return Limits(
        settings.concurrency,
        settings.requests_per_minute,
        settings.tokens_per_minute,
        settings.call_timeout,
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
