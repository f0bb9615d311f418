"""The tables of a dataset: their columns, and writing them as Parquet files."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine import UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

ROWS_A_GROUP = 4096


def read_table(path: Path, columns: list[str] | None = None) -> "pa.Table":
    """All or some columns of a table of a dataset. Raises UsageError as `opened` does."""
    with opened(path) as table:
        return table.read(columns)


def frames_schema() -> "pa.Schema":
    """frames.parquet: one row a frame, by video and time. `file` is relative to the dataset."""
    import pyarrow as pa

    detection = pa.struct(
        [("class", pa.string()), ("confidence", pa.float64()), ("box", pa.list_(pa.float64()))]
    )
    return pa.schema(
        [
            ("video_id", pa.string()),
            ("file", pa.string()),
            ("timestamp", pa.float64()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("detections", pa.list_(detection)),
            ("description", pa.string()),
            ("described_by", pa.string()),
            ("reused_from", pa.string()),
            ("hash", pa.string()),
            ("source", pa.string()),
        ]
    )


def videos_schema() -> "pa.Schema":
    """videos.parquet: one row for each item that entered, with any outcome, by id."""
    import pyarrow as pa

    return pa.schema(
        [
            ("id", pa.string()),
            ("source", pa.string()),
            ("parent", pa.string()),
            ("title", pa.string()),
            ("uploader", pa.string()),
            ("duration", pa.float64()),
            ("upload_date", pa.string()),
            ("webpage_url", pa.string()),
            ("license", pa.string()),
            ("outcome", pa.string()),
            ("stage", pa.string()),
            ("reason", pa.string()),
            ("kind", pa.string()),
            ("expanded", pa.int32()),
            ("frames_sampled", pa.int32()),
            ("frames_filtered", pa.int32()),
            ("frames_kept", pa.int32()),
        ]
    )


def duplicates_schema() -> "pa.Schema":
    """duplicates.parquet: one row a removed frame, with the kept frame that represents it."""
    import pyarrow as pa

    return pa.schema(
        [
            ("video_id", pa.string()),
            ("file", pa.string()),
            ("kept_video_id", pa.string()),
            ("kept_file", pa.string()),
            ("distance", pa.int32()),
        ]
    )


@contextmanager
def opened(path: Path) -> Iterator["pq.ParquetFile"]:
    """Open a table of a dataset for reading. Raises UsageError where it is no table of Penstock's.

    Python opens the file: the library takes no name that is not UTF-8.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as table:
            yield table
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{path} cannot be read: {reason}; give the crawl's command again, and the dataset is "
            "built anew"
        ) from None


def inside(folder: Path, *names: str) -> Path:
    """The path in `folder` under these names, one a level; some of them come from a table.

    Tables may come from elsewhere. Raises UsageError for a path outside `folder`, by a name such as
    ".." or by a link: a row must not make an export copy any file it names.
    """
    path = folder.joinpath(*names)
    plain = all(name not in ("", ".", "..") and not {"/", "\0"} & set(name) for name in names)
    real = plain and Path(os.path.realpath(path))
    if real != Path(os.path.realpath(folder)).joinpath(*names):
        raise _named_outside(folder, "/".join(names))
    return path


def frame_of(dataset: Path, row: Mapping[str, Any]) -> Path:
    """The file of a row of frames.parquet, which names it frames/VIDEO/NAME. Raises UsageError."""
    video, file = str(row["video_id"]), str(row["file"])
    prefix = f"frames/{video}/"
    if not file.startswith(prefix):
        raise _named_outside(dataset, file)
    return inside(dataset, "frames", video, file.removeprefix(prefix))


def _named_outside(folder: Path, name: str) -> UsageError:
    return UsageError(
        f"a table of {folder} names {name[:100]!r}, which is no frame in it; it was not made by "
        "Penstock, or it was changed"
    )


class TableWriter:
    """Writes rows to one Parquet file as they come, holding `rows_a_group` of them at most.

    The same rows make the same bytes, for one version of the Parquet library. Raises
    pyarrow.ArrowInvalid or ArrowTypeError for a row that does not fit the schema.
    """

    def __init__(self, path: Path, schema: "pa.Schema", rows_a_group: int = ROWS_A_GROUP) -> None:
        import pyarrow.parquet as pq

        self.rows_a_group = rows_a_group
        self._schema = schema
        self._rows: list[Mapping[str, Any]] = []
        # Python opens the file: the library takes no path that is not UTF-8.
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row; columns that it does not name are null."""
        self._rows.append(row)
        if len(self._rows) == self.rows_a_group:
            self._flush()

    def close(self) -> None:
        try:
            if self._rows:
                self._flush()
            self._writer.close()
        finally:
            self._file.close()

    def _flush(self) -> None:
        import pyarrow as pa

        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
