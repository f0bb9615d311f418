"""Sources of items: the protocol, lists, and the order of reading."""
