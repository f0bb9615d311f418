"""The flow of items: the run, its pools and inboxes, and every item's journey."""
