"""The checks of `penstock doctor` for lessons: espeak-ng, and the keys of services."""

import os
from collections.abc import Iterator, Mapping
from typing import cast
from urllib.parse import urlsplit

from pydantic import BaseModel

from engine import Check
from stages.lesson.pictures.image import LessonImage
from stages.lesson.services.profiles import DRAWING, SPEAKING, ServiceProfile
from stages.lesson.services.settings import ServiceSettings, model_of, url_of
from stages.lesson.voices.espeak import COMMAND, espeak_version
from stages.lesson.voices.voice import Voice


def lesson_checks(settings: Mapping[str, BaseModel]) -> Iterator[Check]:
    """Checks of what lessons with these settings need."""
    yield from _service(LessonImage.name, settings, DRAWING)
    voice = cast(Voice.Settings, settings[Voice.name])
    if voice.backend != "espeak":
        yield from _service(Voice.name, settings, SPEAKING)
    elif (version := espeak_version()) is not None:
        yield Check("voice", "ok", version)
    else:
        told = f"{COMMAND} is not here: lessons without recordings need it; apt install {COMMAND}"
        yield Check("voice", "warning", told)


def _service(
    step: str, settings: Mapping[str, BaseModel], services: Mapping[str, ServiceProfile]
) -> Iterator[Check]:
    of_step = cast(ServiceSettings, settings[step])
    profile = services.get(of_step.backend)
    if profile is None:
        return
    name = of_step.api_key_env or profile.key_env
    present = bool(os.environ.get(name, "").strip())
    host = urlsplit(url_of(of_step, profile)).netloc
    lacks = not present and of_step.base_url is None
    told = f"{name} is {'set' if present else 'not set'}, for {host}"
    yield Check(f"{step} key", "problem" if lacks else "ok", told)
    if of_step.model is None:
        told = f"none set: {model_of(of_step, profile)}; services retire models, so name one"
        yield Check(f"{step} model", "warning", told)
