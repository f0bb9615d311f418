"""Searching from the live page: the ranking of `penstock search`."""

import json
import re
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from engine import PenstockError, UsageError
from stages.scenes.page.shown import scene_shown
from stages.search.asking import MadeBy, by_meaning, embedder_of
from stages.search.embedding import Embedded, Embedder
from stages.search.meaning import latest_model
from stages.search.query import PLACE_OF, PLACES
from stages.search.searching import Hit, SearchQuestion, search
from stages.sinks.sqlite_file import opened_to_read
from stages.sinks.texts import MARKS

MOST_HITS = 200
"""Answers to a question."""

MOST_ASKED = 100
"""Questions whose vectors are kept."""

LONGEST = 1000
"""Characters of a question."""


class Remembering:
    """An embedder with the vectors of a question, made before the database is opened: whoever
    writes to it would wait for a model to be loaded, or for a server."""

    def __init__(self, embedder: Embedder, words: str) -> None:
        self.name, self.made_by = embedder.name, embedder.made_by
        self._made = list(embedder.embed([words]))

    def embed(self, texts: Sequence[str]) -> Iterator[Embedded]:
        yield from self._made

    def drain(self) -> None:
        """Nothing more is asked."""

    def close(self) -> None:
        """It holds nothing."""


class PageSearch:
    """Answers questions from a database. It keeps the model that it has loaded, and the vectors of
    the latest questions: a server is paid for them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._embedders: dict[str, Embedder] = {}
        self._asked: dict[tuple[str, str], Remembering] = {}

    def find(
        self, database: Path, words: str, place: str, known: Container[str], own_server: str | None
    ) -> dict[str, Any]:
        """The best answers of the videos that are `known` here, and a problem, if there is one.

        The words go to no server but the public one and `own_server`, the run's. Raises UsageError
        for a question without a word, and where there is nothing to search.
        """
        if len(words) > LONGEST:
            raise UsageError(f"a question has {LONGEST} characters at most")
        if place and place not in PLACES:
            raise UsageError(f"{place!r}: search in one of {', '.join(PLACES)}")
        if not database.is_file():
            raise UsageError("nothing can be found yet: no video is finished")
        question = SearchQuestion(words, (PLACES[place],) if place else ())
        with self._lock:
            prepared, problem = self._prepared(database, words, own_server)
        with opened_to_read(database) as db:
            meaning = by_meaning(db, words, lambda _: prepared) if prepared else None
            hits = search(db, question, MOST_HITS, meaning.rankers if meaning else ())
        return {
            "hits": [hit_shown(hit) for hit in hits if hit.video in known],
            "problem": problem or (meaning.problem if meaning else None),
        }

    def _prepared(
        self, database: Path, words: str, own_server: str | None
    ) -> tuple[Remembering | None, str | None]:
        with opened_to_read(database) as db:
            latest = latest_model(db)
        if latest is None:
            return None, None
        name, made_by = latest
        try:
            if (name, words) not in self._asked:
                if len(self._asked) >= MOST_ASKED:
                    self._asked.pop(next(iter(self._asked)))
                remembering = Remembering(self._embedder(made_by, own_server), words)
                self._asked[name, words] = remembering
            return self._asked[name, words], None
        except PenstockError as error:
            return None, str(error)

    def _embedder(self, made_by: MadeBy, own_server: str | None) -> Embedder:
        key = json.dumps(made_by, sort_keys=True)
        if key not in self._embedders:
            trusted = own_server is not None and made_by.get("base_url") == own_server
            self._embedders = {key: embedder_of(made_by, trusted=trusted)}
        return self._embedders[key]


def hit_shown(hit: Hit) -> dict[str, Any]:
    """An answer as the page shows it: the best scene, its video, and what was found, in pieces of
    which every second one is what was looked for."""
    # The database names pictures from the results' folder on; the page, from the video's own.
    picture = str(hit.record.get("thumbnail") or "").removeprefix(f"{hit.video}/")
    return {
        "video": hit.video,
        "scene": scene_shown({**hit.record, "thumbnail": picture or None}),
        "time": hit.time,
        "in": PLACE_OF[hit.column],
        "found": re.split(f"[{MARKS[0]}{MARKS[1]}]", hit.snippet),
    }
