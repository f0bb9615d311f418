"""The commands for finished scenes: `penstock search`."""
