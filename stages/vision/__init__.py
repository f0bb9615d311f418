"""A vision API: questions about images, replies, and the cache of paid replies."""
