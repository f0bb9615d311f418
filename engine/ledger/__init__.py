"""The SQLite ledger: what is remembered of runs, items, attempts."""
