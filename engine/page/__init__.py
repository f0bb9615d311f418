"""The report page and the live page."""
