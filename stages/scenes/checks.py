"""The checks of `penstock doctor` for scenes: packages, models on this machine, FFmpeg, keys."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from engine import Check, UsageError
from stages.models.pretrained import hub_folder, locate_pretrained
from stages.models.transnet import find_transnet
from stages.models.yolo import cache_folder, locate_weights
from stages.persistence.store import StoreSettings, find_embedder, keeps_vectors
from stages.scenes.cuts.clips import Clips
from stages.scenes.describing.steps import words_checks
from stages.scenes.perception.captions import Captions
from stages.scenes.perception.objects import Objects
from stages.scenes.perception.sounds import Sounds
from stages.scenes.scenes import Scenes
from stages.search.embedding import LOCAL_MODEL, LOCAL_REVISION, NoMeaning
from stages.sound.yamnet import SUFFIXES, check_yamnet
from stages.speech.local_whisper import locate_whisper
from stages.speech.profiles import PROFILES
from stages.speech.transcribe import Transcribe

MEGABYTES = {
    "Salesforce/blip-image-captioning-large": 1880,
    "MIT/ast-finetuned-audioset-10-10-0.4593": 346,
    LOCAL_MODEL: 92,
    "yolo11n.pt": 6,
    "tiny": 76,
    "base": 145,
    "small": 486,
    "medium": 1530,
    "large-v3": 3090,
}
"""What the default models, and those that are named most, take on the disk."""

PACKAGES = {
    "scenedetect": ("scenes", "cuts"),
    "transformers": ("scenes", "captions and sounds"),
    "lap": ("scenes", "objects"),
    "faster_whisper": ("speech", "speech"),
}
"""Packages of the extras: the extra, and what is done with them."""

CLIP_ENCODERS = ("libx264", "aac")


@dataclass(frozen=True, slots=True)
class Missing:
    """A model that the first run would fetch, and the folder that it would go to."""

    megabytes: int | None
    folder: Path


def scenes_checks(settings: Mapping[str, BaseModel]) -> Iterator[Check]:
    """Checks of everything that scenes with these settings need. What is missing is a "problem"
    only where the settings name it: others may use this installation for crawls alone."""
    lacking = [name for name in PACKAGES if find_spec(name) is None]
    if lacking:
        extras = ",".join(dict.fromkeys(PACKAGES[name][0] for name in lacking))
        what = ", ".join(PACKAGES[name][1] for name in lacking)
        told = f"for {what} in `penstock scenes`: pip install 'penstock[{extras}]'"
        yield Check("scenes packages", "warning", told)
    missing: list[Missing] = []
    yield _ffmpeg(cast(Clips.Settings, settings["clips"]))
    yield from _cuts(cast(Scenes.Settings, settings["scenes"]))
    yield from _objects(cast(Objects.Settings, settings["objects"]), missing)
    if find_spec("transformers") is not None:
        captions = cast(Captions.Settings, settings["captions"])
        yield from _pretrained("captions", captions.model, captions.revision, missing)
        yield from _sounds(cast(Sounds.Settings, settings["sounds"]), missing)
        yield from _meaning(cast(StoreSettings, settings["persist"]), missing)
    yield from _speech(cast(Transcribe.Settings, settings["transcribe"]), missing)
    yield from _room(missing)
    yield from words_checks(settings)


def _ffmpeg(settings: Clips.Settings) -> Check:
    import av

    told = f"{av.ffmpeg_version_info}, in PyAV {av.__version__}"
    lacking = [name for name in CLIP_ENCODERS if name not in av.codecs_available]
    if not lacking:
        return Check("FFmpeg libraries", "ok", told)
    needed = settings.form == "exact"
    told = f"{told}, without {', '.join(lacking)}, so no exact clips: install PyAV's own wheel"
    return Check("FFmpeg libraries", "problem" if needed else "warning", told)


def _cuts(settings: Scenes.Settings) -> Iterator[Check]:
    if settings.method != "transnetv2":
        return
    try:
        found = find_transnet(settings.weights, Scenes.name)
    except UsageError as error:
        yield Check("scenes weights", "problem", str(error))
    else:
        yield Check("scenes weights", "ok", str(found))


def _objects(settings: Objects.Settings, missing: list[Missing]) -> Iterator[Check]:
    weights = settings.weights
    if not weights:
        yield Check("objects weights", "ok", "none: objects are switched off")
        return
    found = locate_weights(weights)
    if found is not None:
        yield Check("objects weights", "ok", str(found))
    elif Path(weights).name != weights:
        told = f"{weights} is not there; put it there or set stages.objects.weights"
        yield Check("objects weights", "problem", told)
    else:
        missing.append(Missing(MEGABYTES.get(weights), cache_folder()))
        told = f"{weights} is not here; the first run will try to fetch it"
        yield Check("objects weights", "warning", told)


def _sounds(settings: Sounds.Settings, missing: list[Missing]) -> Iterator[Check]:
    path = Path(os.path.expanduser(settings.model))  # noqa: PTH111 - never raises
    if path.suffix not in SUFFIXES:
        yield from _pretrained("sounds", settings.model, settings.revision, missing)
        return
    try:
        check_yamnet(path, Sounds.name)
    except UsageError as error:
        yield Check("sounds model", "problem", str(error))
    else:
        yield Check("sounds model", "ok", str(path))


def _pretrained(step: str, model: str, revision: str, missing: list[Missing]) -> Iterator[Check]:
    name = f"{step} model"
    if not model:
        yield Check(name, "ok", f"none: {step} are switched off")
        return
    found = locate_pretrained(model, revision)
    if found is not None and any(found.glob("*.safetensors")):
        yield Check(name, "ok", str(found))
    elif found is not None:
        told = f"{found} has no .safetensors; set stages.{step}.model to a folder that has some"
        yield Check(name, "problem", told)
    elif model.startswith((".", "~", os.sep)):
        yield Check(name, "problem", f"{model} is no folder; set stages.{step}.model to one")
    else:
        missing.append(Missing(MEGABYTES.get(model), hub_folder()))
        yield Check(name, "warning", _to_fetch(model, f" --revision {revision}"))


def _meaning(settings: StoreSettings, missing: list[Missing]) -> Iterator[Check]:
    if settings.meaning == "off" or not keeps_vectors(settings):
        return
    name, model = "sentence model", settings.model or LOCAL_MODEL
    try:
        embedder = find_embedder(settings)
    except NoMeaning as error:
        yield Check(name, "problem", str(error))
        return
    if settings.meaning == "api":
        present = bool(os.environ.get(settings.api_key_env, "").strip())
        told = f"{settings.api_key_env} is {'set' if present else 'not set'}"
        yield Check("sentence model key", "ok" if present else "problem", told)
        return
    revision = settings.revision or (LOCAL_REVISION if settings.model is None else "")
    if embedder is None or locate_pretrained(model, revision) is None:
        missing.append(Missing(MEGABYTES.get(model), hub_folder()))
        told = f"{_to_fetch(model, f' --revision {revision}' if revision else '')}"
        if embedder is None:
            told += "; without it scenes are searched by words alone"
        yield Check(name, "warning", told)
    else:
        yield Check(name, "ok", model)


def _speech(settings: Transcribe.Settings, missing: list[Missing]) -> Iterator[Check]:
    if settings.backend == "off":
        yield Check("speech model", "ok", "none: speech is switched off")
        return
    profile = PROFILES[settings.backend]
    if settings.backend != "local":
        key = settings.api_key_env or profile.key_env
        present = bool(os.environ.get(key, "").strip())
        needed = settings.base_url is None and settings.backend in ("openai", "azure", "groq")
        told = f"{key} is {'set' if present else 'not set'}"
        yield Check("speech key", "problem" if needed and not present else "ok", told)
        return
    if find_spec("faster_whisper") is None:
        return
    model = settings.model or profile.model or ""
    try:
        found = locate_whisper(model)
    except UsageError as error:
        yield Check("speech model", "problem", str(error))
        return
    if found is not None:
        yield Check("speech model", "ok", str(found))
        return
    missing.append(Missing(MEGABYTES.get(model), hub_folder()))
    repository = model if "/" in model else f"Systran/faster-whisper-{model}"
    yield Check("speech model", "warning", _to_fetch(model, "", repository))


def _to_fetch(model: str, revision: str, repository: str | None = None) -> str:
    size = MEGABYTES.get(model)
    told = f" ({size:,} MB)" if size is not None else ""
    command = f"hf download {repository or model}{revision}"
    return f"{model} is not here{told}; the first run will try to fetch it, or: {command}"


def _room(missing: list[Missing]) -> Iterator[Check]:
    """Whether what is to be fetched fits on the disks that it goes to."""
    for folder in dict.fromkeys(one.folder for one in missing):
        sizes = [one.megabytes for one in missing if one.folder == folder]
        needed = sum(size or 0 for size in sizes) * 1_000_000
        there = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(there).free
        told = f"{needed / 1e9:.1f} GB to fetch to {folder}, {free / 1e9:.1f} GB free"
        if None in sizes:
            told += "; the size of some is not known"
        yield Check("room for models", "ok" if free > needed else "warning", told)
