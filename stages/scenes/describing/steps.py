"""The two steps together: what follows for one from the settings of the other, and their needs."""

import os
from collections.abc import Iterator, Mapping
from typing import cast

from pydantic import BaseModel

from engine import Check
from stages.scenes.describing.describe import DescribeScenes
from stages.scenes.describing.summary import Summarise
from stages.vision.api import DEFAULT_KEYS, LOOKED_UP
from stages.vision.connection import model_of
from stages.vision.words_settings import FREE, TAKEN, WordsSettings, host_of


def resolve_words(settings: dict[str, BaseModel]) -> dict[str, BaseModel]:
    """Have the summary written by who describes the scenes, unless it says otherwise."""
    describe = cast(DescribeScenes.Settings, settings[DescribeScenes.name])
    summary = cast(Summarise.Settings, settings[Summarise.name])
    if summary.backend is None:
        taken = {name: getattr(describe, name) for name in TAKEN}
        summary = summary.model_copy(update=taken)
    return settings | {Summarise.name: summary}


def words_checks(settings: Mapping[str, BaseModel]) -> Iterator[Check]:
    """What `penstock doctor` says of the servers, keys and models of the two steps."""
    for step in (DescribeScenes.name, Summarise.name):
        of_step = cast(WordsSettings, settings[step])
        if of_step.backend != FREE:
            yield _key(step, of_step)
            if of_step.model is None:
                told = f"none set: {model_of(of_step)}, as looked up on {LOOKED_UP}; name one"
                yield Check(f"{step} model", "warning", told)


def _key(step: str, settings: WordsSettings) -> Check:
    name = settings.api_key_env or DEFAULT_KEYS[settings.backend]
    present = bool(os.environ.get(name, "").strip())
    told = f"{name} is {'set' if present else 'not set'}, for {host_of(settings)}"
    lacks = not present and settings.base_url is None
    return Check(f"{step} key", "problem" if lacks else "ok", told)
