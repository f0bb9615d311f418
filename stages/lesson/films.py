"""The finish of lessons: every finished video under its script's name, in one folder."""

import json
import shlex
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from engine import FinishContext, ItemRecord
from stages.files.folders import link_or_copy
from stages.lesson.assemble import CAPTIONS, FACTS, FILM, POSTER, Assemble
from stages.lesson.pictures.image import LessonImage
from stages.lesson.services.counts import counted_lines
from stages.lesson.services.settings import ServiceSettings
from stages.lesson.voices.voice import Voice
from stages.net.addresses import local_path

FILMS = "videos"

MOST_TOLD = 10
"""Gaps that the report names, at most."""


def finish(context: FinishContext) -> Sequence[str]:
    """Make `videos/` anew: NAME.mp4, .vtt, .jpg and .json of every lesson that is done. Names the
    sections that are missing, and what mends them. After a dry run it says what that counted, and
    the videos are as they were."""
    steps = {LessonImage.name: "picture", Voice.name: "piece of narration"}
    if any(cast(ServiceSettings, context.settings[step]).dry_run for step in steps):
        counted = list(counted_lines(context.items(), steps))
        told = counted or ["dry run: these settings make no paid call"]
        return [*told, "dry run: nothing was sent, and the videos are as they were"]
    target = context.workdir / FILMS
    fresh = context.workdir / f".{FILMS}.scratch"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    done = [item for item in context.items() if _is_film(item)]
    stems = Counter(_stem(item) for item in done)
    missing: list[str] = []
    standing_in = 0
    for item in done:
        folder, name = item.folder / Assemble.name, _stem(item)
        if stems[name] > 1:  # by a name of its own each, which another one's arrival leaves alone
            name = f"{name}-{item.id[-6:]}"
        for file in (FILM, CAPTIONS, POSTER, FACTS):
            link_or_copy(folder / file, fresh / f"{name}{Path(file).suffix}")
        facts = json.loads((folder / FACTS).read_text("utf-8"))
        missing += _missing(f"{name}.mp4", facts)
        standing_in += sum("stand_ins" in one for one in facts["sections"])
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    lines = [f"{len(done)} video{'s' * (len(done) != 1)} in {target}", *missing[:MOST_TOLD]]
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
