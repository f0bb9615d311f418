"""The persist stage: a finished video goes into the sinks, and can be searched from then on."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine import Item, Stage, Transient, UsageError
from stages.scenes.records import read_records
from stages.scenes.store import Store, StoreSettings, find_embedder

WRITTEN = "persist.json"


class Persist(Stage):
    """Put a video's records into the sinks, in the place of what they have of it.

    Of `scenes` it reads scenes.jsonl and info.json, of `summary`, where there is one, summary.json.
    It writes persist.json: which generation of the video is in which sinks.
    """

    inputs = "scenes"
    optional_inputs = "summary"

    class Settings(StoreSettings):
        """Those of the sinks."""

    settings: "Persist.Settings"

    def find_ingredients(self, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """What makes vectors. Raises UsageError where one is asked for by name and is missing."""
        embedder = find_embedder(self.settings)
        return {"embeddings": embedder.name if embedder else None}

    def open(self) -> None:
        """Raises UsageError where a sink cannot be used."""
        self._store = Store(self.settings, self.workdir, find_embedder(self.settings))

    def process(self, item: Item, out: Path) -> None:
        summary = item.input("summary") if item.has_input("summary") else None
        records = read_records(item, item.input("scenes"), summary)
        for name in self._store.sinks:
            with _tried_again(name):
                self._store.write_to(name, records)
        line = {"generation": records.generation, "sinks": list(self._store.sinks)}
        (out / WRITTEN).write_text(json.dumps(line) + "\n")

    def close(self) -> None:
        self._store.close()


@contextmanager
def _tried_again(name: str) -> Iterator[None]:
    """A sink that was usable when the run began may be so again."""
    try:
        yield
    except UsageError as error:
        raise Transient(str(error), kind=name) from error
