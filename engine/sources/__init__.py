"""Where items come from: lists, and the order in which they are read."""
