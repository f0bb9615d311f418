"""The end of a recipe run: every document in one folder, and sinks that agree with the ledger.

WORKDIR/documents/
    NAME.json, NAME.md    the document of each video, under its video's name
    documents.jsonl       a line for each video: id, source, title, the name of its files, gaps, and
                          the document
    schema.json           the JSON Schema that they were written by
    VIDEO/frames/…        the frames of each video, by its id
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from engine import FinishContext, Item, ItemRecord, shown
from stages.files.folders import INFO, built_whole, link_or_copy
from stages.files.json_lines import json_line
from stages.persistence.persist import Persist, vectors_counted
from stages.persistence.records import DOCUMENT, DOCUMENTS
from stages.persistence.settling import settle_sinks
from stages.persistence.store import StoreSettings
from stages.recipe.figures import figures_of, keep_figures
from stages.recipe.uploads import stored_records
from stages.recipe.writing.analyse import AnalyseFrame
from stages.recipe.writing.recipe_schema import RECIPE
from stages.recipe.writing.schema import read_schema
from stages.recipe.writing.write import PAGE, WriteDocument
from stages.speech.transcribe import speech_counted
from stages.vision.counted import counted, lines_of_counts


def finish(context: FinishContext) -> list[str]:
    """Build the folder, then settle the sinks, or say what a dry run has counted. Returns lines for
    the report."""
    lines = [*_build(context), *speech_counted(context.items())]
    steps = (AnalyseFrame.name, WriteDocument.name)
    told = [*lines_of_counts(context.items(), steps), *vectors_counted(context.items())]
    if cast(StoreSettings, context.settings[Persist.name]).dry_run:
        told = told or ["dry run: these settings make no paid call"]
        return [*lines, *told, "dry run: nothing was sent, and the sinks are as they were"]
    return [*lines, *settle_sinks(context, stored_records), *_figures(context)]


def _figures(context: FinishContext) -> list[str]:
    if found := figures_of(context.run(), context.workdir):
        keep_figures(found, context.workdir)
    return [one.line() for one in found]


def _build(context: FinishContext) -> Iterator[str]:
    target, names = context.workdir / DOCUMENTS, set[str]()
    partial: list[str] = []
    with (
        built_whole(target) as folder,
        (folder / "documents.jsonl").open("w", encoding="utf-8") as lines,
    ):
        (folder / "schema.json").write_text(f"{json.dumps(_schema(context), indent=2)}\n", "utf-8")
        for record in _finished(context):
            source = record.folder / WriteDocument.name
            told = json.loads((source / DOCUMENT).read_text("utf-8"))
            name = _name(record, names)
            for file, ending in ((DOCUMENT, "json"), (PAGE, "md")):
                link_or_copy(source / file, folder / f"{name}.{ending}")
            (folder / record.id / "frames").mkdir(parents=True)
            for picture in sorted((source / "frames").iterdir()):
                link_or_copy(picture, folder / record.id / "frames" / picture.name)
            head = {"video": record.id, "source": shown(record.source), "file": f"{name}.json"}
            lines.write(json_line(head | told))
            if told["partial"]:
                partial.append(f"{name}: partial: {told['problems'][0]}")
    yield f"documents: {counted(len(names), 'document')} in {target}"
    yield from partial[:5]
    if len(partial) > 5:
        yield f"{len(partial) - 5} more are partial"


def _schema(context: FinishContext) -> Mapping[str, Any]:
    """The form, as it is now."""
    file = cast(WriteDocument.Settings, context.settings[WriteDocument.name]).schema_file
    return RECIPE if file is None else read_schema(Path(file).expanduser())


def _name(record: ItemRecord, names: set[str]) -> str:
    """The title of the video as a file's name, with a number where two have the same."""
    info = record.folder / WriteDocument.name / INFO
    title = json.loads(info.read_text("utf-8")).get("title") if info.is_file() else None
    words = re.sub(r"[^\w.-]+", "-", title if isinstance(title, str) else "").strip("-.")[:80]
    stem = words or record.id
    name, number = stem, 2
    while name.lower() in names:
        name, number = f"{stem}-{number}", number + 1
    names.add(name.lower())
    return name


def _finished(context: FinishContext) -> Iterator[ItemRecord]:
    for record in context.items():
        item = Item(record.id, record.source, record.folder)
        is_done = record.outcome == "done" and item.has_output(WriteDocument.name)
        if is_done and (record.folder / WriteDocument.name / DOCUMENT).is_file():
            yield record
