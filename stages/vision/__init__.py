"""A vision API: calls, rates, replies, and the cache of paid replies."""
