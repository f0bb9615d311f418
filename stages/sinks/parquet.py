"""The Parquet sink: a folder with one file a video, one row a scene.

FOLDER/VIDEO.parquet    replaced whole; the schema's metadata has the video's document
FOLDER/.turns           the last turn that was given to a writer; also the writers' lock
FOLDER/.gone/DIGEST     the turn in which a video was taken out, by a digest of its id

The folder is a dataset for anything that reads Parquet: pyarrow, DuckDB, Polars, pandas.
"""

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engine import StopRun, UsageError
from stages.sinks.rows import row_of
from stages.sinks.sink import VideoRecords, WrittenVideo, gone_name, next_turn
from stages.sinks.texts import COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

GENERATION = b"penstock.generation"
DOCUMENT = b"penstock.video"
TURN = b"penstock.turn"

ENDING = ".parquet"
TURNS = ".turns"
GONE = ".gone"


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

    def begin(self) -> int:
        path = self.folder / TURNS
        with _explained(path), self._alone() as turns:
            return _give_turn(turns)

    def write(self, records: VideoRecords, turn: int | None = None) -> bool:
        import pyarrow.parquet as pq

        turn = turn if turn is not None else self.begin()
        path = self.folder / f"{records.video}{ENDING}"
        with _explained(path):
            there = _written(path) if path.is_file() else None
            if there is not None and (there.generation, there.turn) == (records.generation, turn):
                return True
            new = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            try:
                pq.write_table(_table(records, turn), new)
                _sync(new)
                with self._alone():
                    mark = self._mark(records.video)
                    if (_written(path).turn if path.is_file() else _turn_in(mark)) > turn:
                        return False
                    new.replace(path)
                    _sync(self.folder)
                    mark.unlink(missing_ok=True)
            finally:
                new.unlink(missing_ok=True)
        return True

    def remove(self, video: str, turns: Collection[int] | None = None) -> bool:
        path = self.folder / f"{video}{ENDING}"
        with _explained(path), self._alone() as given:
            there = _written(path) if path.is_file() else None
            if turns is not None and (there is None or there.turn not in turns):
                return False
            turn = _give_turn(given) if turns is None or there is None else there.turn
            self._leave_mark(video, turn)  # first: a kill then leaves the video, and no way back
            if turns is None:
                for left in self.folder.glob(f".{path.name}.*"):  # of a process that was killed
                    left.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            _sync(self.folder)
        return there is not None

    def written(self) -> Mapping[str, WrittenVideo]:
        with _explained(self.folder):
            found = {}
            for path in self.folder.glob(f"*{ENDING}"):
                with suppress(FileNotFoundError):  # another process has just taken it out
                    if path.name[0] != ".":
                        found[path.name.removesuffix(ENDING)] = _written(path)
            return found

    def _mark(self, video: str) -> Path:
        return self.folder / GONE / gone_name(video).hex()

    def _leave_mark(self, video: str, turn: int) -> None:
        mark = self._mark(video)
        mark.parent.mkdir(exist_ok=True)
        new = mark.with_name(f".{mark.name}")
        new.write_text(str(turn))
        _sync(new)
        new.replace(mark)
        _sync(mark.parent)

    @contextmanager
    def _alone(self) -> Iterator[int]:
        """Hold the writers' lock; gives the open file of turns."""
        turns = os.open(self.folder / TURNS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(turns, fcntl.LOCK_EX)
            yield turns
        finally:
            os.close(turns)


def _give_turn(turns: int) -> int:
    """The next turn, from the open file of turns, with the writers' lock."""
    text = os.pread(turns, 100, 0)
    turn = next_turn(int(text) if text.strip().isdigit() else 0)
    os.pwrite(turns, f"{turn:020}\n".encode(), 0)
    return turn


def _turn_in(mark: Path) -> int:
    """The turn in which a video was taken out; -1 where it was not."""
    try:
        return int(mark.read_text())
    except FileNotFoundError:
        return -1


def _table(records: VideoRecords, turn: int) -> "pa.Table":
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
            TURN: str(turn).encode(),
        },
    )
    rows = [
        row_of(records.document, record) | {"record": json.dumps(record)}
        for record in records.scenes
    ]
    return pa.Table.from_pylist(rows, schema=schema)


def _written(path: Path) -> WrittenVideo:
    """What is in this file; the generation "" where it is no whole file of ours."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path).metadata or {}
    except pa.ArrowInvalid:
        return WrittenVideo("")
    turn = bytes(found.get(TURN, b"0")).decode()
    return WrittenVideo(bytes(found.get(GENERATION, b"")).decode(), int(turn))


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
