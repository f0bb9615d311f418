"""The scenes of videos in others' formats: subtitles, chapters, tables."""
