"""What is remembered: the SQLite ledger, and every item's folders on disk."""
