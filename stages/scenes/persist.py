"""The persist stage: a finished video goes into the sinks, and can be searched from then on."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import engine
from engine import Item, Stage, Transient, UsageError, setting
from stages.scenes.records import read_records
from stages.sinks.parquet import ParquetSink
from stages.sinks.sink import Sink
from stages.sinks.sqlite import SqliteSink

DATABASE = "search.db"
PARQUET = "parquet"

SinkName = Literal["sqlite", "parquet"]

WRITTEN = "persist.json"


class Persist(Stage):
    """Put a video's records into the sinks, in the place of what they have of it.

    Of `scenes` it reads scenes.jsonl and info.json, of `summary`, where there is one, summary.json.
    It writes persist.json: which generation of the video is in which sinks.
    """

    inputs = "scenes"
    optional_inputs = "summary"

    class Settings(engine.Settings):
        sinks: tuple[SinkName, ...] = setting(
            ("sqlite",),
            'Where records go: "sqlite", which `penstock search` asks, "parquet".',
        )
        database: str | None = setting(
            None,
            "The SQLite file; none: search.db in the work folder. Several folders may share one.",
            needs_trust=True,
            example="/data/search.db",
        )
        parquet: str | None = setting(
            None,
            "The folder of the Parquet files; none: parquet in the work folder.",
            needs_trust=True,
            example="/data/scenes",
        )

    settings: "Persist.Settings"

    def open(self) -> None:
        """Raises UsageError where a sink cannot be used."""
        self._opened = ExitStack()
        self._sinks = open_sinks(self.settings, self.workdir, self._opened)

    def process(self, item: Item, out: Path) -> None:
        summary = item.input("summary") if item.has_input("summary") else None
        records = read_records(item, item.input("scenes"), summary)
        for name, sink in self._sinks.items():
            with _tried_again(name):
                sink.write(records)
        line = {"generation": records.generation, "sinks": list(self._sinks)}
        (out / WRITTEN).write_text(json.dumps(line) + "\n")

    def close(self) -> None:
        self._opened.close()


def open_sinks(settings: Persist.Settings, workdir: Path, opened: ExitStack) -> dict[str, Sink]:
    """The sinks that are set, by name, open until `opened` ends. Raises UsageError."""
    sinks: dict[str, Sink] = {}
    for name in dict.fromkeys(settings.sinks):
        sinks[name] = opened.enter_context(_open(name, settings, workdir))
    return sinks


def _open(name: SinkName, settings: Persist.Settings, workdir: Path) -> Sink:
    if name == "parquet":
        return ParquetSink(_place(settings.parquet, workdir / PARQUET))
    return SqliteSink(_place(settings.database, workdir / DATABASE))


def _place(given: str | None, default: Path) -> Path:
    return default if given is None else Path(given).expanduser()


@contextmanager
def _tried_again(name: str) -> Iterator[None]:
    """A sink that was usable when the run began may be so again."""
    try:
        yield
    except UsageError as error:
        raise Transient(str(error), kind=name) from error
