"""Scenes: videos to their scenes, and a record of each."""
