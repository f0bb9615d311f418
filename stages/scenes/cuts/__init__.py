"""Where videos are cut into scenes."""
