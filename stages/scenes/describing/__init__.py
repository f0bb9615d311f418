"""Scenes and videos in words: by a vision model, or composed of what was found."""
