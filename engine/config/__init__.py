"""Settings: where they come from, what they may be, and the file that explains them."""
