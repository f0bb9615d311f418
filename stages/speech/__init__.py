"""Speech: where it is in a track, how it is cut into chunks, and what is said."""
