"""The views on a terminal: progress, plain lines, the end report, the JSON log."""
