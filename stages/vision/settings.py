"""The settings of every stage that asks a vision model."""

from typing import Literal

from engine import setting
from stages.calls.settings import CallLimits, ServerSettings
from stages.vision import api as vision


class QuestionSettings(ServerSettings):
    """Which model is asked, and how."""

    backend: str = setting("openai", 'Who is asked: "openai" or "gemini".')
    model: str | None = setting(
        None,
        f"The vision model's name; none: {vision.DEFAULT_MODELS['openai']} or "
        f"{vision.DEFAULT_MODELS['gemini']}, as looked up on {vision.LOOKED_UP}.",
        example="gpt-4.1-mini",
    )
    auth: Literal["auto", "bearer", "api-key"] = setting(
        "auto",
        'How an OpenAI-compatible server is shown the key; "api-key" is Azure\'s way.',
        affects_output=False,
    )
    prompt: str = setting("", "What the model is asked.")
    max_tokens: int = setting(300, "Tokens that an answer may take, at most.", gt=0)
    temperature: float | None = setting(
        0.0, "How freely the model words its answer; 0 is the most repeatable.", ge=0, le=2
    )
    detail: vision.Detail = setting(
        "auto", 'How closely the model looks: "low" is cheaper, "high" dearer.'
    )


class VisionSettings(CallLimits, QuestionSettings):
    """Which server is asked, how, and how fast. A stage words `backend`, `prompt` and `max_tokens`
    anew, for what it asks."""

    tokens_per_minute: float | None = setting(
        None,
        "Tokens a minute, at most; none: no limit.",
        affects_output=False,
        gt=0,
        example=100_000.0,
    )
