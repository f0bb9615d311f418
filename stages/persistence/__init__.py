"""Finished videos into the sinks, with vectors, and sinks that agree with the ledger."""
