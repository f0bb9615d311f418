"""The checks of `penstock doctor` for a crawl: yt-dlp, a JavaScript runtime, weights, keys."""

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from engine import Check, ConfigError
from stages.crawl.describe import Describe
from stages.crawl.filter import Filter
from stages.fetch.cookies_file import read_cookies
from stages.fetch.download import Download
from stages.fetch.guard.impersonation import INSTALL, missing, target
from stages.fetch.javascript import usable_runtimes
from stages.models.runtimes import NAMES, choose_runtime, sees_gpu
from stages.vision import api as vision

OLD_AFTER_DAYS = 90
"""Sites change: a yt-dlp older than this many days often fails at some of them."""


def crawl_checks(settings: Mapping[str, BaseModel]) -> Iterable[Check]:
    """Checks of everything that a crawl with these settings needs."""
    download = cast(Download.Settings, settings["download"])
    yield _yt_dlp()
    yield _javascript()
    yield _cookies(download)
    yield from _plugins(download)
    yield _impersonation(download)
    yield from _detector(cast(Filter.Settings, settings["filter"]))
    yield from _keys(cast(Describe.Settings, settings["describe"]))
    yield from _model(cast(Describe.Settings, settings["describe"]))


def _yt_dlp() -> Check:
    version = metadata.version("yt-dlp")
    year, month, day = (int(part) for part in version.split(".")[:3])
    age = (date.today() - date(year, month, day)).days
    text = f"{version}, {max(age, 0)} days old"
    if age > OLD_AFTER_DAYS:
        return Check("yt-dlp", "warning", f"{text}; update it: pip install -U yt-dlp")
    return Check("yt-dlp", "ok", text)


def _javascript() -> Check:
    found = usable_runtimes()
    if found:
        return Check("JavaScript runtime", "ok", ", ".join(found))
    return Check(
        "JavaScript runtime", "warning", "none that is new enough; YouTube needs one: install Deno"
    )


def _cookies(settings: Download.Settings) -> Check:
    if settings.cookies is not None:
        if not Path(os.path.expanduser(settings.cookies)).is_file():  # noqa: PTH111 - never raises
            return Check("cookies", "problem", f"{settings.cookies} is not there")
        try:
            read_cookies(settings.cookies)
        except ConfigError as error:
            return Check("cookies", "problem", str(error))
        return Check("cookies", "ok", f"from {settings.cookies}")
    if settings.cookies_from_browser:
        return Check("cookies", "ok", f"from the browser {settings.cookies_from_browser}")
    return Check("cookies", "ok", "none set; age-restricted videos will fail with class auth")


def _plugins(settings: Download.Settings) -> Iterator[Check]:
    from yt_dlp.plugins import PACKAGE_NAME, default_plugin_paths

    found = [str(path) for path in default_plugin_paths() if (path / PACKAGE_NAME).is_dir()]
    if found and settings.plugins:
        yield Check("yt-dlp plugins", "ok", f"loaded from {', '.join(found)}")
    elif found:
        text = f"not loaded: {', '.join(found)}; stages.download.plugins = true loads them"
        yield Check("yt-dlp plugins", "warning", text)


def _impersonation(settings: Download.Settings) -> Check:
    why = missing()
    if settings.impersonate is not None:
        try:
            target(settings.impersonate)
        except ConfigError as error:
            return Check("impersonation", "problem", str(error))
        text = f"every request looks like {settings.impersonate!r}"
    elif why is None:
        text = "there; used where yt-dlp's code for a site asks for it"
    else:
        text = f"{why}; needed only for sites that turn away what is no browser: {INSTALL}"
    return Check("impersonation", "ok", text)


def _detector(settings: Filter.Settings) -> Iterator[Check]:
    from stages.models.loading import choose_device
    from stages.models.yolo import locate_weights

    found = locate_weights(settings.weights)
    if found is None and Path(settings.weights).name != settings.weights:
        text = f"{settings.weights} is not there; put it there or set stages.filter.weights"
        yield Check("weights", "problem", text)
    elif found is None:
        text = f"{settings.weights} is not here; the first run will try to fetch it"
        yield Check("weights", "warning", text)
    else:
        yield Check("weights", "ok", str(found))
    try:
        yield Check("device", "ok", choose_device(settings.device))
    except ConfigError as error:
        yield Check("device", "problem", str(error))
    if found is None or found.suffix == ".pt":
        yield _runtime(settings)


def _runtime(settings: Filter.Settings) -> Check:
    """What a run on a new work folder would run a .pt with."""
    try:
        chosen = choose_runtime(settings.runtime, settings.device)
    except ConfigError as error:
        return Check("runtime", "problem", str(error))
    faster = settings.runtime == "auto" and chosen == "torch" and not sees_gpu(settings.device)
    hint = "; pip install 'penstock[openvino]' for a faster one" if faster else ""
    return Check("runtime", "ok", f"{NAMES[chosen]}{hint}")


def _model(settings: Describe.Settings) -> Iterator[Check]:
    if settings.backend != "detections" and settings.model is None:
        default = vision.DEFAULT_MODELS[settings.backend]
        text = f"none set: {default}, as looked up on {vision.LOOKED_UP}; name one that is offered"
        yield Check("vision model", "warning", text)


def _keys(settings: Describe.Settings) -> Iterator[Check]:
    for backend, default in vision.DEFAULT_KEYS.items():
        used = settings.backend == backend
        name = (settings.api_key_env or default) if used else default
        present = bool(os.environ.get(name))
        needed = used and settings.base_url is None
        text = f"{name} is {'set' if present else 'not set'}{'' if used else ', and not needed'}"
        yield Check(f"{backend} key", "ok" if present or not needed else "problem", text)
