"""Who does the work: threads, slots on the event loop, processes; the team of one pool."""
