"""What each speech service takes: lengths, sizes, formats, times of words, requests a minute."""

from dataclasses import dataclass, replace
from typing import Literal

from stages.speech.audio_file import AudioFormat

Service = Literal["openai", "azure", "groq", "vllm", "url"]

Granularity = Literal["word", "segment", "none"]
"""What a service gives the times of."""

LOOKED_UP = "2026-11-25"
"""The date when names, addresses and limits were looked up. OpenAI then planned to shut whisper-1
and the gpt-4o transcription models down on 2027-02-26."""

UNTIMED_SECONDS = 30.0
"""Seconds of a chunk where no times come back: its edges are the times."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One backend. None: it has no such value, or no limit.

    `chunk_seconds` is how long a chunk is meant to be, `max_seconds` and `max_bytes` what the
    service takes. `requests_per_minute` is what a new account may send.
    """

    base_url: str | None
    model: str | None
    key_env: str
    chunk_seconds: float
    max_seconds: float
    max_bytes: int | None
    form: AudioFormat
    granularity: Granularity
    requests_per_minute: float | None = None


_MEGABYTES_25 = 25_000_000
_QUARTER = 900.0

_HOSTED = Profile(None, None, "", _QUARTER, 1400.0, _MEGABYTES_25, "ogg", "word")
_OWN = Profile(None, None, "", 30.0, 30.0, _MEGABYTES_25, "flac", "word")

PROFILES: dict[str, Profile] = {
    "local": Profile(None, "small", "", 120.0, 1800.0, None, "flac", "word"),
    "openai": replace(
        _HOSTED, base_url="https://api.openai.com/v1", model="whisper-1", key_env="OPENAI_API_KEY"
    ),
    "azure": replace(
        _HOSTED, model="whisper", key_env="AZURE_OPENAI_API_KEY", requests_per_minute=3.0
    ),
    "groq": replace(
        _HOSTED,
        base_url="https://api.groq.com/openai/v1",
        model="whisper-large-v3-turbo",
        key_env="GROQ_API_KEY",
        requests_per_minute=20.0,
    ),
    # It cuts what is longer by itself, and loses the words after the last whole segment there.
    "vllm": replace(
        _OWN,
        base_url="http://localhost:8000/v1",
        key_env="VLLM_API_KEY",
        granularity="segment",
    ),
    "url": replace(_OWN, key_env="SPEECH_API_KEY"),
}


def profile_of(backend: str, model: str | None, granularity: Granularity | None) -> Profile:
    """The profile of a backend with this model, None for its own. Of OpenAI's models only Whisper
    gives times."""
    profile = PROFILES[backend]
    model = model or profile.model
    if granularity is None and backend in ("openai", "azure") and (model or "").startswith("gpt-"):
        granularity = "none"
    profile = replace(profile, model=model, granularity=granularity or profile.granularity)
    if profile.granularity == "none":
        return replace(profile, chunk_seconds=UNTIMED_SECONDS, max_seconds=UNTIMED_SECONDS)
    return profile
