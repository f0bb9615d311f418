"""The settings of every stage that asks a vision model."""

from typing import Literal

from pydantic import ConfigDict, field_validator

import engine
from engine import setting
from stages.calls.keys import checked_address, checked_key_name
from stages.vision import api as vision


class VisionSettings(engine.Settings):
    """Which server is asked, how, and how fast. A stage words `backend`, `prompt` and `max_tokens`
    anew, for what it asks."""

    # A key pasted into the wrong setting is not repeated in the error.
    model_config = ConfigDict(hide_input_in_errors=True)

    backend: str = setting("openai", 'Who is asked: "openai" or "gemini".')
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
    prompt: str = setting("", "What the model is asked.")
    max_tokens: int = setting(300, "Tokens that an answer may take, at most.", gt=0)
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
        "Tries at one call when the server fails or cannot be reached.",
        affects_output=False,
        gt=0,
    )
    rate_patience: float = setting(
        600.0,
        "Seconds a call waits while the server asks to slow down, before its item is put off.",
        affects_output=False,
        ge=0,
    )
    max_requests: int = setting(
        0, "Requests of one run, at most; 0: no limit.", affects_output=False, ge=0
    )

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, value: str | None) -> str | None:
        return checked_key_name(value)

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        return checked_address(value)
