"""The crawl's sections of the report page: kept frames with their objects, and duplicates."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import PageContext, Section, shown
from stages.crawl.dataset.build import DATASET
from stages.crawl.dataset.dedup import Dedup, is_deduplicated
from stages.crawl.dataset.tables import frame_of, inside, opened, read_table
from stages.files.json_lines import read_lines

if TYPE_CHECKING:
    import pyarrow as pa
    from jinja2 import Environment

FRAMES = 40
"""The most kept frames shown."""

FRAMES_A_VIDEO = 4
"""The most frames of one video, while there is no dataset to choose from."""

CLUSTERS = 20
"""The most groups of duplicates shown, and the most removed frames of each."""
REMOVED = 6

SIZE = 320
"""Pixels of a picture's longer side."""

COLOURS = 8
"""Number of box colours, one a class; with more classes some share a colour."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame on the page; `data` is a small JPEG as a data: address, None
    if the frame is deleted."""

    data: str | None
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Outline:
    """A detected object, and its box in pixels of the frame."""

    name: str
    confidence: float
    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class KeptFrame:
    """One kept frame and its detected objects."""

    picture: Picture
    title: str
    timestamp: float
    description: str | None
    boxes: Sequence[Outline]


@dataclass(frozen=True, slots=True)
class Removed:
    """One removed frame, and its distance from the kept one in bits of 64."""

    picture: Picture
    title: str
    distance: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """A kept frame and the removed frames that it represents, the nearest first; `count` is their
    number in all."""

    picture: Picture
    title: str
    removed: Sequence[Removed]
    count: int


def crawl_sections(context: PageContext) -> Iterator[Section]:
    """Sections of kept frames, and of duplicates beside the frames that represent them.

    From the dataset; before there is one, the frames are those of videos that are done.
    """
    dataset = context.workdir / DATASET
    if (dataset / "frames.parquet").is_file():
        titles = _titles(dataset)
        shots, count = _dataset_shots(dataset, titles)
        yield _frames_section("Frames kept", shots, count)
        clusters, count, removed = _clusters(context.workdir, dataset, titles)
        values = {"clusters": clusters, "count": count, "removed": removed}
        yield _section("Duplicates removed", "duplicates.html", **values)
    elif shots := _shots_so_far(context):
        yield _frames_section("Frames so far", shots, None)


def _frames_section(title: str, shots: Sequence[KeptFrame], count: int | None) -> Section:
    """`count` is the number of frames in all, None while it is not known."""
    values = {"shots": shots, "count": count, "colours": _colours(shots)}
    return _section(title, "frames.html", **values)


# Frames


def _dataset_shots(dataset: Path, titles: Mapping[str, str]) -> tuple[list[KeptFrame], int]:
    """Frames spread evenly over the dataset, and the number of frames in all."""
    columns = ["video_id", "file", "timestamp", "width", "height", "detections", "description"]
    with opened(dataset / "frames.parquet") as file:
        count = file.metadata.num_rows
        chosen = sorted({number * count // FRAMES for number in range(FRAMES)} if count else set())
        rows: list[dict[str, Any]] = []
        before = 0
        for batch in file.iter_batches(1024, columns=columns):
            here = [at - before for at in chosen if before <= at < before + batch.num_rows]
            rows += batch.take(here).to_pylist()
            before += batch.num_rows
    shots = [_shot(row, frame_of(dataset, row), titles.get(row["video_id"], "")) for row in rows]
    return shots, count


def _shots_so_far(context: PageContext) -> list[KeptFrame]:
    return list(islice(_finished_shots(context), FRAMES))


def _finished_shots(context: PageContext) -> Iterator[KeptFrame]:
    for record in context.items():
        folder = record.folder / Dedup.name
        if not is_deduplicated(record):
            continue
        video = read_lines(folder / "video.json")[0]
        hashes = {line["file"]: line for line in read_lines(folder / "hashes.jsonl")}
        frames = read_lines(folder / "frames.jsonl")
        kept = [line for line in frames if hashes[line["file"]]["duplicate_of"] is None]
        step = max(1, len(kept) // FRAMES_A_VIDEO)
        for line in kept[::step][:FRAMES_A_VIDEO]:
            title = str(video["title"] or record.source)
            yield _shot(line, folder / "frames" / line["file"], title)


def _shot(row: Mapping[str, Any], path: Path, title: str) -> KeptFrame:
    return KeptFrame(
        picture=_picture(path, (row["width"], row["height"])),
        title=title,
        timestamp=row["timestamp"],
        description=row["description"],
        boxes=[_box(found) for found in row["detections"]],
    )


def _box(found: Mapping[str, Any]) -> Outline:
    left, top, right, bottom = found["box"]
    return Outline(found["class"], found["confidence"], left, top, right - left, bottom - top)


def _colours(shots: Sequence[KeptFrame]) -> dict[str, int]:
    """The number of each class's colour."""
    names = sorted({box.name for shot in shots for box in shot.boxes})
    return {name: number % COLOURS for number, name in enumerate(names)}


# Duplicates


def _clusters(
    workdir: Path, dataset: Path, titles: Mapping[str, str]
) -> tuple[list[Cluster], int, int]:
    """The clusters shown, and how many clusters and removed frames there are in all.

    First those that several videos share, of them first those that removed most.
    """
    import pyarrow.compute as pc

    table = read_table(dataset / "duplicates.parquet")
    if not table.num_rows:
        return [], 0, 0
    across = pc.not_equal(table["video_id"], table["kept_video_id"]).cast("int32")
    keys = ["kept_video_id", "kept_file"]
    groups = table.append_column("across", across).group_by(keys)
    counted = groups.aggregate([("distance", "count"), ("across", "max")])
    order = [("across_max", "descending"), ("distance_count", "descending")]
    ranked = counted.sort_by([*order, *((key, "ascending") for key in keys)])
    chosen = ranked.slice(0, CLUSTERS).to_pylist()
    clusters = [_cluster(workdir, dataset, table, row, titles) for row in chosen]
    return clusters, ranked.num_rows, table.num_rows


def _cluster(
    workdir: Path,
    dataset: Path,
    table: "pa.Table",
    row: Mapping[str, Any],
    titles: Mapping[str, str],
) -> Cluster:
    import pyarrow.compute as pc

    video, file = row["kept_video_id"], row["kept_file"]
    mine = pc.and_(pc.equal(table["kept_video_id"], video), pc.equal(table["kept_file"], file))
    removed = table.filter(mine).sort_by(
        [("distance", "ascending"), ("video_id", "ascending"), ("file", "ascending")]
    )
    return Cluster(
        picture=_picture(inside(dataset, "frames", video, file)),
        title=titles.get(video, ""),
        removed=[
            Removed(
                picture=_picture(_removed_frame(workdir, one["video_id"], one["file"])),
                title=titles.get(one["video_id"], ""),
                distance=one["distance"],
            )
            for one in removed.slice(0, REMOVED).to_pylist()
        ],
        count=removed.num_rows,
    )


def _removed_frame(workdir: Path, video: str, file: str) -> Path:
    """The place of a removed frame, which dedup's output has too."""
    return inside(workdir, "items", video, "dedup", "frames", file)


# Shared by both


def _titles(dataset: Path) -> dict[str, str]:
    """The title of each video, by id; its address where the site gave no title."""
    columns = read_table(dataset / "videos.parquet", columns=["id", "title", "source"])
    table = columns.to_pydict()
    named = zip(table["id"], table["title"], table["source"], strict=True)
    return {video: title or shown(source) for video, title, source in named}


def _picture(path: Path, size: tuple[int, int] = (16, 9)) -> Picture:
    """A small copy of the image; `size` is the size of a frame that is deleted."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            size = image.size
            image.draft("RGB", (SIZE, SIZE))  # the decoder skips detail that is not needed
            image.thumbnail((SIZE, SIZE))
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, "JPEG", quality=72)
    except OSError:
        return Picture(None, *size)
    data = base64.b64encode(buffer.getvalue()).decode()
    return Picture(f"data:image/jpeg;base64,{data}", *size)


def _section(title: str, template: str, **values: Any) -> Section:
    from markupsafe import Markup

    body = _templates().get_template(template).render(**values)
    return Section(title, Markup(body), _style())


@cache
def _style() -> str:
    return (
        files("stages.crawl.dataset")
        .joinpath("templates", "gallery.css")
        .read_text(encoding="utf-8")
    )


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("stages.crawl.dataset", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["position"] = _position
    return environment


def _position(seconds: float) -> str:
    """A time in a video: "1:02:03.5"."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    second = f"{rest:04.1f}"
    return f"{hours}:{minutes:02}:{second}" if hours else f"{minutes}:{second}"
