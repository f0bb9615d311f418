"""The end of a recipe run: every document in one folder, and sinks that agree with the ledger.

WORKDIR/documents/
    NAME.json, NAME.md    the document of each video, under its video's name
    documents.jsonl       a line for each video: id, source, title, the name of its files, gaps, and
                          the document
    schema.json           the JSON Schema that they were written by
    VIDEO/frames/…        the frames of each video, by its id

All of a video is there as soon as it has ended, its line too.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any, cast

from engine import FinishContext, Item, ItemRecord, shown
from stages.files.folders import INFO, built_whole
from stages.files.json_lines import json_line
from stages.files.named import Named, place, sync_folder
from stages.persistence.persist import Persist, vectors_counted
from stages.persistence.records import DOCUMENT, DOCUMENTS
from stages.persistence.settling import settle_sinks
from stages.persistence.store import StoreSettings
from stages.recipe.document_lines import LINES, set_line
from stages.recipe.embed import EMBEDDED, EmbedDocument, EmbedNotes
from stages.recipe.figures import figures_of, keep_figures
from stages.recipe.frames.frames import FRAMES, ChosenFrames
from stages.recipe.uploads import stored_records
from stages.recipe.writing.analyse import AnalyseFrame
from stages.recipe.writing.recipe_schema import RECIPE
from stages.recipe.writing.schema import read_schema
from stages.recipe.writing.write import PAGE, WriteDocument
from stages.speech.transcribe import speech_counted
from stages.vision.counted import counted, lines_of_counts

COUNTED_HERE = tuple(f"{step.name}/{EMBEDDED}" for step in (EmbedNotes, EmbedDocument))
"""Where a dry run counts vectors: the steps that make them. `persist` finds them made."""


def finish(context: FinishContext) -> list[str]:
    """Build the folder, then settle the sinks, or say what a dry run has counted. Returns lines for
    the report."""
    lines = [*_build(context), *speech_counted(context.items())]
    lines += _other_choices(context)
    steps = (ChosenFrames.name, AnalyseFrame.name, WriteDocument.name)
    told = [
        *lines_of_counts(context.items(), steps),
        *vectors_counted(context.items(), COUNTED_HERE),
    ]
    if _is_dry_run(context):
        told = told or ["dry run: these settings make no paid call"]
        return [*lines, *told, "dry run: nothing was sent, and the sinks are as they were"]
    return [*lines, *settle_sinks(context, stored_records), *_figures(context)]


def _figures(context: FinishContext) -> list[str]:
    if found := figures_of(context.run(), context.workdir):
        keep_figures(found, context.workdir)
    return [one.line() for one in found]


def finish_item(context: FinishContext, record: ItemRecord) -> None:
    """Put a video's document and frames into the folder, or take them out where it is not done."""
    if _is_dry_run(context):
        return
    target = context.workdir / DOCUMENTS
    names = Named(target)
    if not names.is_there:
        list(_build(context))
        return
    had, name = names.name_of(record.id), None
    if _has_document(record):
        name = names.claim(record.id, _own_names(record, had))
        _place(record, target, name)
    else:
        shutil.rmtree(target / record.id, ignore_errors=True)
    if had is not None and had != name:
        for ending in ("json", "md"):
            (target / f"{had}.{ending}").unlink(missing_ok=True)
    line = _line(record, name) if name is not None else None
    set_line(target, record.id, line, is_new=had is None and name is not None)
    if had is not None and name is None:
        names.release(record.id)
    sync_folder(target)


def _other_choices(context: FinishContext) -> Iterator[str]:
    """A line where a model was to choose the frames of videos, and its answers were of no use."""
    settings = cast(ChosenFrames.Settings, context.settings[ChosenFrames.name])
    if settings.model is None or settings.model.dry_run:
        return
    finished = (record for record in context.items() if _has_document(record))
    notes = [note for record in finished if (note := _note(record)) is not None]
    if notes:
        videos = counted(len(notes), "video")
        yield f"frames: those of {videos} are chosen by their looks: {notes[0]}"


def _note(record: ItemRecord) -> str | None:
    file = record.folder / ChosenFrames.name / FRAMES
    note: str | None = json.loads(file.read_text("utf-8")).get("note") if file.is_file() else None
    return note


def _build(context: FinishContext) -> Iterator[str]:
    target, taken = context.workdir / DOCUMENTS, set[str]()
    partial: list[str] = []
    with (
        built_whole(target) as folder,
        (folder / LINES).open("w", encoding="utf-8") as lines,
    ):
        names = Named(folder)
        names.begin()
        (folder / "schema.json").write_text(f"{json.dumps(_schema(context), indent=2)}\n", "utf-8")
        for record in filter(_has_document, context.items()):
            name = next(name for name in _numbered(record) if name.lower() not in taken)
            taken.add(name.lower())
            names.note(record.id, name)
            _place(record, folder, name)
            told = _line(record, name)
            lines.write(json_line(told))
            if told["partial"]:
                partial.append(f"{name}: partial: {told['problems'][0]}")
    yield f"documents: {counted(len(taken), 'document')} in {target}"
    yield from partial[:5]
    if len(partial) > 5:
        yield f"{len(partial) - 5} more are partial"


def _line(record: ItemRecord, name: str) -> dict[str, Any]:
    file = record.folder / WriteDocument.name / DOCUMENT
    told: dict[str, Any] = json.loads(file.read_text("utf-8"))
    head = {"video": record.id, "source": shown(record.source), "file": f"{name}.json"}
    return head | told


def _place(record: ItemRecord, folder: Path, name: str) -> None:
    """Put the document and the frames of a video into the folder."""
    source, frames = record.folder / WriteDocument.name, folder / record.id / "frames"
    frames.mkdir(parents=True, exist_ok=True)
    pictures = sorted((source / "frames").iterdir())
    for picture in pictures:
        place(picture, frames / picture.name)
    for left in {file.name for file in frames.iterdir()} - {file.name for file in pictures}:
        (frames / left).unlink()
    for file, ending in ((PAGE, "md"), (DOCUMENT, "json")):
        place(source / file, folder / f"{name}.{ending}")


def _schema(context: FinishContext) -> Mapping[str, Any]:
    """The form, as it is now."""
    file = cast(WriteDocument.Settings, context.settings[WriteDocument.name]).schema_file
    return RECIPE if file is None else read_schema(Path(file).expanduser())


def _numbered(record: ItemRecord) -> Iterator[str]:
    """The names for the video's files: its title, then with numbers where several have the same."""
    stem = _stem(record)
    yield stem
    yield from (f"{stem}-{number}" for number in count(2))


def _own_names(record: ItemRecord, had: str | None) -> Iterator[str]:
    """The same, without looking at all that have the title: what it `had`, the title, the title
    with the end of its id."""
    stem = _stem(record)
    if had is not None and re.fullmatch(rf"{re.escape(stem)}(-\d+)?", had):
        yield had
    yield from (stem, f"{stem}-{record.id[-6:]}")


def _stem(record: ItemRecord) -> str:
    """The title of the video as a file's name."""
    info = record.folder / WriteDocument.name / INFO
    title = json.loads(info.read_text("utf-8")).get("title") if info.is_file() else None
    words = re.sub(r"[^\w.-]+", "-", title if isinstance(title, str) else "").strip("-.")[:80]
    return words or record.id


def _has_document(record: ItemRecord) -> bool:
    item = Item(record.id, record.source, record.folder)
    is_done = record.outcome == "done" and item.has_output(WriteDocument.name)
    return is_done and (record.folder / WriteDocument.name / DOCUMENT).is_file()


def _is_dry_run(context: FinishContext) -> bool:
    return cast(StoreSettings, context.settings[Persist.name]).dry_run
