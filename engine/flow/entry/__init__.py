"""How items enter a run, lists among them, and when their ends are told."""
