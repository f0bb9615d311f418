"""Which few frames of a video tell most of it."""
