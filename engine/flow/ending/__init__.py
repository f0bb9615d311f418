"""How items end: their results are made, their ends told, and old ones taken out again."""
