"""Video files: opening, decoding, times."""
