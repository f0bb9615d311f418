"""The demos: videos that they make themselves, a run over them, and a verdict."""
