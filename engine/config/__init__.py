"""Settings: their sources, their checks, and the file that explains them."""

CONFIG = "config.toml"
"""The name of the file; here, so that who only names it does not load what reads it."""
