"""The finish of lessons: every finished video under its script's name, in one folder."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from engine import FinishContext, ItemRecord
from stages.files.folders import built_whole, link_or_copy
from stages.files.named import Named, place, sync_folder
from stages.lesson.assemble import CAPTIONS, FACTS, FILM, POSTER, Assemble
from stages.lesson.pictures.image import LessonImage
from stages.lesson.services.counts import counted_lines
from stages.lesson.services.settings import ServiceSettings
from stages.lesson.voices.voice import Voice
from stages.net.addresses import local_path

FILMS = "videos"
FILES = (FILM, CAPTIONS, POSTER, FACTS)

PAID = {LessonImage.name: "picture", Voice.name: "piece of narration"}
"""The steps that make paid calls, and the word for what each makes."""

MOST_TOLD = 10
"""Gaps that the report names, at most."""


def finish(context: FinishContext) -> Sequence[str]:
    """Make `videos/` anew: NAME.mp4, .vtt, .jpg and .json of every lesson that is done. Names the
    sections that are missing, and what mends them. After a dry run it says what that counted, and
    the videos are as they were."""
    if _is_dry_run(context):
        counted = list(counted_lines(context.items(), PAID))
        told = counted or ["dry run: these settings make no paid call"]
        return [*told, "dry run: nothing was sent, and the videos are as they were"]
    target = context.workdir / FILMS
    missing: list[str] = []
    standing_in = 0
    named = list(_build(context))
    for item, name in named:
        facts = json.loads((item.folder / Assemble.name / FACTS).read_text("utf-8"))
        missing += _missing(f"{name}.mp4", facts)
        standing_in += sum("stand_ins" in one for one in facts["sections"])
    lines = [f"{len(named)} video{'s' * (len(named) != 1)} in {target}", *missing[:MOST_TOLD]]
    if len(missing) > MOST_TOLD:
        lines.append(f"and {len(missing) - MOST_TOLD} more")
    if standing_in:
        some = f"{standing_in} section{'s' * (standing_in != 1)}"
        lines.append(
            f"{some} with stand-ins: without --preview, services make what is not there yet"
        )
    if missing:
        again = shlex.join(["penstock", "retry", str(context.workdir), "--gaps"])
        lines.append(f"mend what is missing: {again}")
    return lines


def finish_item(context: FinishContext, record: ItemRecord) -> None:
    """Put the files of a lesson into `videos/`, or take them out where it is not done. Its name is
    its script's, unless another lesson has that: then the end of its id is added. A finish of all
    adds that to both. Those of a lesson that a dry run has counted since are as they were."""
    if _is_dry_run(context) or (record.outcome == "done" and not _is_film(record)):
        return
    target = context.workdir / FILMS
    names = Named(target)
    if not names.is_there:
        _build(context)
        return
    had, name = names.name_of(record.id), None
    if _is_film(record):
        stem, own = _stem(record), _own_name(record)
        name = had if had in (stem, own) else names.claim(record.id, iter((stem, own)))
        _place(record, target, name, place)
    if had is not None and had != name:
        for file in FILES:
            (target / _called(had, file)).unlink(missing_ok=True)
        if name is None:
            names.release(record.id)
    sync_folder(target)


def _build(context: FinishContext) -> Sequence[tuple[ItemRecord, str]]:
    """Make the folder anew; returns the lessons in it, with the names of their files. Those of a
    lesson that a dry run has counted since, after its script was changed, are as they were."""
    target = context.workdir / FILMS
    done = [item for item in context.items() if _is_film(item)]
    stems = Counter(_stem(item) for item in done)
    named = [
        # by a name of its own each, which another one's arrival leaves alone
        (item, _stem(item) if stems[_stem(item)] == 1 else _own_name(item))
        for item in done
    ]
    before, taken = Named(target), {name for _, name in named}
    counted = [item for item in context.items() if item.outcome == "done" and not _is_film(item)]
    with built_whole(target) as folder:
        names = Named(folder)
        names.begin()
        for item, name in named:
            names.note(item.id, name)
            _place(item, folder, name, link_or_copy)
        for item in counted:
            stood = before.name_of(item.id)
            if stood is None or stood in taken:
                continue
            files = [_called(stood, file) for file in FILES]
            if all((target / file).is_file() for file in files):
                names.note(item.id, stood)
                for file in files:
                    link_or_copy(target / file, folder / file)
    return named


def _place(
    item: ItemRecord, folder: Path, name: str, placed: Callable[[Path, Path], object]
) -> None:
    for file in FILES:
        placed(item.folder / Assemble.name / file, folder / _called(name, file))


def _called(name: str, file: str) -> str:
    """The name of the file among the results."""
    return f"{name}{Path(file).suffix}"


def _is_dry_run(context: FinishContext) -> bool:
    return any(cast(ServiceSettings, context.settings[step]).dry_run for step in PAID)


def _missing(name: str, facts: Mapping[str, Any]) -> Iterator[str]:
    """A line for each section that the video could not have."""
    for gap in facts["gaps"]:
        title = f" ({gap['title']})" if gap["title"] else ""
        yield f"{name} lacks section {gap['position'] + 1}{title}: {gap['why']}"


def _is_film(item: ItemRecord) -> bool:
    return item.outcome == "done" and (item.folder / Assemble.name / FILM).is_file()


def _stem(item: ItemRecord) -> str:
    """The script's name."""
    path = local_path(item.source)
    return path.stem if path is not None else "lesson"


def _own_name(item: ItemRecord) -> str:
    return f"{_stem(item)}-{item.id[-6:]}"
