"""The settings of every step that calls a paid server: which one it is, and how fast it is called.

A step's own class derives from both, `(CallLimits, ServerSettings)`: so the server comes first.
"""

import hashlib
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, field_validator

import engine
from engine import setting
from stages.calls.day_quota import DayKind, DayQuota
from stages.calls.keys import checked_address, checked_key_name


class ServerSettings(engine.Settings):
    """Which server is called, and with which key. A step words `backend` and `model` anew."""

    # A key pasted into the wrong setting is not repeated in the error.
    model_config = ConfigDict(hide_input_in_errors=True)

    backend: str = setting("openai", "Who is asked.")
    model: str | None = setting(None, "The model's name.")
    base_url: str | None = setting(
        None,
        "Where the server is, such as http://localhost:11434/v1; none: the public one.",
        needs_trust=True,
        example="http://localhost:11434/v1",
    )
    api_key_env: str | None = setting(
        None,
        "The variable that holds the key, named *_API_KEY; none: the backend's own, such as "
        "OPENAI_API_KEY.",
        affects_output=False,
        needs_trust=True,
        example="OPENAI_API_KEY",
    )
    api_version: str | None = setting(
        None,
        "The api-version that Azure's URLs carry; none: one that fits.",
        affects_output=False,
        example="2024-10-21",
    )

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, value: str | None) -> str | None:
        return checked_key_name(value)

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str | None) -> str | None:
        return checked_address(value)


def concurrency_setting(most: int) -> Any:
    return setting(most, "Calls in flight at once, over all workers.", affects_output=False, gt=0)


def call_timeout_setting(seconds: float) -> Any:
    return setting(seconds, "Seconds that one call may take.", affects_output=False, gt=0)


class CallLimits(engine.Settings):
    """How many calls are made, how fast, and how long each is waited for. None of it shapes what
    comes out."""

    concurrency: int = concurrency_setting(8)
    requests_per_minute: float | None = setting(
        None,
        "Requests a minute, at most, evenly spread; none: no limit, or what the backend is known "
        "to allow.",
        affects_output=False,
        gt=0,
        example=60.0,
    )
    requests_per_day: int | None = setting(
        None,
        "Requests a day, at most, over runs; a day is any 24 hours, with Google's server the day "
        "in Los Angeles; none: no limit.",
        affects_output=False,
        gt=0,
        example=1000,
    )
    call_timeout: float = call_timeout_setting(60.0)
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

    def day_quota(
        self, workdir: Path, *, server: str, model: str, key_name: str | None, day: DayKind
    ) -> DayQuota | None:
        """What is left of `requests_per_day`, counted in the work folder for this server, model and
        variable with the key; None where there is no limit."""
        if self.requests_per_day is None:
            return None
        digest = hashlib.sha256(f"{server} {model} {key_name}".encode()).hexdigest()[:16]
        file = workdir / "cache" / "requests" / f"{digest}.jsonl"
        return DayQuota(file, self.requests_per_day, day)
