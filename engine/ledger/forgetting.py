"""`penstock forget` in the ledger: every row about an item and its parts goes."""

import sqlite3


class Forgetting:
    """The part of a `Ledger` that forgets items. Used like the ledger: from one thread at a time,
    within its transactions."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def forget(self, item: str) -> None:
        """Delete every row about the item and its parts, and that a list held it, or that it was a
        list. The freed pages are overwritten: addresses may hold passwords."""
        self._db.execute("PRAGMA secure_delete = ON")
        for table, column in (("items", "id"), ("stages", "item"), ("attempts", "item")):
            self._db.execute(
                f"DELETE FROM {table} WHERE {column} = ?1 OR ({column} > ?1 || '/'"
                f" AND {column} < ?1 || '0')",
                (item,),
            )
        self._db.execute("DELETE FROM expansions WHERE item = ?1 OR parent = ?1", (item,))
