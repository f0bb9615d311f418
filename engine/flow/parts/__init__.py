"""The parts of items: how they enter a run, are followed to their ends, and are gathered."""
