"""The ledger's record of what each stage's outputs are made from beside its settings."""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EarlierIngredients:
    """What the outputs that a work folder holds of a step were made from.

    `latest` is the step's answer in the latest run that has one: None where no item has ended at
    the step, {} where a release that did not ask made its outputs. `taken_up` is the answer that
    the outputs of such a release count as made from, None where there are none.
    """

    latest: Mapping[str, Any] | None
    taken_up: Mapping[str, Any] | None


class IngredientsTable:
    """The part of a `Ledger` for `engine.workers.ingredients`. Used like the ledger: by one thread
    at a time, within its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def earlier(self, stage: str) -> EarlierIngredients:
        """What the outputs of this step were made from, as far as earlier runs recorded it."""
        ended = self._db.execute(
            "SELECT 1 FROM stages WHERE stage = ? AND outcome != 'pending' LIMIT 1", (stage,)
        ).fetchone()
        if ended is None:
            return EarlierIngredients(None, None)
        row = self._db.execute(
            "SELECT latest, taken_up FROM ingredients WHERE stage = ?", (stage,)
        ).fetchone()
        latest, taken_up = row or ("{}", None)
        return EarlierIngredients(
            json.loads(latest), None if taken_up is None else json.loads(taken_up)
        )

    def record(self, stage: str, ingredients: EarlierIngredients) -> None:
        """Record the step's answer in this run."""
        taken_up = ingredients.taken_up
        self._db.execute(
            "INSERT INTO ingredients (stage, latest, taken_up) VALUES (?, ?, ?)"
            " ON CONFLICT (stage) DO UPDATE SET latest = excluded.latest,"
            " taken_up = excluded.taken_up",
            (
                stage,
                json.dumps(ingredients.latest, sort_keys=True),
                None if taken_up is None else json.dumps(taken_up, sort_keys=True),
            ),
        )
