"""The end of a crawl: the best copy of every frame of every video, in one folder with its tables.

WORKDIR/dataset/
    README.md            what it is, how it was made, the counts
    frames/<video id>/   the kept frames
    frames.parquet       what each of them shows, and where it comes from
    videos.parquet       everything that entered, and what became of it
    duplicates.parquet   every removed frame, and the kept frame that stands for it
    classes.json         the names of the classes, in the order of their numbers

The same outputs of the stages make the same bytes, in whatever order videos finished and however
often the crawl was interrupted. (A paid description that near-identical frames of several videos
share is asked for the one that came first, so there the order shows.)
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from engine import FinishContext, ItemRecord, shown, shown_in
from stages.crawl.dataset.card import Totals, counted, write_card
from stages.crawl.dataset.class_numbers import numbered, write_classes
from stages.crawl.dataset.dedup import FACTS, Dedup, columns_of, is_deduplicated
from stages.crawl.dataset.earlier_looks import with_looks
from stages.crawl.dataset.tables import TableWriter, duplicates_schema, frames_schema, videos_schema
from stages.files.folders import built_whole, link_or_copy
from stages.files.json_lines import read_lines
from stages.files.utf8 import writable_row
from stages.neardup import duplicates as neardup

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATASET = "dataset"


def build_dataset(context: FinishContext) -> list[str]:
    """Build WORKDIR/dataset from every finished video; the old one stays until the new is whole.

    It reads the outputs of dedup alone. After a dry run of describe it builds nothing and says how
    many requests a run would make. Returns lines for the end-of-run report.
    """
    if getattr(context.settings.get("describe"), "dry_run", False):
        return [_count_requests(context)]
    survey = Survey.of(context)
    distance = cast(Dedup.Settings, context.settings["dedup"]).distance
    choice = neardup.choose(survey.frames, distance)
    target = context.workdir / DATASET
    with built_whole(target) as folder:
        totals = _write_tables(context, survey, choice, folder)
        wanted = getattr(context.settings.get("filter"), "classes", ())
        classes = numbered(wanted, totals.classes_known, totals.boxes_by_class)
        write_classes(folder, classes)
        write_card(folder, totals, context.settings, context.versions)
    lines = [
        f"dataset: {counted(totals.frames_kept, 'frame')} from "
        f"{counted(totals.videos_with_frames, 'video')} "
        f"({counted(totals.duplicates, 'near-duplicate')} removed) in {target}"
    ]
    if totals.undescribed:
        have = "have" if totals.undescribed > 1 else "has"
        lines.append(
            f"{counted(totals.undescribed, 'frame')} of them {have} no description: "
            f"items/ID/extract.parts/*/describe/descriptions.jsonl say why"
        )
    return lines


@dataclass(frozen=True)
class Survey:
    """The frames of all finished videos, as numbers, and the names for these numbers.

    The videos are numbered in the order of their ids: `ids[n]` has the frames from `starts[n]` to
    `starts[n + 1]`, whose files are `names[n]`. `numbers` gives the number for an id.
    """

    frames: neardup.Frames
    ids: list[str]
    numbers: dict[str, int]
    starts: list[int]
    names: "list[NDArray[np.bytes_]]"

    @classmethod
    def of(cls, context: FinishContext) -> "Survey":
        import numpy as np

        ids: list[str] = []
        starts = [0]
        names: list[NDArray[np.bytes_]] = []
        # An empty video in front gives each column its type if there is no other video.
        parts = [columns_of([], 0)]
        for record in context.items():
            if not is_deduplicated(record):
                continue
            written = read_lines(record.folder / Dedup.name / "hashes.jsonl")
            lines = with_looks(context.workdir, record, written)
            parts.append(columns_of(lines, len(ids)))
            names.append(np.array([line["file"] for line in lines], np.bytes_))
            ids.append(record.id)
            starts.append(starts[-1] + len(lines))
        frames = neardup.Frames(
            *(
                np.concatenate([getattr(part, field.name) for part in parts])
                for field in fields(parts[0])
            )
        )
        return cls(frames, ids, {video: at for at, video in enumerate(ids)}, starts, names)

    def name(self, frame: int) -> tuple[str, str]:
        """The video's id and the file name of a frame, given its index in `frames`."""
        video = int(self.frames.videos[frame])
        return self.ids[video], self.names[video][frame - self.starts[video]].decode()


def _write_tables(
    context: FinishContext, survey: Survey, choice: neardup.Choice, folder: Path
) -> Totals:
    totals = Totals()
    (folder / "frames").mkdir()
    with (
        TableWriter(folder / "frames.parquet", frames_schema()) as frames,
        TableWriter(folder / "videos.parquet", videos_schema()) as videos,
        TableWriter(folder / "duplicates.parquet", duplicates_schema()) as duplicates,
    ):
        for record in context.items():
            video = None
            kept = 0
            if record.id in survey.numbers:
                video = _read_video(record)
                totals.add_classes(video.get("classes"))
                for row in _frame_rows(record, survey, choice):
                    kept += 1
                    _link_frame(record, row, folder)
                    frames.add(row)
                    totals.add_frame(row)
                for row in _duplicate_rows(record, survey, choice):
                    duplicates.add(row)
                    totals.add_duplicate(row)
            row = _video_row(record, video, kept)
            videos.add(row)
            totals.add_video(row)
    return totals


def _read_video(record: ItemRecord) -> dict[str, Any]:
    path = record.folder / Dedup.name / "video.json"
    video: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return video


def _frame_rows(
    record: ItemRecord, survey: Survey, choice: neardup.Choice
) -> Iterator[dict[str, Any]]:
    """The rows of frames.parquet for the kept frames of one video."""
    number = survey.numbers[record.id]
    start, end = survey.starts[number], survey.starts[number + 1]
    lines = read_lines(record.folder / Dedup.name / "frames.jsonl")
    if len(lines) != end - start:
        raise ValueError(f"frames.jsonl has {len(lines)} lines, and hashes.jsonl {end - start}")
    for index, line in enumerate(lines, start):
        if choice.kept[index]:
            yield writable_row(
                {
                    **line,
                    "video_id": record.id,
                    "file": f"frames/{record.id}/{line['file']}",
                    "hash": format(int(survey.frames.hashes[index]), "016x"),
                    "source": shown(record.source),
                }
            )


def _link_frame(record: ItemRecord, row: dict[str, Any], folder: Path) -> None:
    target = folder / row["file"]
    target.parent.mkdir(exist_ok=True)
    link_or_copy(record.folder / Dedup.name / "frames" / target.name, target)


def _duplicate_rows(
    record: ItemRecord, survey: Survey, choice: neardup.Choice
) -> Iterator[dict[str, Any]]:
    """The rows of duplicates.parquet for the removed frames of one video."""
    number = survey.numbers[record.id]
    for index in range(survey.starts[number], survey.starts[number + 1]):
        if not choice.kept[index]:
            kept_video, kept_file = survey.name(int(choice.nearest[index]))
            yield {
                "video_id": record.id,
                "file": survey.name(index)[1],
                "kept_video_id": kept_video,
                "kept_file": kept_file,
                "distance": int(choice.distance[index]),
            }


def _video_row(record: ItemRecord, video: dict[str, Any] | None, kept: int) -> dict[str, Any]:
    """A row of videos.parquet; `video` is None for an unfinished item, and for a playlist."""
    row: dict[str, Any] = {
        "id": record.id,
        "source": shown(record.source),
        "parent": record.parent,
        "outcome": record.outcome,
        "stage": record.stage,
        "reason": record.reason and shown_in(record.reason),
        "kind": record.kind,
        "expanded": record.expanded,
    }
    if video is not None:
        names = (*FACTS, "frames_sampled", "frames_filtered")
        row |= {name: video[name] for name in names} | {"frames_kept": kept}
        row["webpage_url"] = row["webpage_url"] and shown(row["webpage_url"])  # may be an old one
    return writable_row(row)


def _count_requests(context: FinishContext) -> str:
    """The number of requests that the dry run of describe counted, over all finished videos."""
    videos = requests = frames = reused = cached = 0
    for record in context.items():
        counts = _read_video(record)["requests"] if is_deduplicated(record) else None
        if counts is not None:
            videos += 1
            requests += counts["requests"]
            frames += counts["frames"]
            reused += counts["reused"]
            cached += counts["cached"]
    return (
        f"dry run: describing {counted(frames, 'frame')} of {counted(videos, 'video')} would take "
        f"{counted(requests, 'request')} ({reused} would reuse a near-identical frame's "
        f"description, {cached} are answered already); no dataset was built"
    )
