"""Sweeps of worker counts, the model of the engine, and plans."""
