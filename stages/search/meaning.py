"""Scenes ranked by their meaning: how close their texts' vectors are to the question's."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from stages.search.embedding import Embedder
from stages.search.ranking import RankedScene
from stages.search.searching import SearchQuestion
from stages.sinks.texts import COLUMNS, Column

LEAST = 0.25
"""The cosine from which a text counts as close: of unrelated ones it is about 0.1."""

MOST_RANKED = 100

AT_ONCE = 4096
"""Vectors that are compared together."""


def latest_model(db: sqlite3.Connection) -> tuple[str, Mapping[str, Any]] | None:
    """What made the database's vectors last: its name, and how to make it; None: there are none."""
    row = db.execute(
        "SELECT name, made_by FROM models WHERE EXISTS"
        " (SELECT 1 FROM vectors WHERE model = name) ORDER BY used DESC LIMIT 1"
    ).fetchone()
    return (row[0], json.loads(row[1])) if row else None


class ByMeaning:
    """Ranks scenes by meaning; a `Ranker`. Each scene counts by its closest text."""

    def __init__(self, db: sqlite3.Connection, embedder: Embedder, words: str) -> None:
        """Embeds the words. Raises what the embedder raises."""
        self._db = db
        self._model = embedder.name
        [asked] = embedder.embed([words])
        self._asked = asked.vectors[0]

    def __call__(self, question: SearchQuestion) -> Sequence[RankedScene]:
        import numpy as np

        rows = self._db.execute(
            "SELECT s.key, s.video, s.scene, f.facet, v.vector FROM facets f"
            " JOIN vectors v ON v.model = ? AND v.digest = f.digest"
            " JOIN scenes s ON s.key = f.scene"
            " WHERE s.video = coalesce(?, s.video) AND s.ends > ?"
            f" AND f.facet IN ({', '.join('?' * len(question.columns or COLUMNS))})",
            (
                *(self._model, question.video, question.after),
                *(question.columns or COLUMNS),
            ),
        )
        best: dict[int, tuple[float, str, int, Column]] = {}
        while some := rows.fetchmany(AT_ONCE):
            vectors = np.frombuffer(b"".join(row[4] for row in some), "<f4")
            closeness = vectors.reshape(len(some), -1) @ self._asked
            for (key, video, scene, column, _), close in zip(some, closeness, strict=True):
                if close >= LEAST and (key not in best or close > best[key][0]):
                    best[key] = (float(close), video, scene, column)
        order = sorted(best.items(), key=lambda one: (-one[1][0], one[0]))[:MOST_RANKED]
        if not order:
            return []
        span = max(order[0][1][0] - LEAST, 1e-6)
        return [
            RankedScene(key, video, scene, (close - LEAST) / span, column)
            for key, (close, video, scene, column) in order
        ]
