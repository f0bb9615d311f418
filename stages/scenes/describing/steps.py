"""What follows for one of the two steps from the settings of the other."""

from typing import cast

from pydantic import BaseModel

from stages.scenes.describing.describe import DescribeScenes
from stages.scenes.describing.summary import Summarise

TAKEN = (
    *("backend", "model", "base_url", "api_key_env", "auth", "api_version"),
    *("concurrency", "requests_per_minute", "tokens_per_minute", "requests_per_day"),
)
"""The settings of describe_scenes that hold for a summary without a backend of its own."""


def resolve_words(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Have the summary written by who describes the scenes, unless it says otherwise."""
    describe = cast(DescribeScenes.Settings, settings[DescribeScenes.name])
    summary = cast(Summarise.Settings, settings[Summarise.name])
    if summary.backend is None:
        taken = {name: getattr(describe, name) for name in TAKEN}
        summary = summary.model_copy(update=taken)
    return settings | {Summarise.name: summary}
