"""A vision API: calls, rates, replies, and what was paid for already."""
