"""Settings: their sources, their checks, and the file that explains them."""
