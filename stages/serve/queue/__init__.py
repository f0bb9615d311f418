"""The accepted jobs: their table, the source that a run reads, and what is told of them."""
