"""Search over scenes: by their words, by their meaning, and both at once."""
