"""The persist stage: a finished video goes into the sinks, and can be searched from then on."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine import Item, ItemRecord, Loan, Stage, Transient, UsageError, ensure_ours
from stages.calls.sent_calls import SentCalls
from stages.persistence.links import with_links
from stages.persistence.records import read_records
from stages.persistence.store import (
    Store,
    StoreSettings,
    Vectors,
    embedded_texts,
    expected_vectors,
    find_embedder,
)
from stages.persistence.vectors import counted_calls
from stages.sinks.sink import VideoRecords
from stages.vision.counted import counted

log = logging.getLogger("penstock.persist")

WRITTEN = "persist.json"


class Persist(Stage):
    """Put a video's records into the sinks, in the place of what they have of it.

    Of `scenes` it reads scenes.jsonl and info.json, of `summary`, where there is one, summary.json,
    of `upload` and of the parts of `frame_upload` upload.json: links to what it names. It writes
    persist.json: which generation of the video is in which sinks, and `later`, those where another
    run has put a later one meanwhile. With `dry_run` it leaves the sinks as they are, and counts
    what would be sent for vectors.
    """

    inputs = "scenes"
    optional_inputs = ("summary", "upload", "frame_upload")

    class Settings(StoreSettings):
        """Those of the sinks."""

    settings: "Persist.Settings"
    _store: Store | None = None
    """None in a dry run."""
    _calls: Loan[SentCalls] | None = None

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """What makes vectors. Raises UsageError where one is asked for by name and is missing."""
        if self.settings.dry_run:
            return {"dry_run": True}
        embedder = find_embedder(self.settings)
        return {"embeddings": embedder.name if embedder else None}

    def open(self) -> None:
        """Raises UsageError where a sink cannot be used."""
        self._calls = counted_calls(self.workdir, self.name)
        if not self.settings.dry_run:
            embedder = find_embedder(self.settings, self._calls.thing, self.workdir)
            self._store = Store(self.settings, self.workdir, embedder)

    def process(self, item: Item, out: Path) -> None:
        turns = {}
        for name, sink in self._store.sinks.items() if self._store is not None else ():
            with _tried_again(name):  # before the records are read: see `Sink`
                turns[name] = sink.begin()
        if turns:  # whoever takes the item over from now on has a later turn
            ensure_ours(item)
        records = self.records(item)
        if self._store is None:
            line: dict[str, Any] = {"counted": self._expected(records)}
        else:
            later = []
            for name, turn in turns.items():
                with _tried_again(name):
                    if not self._store.write_to(name, records, turn):
                        log.info("%s: %s has it of a later run, which stays", item.id, name)
                        later.append(name)
            line = {"generation": records.generation, "sinks": list(turns)}
            line |= {"later": later} if later else {}
        (out / WRITTEN).write_text(json.dumps(line) + "\n")

    def _expected(self, records: VideoRecords) -> dict[str, Any]:
        """Scenes without a description count with one."""
        texts = embedded_texts(records.scenes)
        to_come = sum(not one.get("description") for one in records.scenes)
        return asdict(expected_vectors(self.settings, self.workdir, texts, to_come))

    def records(self, item: Item) -> VideoRecords:
        """The video as it is put into the sinks."""
        summary, video = (
            item.input(role) if item.has_input(role) else None for role in ("summary", "upload")
        )
        records = read_records(item, item.input("scenes"), summary)
        frames = [part.input("frame_upload") for part in item.parts("frame_upload")]
        return with_links(records, item.input("scenes"), video, frames)

    def drain(self) -> None:
        """Texts that no server was sent yet have their vectors made by the next run."""
        if self._store is not None:
            self._store.drain()

    def close(self) -> None:
        """What became of this run's requests is kept under WORKDIR/cache."""
        if self._store is not None:
            self._store.close()
        if self._calls is not None:
            self._calls.give_back()


COUNTED = (f"persist/{WRITTEN}",)
"""Where a dry run has counted the vectors of a video, in its folder: `vectors_counted`."""


def vectors_counted(records: Iterable[ItemRecord], files: Sequence[str] = COUNTED) -> Iterator[str]:
    """A line on what a dry run would have sent for vectors, by what these files of each video's
    folder have counted."""
    whole: Vectors | None = None
    for record in records:
        for name in files:
            file = record.folder / name
            told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
            if "counted" in told:
                one = Vectors(**told["counted"])
                whole = one if whole is None else whole + one
    if whole is not None and whole.texts:
        yield (
            f"dry run: vectors of {counted(whole.texts, 'text')} would take "
            f"{counted(whole.calls, 'call')} to {whole.host}, about {whole.bytes // 4:,} tokens"
        )


@contextmanager
def _tried_again(name: str) -> Iterator[None]:
    """A sink that was usable when the run began may be so again."""
    try:
        yield
    except UsageError as error:
        raise Transient(str(error), kind=name) from error
