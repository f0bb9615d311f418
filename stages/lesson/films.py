"""The finish of lessons: every finished video under its script's name, in one folder."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from engine import FinishContext
from stages.files.folders import link_or_copy
from stages.lesson.assemble import CAPTIONS, FACTS, FILM, POSTER
from stages.net.addresses import local_path

FILMS = "videos"


def finish(context: FinishContext) -> Sequence[str]:
    """Make `videos/` anew: NAME.mp4, .vtt, .jpg and .json of every lesson that is done."""
    target = context.workdir / FILMS
    fresh = context.workdir / f".{FILMS}.scratch"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    names: set[str] = set()
    for item in context.items():
        folder = item.folder / "lesson"
        if item.outcome != "done" or not folder.is_dir():
            continue
        name = _name(item.source, names)
        for file in (FILM, CAPTIONS, POSTER, FACTS):
            link_or_copy(folder / file, fresh / f"{name}{Path(file).suffix}")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return [f"{len(names)} video{'s' * (len(names) != 1)} in {target}"]


def _name(source: str, names: set[str]) -> str:
    """The script's name, and a number where two have the same."""
    path = local_path(source)
    stem = path.stem if path is not None else "lesson"
    name, number = stem, 2
    while name in names:
        name, number = f"{stem}-{number}", number + 1
    names.add(name)
    return name
