"""The packets of a file: the facts about its frames before anything is decoded."""
