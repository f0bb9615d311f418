"""Sinks: where a finished video's records go, for others to read and to search."""
