"""The SQLite ledger, and every item's folders on disk."""
