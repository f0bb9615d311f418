"""How items travel: the run, its pools and inboxes, and every item's journey."""
