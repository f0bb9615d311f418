"""The tables of a dataset: their columns, and how their rows get into Parquet files."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_GROUP = 4096


def read_table(path: Path, columns: list[str] | None = None) -> "pa.Table":
    """A Parquet file as a table; of all its columns, or of these. Its path need not be UTF-8."""
    import pyarrow.parquet as pq

    with path.open("rb") as file:
        return pq.read_table(file, columns=columns)


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
    """videos.parquet: one row for everything that entered, whatever became of it, by id."""
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
    """duplicates.parquet: one row a removed frame, with the kept frame that stands for it."""
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
        # Opened here: the library takes no path that is not UTF-8.
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")

    def add(self, row: Mapping[str, Any]) -> None:
        """Columns that `row` does not name are null."""
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
