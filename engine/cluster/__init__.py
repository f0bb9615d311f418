"""A Ray cluster: places for processes on its nodes, turns at them, and their messages."""
