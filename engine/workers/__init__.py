"""The workers: threads, slots on the event loop, processes; the team of one pool."""
