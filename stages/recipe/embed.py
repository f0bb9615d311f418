"""The embed stage: vectors of the frames' notes, while the document is being written."""

import json
from pathlib import Path
from typing import Any, ClassVar

from pydantic import PrivateAttr

import engine
from engine import Item, Loan, Skip, Stage
from stages.calls.sent_calls import SentCalls
from stages.persistence.store import Store, StoreSettings, find_embedder
from stages.persistence.vectors import counted_calls
from stages.recipe.writing.analyse import NOTES
from stages.recipe.writing.rows import frame_row
from stages.sinks.texts import texts_of

EMBEDDED = "embedded.json"


class EmbedNotes(Stage):
    """Make vectors of the notes, in batches; each text is embedded once by a model.

    Of `notes` it reads each notes.json. The vectors are kept where persist looks for them. Raises
    Skip where none are made.
    """

    name = "embed"
    inputs = "notes"
    # Without it the vectors are made later, by the step that persists.
    defaults: ClassVar[dict[str, Any]] = {"workers": 2, "optional": True}

    class Settings(engine.Settings):
        """There are none of its own: [stages.persist] says what makes vectors, and where to."""

        _store: StoreSettings = PrivateAttr(default_factory=StoreSettings)

        @property
        def store(self) -> StoreSettings:
            return self._store

        @classmethod
        def like(cls, store: StoreSettings) -> "EmbedNotes.Settings":
            made = cls()
            made._store = store
            return made

    settings: "EmbedNotes.Settings"
    _store: Store | None = None
    """None where no vectors are made."""
    _calls: Loan[SentCalls] | None = None

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
        if self._store is None:
            raise Skip("no vectors are made", kind="no_vectors")
        texts: list[str] = []
        for part in item.parts("notes"):
            file = part.input("notes") / NOTES
            if file.is_file():
                row = frame_row(json.loads(file.read_text("utf-8")))
                texts += [text for text in texts_of(row).values() if text]
        told = {"texts": len(texts), "embedded": self._store.embed(texts)}
        (out / EMBEDDED).write_text(f"{json.dumps(told)}\n")

    def close(self) -> None:
        """What became of this run's requests is kept under WORKDIR/cache."""
        if self._store is not None:
            self._store.close()
        if self._calls is not None:
            self._calls.give_back()
