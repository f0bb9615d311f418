"""What a terminal shows: progress, plain lines, the end report, the JSON log."""
