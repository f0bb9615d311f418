"""The steps that make vectors of a video's texts before it is persisted: of the frames' notes while
the document is being written, of the document while files are still on their way to the store.

So `persist`, which waits for the uploads since their links are in what it puts away, finds every
vector there. It makes those that are missing, as where one of these steps has failed.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

import engine
from engine import Item, Loan, Skip, Stage
from stages.calls.sent_calls import SentCalls
from stages.persistence.records import read_records
from stages.persistence.store import (
    Store,
    StoreSettings,
    embedded_texts,
    expected_vectors,
    find_embedder,
)
from stages.persistence.vectors import counted_calls
from stages.recipe.writing.analyse import NOTES
from stages.recipe.writing.rows import frame_row, is_of_frame

EMBEDDED = "embedded.json"


class Embedding(Stage, ABC):
    """The base of steps that make vectors of texts, in batches; each text is embedded once by a
    model.

    It writes embedded.json: the number of texts, and of those that were embedded now. The vectors
    are kept where persist looks for them. Raises Skip where none are made. In a dry run it counts
    what would be sent.
    """

    # Without it the vectors are made later, by the step that persists.
    defaults: ClassVar[dict[str, Any]] = {"workers": 2, "optional": True}

    class Settings(engine.Settings):
        """There are none of its own: [stages.persist] says what makes vectors, and where to."""

        _store: StoreSettings = PrivateAttr(default_factory=StoreSettings)

        @property
        def store(self) -> StoreSettings:
            return self._store

        @classmethod
        def like(cls, store: StoreSettings) -> "Embedding.Settings":
            made = cls()
            made._store = store
            return made

    settings: "Embedding.Settings"
    _store: Store | None = None
    """None where no vectors are made."""
    _calls: Loan[SentCalls] | None = None

    @abstractmethod
    def rows(self, item: Item) -> Iterable[Mapping[str, Any]]:
        """The records, as persist has them, whose texts are embedded here. In a dry run one without
        texts stands for words that are still to come."""

    def find_ingredients(self, earlier: Any) -> dict[str, Any]:
        """What makes vectors. Raises UsageError where one is asked for by name and is missing."""
        if self.settings.store.dry_run:
            return {"dry_run": True}
        embedder = find_embedder(self.settings.store)
        return {"embeddings": embedder.name if embedder else None}

    def open(self) -> None:
        self._calls = counted_calls(self.workdir, self.name)
        store = self.settings.store
        calls = self._calls.thing
        embedder = None if store.dry_run else find_embedder(store, calls, self.workdir)
        if embedder is not None:
            self._store = Store(store, self.workdir, embedder)

    def process(self, item: Item, out: Path) -> None:
        told: dict[str, Any]
        if self.settings.store.dry_run:
            told = {"counted": self._expected(item)}
        elif self._store is None:
            raise Skip("no vectors are made", kind="no_vectors")
        else:
            texts = embedded_texts(self.rows(item))
            told = {"texts": len(texts), "embedded": self._store.embed(texts)}
        (out / EMBEDDED).write_text(f"{json.dumps(told)}\n")

    def _expected(self, item: Item) -> dict[str, Any]:
        each = [embedded_texts([row]) for row in self.rows(item)]
        texts = [text for some in each for text in some]
        to_come = sum(not some for some in each)
        return asdict(expected_vectors(self.settings.store, self.workdir, texts, to_come))

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


class EmbedNotes(Embedding):
    """Make vectors of the frames' notes, in batches; each text is embedded once by a model.

    Of `notes` it reads each notes.json.
    """

    name = "embed"
    inputs = "notes"

    def rows(self, item: Item) -> Iterable[Mapping[str, Any]]:
        for part in item.parts("notes"):
            file = part.input("notes") / NOTES
            yield frame_row(json.loads(file.read_text("utf-8"))) if file.is_file() else {}


class EmbedDocument(Embedding):
    """Make vectors of a document and its entries, while its files are being uploaded.

    Of `document` it reads scenes.jsonl. It leaves the frames to the step that has their notes.
    """

    name = "embed_document"
    inputs = "document"

    def rows(self, item: Item) -> Iterable[Mapping[str, Any]]:
        records = read_records(item, item.input("document"), None)
        return [row for row in records.scenes if not is_of_frame(row)]
