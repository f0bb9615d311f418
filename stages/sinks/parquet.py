"""The Parquet sink: a folder with one file a video, one row a scene.

FOLDER/VIDEO.parquet    replaced whole; the schema's metadata has the video's document

The folder is a dataset for anything that reads Parquet: pyarrow, DuckDB, Polars, pandas.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine import StopRun, UsageError
from stages.sinks.rows import row_of
from stages.sinks.sink import VideoRecords
from stages.sinks.texts import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

GENERATION = b"penstock.generation"
DOCUMENT = b"penstock.video"

ENDING = ".parquet"


class ParquetSink:
    """Scenes in Parquet files; a `Sink`."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder. Raises UsageError where it cannot be made."""
        self.folder = folder
        with _explained(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> "ParquetSink":
        return self

    def __exit__(self, *_: object) -> None:
        """There is nothing to close."""

    def write(self, records: VideoRecords) -> None:
        import pyarrow.parquet as pq

        path = self.folder / f"{records.video}{ENDING}"
        with _explained(path):
            if path.is_file() and _generation(path) == records.generation:
                return
            new = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                pq.write_table(_table(records), new)
                _sync(new)
                new.replace(path)
            finally:
                new.unlink(missing_ok=True)
            _sync(self.folder)

    def remove(self, video: str) -> bool:
        path = self.folder / f"{video}{ENDING}"
        with _explained(path):
            for left in self.folder.glob(f".{path.name}.*"):  # of a process that was killed
                left.unlink(missing_ok=True)
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            _sync(self.folder)
        return True

    def generations(self) -> Mapping[str, str]:
        with _explained(self.folder):
            files = [path for path in self.folder.glob(f"*{ENDING}") if path.name[0] != "."]
            return {path.name.removesuffix(ENDING): _generation(path) for path in files}


def _table(records: VideoRecords) -> "pa.Table":
    import pyarrow as pa

    text = pa.string()
    schema = pa.schema(
        [
            pa.field("video", text, nullable=False),
            pa.field("source", text),
            pa.field("title", text),
            pa.field("scene", pa.int32(), nullable=False),
            pa.field("start", pa.float64(), nullable=False),
            pa.field("end", pa.float64(), nullable=False),
            *(pa.field(column, text) for column in COLUMNS),
            pa.field("thumbnail", text),
            pa.field("record", text, nullable=False),
        ],
        metadata={
            GENERATION: records.generation.encode(),
            DOCUMENT: json.dumps(records.document).encode(),
        },
    )
    rows = [
        row_of(records.document, record) | {"record": json.dumps(record)}
        for record in records.scenes
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _generation(path: Path) -> str:
    """The generation of the video in this file, "" where it is no whole file of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:
        return ""
    return bytes(found.get(GENERATION, b"")).decode()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems cannot sync a folder
            os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StopRun(f"{path}: the disk is full; make room and run again") from error
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
